# SCSI disks on every kind of bus and ring, found by their serial numbers, written and verified by fio.
. /scenarios/lib.sh

# What a disk's bus has negotiated: version 1, packed; how it is attached.
bus_of() {
    path=$(readlink -f "/sys/block/$1/device")
    case $path in
    *LNRO0005*) transport=mmio ;;
    */css0/*) transport=ccw ;;
    *) transport=pci ;;
    esac
    path=${path%%/host*}
    echo "$(feature "${path##*/}" 32) $(feature "${path##*/}" 34) $transport"
}

expected() {
    case $1 in
    scsi-split) echo 1 0 "$bus" ;;
    scsi-packed) echo 1 1 "$bus" ;;
    scsi-legacy) echo 0 0 "$bus" ;;
    scsi-mmio) echo 1 0 mmio ;;
    esac
}

bus=$(parameter bus)
disks=$(parameter scsi_disks | tr , ' ')
cat > /tmp/scsi.job <<JOB
[global]
rw=randrw
bs=4k
ioengine=libaio
iodepth=16
direct=1
size=$(parameter scsi_size)
runtime=10
verify=crc32c
verify_fatal=1
verify_backlog=64
JOB
for serial in $disks; do
    await scsi_disk "$serial"
    printf '[%s]\nstonewall\nfilename=/dev/%s\n' "$serial" "$(scsi_disk "$serial")" >> /tmp/scsi.job
done
# One run for all disks, because the program itself takes seconds to load. One line per disk.
fio --minimal --terse-version=3 /tmp/scsi.job > /tmp/scsi.out 2>&1
for serial in $disks; do
    name=$(scsi_disk "$serial")
    line=$(grep "^3;[^;]*;$serial;" /tmp/scsi.out)
    error=$(echo "$line" | cut -d ';' -f 5)
    written=$(echo "$line" | cut -d ';' -f 47)
    if [ "$error" != 0 ]; then
        fail "$serial" "error $error: $(grep -v '^3;' /tmp/scsi.out | head -n 3 | tr '\n' ' ')"
    elif [ "$(bus_of "$name")" != "$(expected "$serial")" ]; then
        fail "$serial" "version 1, packed, bus: $(bus_of "$name"), not $(expected "$serial")"
    elif [ "$written" -lt 512 ]; then
        fail "$serial" "only $written KiB written"
    else
        pass "$serial" "$name, $(ls "/sys/block/$name/mq" | wc -l) queues, $written KiB written and verified, no error"
    fi
done
