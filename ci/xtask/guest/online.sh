# A disk goes offline and comes back fifty times, then its channel driver does; reads are under way
# each time. The disk's contents stay.
. /scenarios/lib.sh
device=$(virtio_of "$(disk online)")
subchannel=$(readlink -f "/sys/bus/virtio/devices/$device/..")
number=${subchannel##*/}
dd if=/dev/urandom of="/dev/$(disk online)" bs=64k count=16 conv=fsync 2>/dev/null

contents() { dd if="/dev/$(disk online)" bs=64k count=16 2>/dev/null | sha256sum; }
gone() { ! disk online; }
before=$(contents)

offline_online() {
    echo 0 > "$subchannel/online" && gone && echo 1 > "$subchannel/online"
}

unbind_bind() {
    driver=/sys/bus/ccw/drivers/virtio_ccw
    echo "$number" > $driver/unbind && gone && echo "$number" > $driver/bind
}

rounds() {
    round=0
    while [ $round -lt 50 ]; do
        node=/dev/$(disk online)
        while dd if="$node" of=/dev/null bs=4k iflag=direct 2>/dev/null; do :; done &
        usleep 10000
        "$2" || break
        wait
        await disk online && [ "$before" = "$(contents)" ] || break
        round=$((round + 1))
    done
    if [ $round -eq 50 ]; then
        pass "$1" "$number $round times under reads, data equal"
    else
        fail "$1" "$number: round $((round + 1)) failed"
    fi
}

rounds online offline_online
rounds online-bind unbind_bind
