# fish completion for cman_tool; made from the options of the command

complete -c cman_tool -f
complete -c cman_tool -s a -d 'with nodes: also their addresses'
complete -c cman_tool -s f -d 'with nodes: also when they were fenced last'
complete -c cman_tool -s F -x -a 'id name type addr' -d 'with nodes: only these columns'
complete -c cman_tool -s n -x -a '(clustat --complete nodes 2>/dev/null)' -d 'with nodes, votes and kill: the node'
complete -c cman_tool -s r -d 'with version: give cluster.conf to all members'
complete -c cman_tool -s D -x -a 'fail warn none' -d 'with version -r: fail, or warn, if an agent finds errors'
complete -c cman_tool -s q -d 'with wait: until there is quorum'
complete -c cman_tool -s t -x -d 'with wait: at most SECONDS'
complete -c cman_tool -s e -x -d 'with expected: that many votes'
complete -c cman_tool -s v -x -d 'with votes: that many votes'
complete -c cman_tool -s V -d 'print the version of this program'
complete -c cman_tool -s h -d 'print a short help'
complete -c cman_tool -n 'not __fish_seen_subcommand_from status nodes services version wait expected votes kill leave' -a 'status nodes services version wait expected votes kill leave'
