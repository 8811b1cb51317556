# The units of one SCSI bus: a disk asked by sg3_utils what it is and can do, and limited; units by the dozen; one
# that comes while the kernel runs, grows and goes; a CD-ROM drive whose disc is taken out and changed.
. /scenarios/lib.sh

await scsi_disk units-disk
disk=/dev/$(scsi_disk units-disk)
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
says 'serial number: units-disk' sg_vpd --page=sn "$disk"
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

# The monitor limits the disk to 20 requests in a second while it is read, and later no more. The guest's
# clock may miss a part of the time.
stat=/sys/block/${disk#/dev/}/stat
dd if="$disk" of=/dev/null bs=512 iflag=direct 2>/dev/null &
reading=$!
limited=no
monitor limit 20 && limited=yes
before="$(cat /proc/uptime "$stat")"
sleep 2
after="$(cat "$stat" /proc/uptime)"
monitor limit 0 || limited=no
kill $reading
wait $reading
echo $before $after | awk -v limited=$limited -v answer="$answer" '{
    reads = $(NF / 2 + 1) - $3; time = $(NF - 1) - $1
    good = limited == "yes" && reads > 0 && reads <= 27 * time + 14
    print "@@", good ? "pass" : "fail", "scsi-limit", reads, "reads in", time, "s; the monitor says:", answer
}'

units=$(parameter scsi_units)
found=$(grep -l many- /sys/block/sd*/device/vpd_pg80 | wc -l)
if [ "$found" = "$units" ]; then
    pass scsi-many "$found units of one target"
else
    fail scsi-many "$found of $units units"
fi

# It comes, grows and goes by itself, as far as the guest is concerned: nobody here has a bus scanned.
late_comes() {
    monitor come "$1" "$2" && await scsi_disk late || return 1
    late=$(scsi_disk late)
    # A node is there a moment before its disk can be opened.
    await dd if="/dev/$late" of=/dev/null count=1 || return 1
    dd if=/bin/busybox of="/dev/$late" bs=64k count=4 conv=fsync 2>/dev/null &&
        dd if="/dev/$late" bs=64k count=4 iflag=direct 2>/dev/null | cmp -s -n 262144 - /bin/busybox
}
late_is_gone() { ! scsi_disk late; }
late_goes() { monitor go && await late_is_gone; }
size_is() { [ "$(cat "/sys/block/$1/size")" = "$2" ]; }

# A target of its own.
if late_comes 3 0; then
    before=$(cat "/sys/block/$late/size")
    if monitor grow && await size_is "$late" 131072 &&
        dd if=/bin/busybox of="/dev/$late" bs=64k seek=1020 count=4 conv=fsync 2>/dev/null; then
        pass scsi-grow "$before sectors became $(cat "/sys/block/$late/size"), and are written"
    else
        fail scsi-grow "$before sectors are $(cat "/sys/block/$late/size"); the monitor says: $answer"
    fi
else
    fail scsi-grow "the disk did not come; the monitor says: $answer"
fi
# And a place beside a unit that stays.
if late_goes && late_comes 0 5 && late_goes; then
    pass scsi-late "a disk came, was written and went, as a target and beside a unit"
else
    fail scsi-late "it is $(scsi_disk late || echo nowhere); the monitor says: $answer"
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

# Whoever has the disc open has the tray locked: who wants to take it out has to ask, which the kernel
# tells in an event.
cat > /tmp/hear.sh << 'END'
[ -z "$DISK_EJECT_REQUEST" ] || touch /tmp/asked
END
uevent sh /tmp/hear.sh &
hearing=$!
echo 200 > /sys/block/sr0/events_poll_msecs
exec 7< $cd
monitor ask || wrong="$wrong $answer;"
await test -e /tmp/asked || wrong="$wrong not asked to eject;"
disc_is_read || wrong="$wrong not read any more;"
exec 7<&-
echo 0 > /sys/block/sr0/events_poll_msecs
kill $hearing
verdict scsi-ask "a locked tray stays closed, and the kernel tells who asked"

other_is_read() { [ "$(dd if=$cd bs=12 count=1 2>/dev/null)" = "another disc" ]; }
monitor eject || wrong="$wrong $answer;"
await disc_is_gone || wrong="$wrong read though taken out;"
monitor change || wrong="$wrong $answer;"
await other_is_read || wrong="$wrong the other disc is not read;"
size_is sr0 4096 || wrong="$wrong $(cat /sys/block/sr0/size) sectors;"
verdict scsi-change "a disc was taken out, and another one of another size put in"
