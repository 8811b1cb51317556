# What the scenarios share. Reports go to the early console, so they work before any virtio does.

pass() { check=$1; shift; echo "@@ pass $check $*"; }
fail() { check=$1; shift; echo "@@ fail $check $*"; }
fact() { name=$1; shift; echo "@@ fact $name $*"; }

# The value of a word NAME=VALUE on the kernel's command line.
parameter() { tr ' ' '\n' < /proc/cmdline | sed -n "s/^$1=//p"; }

# Where the kernel is: its text's virtual address, and the physical one. And where it is linked for.
kernel() {
    text=$(grep -m 1 ' T _text$' /proc/kallsyms)
    code=$(grep -m 1 ' : Kernel code' /proc/iomem)
    echo "${text%% *} ${code%%-*}" | tr -s ' '
}
LINKED="ffffffff81000000 01000000"

# The name (vda) of the disk with a serial number.
disk() {
    for entry in /sys/block/vd*; do
        entry_serial=
        read -r entry_serial 2> /dev/null < "$entry/serial"
        [ "$entry_serial" = "$1" ] && echo "${entry##*/}" && return 0
    done
    return 1
}

# The name (sda) of the SCSI disk with a serial number.
scsi_disk() {
    for entry in /sys/block/sd*; do
        grep -q "$1" "$entry/device/vpd_pg80" 2>/dev/null && echo "${entry##*/}" && return 0
    done
    return 1
}

# The device node of the virtio-serial port with a name.
port() {
    for entry in /sys/class/virtio-ports/*; do
        entry_name=
        read -r entry_name 2> /dev/null < "$entry/name"
        [ "$entry_name" = "$1" ] && echo "/dev/${entry##*/}" && return 0
    done
    return 1
}

# The virtio device (virtio3) behind a disk.
virtio_of() { basename "$(readlink -f "/sys/block/$1/device")"; }

# Whether feature bit $2 was negotiated with virtio device $1: prints 0 or 1.
feature() { cut -c "$(($2 + 1))" "/sys/bus/virtio/devices/$1/features"; }

# The network interface with an Ethernet address.
interface() {
    for entry in /sys/class/net/*; do
        [ "$(cat "$entry/address")" = "$1" ] && echo "${entry##*/}" && return 0
    done
    return 1
}

# negotiated INTERFACE BIT...: whether all of these feature bits were negotiated for an interface.
negotiated() {
    device=$(basename "$(readlink -f "/sys/class/net/$1/device")")
    shift
    for bit in "$@"; do
        [ "$(feature "$device" "$bit")" = 1 ] || return 1
    done
}

# Which kind of ring an interface has.
ring() { negotiated "$1" 34 && echo packed || echo split; }

# The input device that ACPI's power button is (event0).
button() {
    event=$(sed -n '/Name="Power Button"/,/^$/s/.*Handlers=.*\(event[0-9]*\).*/\1/p' \
        /proc/bus/input/devices | head -n 1)
    [ -c "/dev/input/$event" ] && echo "$event"
}

# Waits for the first event of a button that was opened before, which is its press.
is_pressed() { timeout 60 head -c 24 > /dev/null; }

# Has the VMM's monitor do something, by way of a port.
monitor() {
    await port org.example.monitor || return 1
    node=$(port org.example.monitor)
    exec 9<> "$node"
    echo "$*" >&9
    read -r -t 60 answer <&9
    exec 9>&-
    [ "$answer" = ok ]
}

# record NODE NAME NUMBER DD-OPTION...: writes a record into a sector of its own, from 2 MiB on.
record() {
    node=$1 name=$2 number=$3
    shift 3
    echo "$name $number" | dd of="$node" bs=512 seek=$((4096 + number)) "$@" 2>/dev/null
}

# Waits up to ten seconds for a command to succeed.
await() {
    for _ in $(seq 100); do
        "$@" > /dev/null 2>&1 && return 0
        usleep 100000
    done
    return 1
}
