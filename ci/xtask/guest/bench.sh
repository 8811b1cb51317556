# Four fio runs of some seconds each; begin and end are told, then the rate.
. /scenarios/lib.sh
fact cpu-family "$(sed -n 's/^cpu family.*: //p' /proc/cpuinfo | head -n 1)"
# So that starting it reads no disk.
fio --version > /dev/null
measure() {
    fact begin "$1-$2"
    result=$(fio --minimal --terse-version=3 --name=bench --filename="/dev/$(disk data)" --bs=4k \
        --ioengine=libaio --direct=1 --runtime=4 --time_based=1 --rw="$1" --iodepth="$2" 2>&1)
    fact end "$1-$2"
    reads=$(echo "$result" | grep '^3;' | cut -d ';' -f 8)
    writes=$(echo "$result" | grep '^3;' | cut -d ';' -f 49)
    fact rate "$((reads + writes))"
}
for depth in 1 32; do
    for direction in randread randwrite; do
        measure "$direction" "$depth"
    done
done
