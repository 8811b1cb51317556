# /dev/hwrng is each virtio-rng in turn, and delivers good entropy. One block in 1,250 fails by chance.
. /scenarios/lib.sh
await test -c /dev/hwrng
class=/sys/class/misc/hw_random
devices=$(grep -l 0x0004 /sys/bus/virtio/devices/*/device | wc -l)
sources=$(tr ' ' '\n' < $class/rng_available | grep virtio_rng)
failures=0
for source in $sources; do
    echo "$source" > $class/rng_current
    failed=$(rngtest -c 50 < /dev/hwrng 2>&1 | sed -n 's/.*FIPS 140-2 failures: //p')
    [ "$(cat $class/rng_current)" = "$source" ] || failed=
    failures=$((failures + ${failed:-50}))
done
found="$(echo "$sources" | wc -l) sources of $devices devices, rngtest: $failures of 50 blocks each failed"
if [ "$(echo "$sources" | wc -l)" = "$devices" ] && [ $failures -lt 4 ]; then
    pass rng "$found"
else
    fail rng "$found"
fi
