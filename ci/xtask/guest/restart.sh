# Reboots once; the second time the disks have what was written before, and every device works.
. /scenarios/lib.sh
await test -c /dev/hwrng
classic=/dev/$(disk classic)
adapter=/dev/$(disk adapter)
if dd if="$classic" bs=64k count=8 iflag=direct 2>/dev/null | cmp -s -n 524288 - /bin/busybox; then
    dd if="$adapter" bs=64k count=8 2>/dev/null | cmp -s -n 524288 - /bin/busybox &&
        [ "$(head -c 64 /dev/hwrng | wc -c)" = 64 ] && await port org.example.restart &&
        echo hello > "$(port org.example.restart)" &&
        pass restart "the guest came back, its disks have their data, and every device works" ||
        fail restart "a device does not work after the reboot"
else
    dd if=/bin/busybox of="$classic" bs=64k count=8 conv=fsync 2>/dev/null
    dd if=/bin/busybox of="$adapter" bs=64k count=8 conv=fsync 2>/dev/null
    reboot -f
    sleep 60
fi
