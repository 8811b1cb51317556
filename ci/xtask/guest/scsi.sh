# SCSI disks on every kind of bus and ring, found by their serial numbers, written and verified by fio;
# one of them asked by sg3_utils what it is and can do; a CD-ROM drive, read and ejected; units by the
# dozen.
. /scenarios/lib.sh

# The name (sda) of the SCSI disk with a serial number.
scsi_disk() {
    for entry in /sys/block/sd*; do
        grep -q "$1" "$entry/device/vpd_pg80" 2>/dev/null && echo "${entry##*/}" && return 0
    done
    return 1
}

# What a disk's bus has negotiated: version 1, packed; how it is attached.
bus_of() {
    path=$(readlink -f "/sys/block/$1/device")
    case $path in
    *LNRO0005*) transport=mmio ;;
    *) transport=pci ;;
    esac
    path=${path%%/host*}
    echo "$(feature "${path##*/}" 32) $(feature "${path##*/}" 34) $transport"
}

expected() {
    case $1 in
    scsi-split) echo 1 0 pci ;;
    scsi-packed) echo 1 1 pci ;;
    scsi-legacy) echo 0 0 pci ;;
    scsi-mmio) echo 1 0 mmio ;;
    esac
}

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

disk=/dev/$(scsi_disk scsi-split)
# By its path, as busybox has a smaller one of the same name.
if /bin/mke2fs -q -t ext4 "$disk" && mount -t ext4 "$disk" /mnt && cp /bin/busybox /mnt/ && umount /mnt &&
    mount -t ext4 "$disk" /mnt && cmp -s /bin/busybox /mnt/busybox && umount /mnt; then
    pass scsi-ext4 "a file system was made, and kept a file"
else
    umount /mnt 2>/dev/null
    fail scsi-ext4 "$(dmesg | tail -n 2 | tr '\n' ' ')"
fi

# says TEXT COMMAND...: the command succeeds and says TEXT.
says() {
    text=$1
    shift
    said=$("$@" 2>&1) && echo "$said" | grep -q "$text" && return 0
    wrong="$wrong $*: $(echo "$said" | head -n 4 | tr '\n' ' ')"
}

# verdict CHECK TEXT: passes it if nothing was wrong.
verdict() {
    if [ -z "$wrong" ]; then
        pass "$1" "$2"
    else
        fail "$1" "$wrong"
    fi
    wrong=
}

wrong=
says 'QEMU HARDDISK' sg_inq "$disk"
says 'serial number: scsi-split' sg_vpd --page=sn "$disk"
says 'Maximum unmap LBA count' sg_vpd --page=bl "$disk"
says '(LBPU): 1' sg_vpd --page=lbpv "$disk"
says 'Last LBA=131071 ' sg_readcap --16 "$disk"
says 'Caching' sg_modes "$disk"
says 'Lun list length' sg_luns "$disk"
says '' sg_turs "$disk"
says '' sg_unmap --force --lba=0 --num=64 "$disk"
says '' sg_verify --lba=0 --count=64 "$disk"
says '' sg_reset --device "$disk"
verdict scsi-tools "inquiry, pages, capacity, modes, units, unmap, verify, reset"

if [ "$(parameter scsi_more)" = 1 ]; then
    key=abc123
    # It takes the unit attention of the reset.
    sg_turs "$disk" > /dev/null 2>&1
    says 'Compare and write' sg_opcodes "$disk"
    says '' sg_persist --out --register --param-sark=$key "$disk"
    says '' sg_persist --out --reserve --param-rk=$key --prout-type=5 "$disk"
    says 'Write Exclusive, registrants only' sg_persist --in --read-reservation "$disk"
    says '' sg_persist --out --clear --param-rk=$key "$disk"
    verdict scsi-more "list of commands, reservations"
fi

cd=/dev/sr0
await [ -b $cd ]
# The first sectors of the disc are those of a file that we have, too.
disc_is_read() { dd if=$cd bs=2k count=16 2>/dev/null | cmp -s -n 32768 - /bin/busybox; }
disc_is_gone() { ! dd if=$cd bs=2k count=1 of=/dev/null 2>/dev/null; }
# Nobody but us closes the tray.
echo 0 > /proc/sys/dev/cdrom/autoclose
says 'QEMU CD-ROM' sg_inq $cd
disc_is_read || wrong="$wrong not read;"
sg_start --readonly --eject $cd || wrong="$wrong not ejected;"
await disc_is_gone || wrong="$wrong read though ejected;"
sg_start --readonly --load $cd || wrong="$wrong not loaded;"
await disc_is_read || wrong="$wrong not read after being loaded;"
verdict scsi-cd "read, ejected, not ready, loaded, read"

units=$(parameter scsi_units)
found=$(grep -l many- /sys/block/sd*/device/vpd_pg80 | wc -l)
if [ "$found" = "$units" ]; then
    pass scsi-many "$found units of one target"
else
    fail scsi-many "$found of $units units"
fi
