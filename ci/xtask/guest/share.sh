# The root file system is a directory of the host, over 9P: what a system does with files. What is done
# below /data, on a share of its own, is done without a cache of the guest's.
. /scenarios/lib.sh
export GIT_CONFIG_GLOBAL=/dev/null GIT_AUTHOR_NAME=guest GIT_COMMITTER_NAME=guest
export GIT_AUTHOR_EMAIL=guest@example.org GIT_COMMITTER_EMAIL=guest@example.org

# try NAME FUNCTION: passes if it succeeds, with what it says last.
try() {
    if said=$("$2" 2>&1); then
        pass "share-$1" "$(echo "$said" | tail -n 1)"
    else
        fail "share-$1" "$(echo "$said" | tail -n 3 | tr '\n' ' ')"
    fi
}

root() {
    awk '$2 == "/" { print $3, "with", $4 }' /proc/mounts | grep '^9p'
}

unpack() {
    dpkg-deb -x /package.deb unpacked || return 1
    files=$(find unpacked -type f | wc -l)
    [ "$files" -ge 1 ] && (cd unpacked && find . -type f | xargs sha256sum) | sort > /tmp/sums || return 1
    [ "$(wc -l < /tmp/sums)" = "$files" ] && echo "$files files of a package"
}

commit() {
    git init -q repository && cp -r unpacked repository && cd repository || return 1
    mkdir scenarios && cp /scenarios/lib.sh /scenarios/share.sh scenarios || return 1
    git add -A && git commit -qm first && git fsck --strict || return 1
    echo changed > scenarios/lib.sh
    [ "$(git status --porcelain)" = " M scenarios/lib.sh" ] && git checkout -q . || return 1
    echo "$(git ls-files | wc -l) files in $(git rev-parse --short HEAD)"
}

# Files of several sizes, owners and modes, links and a FIFO, in memory.
original() {
    mkdir -p /tmp/original/below && cp -a /scenarios/net.sh /tmp/original && cd /tmp/original || return 1
    for size in 0 1 4095 4096 100000 1500000; do head -c $size /dev/urandom > file-$size; done
    chown 1000:1001 file-1 && chmod 4711 file-4095 && chmod 1777 below && mkfifo below/fifo
    ln -s ../file-1 below/link && ln -s nowhere dangling && ln file-4096 below/hard
}

copies() {
    original || return 1
    rsync -aH --checksum /tmp/original/ /data/there/ || return 1
    rsync -aH --checksum /data/there/ /tmp/back/ || return 1
    difference=$(rsync -aHnci --delete /tmp/original/ /tmp/back/)
    [ -z "$difference" ] && echo "$(find /tmp/back | wc -l) entries, no difference" && return 0
    echo "$difference"
    return 1
}

# The host has made 10,000.
many() {
    # The shell's names: busybox's ls and find would look at each file as well.
    set -- many/*
    count=$#
    [ "$count" = 10000 ] && set -- many/*99 && [ $# = 100 ] || return 1
    mkdir made && cd made && seq 100 | xargs touch && set -- * && [ $# = 100 ] || return 1
    cd .. && rm -r made && echo "$count files listed, 100 made, listed and removed"
}

sparse() {
    head -c 4096 /dev/urandom > /tmp/page
    dd if=/tmp/page of=sparse bs=4096 seek=1310720 2> /dev/null || return 1
    dd if=sparse bs=4096 skip=1310720 2> /dev/null | cmp - /tmp/page || return 1
    [ "$(stat -c %s sparse)" = 5368713216 ] && echo "$(stat -c '%s bytes, %b blocks' sparse)"
}

unlinked() {
    exec 8> gone 9< gone && echo before >&8 && rm gone && echo after >&8 || return 1
    [ ! -e gone ] && [ "$(tr '\n' ' ' <&9)" = "before after " ] && echo "written and read"
}

# Two processes: the second has to wait until the first has let go.
locks() {
    flock held sh -c 'echo held > taken; until [ -e release ]; do sleep 1; done' &
    await test -s taken
    flock -n held true
    second=$?
    touch release && wait
    [ "$second" = 1 ] && flock -n held true && echo "one at a time"
}

attributes() {
    touch coloured && setfattr -n user.colour -v blue coloured || return 1
    [ "$(getfattr --only-values -n user.colour coloured)" = blue ] || return 1
    setfattr -x user.colour coloured && [ -z "$(getfattr -d coloured)" ] && echo "set, read and removed"
}

verified() {
    fio --name=verify --filename=verify --rw=randrw --bsrange=512-64k --size=1m --loops=2 \
        --verify=crc32c --verify_fatal=1 --ioengine=psync --minimal > /tmp/fio || return 1
    truncate -s 500003 verify && truncate -s 1000000 verify || return 1
    [ "$(tail -c 499997 verify | tr -d '\0' | wc -c)" = 0 ] && echo "written in pieces, cut and grown"
}

# All of those that the host names do something. One that links, which it names where KVM is real,
# looks 8,192 names up at its end, however long it was to work.
stressed() {
    stressors=$(parameter stressors | tr , ' ')
    timeout 100 stress-ng --temp-path /data --hdd-bytes 1m --dir-dirs 64 --metrics-brief --verify \
        --timeout "$(parameter stress)" $(printf -- '--%s 1 ' $stressors) > /tmp/stress 2>&1
    status=$?
    # Of each how much it has done.
    counts=$(awk '/metrc/ && NF == 10 && $5 ~ /^[1-9]/ { print $4, $5 }' /tmp/stress)
    [ $status = 0 ] && [ "$(echo "$counts" | wc -l)" = "$(echo "$stressors" | wc -w)" ] &&
        echo $counts && return 0
    cat /tmp/stress
    return 1
}

others() {
    for tag in packed mmio transitional; do
        mkdir -p /mnt/$tag
        mount -t 9p -o trans=virtio,version=9p2000.L,msize=131072 $tag /mnt/$tag || return 1
        rsync -aH --checksum /tmp/original/ /mnt/$tag/ || return 1
        difference=$(rsync -aHnci --delete /tmp/original/ /mnt/$tag/)
        umount /mnt/$tag
        [ -z "$difference" ] || { echo "$tag: $difference"; return 1; }
    done
    echo "packed, mmio, transitional"
}

# attach_unix TAG: mounts a share below /mnt in the other dialect, in which records say what a file is and
# what it is to become, and a directory is read as those of its files.
attach_unix() {
    mount -t 9p -o trans=virtio,version=9p2000.u,msize=131072 "$1" "/mnt/$1"
}

# make_unix DIRECTORY: files, links and nodes.
make_unix() {
    mkdir "$1" && cd "$1" && seq 150 | xargs touch && set -- * && [ $# = 150 ] || return 1
    cp /tmp/original/file-1500000 file && cmp file /tmp/original/file-1500000 && truncate -s 5 file || return 1
    mv file moved && mv moved 150 && chown 1000:1001 150 && chmod 4711 150 && touch -d @86400 150 || return 1
    ln -s 150 link && ln 150 hard && mkfifo fifo && mknod null c 1 3
}

# look_unix DIRECTORY: they are there.
look_unix() {
    cd "$1" && set -- * && [ $# = 154 ] || return 1
    [ "$(stat -c '%a %u:%g %s %Y %h' link 150 | tail -n 1)" = "4711 1000:1001 5 86400 2" ] || return 1
    [ "$(readlink link)" = 150 ] && [ -p fifo ] && [ "$(stat -c '%F %t %T' null)" = "character special file 1 3" ]
}

unix() {
    for tag in packed transitional; do
        attach_unix $tag && make_unix /mnt/$tag/unix && cd / && umount /mnt/$tag || return 1
        attach_unix $tag && look_unix /mnt/$tag/unix && rm -r /mnt/$tag/unix && cd / || return 1
        umount /mnt/$tag || return 1
    done
    # What is neither is not spoken.
    mount -t 9p -o trans=virtio,version=9p2000 packed /mnt/packed 2> /dev/null && return 1
    echo "packed, transitional"
}

read_only() {
    mkdir -p /mnt/read && mount -t 9p -o trans=virtio,version=9p2000.L read /mnt/read || return 1
    [ "$(cat /mnt/read/file)" = "from the host" ] || return 1
    touch /mnt/read/new 2> /dev/null && return 1
    umount /mnt/read && echo "read and not written"
}

mount -t 9p -o trans=virtio,version=9p2000.L,msize=512000 data /data || fail share-data "no share"
for check in root unpack commit; do
    cd /work && try $check $check
done
for check in copies many sparse unlinked locks attributes verified stressed others unix read_only; do
    cd /data && try $check $check
done
echo "from the guest" > /data/word
cd / && umount /data
