# Devices come and go, as the script asks for on a control port for each of them; see the scenario.
. /scenarios/lib.sh
method=$(parameter hotplug)
lanes=$(parameter lanes | tr , ' ')
slots=/sys/bus/pci/slots
# The slot of blk0, which is the first lane.
busy_slot=$(echo "$lanes" | cut -d : -f 3)
round=0

# As in lib.sh, but with the patience that many devices at a time take.
await() {
    tries=0
    until "$@" > /dev/null 2>&1; do
        [ $tries -lt 2000 ] || return 1
        tries=$((tries + 1))
        usleep 50000
    done
}

# Has the host do something, by way of the port that is open as descriptor 9. What it found is left
# in `answer`, and so is what went wrong.
ask() {
    echo "$*" >&9
    read -r -t 120 word answer <&9 || word='' answer="no answer to $*"
    [ "$word" = ok ] && return
    answer="$word $answer"
    return 1
}
desk() {
    exec 9<> "$(port org.example.desk)"
    ask "$@"
    set -- $?
    exec 9>&-
    return "$1"
}

# The functions for the rows of the table: use_NAME IDENTIFIER PLACE, where the place is the
# directory of the PCI device. Without a slot they set the place themselves, which is what is no
# longer there when the device has gone.
use_blk() {
    answer="did not appear"
    await disk_at "$2" && written_and_read
}

use_scsi() {
    answer="did not appear"
    await unit_at "$2" && written_and_read
}

use_lun() {
    answer="did not appear"
    await unit_of_units && written_and_read
}

# The disk is as large as what is written, which is not the same in two rounds that follow each
# other; what is read comes from the disk, as it was not there before.
written_and_read() {
    data=/tmp/data$((round % 2))
    answer="cannot be written"
    dd if=$data of="$node" bs=64k oflag=direct 2> /dev/null || return 1
    answer="does not hold what was written"
    read -r sum < $data.sum
    [ "$(sha256sum < "$node")" = "$sum" ]
}

use_rng() {
    await bound "$2" || return 1
    await draw "$1" "$2"
}

# One source at a time is the current one, and none says which device it is; its interrupts do. It
# has 64 bytes in advance, so that only more of them take an interrupt. It may not be a source yet.
draw() {
    mkdir /tmp/hwrng || return 1
    drawn=1
    read -r sources < /sys/class/misc/hw_random/rng_available
    for source in $sources; do
        echo "$source" > /sys/class/misc/hw_random/rng_current || continue
        before=$(interrupts "$2")
        head -c 256 /dev/hwrng > "/tmp/$1"
        [ "$(interrupts "$2")" != "$before" ] && [ -s "/tmp/$1" ] && drawn=0 && break
    done
    rmdir /tmp/hwrng
    return $drawn
}

interrupts() {
    for irq in "$1"/msi_irqs/*; do
        read -r count < "/sys/kernel/irq/${irq##*/}/per_cpu_count" && echo "$count"
    done
}

use_port() {
    await port "org.example.$1" && node=$(port "org.example.$1") || return 1
    place=${place:-/sys/class/virtio-ports/${node##*/}}
    line="round $round of $1"
    back=
    { echo "$line" >&8 && read -r -t 60 back <&8; } 8<> "$node"
    [ "$back" = "$line" ]
}

use_serial() { use_port "$@"; }

# The host answers for every address.
use_net() {
    answer="did not appear"
    await interface_at "$2" || return 1
    net=10.99.${1#net}
    ip addr add "$net.2/24" dev "$interface" && ip link set "$interface" up || return 1
    answer="the host does not answer"
    await arping -c 1 -w 2 -I "$interface" "$net.1"
}

# What is written is there when the share is mounted again.
use_share() {
    answer="cannot be mounted"
    mkdir -p "/tmp/share-$1" && await mount_share "$1" || return 1
    answer="cannot be written"
    echo "round $round" > "/tmp/share-$1/round" && umount "/tmp/share-$1" || return 1
    answer="does not hold what was written"
    mount_share "$1" && read -r line < "/tmp/share-$1/round" && umount "/tmp/share-$1" || return 1
    [ "$line" = "round $round" ]
}

# The memory that the balloon takes is the guest's again when it has gone.
use_balloon() {
    answer="did not appear"
    await bound "$2" && ask inflate || return 1
    answer="takes no memory"
    await memory_is $((memory - 8192))
}

left_balloon() { memory_is "$memory"; }

memory_is() { [ "$(memory_total)" = "$1" ]; }
memory_total() { sed -n 's/^MemTotal: *\([0-9]*\) kB/\1/p' /proc/meminfo; }

mount_share() {
    mount -t 9p -o trans=virtio,version=9p2000.L,msize=16384 "$1" "/tmp/share-$1"
}

interface_at() {
    for entry in "$1"/virtio*/net/*; do interface=${entry##*/}; done
    [ -e "/sys/class/net/$interface" ]
}

# The disk of a PCI device. To ask each disk for its serial number would be a request to each.
disk_at() {
    for entry in "$1"/virtio*/block/*; do node=/dev/${entry##*/}; done
    opens
}

# The only unit of a PCI device.
unit_at() {
    for entry in "$1"/virtio*/host*/target*/*/block/*; do node=/dev/${entry##*/}; done
    opens
}

# The unit of the controller that stays: no other has this address.
unit_of_units() {
    for place in /sys/class/scsi_disk/*:0:7:3; do :; done
    for entry in "$place"/device/block/*; do node=/dev/${entry##*/}; done
    opens
}

# A node is there a moment before its disk can be opened.
opens() { [ -b "$node" ] && dd if="$node" of=/dev/null count=0; }

bound() { [ -e "$1"/virtio*/driver ]; }

# Waits for the device in a slot, and sets its place; without a slot there is none.
place_of() {
    place=
    [ "$1" = 0 ] && return
    await test -e "$slots/$1/address" && read -r place < "$slots/$1/address"
    place=/sys/bus/pci/devices/$place.0
}

# lane NAME IDENTIFIER SLOT ROUNDS: the result goes to a file. A slot is turned off after the first
# round by its user, who does not wait until the attention button is believed.
lane() {
    exec 9<> "$(port "org.example.$2-control")"
    round=0
    while [ $round -lt "$4" ]; do
        ask come || break
        place_of "$3"
        answer="cannot be used"
        "use_$1" "$2" "$place" || break
        ask go || break
        if [ "$patient" = no ] && [ "$3" != 0 ] && [ "$method" = native ]; then
            echo 0 > "$slots/$3/power"
        fi
        ask gone || break
        answer="is still there"
        await test ! -e "${place:-/gone}" || break
        [ "$1" != balloon ] || await left_balloon || break
        round=$((round + 1))
        fact round "$2" "$round"
    done
    echo "$round $4 $answer" > "/tmp/lane.$2"
}

# All lanes at the same time, in so many rounds each or as the table says.
all_lanes() {
    rm -f /tmp/lane.*
    pids=
    for words in $lanes; do
        IFS=:
        set -- $words
        unset IFS
        lane "$1" "$2" "$3" "${rounds:-$4}" &
        pids="$pids $!"
    done
    wait $pids
}

report_rows() {
    for row in $(for words in $lanes; do echo "${words%%:*}"; done | uniq); do
        total=0
        trouble=
        for words in $lanes; do
            IFS=:
            set -- $words
            unset IFS
            [ "$1" = "$row" ] || continue
            done=0 wanted=all answer="it was lost"
            [ ! -e "/tmp/lane.$2" ] || read -r done wanted answer < "/tmp/lane.$2"
            total=$((total + done))
            [ "$done" = "$wanted" ] || trouble="$trouble $2 after $done of $wanted rounds: $answer;"
        done
        if [ -z "$trouble" ]; then
            pass "$method-$row" "came, was used and went $total times"
        else
            fail "$method-$row" "$trouble"
        fi
    done
}

# Writes and compares on a disk beside all that, and says how often.
load() {
    node=/dev/$(disk load)
    runs=0
    while [ ! -e /tmp/calm ]; do
        data=/tmp/data$((runs % 2))
        read -r sum < $data.sum
        dd if=$data of="$node" bs=4k oflag=direct 2> /dev/null || break
        [ "$(dd if="$node" bs=64k count=1 iflag=direct 2> /dev/null | sha256sum)" = "$sum" ] || break
        runs=$((runs + 1))
        sleep 1
    done
    [ -e /tmp/calm ] && [ $runs -gt 0 ] && echo "$runs" > /tmp/load
}

report() {
    check=$1
    shift
    if "$check"; then pass "$method-$check" "${*:-$answer}"; else fail "$method-$check" "$answer"; fi
}

counts() { desk count after; }

# A disk leaves in the middle of writes to it: they fail, and the disk comes again.
busy() {
    exec 9<> "$(port org.example.blk0-control)"
    ask come && place_of "$busy_slot" && await disk_at "$place" || return 1
    while dd if=/dev/zero of="$node" bs=4k count=256 oflag=direct 2> /dev/null; do :; done &
    writer=$!
    sleep 1
    ask go && ask gone || return 1
    wait $writer
    answer="the disk is still there"
    [ ! -b "$node" ] || return 1
    ask come || return 1
    answer="cannot be used"
    use_blk blk0 "$place" && ask go && ask gone
}

resize() {
    size=/sys/block/$(disk resize)/size
    grown() { read -r sectors < "$size" && [ "$sectors" = 65536 ]; }
    desk resize || return 1
    answer="it is as large as before"
    await grown
}

# The machine stands still and goes on, while fio verifies what it writes.
pause() {
    fio --name=pause --filename="/dev/$(disk resize)" --rw=randrw --bs=4k --ioengine=libaio \
        --iodepth=8 --direct=1 --size=4m --verify=crc32c --verify_fatal=1 --verify_backlog=16 \
        --time_based --runtime=600 > /tmp/fio.out 2>&1 &
    fio=$!
    writing() { read -r _ _ _ _ writes _ < "/sys/block/$(disk resize)/stat" && [ "$writes" -gt 100 ]; }
    await writing || return 1
    for _ in 1 2 3 4 5; do
        desk pause || return 1
        usleep 300000
    done
    answer="fio ended before they did"
    kill -INT $fio || return 1
    wait $fio
    answer="fio: $(tail -n 3 /tmp/fio.out | tr '\n' ' ')"
    grep -q "err= 0" /tmp/fio.out && ! grep -q "^verify" /tmp/fio.out
}

calm() {
    touch /tmp/calm
    wait $loading
    answer="what was read is not what was written"
    [ -e /tmp/load ]
}

# The second boot finds the device that came during the first one, and lets it go.
come_again() {
    answer="the disk is not there"
    place_of "$busy_slot" && use_blk blk0 "$place" || return 1
    exec 9<> "$(port org.example.blk0-control)"
    ask go && ask gone
}

# The event device that tells of the slots of a conventional bus tells of the button as well.
press() {
    answer="there is no power button"
    await button && exec 4< "/dev/input/$(button)" || return 1
    desk press || return 1
    answer="nobody pressed the power button"
    is_pressed <&4
}

make_data() {
    for data in /tmp/data0 /tmp/data1; do
        dd if=/dev/urandom of=$data bs=64k count=1 2> /dev/null
        sha256sum < $data > $data.sum
    done
}

while read -r module; do
    insmod "/modules/$module.ko" || echo "hotplug: cannot load $module"
done < /modules/order.9p
memory=$(memory_total)
make_data
if [ -e /root/rebooted ]; then
    report come_again "the disk that came before is there, and goes"
    report press "the power button was pressed"
    exit
fi
await port org.example.desk
load &
loading=$!
patient=yes rounds=1
all_lanes
desk count before
patient=no rounds=
all_lanes
report_rows
report counts
report busy "a disk went during writes, and came again"
report resize "32 MiB"
report pause "stopped and went on 5 times while fio verified what it wrote"
report calm "what was written beside all this was read back"
exec 9<> "$(port org.example.blk0-control)"
ask come && place_of "$busy_slot" && await disk_at "$place" || fail "$method-come_again" "$answer"
touch /root/rebooted
sync
mount -o remount,ro /
reboot -f
sleep 60
