# fish completion for fence_ack_manual; made from the options of the command

complete -c fence_ack_manual -f
complete -c fence_ack_manual -s n -x -a '(clustat --complete victims 2>/dev/null)' -d 'the node that is certainly down'
complete -c fence_ack_manual -s O -d 'do not ask'
complete -c fence_ack_manual -s h -d 'print a short help'
complete -c fence_ack_manual -a '(clustat --complete victims 2>/dev/null)'
