#!/bin/sh
# The guest's initramfs: drivers, then the disk whose serial number is "root".
# Busybox's shell runs its applets without starting a program each time, once there is /proc. Those
# that it starts are few: each asks the processor forty times what it is, and every answer is an exit.
b=/bin/busybox
$b mount -a
while read -r module; do
    insmod "/modules/$module.ko" || echo "initramfs: cannot load $module"
done < /modules/order

# enter SOURCE TYPE OPTIONS: mounts the root file system and moves below it what is mounted already, by one
# program, and goes there. Comes back if that fails.
enter() {
    echo "$1 /root $2 $3 0 0" > /etc/fstab.root
    for name in proc sys dev; do
        echo "/$name /root/$name none move 0 0"
    done >> /etc/fstab.root
    $b mount -a -T /etc/fstab.root && exec $b switch_root /root /sbin/init
}

# A root file system over 9P is named by its tag: root9p=TAG.
read -r line < /proc/cmdline
case " $line " in
*" root9p="*)
    tag=${line##*root9p=}
    while read -r module; do
        insmod "/modules/$module.ko" 2>/dev/null
    done < /modules/order.9p
    enter "${tag%% *}" 9p trans=virtio,version=9p2000.L,msize=512000,cache=loose
    ;;
esac

tries=0
while [ $tries -lt 100 ]; do
    for disk in /sys/block/vd*; do
        serial=
        read -r serial 2>/dev/null < "$disk/serial"
        [ "$serial" = root ] || continue
        enter "/dev/${disk##*/}" ext4 defaults
    done
    tries=$((tries + 1))
    $b usleep 100000
done
echo "initramfs: no disk with the serial number root"
