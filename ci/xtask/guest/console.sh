# One line out of the virtio console, one line in.
. /scenarios/lib.sh
await test -c /dev/hvc0
stty -F /dev/hvc0 raw -echo
exec 3<> /dev/hvc0
echo "hello from hvc0" >&3
if read -r -t 30 line <&3 && [ "$line" = "hello from outside" ]; then
    pass console-in "the guest hears \"$line\""
else
    fail console-in "the guest hears \"$line\""
fi
