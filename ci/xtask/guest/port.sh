# 10 MiB in, compared with the checksum on the command line, and the same data out.
. /scenarios/lib.sh
await port org.example.port
node=$(port org.example.port)
exec 3<> "$node"
head -c 10485760 <&3 > /tmp/received
found=$(sha256sum < /tmp/received | cut -d ' ' -f 1)
if [ "$found" = "$(parameter port_sum)" ]; then
    pass port-in "10485760 bytes, sha256 $found"
else
    fail port-in "$(wc -c < /tmp/received) bytes, sha256 $found"
fi
cat /tmp/received >&3
rm /tmp/received
