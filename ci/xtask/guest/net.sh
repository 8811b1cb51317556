# Networks: tap on PCI, split and packed, and on MMIO, and passt. The host's ends do their part beside.
. /scenarios/lib.sh

# What iperf3's receiver got, and how fast: "2.5 MBytes 10 Mbits/sec".
received() {
    sed -n 's/.*sec *\([1-9][0-9.]* [KMG]*Bytes\) *\([0-9.]* Mbits.sec\).* receiver.*/\1 \2/p' \
        /tmp/iperf
}

# traffic CHECK OPTION...: runs iperf3, whose receiver must get something. The server may still be
# busy with the one before.
traffic() {
    check=$1
    shift
    for _ in 1 2 3; do
        iperf3 --connect-timeout 10000 -f m "$@" > /tmp/iperf 2>&1 && break
        sleep 1
    done
    if [ -n "$(received)" ]; then
        pass "$check" "$(received)"
    else
        fail "$check" "$(tail -n 2 /tmp/iperf | tr '\n' ' ')"
    fi
}

ip link set lo up
eth=$(interface 52:54:00:77:00:01)
ip addr add 10.77.0.2/24 dev "$eth" && ip link set "$eth" up
if await ping -c 1 -W 1 10.77.0.1; then
    pass net-ping "10.77.0.1 answers on $eth"
else
    fail net-ping "no answer on $eth"
fi

traffic net-tap-send -c 10.77.0.1 -t 1
traffic net-tap-receive -c 10.77.0.1 -t 1 -R
traffic net-tap-udp -c 10.77.0.1 -u -b 20M -t 1

# Offloads, off and on again.
offloads() {
    ethtool -k "$eth" |
        grep -c "^\(tx-checksumming\|tcp-segmentation-offload\|rx-gro-hw\): $1"
}
ethtool -K "$eth" tx off rx off tso off gso off gro off rx-gro-hw off > /tmp/ethtool 2>&1
off=$(offloads off)
traffic net-offloads-off -c 10.77.0.1 -t 1
ethtool -K "$eth" tx on rx on tso on gso on gro on rx-gro-hw on >> /tmp/ethtool 2>&1
on=$(offloads on)
if [ "$off" = 3 ] && [ "$on" = 3 ] && negotiated "$eth" 0 1 2 7 8 11 12; then
    pass net-offloads "checksums and segmentation, off and on"
else
    fail net-offloads "off $off, on $on: $(tr '\n' ' ' < /tmp/ethtool)"
fi

# Queues, the table, coalescing.
pairs() { ethtool -l "$eth" | sed -n 's/Combined:[^0-9]*//p' | tr '\n' ' '; }
ethtool -L "$eth" combined 1
one=$(pairs)
ethtool -L "$eth" combined 2
if [ "$one" = "2 1 " ] && [ "$(pairs)" = "2 2 " ]; then
    pass net-queues "one pair of two in use, then both"
else
    fail net-queues "of two, then in use: $one, then $(pairs)"
fi
# By the driver's count, the packets that a queue has received.
packets_of() {
    ethtool -S "$eth" | sed -n "s/ *rx_queue_$1_packets: //p;s/ *rx$1_packets: //p" | head -n 1
}
# steered QUEUE: with a table that names one queue only, a TCP flow comes to that and not to the other.
steered() {
    ethtool -X "$eth" weight $((1 - $1)) "$1" > /tmp/ethtool 2>&1
    ethtool -x "$eth" | grep -q "0: *$1 *$1 *$1" || return 1
    this=$(packets_of "$1") other=$(packets_of $((1 - $1)))
    traffic net-rss-traffic-"$1" -c 10.77.0.1 -t 1 -R
    this=$(($(packets_of "$1") - this)) other=$(($(packets_of $((1 - $1))) - other))
    told="$told, $this packets to queue $1 and $other to the other"
    [ $this -gt 50 ] && [ $other -lt 20 ]
}
told=
if steered 1 && steered 0; then
    pass net-rss "as the table says$told"
else
    fail net-rss "the table is$(ethtool -x "$eth" 2>&1 | sed -n 2,3p | tr '\n' ' ')$told $(cat /tmp/ethtool)"
fi
ethtool -X "$eth" equal 2 > /dev/null 2>&1
if ! negotiated "$eth" 53; then
    : # QEMU does not have it.
elif ethtool -C "$eth" rx-usecs 200 rx-frames 16 tx-usecs 200 tx-frames 16 > /tmp/ethtool 2>&1 &&
    ethtool -c "$eth" | grep -q 'rx-usecs:.*200'; then
    traffic net-coalescing -c 10.77.0.1 -t 1 -R
else
    fail net-coalescing "$(tr '\n' ' ' < /tmp/ethtool)"
fi
ethtool -C "$eth" rx-usecs 0 rx-frames 1 tx-usecs 0 tx-frames 1 > /dev/null 2>&1

# Filters: the host sends frames to a foreign address and with a VLAN tag; the guest counts.
packets() { cat "/sys/class/net/$eth/statistics/rx_packets"; }
counted() {
    quiet=$(packets)
    echo "$1" | nc -w 5 10.77.0.1 7002 > /dev/null
    sleep 1
    echo $(($(packets) - quiet))
}
narrow=$(counted foreign)
ip link set "$eth" promisc on
wide=$(counted foreign)
ip link set "$eth" promisc off
if [ "$narrow" -lt 60 ] && [ "$wide" -ge 100 ]; then
    pass net-promiscuous "$narrow packets without, $wide with, of 100 to a foreign address"
else
    fail net-promiscuous "$narrow packets without, $wide with, of 100 to a foreign address"
fi
untagged=$(counted tagged)
ip link add link "$eth" name vlan5 type vlan id 5 && ip link set vlan5 up
tagged=$(counted tagged)
if [ "$untagged" -lt 60 ] && [ "$tagged" -ge 100 ]; then
    pass net-vlan "$untagged packets without, $tagged with, of 100 of VLAN 5"
else
    fail net-vlan "$untagged packets without, $tagged with, of 100 of VLAN 5"
fi

# A transfer while queues come and go and the host takes the link down and up. It is the host that gives
# up one that stands still.
size=$(parameter net_size)
nc 10.77.0.1 7001 < /dev/null | sha256sum > /tmp/sum &
transfer=$!
changes=0
while kill -0 $transfer 2>/dev/null; do
    ethtool -L "$eth" combined $((changes % 2 + 1)) 2>/dev/null
    changes=$((changes + 1))
    [ $((changes % 100)) != 0 ] || fact transfer "queues changed $changes times"
    usleep 200000
done
wait $transfer
read -r sum _ < /tmp/sum
flaps=$(cat "/sys/class/net/$eth/carrier_changes")
if [ "$sum" = "$(parameter net_sum)" ] && [ "$changes" -gt 2 ] && [ "$flaps" -gt 4 ]; then
    pass net-transfer "$size bytes, sha256 equal, queues changed $changes times, $flaps carrier changes"
else
    fail net-transfer "sha256 $sum, queues changed $changes times, $flaps carrier changes"
fi

# The same driver on other rings and another bus.
for place in 2:net-packed 3:net-mmio; do
    number=${place%%:*} check=${place#*:}
    other=$(interface "52:54:00:77:00:0$number") || continue
    ip addr add "10.77.$number.2/24" dev "$other" && ip link set "$other" up
    await ping -c 1 -W 1 "10.77.$number.1"
    # The host counts these in what it has captured.
    [ "$check" = net-packed ] && ping -c 5 -i 0.2 -s 100 "10.77.$number.1" > /dev/null
    if [ "$check" = net-packed ] && ! negotiated "$other" 34; then
        fail "$check" "the ring is split"
        continue
    fi
    traffic "$check" -c "10.77.$number.1" -t 1
done

# A network that the host has not prepared: its server gives an address, and its gateway is the host.
user=$(interface 52:54:00:77:00:04)
cat > /tmp/lease.sh << 'SCRIPT'
#!/bin/sh
[ "$1" = bound ] || exit 0
ip addr add "$ip/$mask" dev "$interface"
ip route add "${router%% *}" dev "$interface"
echo "${router%% *}" > /tmp/router
SCRIPT
chmod +x /tmp/lease.sh
ip link set "$user" up
udhcpc -i "$user" -s /tmp/lease.sh -n -q -t 5 > /tmp/lease 2>&1
router=$(cat /tmp/router)
traffic net-user-send -c "$router" -t 1
traffic net-user-receive -c "$router" -t 1 -R
