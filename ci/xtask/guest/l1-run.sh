#!/run/busybox sh
# The first program on L1's root: the command of this place, its status, power off.
b=/run/busybox

# A sign of life of each processor.
for processor in $($b seq 0 $(($($b nproc) - 1))); do
    while $b sleep 10; do echo "@@ alive $processor"; done &
    $b taskset -p $((1 << processor)) $! > /dev/null
done

# What runs, every now and then, for whoever wonders why nothing is said any more.
while $b sleep 20; do
    for process in /proc/[0-9]*; do
        read -r number name state parent rest < "$process/stat" || continue
        [ "$parent" = 2 ] && continue
        read -r wait < "$process/wchan"
        echo "$number $name $state $wait"
    done > "/run/share/processes.$place" 2> /dev/null
done &

# A pipe, because the serial line is a terminal but nobody sits in front of it.
{
    HOME=/root PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
        /bin/sh "/run/share/command.$place"
    echo $? > "/run/share/status.$place"
} 2>&1 | $b cat
# Given up: a processor has stopped, and an orderly end might wait for it.
read -r status < "/run/share/status.$place"
[ "$status" != 75 ] || echo b > /proc/sysrq-trigger
$b sync
$b poweroff -f
