# /dev/hwrng is virtio-rng and delivers good entropy. One block in 1,250 fails by chance.
. /scenarios/lib.sh
await test -c /dev/hwrng
source=$(cat /sys/class/misc/hw_random/rng_current)
failures=$(rngtest -c 50 < /dev/hwrng 2>&1 | sed -n 's/.*FIPS 140-2 failures: //p')
case $source in virtio_rng*) ;; *) failures="unknown, the source is $source" ;; esac
case $failures in
[0-2]) pass rng "$source, rngtest: $failures of 50 blocks failed" ;;
*) fail rng "$source, failures: $failures" ;;
esac
