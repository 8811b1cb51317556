# Reboots once; the second time the marker is there.
. /scenarios/lib.sh
if [ -e /root/rebooted ]; then
    pass reboot "the guest came back and finds its file"
else
    touch /root/rebooted
    sync
    mount -o remount,ro /
    reboot -f
    sleep 60
fi
