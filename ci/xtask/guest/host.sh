# Devices of the host, and how they go; see the scenario.
. /scenarios/lib.sh
[ "$(parameter host_disks)" = 1 ] || exit
dd if=/dev/urandom of=/tmp/data bs=64k count=16 2> /dev/null

# A device with zones of its own: 40 of 32 MiB, 24 MiB of each written, the first two conventional.
name=$(disk host-zoned)
node=/dev/$name
found=
for value in zoned nr_zones chunk_sectors max_open_zones max_active_zones logical_block_size; do
    found="$found $(cat "/sys/block/$name/queue/$value")"
done
sectors=65536
. /scenarios/zones.sh
walk="$(zone 0) $(zone 2)"
step put 2 0 2
step put 2 4 1
step act close 2 1
step act open 2 1
step put 2 2 14
step act finish 2 1
step put 2 4 1
kept=$(dd if="$node" bs=64k skip=1024 count=16 iflag=direct 2> /dev/null | cmp - /tmp/data && echo kept)
step act reset 2 1
if [ "$found" != " host-managed 40 65536 8 12 4096" ]; then
    fail host-zoned "$found"
elif [ "$walk" != "0 1 2:256 refused,2:256 4:256 3:256 3:2048 14 refused,14 1" ] || [ "$kept" != kept ]; then
    fail host-zoned "$walk, $kept"
elif act open 3 9 2> /tmp/open; then
    fail host-zoned "nine zones are open, $(zone 3) $(zone 11)"
else
    act reset 2 38
    pass host-zoned "$walk; read back equal; nine open ones are too many"
fi

# Several zones at a time, by several processes.
fio --filename="$node" --zonemode=zbd --offset=64m --size=64m --rw=write --bs=32k --direct=1 \
    --ioengine=libaio --iodepth=4 --io_size=1m --verify=crc32c --verify_fatal=1 --name=one --name=other \
    --offset=160m > /tmp/fio 2>&1
status=$?
if [ $status -eq 0 ]; then
    pass host-zoned-fio "1 MiB in each of two zones verified: $(zone 2), $(zone 5)"
else
    fail host-zoned-fio "status $status: $(tail -n 3 /tmp/fio | tr '\n' ' ')"
fi

# btrfs appends its data, and learns from the device where they are.
act reset 2 38
grep -q btrfs /proc/filesystems ||
    while read -r module; do insmod "/modules/$module.ko"; done < /modules/order.btrfs
mkfs.btrfs -q -f -m single -d single "$node" > /tmp/btrfs 2>&1 &&
    mount -t btrfs "$node" /mnt >> /tmp/btrfs 2>&1 && cp /tmp/data /mnt && umount /mnt &&
    mount -t btrfs "$node" /mnt && cmp /mnt/data /tmp/data >> /tmp/btrfs 2>&1 && umount /mnt
if [ $? -eq 0 ]; then
    pass host-zoned-append "btrfs made, a file of 1 MiB read back equal"
else
    fail host-zoned-append "$(tr '\n' ' ' < /tmp/btrfs) $(dmesg | grep -i btrfs | tail -n 3 | tr '\n' ' ')"
fi

# Three zones of 32 MiB, and 4 MiB that are one, too.
name=$(disk host-runt)
node=/dev/$name
fill() { for at in 96 97 98 99; do dd if=/tmp/data of="$node" bs=1M seek=$at oflag=direct || return; done; }
read -r count < "/sys/block/$name/queue/nr_zones"
if [ "$count" = 4 ] && fill 2> /tmp/runt && [ "$(zone 3)" = 14 ] &&
    dd if="$node" bs=1M skip=99 iflag=direct 2> /tmp/runt | cmp - /tmp/data 2>> /tmp/runt &&
    blkzone reset "$node" 2> /tmp/runt && [ "$(zone 3)" = 1 ]; then
    pass host-zoned-runt "the last of $count zones is smaller, filled, read back equal and reset"
else
    fail host-zoned-runt "$count zones, the last is $(zone 3); $(tr '\n' ' ' < /tmp/runt)"
fi

# Blocks of 4096 bytes past the host's page cache.
name=$(disk host-4k)
node=/dev/$name
read -r size < "/sys/block/$name/queue/logical_block_size"
if [ "$size" = 4096 ] && dd if=/tmp/data of="$node" bs=4k oflag=direct 2> /tmp/4k &&
    dd if="$node" bs=64k count=16 iflag=direct 2> /dev/null | cmp - /tmp/data 2> /tmp/4k; then
    pass host-4k "blocks of $size bytes; 1 MiB read back equal"
else
    fail host-4k "blocks of $size bytes; $(cat /tmp/4k)"
fi

if monitor refuse; then
    pass host-refused "zones behind a page cache, zones with limits, and blocks smaller than the host's"
else
    fail host-refused "the host says: $answer"
fi

# The machine stops for a disk that fails, and when it goes on the disk does not. The host knows before.
fails=/dev/$(disk host-fails)
exec 9<> "$(port org.example.monitor)"
echo heal >&9
dd if=/tmp/data of="$fails" bs=64k seek=12 oflag=direct 2> /tmp/fails
status=$?
read -r -t 60 answer <&9
exec 9>&-
if [ "$answer" != ok ] || [ $status -ne 0 ]; then
    fail host-fails "the host says: $answer; $(cat /tmp/fails)"
elif ! dd if="$fails" bs=64k skip=12 count=16 iflag=direct 2> /tmp/fails | cmp - /tmp/data 2>> /tmp/fails; then
    fail host-fails "$(tr '\n' ' ' < /tmp/fails)"
else
    pass host-fails "the machine stopped for it, and went on; 1 MiB read back equal"
fi

# A disk goes in the middle of writes.
leaves=/dev/$(disk host-gone)
read -r device < /sys/bus/pci/slots/1/address
while dd if=/tmp/data of="$leaves" bs=64k oflag=direct 2> /tmp/gone; do :; done &
writer=$!
usleep 300000
monitor take disk
wait $writer
read_gone() { dd if="$leaves" of=/dev/null bs=4k count=1 iflag=direct 2>&1; }
if ! grep -q "I/O error\|nput/output" /tmp/gone || read_gone > /tmp/read; then
    fail host-gone "writing: $(cat /tmp/gone) reading: $(cat /tmp/read)"
elif ! monitor told; then
    fail host-gone "the host says: $answer"
else
    pass host-gone "$(head -n 1 /tmp/gone), and so when it is read"
fi
gone() { [ ! -e "/sys/bus/pci/devices/$device.0" ]; }
if monitor delete && echo 0 > /sys/bus/pci/slots/1/power && monitor deleted && await gone; then
    pass host-deleted "what was on it is unplugged"
else
    fail host-deleted "the host says: $answer"
fi

# An interface goes in the middle of a stream of frames.
name=$(interface 52:54:00:77:20:01)
ip link set "$name" up
up() { [ "$(cat "/sys/class/net/$name/carrier")" = 1 ]; }
down() { ! up; }
await up
ip addr add 10.88.0.2/24 dev "$name"
ping -q -c 40 -i 0.02 10.88.0.1 > /dev/null &
if monitor take interface && await down; then
    pass host-link "the link is down"
else
    fail host-link "the link is $(cat "/sys/class/net/$name/carrier"); the host says: $answer"
fi
kill $!
