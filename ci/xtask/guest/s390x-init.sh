#!/bin/busybox sh
# The first program of an s390x guest, whose initramfs is all of its file system.
b=/bin/busybox
$b mount -t proc proc /proc
$b mount -t sysfs sysfs /sys
$b mount -t devtmpfs devtmpfs /dev
$b --install -s /bin
exec /sbin/init
