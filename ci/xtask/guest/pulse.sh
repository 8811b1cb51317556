# pulse.sh SECONDS: has each processor give a sign of life every so often, for a host that wonders
# whether one of them has stopped. It waits in the shell itself: programs take long to start here.
seconds=$1 processor=0
mkfifo /run/never
for directory in /sys/devices/system/cpu/cpu[0-9]*; do
    while ! read -r -t "$seconds" _; do
        echo "@@ alive $processor"
    done <> /run/never &
    taskset -p $((1 << processor)) $! > /dev/null
    processor=$((processor + 1))
done
