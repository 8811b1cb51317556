# Every kind of host end once, inside the sandbox; then writes until somebody ends the VMM.
. /scenarios/lib.sh
# Its command line says nokaslr.
if [ "$(kernel)" = "$LINKED" ]; then
    pass ends-nokaslr "the kernel is where it is linked for"
else
    fail ends-nokaslr "the kernel is at $(kernel)"
fi

direct=/dev/$(disk direct)
dd if=/dev/urandom of=/tmp/random bs=64k count=16 2>/dev/null
dd if=/tmp/random of="$direct" bs=64k oflag=direct conv=fsync 2>/dev/null
if dd if="$direct" bs=64k count=16 iflag=direct 2>/dev/null | cmp - /tmp/random &&
    blkdiscard -o 1048576 -l 1048576 "$direct"; then
    pass ends-direct "1 MiB written and read back, 1 MiB discarded"
else
    fail ends-direct "data is not equal, or discarding failed"
fi

through=/dev/$(disk through)
if dd if=/tmp/random of="$through" bs=64k 2>/dev/null && dd if="$through" bs=64k count=16 2>/dev/null | cmp - /tmp/random &&
    [ "$(cat "/sys/block/${through#/dev/}/queue/write_cache")" = "write through" ]; then
    pass ends-through "1 MiB written through and read back"
else
    fail ends-through "data is not equal, or there is a write-back cache"
fi

readonly=/dev/$(disk readonly)
if dd if="$readonly" of=/dev/null bs=64k 2>/dev/null && ! dd if=/tmp/random of="$readonly" bs=512 count=1 2>/dev/null; then
    pass ends-readonly "reads, and refuses to be written"
else
    fail ends-readonly "cannot be read, or can be written"
fi

# Nobody reads from the console's socket, and the 16550 beside it goes on.
await test -c /dev/hvc0
stty -F /dev/hvc0 raw -echo
head -c 1000000 /dev/zero > /dev/hvc0
pass ends-console "a console that nobody reads does not stop the guest"

for name in file null pty; do
    await port "org.example.$name"
    echo "hello $name" > "$(port "org.example.$name")"
done
if [ "$(head -c 64 /dev/hwrng | wc -c)" = 64 ]; then
    pass ends-object "entropy from the object"
else
    fail ends-object "no entropy from the object"
fi

record=0
while :; do
    record=$((record + 1))
    record "$direct" ends $record conv=sync,fsync && echo "@@ ack $record"
done
