#!/bin/sh
# The init of L1: the host's file system read-only under a tmpfs, the share at /run/share,
# one command, its status, power off.
b=/bin/busybox
$b mkdir -p /proc /lower /upper /root
$b mount -t proc proc /proc
while read -r module; do
    $b insmod "/modules/$module.ko" || echo "L1: cannot load $module"
done < /modules/order

options=trans=virtio,version=9p2000.L,msize=512000
$b mount -t 9p -o "ro,cache=loose,$options" root /lower
$b mount -t tmpfs -o size=90% tmpfs /upper
$b mkdir /upper/files /upper/work
$b mount -t overlay -o lowerdir=/lower,upperdir=/upper/files,workdir=/upper/work overlay /root
cd /root || exit 1
$b mount -t proc proc proc
$b mount -t sysfs sysfs sys
$b mount -t debugfs debugfs sys/kernel/debug
$b mount -t devtmpfs devtmpfs dev
$b mkdir -p dev/shm dev/pts
$b mount -t tmpfs tmpfs dev/shm
$b mount -t devpts devpts dev/pts
$b mount -t tmpfs tmpfs run
$b mkdir -p run/share
$b mount -t 9p -o "rw,cache=none,$options" share run/share
$b ip link set lo up
$b truncate -s 16M /upper/direct
$b losetup dev/loop0 /upper/direct
$b ln -s /dev/loop0 run/direct

# What runs, every now and then, for whoever wonders why nothing is said any more.
while $b sleep 20; do
    for process in /proc/[0-9]*; do
        read -r number name state parent rest < "$process/stat" || continue
        [ "$parent" = 2 ] && continue
        read -r place < "$process/wchan"
        echo "$number $name $state $place"
    done > run/share/processes 2> /dev/null
done &

# A pipe, because the serial line is a terminal but nobody sits in front of it.
{
    HOME=/root PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
        $b chroot /root /bin/sh /run/share/command
    echo $? > run/share/status
} 2>&1 | $b cat
$b sync
$b poweroff -f
