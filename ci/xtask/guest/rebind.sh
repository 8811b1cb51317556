# The driver goes and comes back fifty times; the disk's contents stay.
. /scenarios/lib.sh
name=$(disk rebind)
device=$(virtio_of "$name")
driver=/sys/bus/virtio/drivers/virtio_blk
dd if=/dev/urandom of="/dev/$name" bs=64k count=1 conv=fsync 2>/dev/null
before=$(dd if="/dev/$name" bs=64k count=1 2>/dev/null | sha256sum)
round=0
while [ $round -lt 50 ]; do
    echo "$device" > $driver/unbind && echo "$device" > $driver/bind || break
    name=$(disk rebind) || break
    after=$(dd if="/dev/$name" bs=64k count=1 2>/dev/null | sha256sum)
    [ "$before" = "$after" ] || break
    round=$((round + 1))
done
if [ $round -eq 50 ]; then
    pass rebind "$device unbound and bound $round times, data equal"
else
    fail rebind "$device: round $((round + 1)) failed"
fi
