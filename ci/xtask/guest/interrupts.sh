# Interrupts come as each disk asks for them: classic ones, or adapter interrupts.
. /scenarios/lib.sh

# How many interrupts of a kind all processors have taken.
taken() { awk -v kind="$1:" '$1 == kind { for (i = 2; $i ~ /^[0-9]+$/; i++) sum += $i; print sum }' /proc/interrupts; }

check() {
    disk=$(disk "$1")
    wanted=$(taken "$2")
    others=$(taken "$3")
    dd if="/dev/$disk" of=/dev/null bs=4k count=200 iflag=direct 2>/dev/null
    wanted=$(($(taken "$2") - wanted))
    others=$(($(taken "$3") - others))
    # Anything else in the guest makes few.
    if [ $wanted -ge 100 ] && [ $others -lt 20 ]; then
        pass "interrupts-$1" "200 reads, $wanted interrupts of this kind and $others of the other"
    else
        fail "interrupts-$1" "200 reads, $wanted interrupts of this kind and $others of the other"
    fi
}

check classic VIR VAI
check adapter VAI VIR
