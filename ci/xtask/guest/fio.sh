# One disk per ring layout and transport: is it what it should be, and does fio find no error in four
# pieces of fio_size, or as much of them as 20 seconds are enough for? What is written is verified as
# it goes.
. /scenarios/lib.sh
bus=$(parameter bus)

# Feature bits: 28 indirect, 29 event_idx, 32 version 1, 34 packed.
expected() {
    case $1 in
    fio-split | fio-revision1 | fio-classic) echo 1 1 1 0 "$bus" ;;
    fio-packed) echo 1 1 1 1 "$bus" ;;
    fio-direct) echo 0 1 1 0 "$bus" ;;
    fio-noevent) echo 1 0 1 0 "$bus" ;;
    fio-legacy) echo 1 1 0 0 "$bus" ;;
    fio-mmio) echo 1 1 1 0 mmio ;;
    esac
}

found() {
    virtio=$(virtio_of "$1")
    case $(readlink -f "/sys/bus/virtio/devices/$virtio/..") in
    *LNRO0005*) transport=mmio ;;
    */css0/*) transport=ccw ;;
    *) transport=pci ;;
    esac
    echo "$(feature "$virtio" 28) $(feature "$virtio" 29) $(feature "$virtio" 32) $(feature "$virtio" 34) $transport"
}

size=$(parameter fio_size)
cat > /tmp/fio.job <<JOB
[global]
rw=randrw
bs=4k
ioengine=libaio
iodepth=16
direct=1
size=$size
numjobs=4
offset_increment=$size
runtime=20
cpus_allowed=0-$(($(nproc) - 1))
cpus_allowed_policy=split
verify=crc32c
verify_fatal=1
verify_backlog=64
group_reporting=1
JOB
disks=
for entry in /sys/block/vd*; do
    serial=$(cat "$entry/serial")
    case $serial in fio-*) ;; *) continue ;; esac
    disks="$disks $serial"
    printf '[%s]\nstonewall\nfilename=/dev/%s\n' "$serial" "${entry##*/}" >> /tmp/fio.job
done
[ -n "$disks" ] || exit

# A driver takes at most one queue per processor.
wanted=$(nproc)
[ "$wanted" -le 4 ] || wanted=4

# One run for all disks, because the program itself takes seconds to load. One line per disk.
fio --minimal --terse-version=3 /tmp/fio.job > /tmp/fio.out 2>&1
for serial in $disks; do
    name=$(disk "$serial")
    queues=$(ls "/sys/block/$name/mq" | wc -l)
    line=$(grep "^3;[^;]*;$serial;" /tmp/fio.out)
    error=$(echo "$line" | cut -d ';' -f 5)
    written=$(echo "$line" | cut -d ';' -f 47)
    if [ "$(found "$name")" != "$(expected "$serial")" ]; then
        fail "$serial" "indirect, event_idx, version 1, packed, bus: $(found "$name"), not $(expected "$serial")"
    elif [ "$error" != 0 ]; then
        fail "$serial" "error $error: $(grep -v '^3;' /tmp/fio.out | head -n 3 | tr '\n' ' ')"
    elif [ "$queues" != "$wanted" ]; then
        fail "$serial" "$queues queues, not $wanted"
    elif [ "$written" -lt 2048 ]; then
        fail "$serial" "only $written KiB written"
    else
        pass "$serial" "$queues queues, $written KiB written and verified, no error"
    fi
done
