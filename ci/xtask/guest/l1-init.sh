#!/bin/sh
# The init of L1's initramfs: the host's file system read-only under a tmpfs becomes the root, with the
# share at /run/share.
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
$b mount -t configfs configfs sys/kernel/config
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

# Not chroot: programs that make themselves a root of their own (pivot_root) need one that is a mount.
$b cp /bin/busybox /run.sh run
exec $b switch_root /root /run/run.sh
