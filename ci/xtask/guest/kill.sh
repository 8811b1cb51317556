# Appends records, each on stable storage before it is acknowledged, until somebody pulls the plug.
. /scenarios/lib.sh
mount -t ext4 "/dev/$(disk kill)" /mnt || fail kill "cannot mount"
record=0
while :; do
    record=$((record + 1))
    echo "record $record" | dd of=/mnt/log oflag=append conv=notrunc,fsync 2>/dev/null && echo "@@ ack $record"
done
