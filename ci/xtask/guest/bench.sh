# Four fio runs in one process, each for some seconds; one fact per run.
. /scenarios/lib.sh
cat > /tmp/bench.job <<JOB
[global]
filename=/dev/$(disk data)
bs=4k
ioengine=libaio
direct=1
runtime=4
time_based=1
JOB
for depth in 1 32; do
    for direction in randread randwrite; do
        printf '[%s-%s]\nstonewall\nrw=%s\niodepth=%s\n' $direction $depth $direction $depth >> /tmp/bench.job
    done
done
echo "@@ fact bench begin"
fio --minimal --terse-version=3 /tmp/bench.job > /tmp/bench.out 2>&1
echo "@@ fact bench end"
grep '^3;' /tmp/bench.out | while IFS=';' read -r line; do
    name=$(echo "$line" | cut -d ';' -f 3)
    reads=$(echo "$line" | cut -d ';' -f 8)
    writes=$(echo "$line" | cut -d ';' -f 49)
    fact "$name" "$((reads + writes))"
done
