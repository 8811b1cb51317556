# What sysfs shows of every device on channel I/O, a fact each.
. /scenarios/lib.sh
await test -c /dev/hwrng
read_all() {
    for name in "$@"; do
        printf ' %s=%s' "$name" "$(cat "$entry/$name" 2>/dev/null | tr -s '\n ' '__')"
    done
}
for entry in /sys/bus/ccw/devices/*; do
    virtio=$(echo "$entry"/virtio*)
    shown=$(read_all cutype devtype modalias online availability)
    subchannel=$(readlink -f "$entry/..")
    shown="$shown subchannel=${subchannel##*/}"
    entry=$subchannel
    shown="$shown$(read_all type pimpampom)"
    driver=$(readlink "$virtio/driver")
    entry=$virtio
    shown="$shown driver=${driver##*/}$(read_all device vendor status features)"
    for block in "$virtio"/block/*; do
        [ -e "$block" ] || continue
        entry=$block
        shown="$shown queues=$(ls "$block/mq" | wc -l)$(read_all size ro serial cache_type queue/logical_block_size queue/physical_block_size queue/max_segments queue/discard_max_bytes queue/write_zeroes_max_bytes queue/write_cache)"
    done
    for port in "$virtio"/virtio-ports/*; do
        [ -e "$port" ] || continue
        # A port's number follows the device's, which depends on who was probed first.
        shown="$shown port=${port##*p}:$(cat "$port/name" 2>/dev/null)"
    done
    bus=${virtio%/*}
    fact "${bus##*/}" "$shown"
done
