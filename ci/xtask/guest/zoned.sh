# A host-managed zoned disk: 16 zones of 1 MiB, 768 KiB of each written, the first two conventional.
. /scenarios/lib.sh
name=$(disk zoned) || exit
node=/dev/$name

found=
for value in zoned nr_zones chunk_sectors max_open_zones max_active_zones; do
    found="$found $(cat "/sys/block/$name/queue/$value")"
done
if [ "$found" = " host-managed 16 2048 4 6" ]; then
    pass zoned-limits "host-managed, 16 zones of 2048 sectors, 4 of them open and 6 active at most"
else
    fail zoned-limits "found$found"
fi

sectors=2048
. /scenarios/zones.sh

# One zone through all its conditions. What is not at the write pointer is refused.
dd if=/dev/urandom of=/tmp/data bs=64k count=12 2>/dev/null
walk=$(zone 2)
step act open 2 1
step put 2 0 2
step put 2 4 1
step act close 2 1
step put 2 2 2
step act finish 2 1
step put 2 4 1
step act reset 2 1
step put 2 0 12
if [ "$walk" != "1 3:0 3:256 refused,3:256 4:256 2:512 14 refused,14 1 14" ]; then
    fail zoned-states "$walk"
elif ! dd if="$node" bs=64k skip=32 count=12 iflag=direct 2>/dev/null | cmp - /tmp/data; then
    fail zoned-states "read back different"
else
    pass zoned-states "opened, written, closed, finished, reset: $walk; read back equal"
fi

# Four zones may be open, not five.
if act open 3 4 && ! act open 7 1 2> /tmp/zoned && act reset 3 4; then
    pass zoned-open "four opened; the fifth: $(tail -n 1 /tmp/zoned)"
else
    fail zoned-open "$(blkzone report "$node" | grep -c 'zcond: 3') zones are open"
fi

# Eight zones written through and verified.
fio --name=zoned --filename="$node" --zonemode=zbd --offset=3m --size=8m --rw=write --bs=32k \
    --direct=1 --ioengine=libaio --iodepth=8 --verify=crc32c --verify_fatal=1 \
    --output=/tmp/zoned > /tmp/zoned.errors 2>&1
status=$?
full=$(blkzone report "$node" | grep -c 'zcond:14')
act reset 4 12
if [ $status -eq 0 ] && [ "$full" -eq 9 ]; then
    pass zoned-fio "6 MiB in eight zones verified"
else
    fail zoned-fio "status $status, $full full zones: $(cat /tmp/zoned.errors)"
fi

# btrfs appends its data to zones, and learns from the device where they are.
node=/dev/$(disk zoned-btrfs)
while read -r module; do insmod "/modules/$module.ko"; done < /modules/order.btrfs
sums() { (cd /mnt && sha256sum ./[1-4]); }
mkfs.btrfs -q -f -m single -d single "$node" > /tmp/btrfs 2>&1 &&
    mount -t btrfs "$node" /mnt >> /tmp/btrfs 2>&1 &&
    for file in 1 2 3 4; do dd if=/dev/urandom of=/mnt/$file bs=64k count=16 2>/dev/null; done &&
    rm /mnt/2 && before=$(sums 2>/dev/null) && umount /mnt && mount -t btrfs "$node" /mnt &&
    after=$(sums 2>/dev/null) && umount /mnt
status=$?
if [ $status -ne 0 ]; then
    fail zoned-append "$(tr '\n' ' ' < /tmp/btrfs) $(dmesg | grep -i btrfs | tail -n 3 | tr '\n' ' ')"
elif [ "$before" != "$after" ]; then
    fail zoned-append "$(echo "$before; $after" | tr '\n' ' ')"
else
    pass zoned-append "btrfs made, three files of 1 MiB read back equal"
fi
