# fish completion for fence_node; made from the options of the command

complete -c fence_node -f
complete -c fence_node -s U -d 'unfence the node'
complete -c fence_node -s S -d 'print whether the node is on or off'
complete -c fence_node -s v -d 'show each device; twice, also its arguments'
complete -c fence_node -s e -x -a '0 1' -d 'whether the cluster is told'
complete -c fence_node -s m -x -d 'with -S: only this method, counted from 1'
complete -c fence_node -s V -d 'print the version'
complete -c fence_node -s h -d 'print a short help'
complete -c fence_node -a '(clustat --complete nodes 2>/dev/null)'
