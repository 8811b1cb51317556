# Two interfaces on one line, with a split and a packed ring. The second is in a network namespace of
# its own: what goes from one to the other leaves the guest.
. /scenarios/lib.sh

near=$(interface 52:54:00:77:10:01)
far=$(interface 52:54:00:77:10:02)
rings="$(ring "$near") $(ring "$far")"

unshare -n sleep 1000 &
namespace=$!
beyond() { nsenter -t $namespace -n -- "$@"; }
# Until it is there, the way into the namespace leads to where one is.
move() { ip link set "$far" netns $namespace && [ ! -e "/sys/class/net/$far" ]; }
await move
ip addr add 10.78.0.1/24 dev "$near" && ip link set "$near" up
beyond ip addr add 10.78.0.2/24 dev "$far" && beyond ip link set "$far" up

# received COMMAND...: how many frames, of how many bytes, that interface has received: "3 126".
received() { "$@" cat /proc/net/dev | awk '$1 ~ /^eth/ { print $3, $2 }'; }
# counted CHECK SENDER RECEIVER ADDRESS: what one side sends, the other one receives: an answer to the
# question who has the address, and so many frames. Whether pings are answered is not asked: QEMU 7.2
# makes kernels for s390x find wrong checksums even at 127.0.0.1, see docs/differences.md.
counted() {
    check=$1 sender=$2 receiver=$3 address=$4
    before=$(received $receiver)
    $sender ping -q -c 50 -i 0.02 -W 1 "$address" > /dev/null
    after=$(received $receiver)
    frames=$((${after% *} - ${before% *})) bytes=$((${after#* } - ${before#* }))
    if [ $frames -ge 50 ] && [ $bytes -ge 4900 ] && [ "$rings" = "split packed" ] &&
        $sender grep -q "^$address .* 0x2 .*52:54:00:77:10" /proc/net/arp; then
        pass "$check" "$frames frames of $bytes bytes at the other interface, of 50 sent"
    else
        fail "$check" "$frames frames of $bytes bytes, of 50; rings $rings; $($sender cat /proc/net/arp)"
    fi
}
counted hub-there env beyond 10.78.0.2
counted hub-back beyond env 10.78.0.1
[ "$(parameter bus)" = ccw ] && kill $namespace && exit

dd if=/dev/urandom of=/tmp/sent bs=64k count=16 2> /dev/null
sum=$(sha256sum < /tmp/sent)
size=$(stat -c %s /tmp/sent)
nc -ll -p 5000 -e cat /tmp/sent &
servers=$!
beyond nc -ll -p 5000 -e cat /tmp/sent &
servers="$servers $!"
listens() { "$@" netstat -lnt | grep -q :5000; }
await listens && await listens beyond

# carried CHECK COMMAND...: the bytes come whole.
carried() {
    check=$1
    shift
    got=$("$@" < /dev/null | sha256sum)
    if [ "$got" = "$sum" ]; then
        pass "$check" "$size bytes, sha256 equal"
    else
        fail "$check" "sha256 $got, not $sum"
    fi
}
carried hub-receive timeout 60 nc 10.78.0.2 5000
carried hub-send beyond timeout 60 nc 10.78.0.1 5000
kill $servers $namespace
rm /tmp/sent
