# What is done to a guest from outside while it runs. It says when it is ready for each thing: "step".
. /scenarios/lib.sh

# Its time, ten times a second, as long as it lives.
tick() {
    while read -r uptime _ < /proc/uptime; do
        echo "$uptime"
        usleep 100000
    done
}
if await port org.example.ticks; then
    tick > "$(port org.example.ticks)" &
    ticking=$!
    fact step pause
else
    fail monitor-ticks "no port for ticks"
fi

await test -c /dev/hvc0
is_resized() { [ "$(stty -F /dev/hvc0 size)" = "40 132" ]; }
before=$(stty -F /dev/hvc0 size)
fact step resize
if await is_resized; then
    pass monitor-resize "stty says $(stty -F /dev/hvc0 size), and said $before"
else
    fail monitor-resize "stty says $(stty -F /dev/hvc0 size), and said $before"
fi

# The ticks are not needed any more: what came after them is done.
kill "$ticking"
wait "$ticking"
fact step close

# The field emerg_wr of the configuration space, which is at 0x2000 of the fourth BAR.
for device in /sys/bus/pci/devices/*; do
    [ "$(cat "$device/vendor"):$(cat "$device/class")" = 0x1af4:0x078000 ] || continue
    read -r base _ << END
$(sed -n 5p "$device/resource")
END
    devmem "$(printf %#x $((base + 0x2008)))" 32 0x21
done
fact step emergency

await test -c /dev/hwrng
given=$(dd if=/dev/hwrng bs=16 count=1 2> /dev/null | od -A n -t x1 | tr -d ' \n')
case $given in
*e6d0e6d0*) pass monitor-entropy "the daemon's bytes come: $given" ;;
*) fail monitor-entropy "not the daemon's bytes: $given" ;;
esac

# Disks whose host has no room: of one, that is told; for the other, the machine stops until there is.
told=/dev/$(disk full-told)
waits=/dev/$(disk full-waits)
dd if=/dev/urandom of=/tmp/data bs=64k count=16 2> /dev/null
if dd if=/dev/zero of="$told" bs=64k count=64 oflag=direct 2> /tmp/told; then
    fail monitor-full-told "more was written than the host has room for"
elif grep -qi 'i/o error\|input/output' /tmp/told; then
    pass monitor-full-told "$(head -n 1 /tmp/told)"
else
    fail monitor-full-told "$(cat /tmp/told)"
fi
fact step full
if dd if=/tmp/data of="$waits" bs=64k oflag=direct 2> /tmp/waits &&
    cmp -n 1048576 "$waits" /tmp/data > /tmp/waits 2>&1; then
    pass monitor-full-waits "1 MiB written when there was room, read back equal"
else
    fail monitor-full-waits "$(cat /tmp/waits)"
fi

if await button; then
    exec 4< "/dev/input/$(button)"
    fact step powerdown
    if is_pressed <&4; then
        pass monitor-powerdown "$(button) tells that the button was pressed"
    else
        fail monitor-powerdown "nobody pressed the button"
    fi
else
    fail monitor-powerdown "no power button: $(grep Name /proc/bus/input/devices)"
fi
