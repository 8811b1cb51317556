#!/bin/sh
# The guest's init: says that user space runs, runs the scenarios named by run=, powers off.
export PATH=/bin:/sbin HOME=/root
read -r uptime _ < /proc/uptime
echo "@@ ready $uptime"
mount -t tmpfs tmpfs /tmp
mount -t tmpfs tmpfs /run
mount -t debugfs debugfs /sys/kernel/debug 2>/dev/null
while read -r module; do
    insmod "/modules/$module.ko" || echo "init: cannot load $module"
done < /modules/order

. /scenarios/lib.sh
pulse=$(parameter pulse)
[ -z "$pulse" ] || sh /scenarios/pulse.sh "$pulse"
for scenario in $(parameter run | tr , ' '); do
    sh "/scenarios/$scenario.sh"
done
sync
mount -o remount,ro /
echo "@@ done"
poweroff -f
