# The root file system is ext4 on virtio, and keeps what is written to it.
. /scenarios/lib.sh
type=$(awk '$2 == "/" { print $3 }' /proc/mounts)
device=$(awk '$2 == "/" { print $1 }' /proc/mounts)
dd if=/dev/urandom of=/tmp/original bs=64k count=128 2>/dev/null
cp /tmp/original /root/copy
sync
echo 3 > /proc/sys/vm/drop_caches
if [ "$type" = ext4 ] && cmp /tmp/original /root/copy; then
    pass root "$type on $device, 8 MiB read back equal"
else
    fail root "$type on $device, read back different"
fi
rm /tmp/original
