# Appends records to a log and to two raw disks, each on stable storage before it is acknowledged,
# beside a constant load of writes, until somebody pulls the plug.
. /scenarios/lib.sh
packed=$(disk kill) direct=$(disk kill-direct) through=$(disk kill-through)
mount -t ext4 "/dev/$packed" /mnt || fail kill "cannot mount"
cat > /tmp/load.job <<JOB
[global]
rw=randwrite
bs=4k
ioengine=libaio
iodepth=8
direct=1
time_based=1
runtime=1000
[packed]
filename=/mnt/load
size=8m
[direct]
filename=/dev/$direct
size=2m
JOB
fio /tmp/load.job > /tmp/load.out 2>&1 &

# Writes of a disk that the device has not completed.
in_flight() { read -r _ writes < "/sys/block/$1/inflight" && echo "$writes"; }

record=0
while :; do
    record=$((record + 1))
    echo "record $record" | dd of=/mnt/log oflag=append conv=notrunc,fsync 2>/dev/null &&
        record "/dev/$direct" kill $record conv=sync,fsync &&
        record "/dev/$through" kill $record conv=sync oflag=direct &&
        echo "@@ ack $record" &&
        fact in-flight "$(in_flight "$packed") $(in_flight "$direct")"
done
