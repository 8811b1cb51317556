# What is done to the zones, of `sectors` sectors each, of the disk at `node`.

# Does something to so many zones from the one with a number on.
act() { blkzone "$1" -o $(($2 * sectors)) -c "$3" "$node"; }
# Writes so many pieces of 64 KiB of the data to a zone, from so many on.
put() { dd if=/tmp/data of="$node" bs=64k skip="$2" seek=$(($1 * sectors / 128 + $2)) count="$3" oflag=direct; }
# The condition of the zone with a number, and how many sectors of it are written: 0 is conventional, 1
# empty, 2 and 3 are open, 4 is closed, 14 full.
zone() {
    blkzone report -o $(($1 * sectors)) -c 1 "$node" |
        sed -n 's/.*wptr \(0x[0-9a-f]*\) .*zcond: *\([0-9]*\)(.*/\2 \1/p' |
        while read -r condition written; do
            case $condition in
            0 | 1 | 14) echo "$condition" ;;
            *) echo "$condition:$((written))" ;;
            esac
        done
}
# Does something, and adds what has become of the third zone to `walk`.
step() { walk="$walk $("$@" > /dev/null 2>&1 || echo refused,)$(zone 2)"; }
