#!/bin/sh
# The guest's initramfs: drivers, then the disk whose serial number is "root".
# Busybox's shell runs its applets without starting a program each time, once there is /proc.
b=/bin/busybox
$b mkdir -p /proc /sys /dev /root
$b mount -t proc proc /proc
$b mount -t sysfs sysfs /sys
$b mount -t devtmpfs devtmpfs /dev
while read -r module; do
    insmod "/modules/$module.ko" || echo "initramfs: cannot load $module"
done < /modules/order

tries=0
while [ $tries -lt 100 ]; do
    for disk in /sys/block/vd*; do
        serial=
        read -r serial 2>/dev/null < "$disk/serial"
        [ "$serial" = root ] || continue
        $b mount -t ext4 "/dev/${disk##*/}" /root && break 2
    done
    tries=$((tries + 1))
    $b usleep 100000
done
for directory in proc sys dev; do
    $b mount -o move "/$directory" "/root/$directory"
done
exec $b switch_root /root /sbin/init
echo "initramfs: no disk with the serial number root"
