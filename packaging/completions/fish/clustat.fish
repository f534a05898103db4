# fish completion for clustat; made from the options of the command

complete -c clustat -f
complete -c clustat -s i -x -d 'show again every SECONDS'
complete -c clustat -s l -d 'show services in blocks with all details'
complete -c clustat -s m -x -a '(clustat --complete nodes 2>/dev/null)' -d 'show this member alone'
complete -c clustat -s s -x -a '(clustat --complete services 2>/dev/null)' -d 'show this service alone'
complete -c clustat -s x -d 'print XML'
complete -c clustat -s o -x -a 'text xml json' -d 'print in this format'
complete -c clustat -l why -x -a '(clustat --complete services 2>/dev/null)' -d 'explain why SERVICE is as it is'
complete -c clustat -l what-if-lost -x -a '(clustat --complete nodes 2>/dev/null)' -d 'what would come of the loss of MEMBER'
complete -c clustat -s Q -d 'print nothing; exit code 0 with quorum, 1 without'
complete -c clustat -s I -d 'print the node id of this node'
complete -c clustat -s f -d 'ask this node alone'
complete -c clustat -s v -d 'print the version'
complete -c clustat -s h -d 'print a short help'
complete -c clustat -a '(clustat --complete nodes 2>/dev/null)'
