# What a visitor wants to see: the devices, their drivers and features, data that survives, entropy.
. /scenarios/lib.sh
fact kernel "$(uname -sr)"
fact processors "$(nproc)"
for entry in /sys/bus/virtio/devices/*; do
    driver=$(readlink "$entry/driver")
    where=$(basename "$(readlink -f "$entry/..")")
    rings=split
    [ "$(feature "${entry##*/}" 34)" = 1 ] && rings=packed
    fact device "${entry##*/} at $where, driver ${driver##*/}, $rings rings"
done
name=$(disk data)
dd if=/dev/urandom of=/tmp/data bs=1M count=4 2>/dev/null
written=$(sha256sum < /tmp/data | cut -c 1-16)
dd if=/tmp/data of="/dev/$name" bs=1M conv=fsync 2>/dev/null
echo 3 > /proc/sys/vm/drop_caches
read_back=$(dd if="/dev/$name" bs=1M count=4 2>/dev/null | sha256sum | cut -c 1-16)
if [ "$written" = "$read_back" ]; then
    pass disk "4 MiB written, flushed and read back, sha256 $written..."
else
    fail disk "wrote sha256 $written..., read $read_back..."
fi
await test -c /dev/hwrng
entropy=$(dd if=/dev/hwrng bs=16 count=1 2>/dev/null | od -An -tx1 | tr -d ' \n')
if [ ${#entropy} -eq 32 ]; then
    pass entropy "$entropy from $(cat /sys/class/misc/hw_random/rng_current)"
else
    fail entropy "no entropy"
fi
if await test -c /dev/hvc0 && echo "hello from hvc0" > /dev/hvc0; then
    pass console "a line went out through /dev/hvc0"
else
    fail console "no /dev/hvc0"
fi
