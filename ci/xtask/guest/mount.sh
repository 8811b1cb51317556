# Directories of the host, mounted over 9P: files, links, owners and attributes are there again when
# they are mounted once more.
. /scenarios/lib.sh

# attach TAG [MORE]: mounts a share below /mnt.
attach() {
    mkdir -p "/mnt/$1" && mount -t 9p -o "trans=virtio,version=9p2000.L$2" "$1" "/mnt/$1"
}

work() {
    place=/mnt/$1
    attach "$1" ,msize=131072 && cp -r /scenarios "$place/there" || return 1
    cp /tmp/random "$place/random" && ln -s random "$place/link" && chown 7:8 "$place/random" || return 1
    setfattr -n user.colour -v blue "$place/random" || return 1
    mkdir "$place/many" && (cd "$place/many" && seq 100 | xargs touch) || return 1
    mv "$place/many" "$place/there/moved" && umount "$place" && attach "$1" || return 1
    cmp /tmp/random "$place/link" && [ "$(stat -c %u:%g "$place/random")" = 7:8 ] || return 1
    [ "$(getfattr --only-values -n user.colour "$place/random")" = blue ] || return 1
    [ "$(ls "$place/there/moved" | wc -l)" = 100 ] && rm -r "$place/there/moved" || return 1
    diff -r /scenarios "$place/there"
}

head -c 300000 /dev/urandom > /tmp/random
for tag in mount-split mount-packed; do
    if said=$(work $tag 2>&1); then
        pass $tag "files, links, owners and attributes are as they were left"
    else
        fail $tag "$(echo "$said" | tail -n 3 | tr '\n' ' ')"
    fi
    umount /mnt/$tag
done
rm -f /tmp/random
