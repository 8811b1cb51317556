# Reboots once; the second time the marker is there, and all disks work as they did.
. /scenarios/lib.sh
for serial in $(parameter reboot_disks | tr , ' '); do
    name=$(disk "$serial") || { fail "reboot-$serial" "there is no such disk"; continue; }
    dd if=/bin/busybox of="/dev/$name" bs=64k count=8 conv=fsync 2>/dev/null
    dd if="/dev/$name" bs=64k count=8 2>/dev/null | cmp -n 524288 - /bin/busybox || fail "reboot-$serial" "read back different"
done
if [ "$(cat /root/rebooted 2> /dev/null)" = "$(kernel)" ]; then
    fail reboot-kaslr "the kernel came back to where it was: $(kernel)"
elif [ -e /root/rebooted ]; then
    pass reboot "the guest came back and finds its file, the kernel at $(kernel)"
else
    kernel > /root/rebooted
    sync
    mount -o remount,ro /
    reboot -f
    sleep 60
fi
