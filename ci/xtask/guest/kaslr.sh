# The kernel's text is not where it is linked for. One boot of some hundred thousand has it there by chance.
. /scenarios/lib.sh
where=$(kernel)
case $where in
"") fail kaslr "the kernel does not say where it is" ;;
"$LINKED") fail kaslr "the kernel is where it is linked for" ;;
*) pass kaslr "the kernel is at $where" ;;
esac
