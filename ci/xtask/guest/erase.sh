# A disk that erases for good, by blkdiscard -s, and whose segments have a limit.
. /scenarios/lib.sh
name=$(disk erase) || exit
node=/dev/$name

read -r segment < "/sys/block/$name/queue/max_segment_size"
dd if=/dev/urandom of=/tmp/data bs=64k count=4 2>/dev/null
dd if=/tmp/data of="$node" bs=256k oflag=direct 2>/dev/null
if [ "$segment" = 65536 ] && cmp -n 262144 "$node" /tmp/data; then
    pass erase-segments "segments of at most $segment bytes; 256 KiB read back equal"
else
    fail erase-segments "segments of at most $segment bytes"
fi

piece() { dd if="$1" bs=64k skip="$2" count=1 iflag=direct 2>/dev/null | sha256sum; }
zeroes=$(dd if=/dev/zero bs=64k count=1 2>/dev/null | sha256sum)
before=$(for i in 0 2 3; do piece "$node" $i; done)
if ! /bin/blkdiscard -s -o 64k -l 64k "$node" 2> /tmp/erase; then
    fail erase "$(cat /tmp/erase)"
elif [ "$(piece "$node" 1)" = "$zeroes" ] && [ "$(for i in 0 2 3; do piece "$node" $i; done)" = "$before" ]; then
    pass erase "64 KiB are zeroes, and what is beside them is as it was"
else
    fail erase "what was erased is not zeroes, or what is beside it has changed"
fi
