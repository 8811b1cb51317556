# The machine changes while it runs: a disk grows and memory shrinks, which interrupts tell, and
# devices come and go, which channel report words tell. Nothing is under way in those that go: Linux waits for ever for
# requests to a disk that has gone, whoever made the disk.
. /scenarios/lib.sh
name=$(disk resize)
before=$(cat "/sys/block/$name/size")
size() { [ "$(cat "/sys/block/$name/size")" = "$1" ]; }
monitor block_resize resize 33554432 || fail resize "the monitor says: $answer"
if [ "$before" = 32768 ] && await size 65536 && dmesg | grep -q "$name\] new size: 65536" &&
    dd if=/bin/busybox of="/dev/$name" bs=64k seek=500 count=4 conv=fsync 2>/dev/null &&
    dd if="/dev/$name" bs=64k skip=500 count=4 2>/dev/null | cmp -s -n 262144 - /bin/busybox; then
    pass resize "$(dmesg | sed -n "s/.*$name\] //p" | tail -n 1)"
else
    fail resize "from $before to $(cat "/sys/block/$name/size") sectors"
fi

total() { sed -n 's/^MemTotal: *\([0-9]*\) kB/\1/p' /proc/meminfo; }
whole=$(total)
smaller() { [ "$(total)" -le $((whole - 131072)) ]; }
as_before() { [ "$(total)" -eq "$whole" ]; }
if monitor balloon 384 && await smaller && left=$(total) && monitor balloon 512 && await as_before; then
    pass balloon "$whole KiB were $left for a while"
else
    fail balloon "$whole KiB became $(total); the monitor says: $answer"
fi

place=/sys/bus/ccw/devices/0.0.0abc
bound() { [ -e $place/virtio*/driver ]; }
unbound() { [ ! -e $place ]; }

round=0
while [ $round -lt 10 ]; do
    monitor device_add virtio-rng-ccw,id=plugged,devno=fe.0.0abc && await bound || break
    monitor device_del plugged && await unbound || break
    round=$((round + 1))
done
if [ $round -eq 10 ]; then
    pass plug "an rng came and went $round times"
else
    fail plug "round $((round + 1)) failed; the monitor says: $answer"
fi

if monitor device_add virtio-blk-ccw,id=plugged,devno=fe.0.0abc,drive=plug,serial=plug && await disk plug; then
    node=/dev/$(disk plug)
    dd if=/bin/busybox of="$node" bs=64k count=8 conv=fsync 2>/dev/null
    dd if="$node" bs=64k count=8 iflag=direct 2>/dev/null | cmp -s -n 524288 - /bin/busybox || fail plug-disk "read back different"
    if monitor device_del plugged && await unbound && ! disk plug; then
        pass plug-disk "a disk came, kept what was written, and went"
    else
        fail plug-disk "it does not go; the monitor says: $answer"
    fi
else
    fail plug-disk "it does not come; the monitor says: $answer"
fi
