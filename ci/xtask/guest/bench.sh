# Runs of fio, each some seconds long. Begin and end are marked on the disk, below where fio is, and the
# end says requests per second and KiB in all: no run has the console's accesses in it.
. /scenarios/lib.sh
node=/dev/$(disk data)
# So that starting it reads no disk.
fio --version > /dev/null
marks=0
mark() {
    marks=$((marks + 1))
    record "$node" "$*" $marks oflag=direct conv=sync
}
measure() {
    mark begin
    result=$(fio --minimal --terse-version=3 --name=bench --filename="$node" --offset=4m --bs=4k \
        --ioengine=libaio --direct=1 --runtime=4 --time_based=1 --rw="$1" --iodepth="$2")
    IFS=';'
    set -- $result
    unset IFS
    mark $(($8 + ${49})) $(($6 + ${47}))
}
for load in $(parameter loads | tr , ' '); do
    measure "${load%-*}" "${load#*-}"
done
fact cpu-family "$(sed -n 's/^cpu family.*: //p' /proc/cpuinfo | head -n 1)"
