# The balloon: gives memory to the host, has it back by itself when there is none left, and when the
# host says so; and says how much memory there is.
. /scenarios/lib.sh
mount -o remount,size=450m /tmp

# Has the host measure or do something; its answer is `ok` and what it found.
host() {
    await port org.example.host || return 1
    exec 9<> "$(port org.example.host)"
    echo "$*" >&9
    read -r -t 180 answer <&9
    exec 9>&-
    case $answer in "ok "*) answer=${answer#ok } ;; *) return 1 ;; esac
}

# check NAME WORD...: what the host says is the verdict.
check() {
    name=$1
    shift
    if host "$@"; then pass "$name" "$answer"; else fail "$name" "$answer"; fi
}

# Uses so many megabytes.
fill() {
    dd if=/dev/zero of=/tmp/fill bs=1M count="$1" 2>/dev/null
}

case $0 in
*-reporting.sh)
    fill 192
    host filled
    rm /tmp/fill
    check balloon-reporting reported
    check balloon-mmio squeeze
    ;;
*)
    # The host does not know that nobody uses them any more.
    fill 224
    rm /tmp/fill
    check balloon-inflate inflate
    # More than there is: the balloon makes room before anything is killed.
    if dd if=/dev/zero of=/tmp/fill bs=1M count=300 2>/dev/null &&
        [ "$(stat -c %s /tmp/fill)" = 314572800 ]; then
        check balloon-oom grown
    else
        fail balloon-oom "no room for a file of 300 MiB"
    fi
    rm -f /tmp/fill
    check balloon-deflate deflate
    check balloon-stats stats
    ;;
esac
