# What the block device offers besides reading and writing, by the guest's own tools.
. /scenarios/lib.sh

# The topology that the device was told to have.
name=$(disk blk-shape)
queue=/sys/block/$name/queue
found=
for value in logical_block_size physical_block_size minimum_io_size optimal_io_size \
    discard_granularity max_discard_segments; do
    read -r number < "$queue/$value"
    found="$found $number"
done
if [ "$found" = " 4096 16384 32768 65536 8192 4" ]; then
    pass blk-topology "blocks of 4096, 16384, 32768, 65536, discards of 8192 in 4 ranges"
else
    fail blk-topology "found$found"
fi

# The write-back cache, off and on again, with writes under both. The device has the last word.
cache=$queue/write_cache
switched=$(cat "$cache")
for mode in "write through" "write back"; do
    echo "$mode" > "$cache"
    dd if=/dev/zero of="/dev/$name" bs=4096 count=1 oflag=direct 2>/dev/null || mode="no writes"
    switched="$switched, $(cat "$cache")"
done
if [ "$switched" = "write back, write through, write back" ] && [ "$mode" != "no writes" ]; then
    pass blk-cache "$switched"
else
    fail blk-cache "$switched, $mode"
fi

# Pieces of random data, of which some are discarded and some zeroed; what is beside them stays.
# Busybox's shell prefers its own applets by these names, which do less.
name=$(disk blk-discard)
node=/dev/$name
piece() { dd if="$node" bs=64k skip="$1" count=1 iflag=direct 2>/dev/null | sha256sum; }
dd if=/dev/urandom of="$node" bs=64k count=8 oflag=direct 2>/dev/null
zeroes=$(dd if=/dev/zero bs=64k count=1 2>/dev/null | sha256sum)
kept="$(piece 0) $(piece 2) $(piece 4) $(piece 6)"
/bin/blkdiscard -o 64k -l 64k "$node" && /bin/blkdiscard -z -o 192k -l 64k "$node" &&
    /bin/fallocate -n -p -o 320k -l 64k "$node"
status=$?
if [ $status -ne 0 ]; then
    fail blk-discard "blkdiscard or fallocate: status $status"
elif [ "$kept" != "$(piece 0) $(piece 2) $(piece 4) $(piece 6)" ]; then
    fail blk-discard "data beside what was discarded has changed"
elif [ "$(piece 1) $(piece 3) $(piece 5)" != "$zeroes $zeroes $zeroes" ]; then
    fail blk-discard "what was discarded does not read as zeroes"
else
    pass blk-discard "discarded, zeroed and punched; the rest is as it was"
fi

# Three disks on two buses share 60 reads and 40 writes in a second, as the kernel counts them. There
# may be fewer; for more, the guest's clock would have to miss a part of the time.
first=$(disk blk-slow-1)
second=$(disk blk-slow-2)
completed() {
    cat "/sys/block/$first/stat" "/sys/block/$second/stat" "/sys/block/$third/stat" |
        awk '{ reads += $1; writes += $5 } END { print reads, writes }'
}
if await scsi_disk blk-slow-3; then
    third=$(scsi_disk blk-slow-3)
    read -r start _ < /proc/uptime
    before=$(completed)
    pids=
    for name in $first $second $third $first $second $third; do
        dd if="/dev/$name" of=/dev/null bs=4096 iflag=direct 2>/dev/null &
        pids="$pids $!"
        dd if=/dev/zero of="/dev/$name" bs=4096 oflag=direct 2>/dev/null &
        pids="$pids $!"
    done
    sleep 2
    after=$(completed)
    read -r end _ < /proc/uptime
    kill $pids
    wait $pids
    echo "$before $after $start $end" | awk '{
        time = $6 - $5; reads = $3 - $1; writes = $4 - $2
        good = reads > 0 && writes > 0 && reads <= 80 * time + 16 && writes <= 54 * time + 14
        print "@@", good ? "pass" : "fail", "blk-throttle", reads, "reads,", writes, "writes in", time, "s"
    }'
else
    fail blk-throttle "the disk on SCSI does not come"
fi

# Half of the image goes away underneath: the guest is told, and the other half works.
node=/dev/$(disk blk-short)
block() { dd if="$node" of=/dev/null bs=4096 count=1 skip="$1" iflag=direct 2>&1; }
gone() { block 200 | grep -i "i/o error\|input/output error"; }
if ! await gone; then
    fail blk-short "no error past the end of the image"
elif ! block 0 > /tmp/short; then
    fail blk-short "an error before it: $(tr '\n' ' ' < /tmp/short)"
else
    pass blk-short "an I/O error past the end of the image, and none before it"
fi

# A file system on a qcow2 image; outside it is looked at once more, by others' tools.
node=/dev/$(disk blk-image)
sums() { (cd /mnt && sha256sum ./[1-4]); }
mke2fs -q "$node" > /tmp/qcow2 2>&1 && mount -t ext4 "$node" /mnt &&
    for file in 1 2 3 4; do dd if=/dev/urandom of=/mnt/$file bs=64k count=24 2>/dev/null; done &&
    rm /mnt/2 && before=$(sums 2>/dev/null) && umount /mnt && mount -t ext4 -o discard "$node" /mnt &&
    rm /mnt/3 && sync && after=$(sums 2>/dev/null) && umount /mnt
if [ $? -ne 0 ]; then
    fail blk-qcow2 "$(tr '\n' ' ' < /tmp/qcow2)"
elif [ "$(echo "$before" | grep -v "/3$")" != "$after" ]; then
    fail blk-qcow2 "files have changed: $before; $after"
else
    pass blk-qcow2 "files written, discarded, and read again"
fi
