# fish completion for rg_test; made from the options of the command

complete -c rg_test -f
complete -c rg_test -l online -x -a '(clustat --complete nodes 2>/dev/null)' -d 'with rank: the nodes that are online'
complete -c rg_test -l owner -x -a '(clustat --complete nodes 2>/dev/null)' -d 'with rank: the present owner'
complete -c rg_test -l state -x -d 'with rank: the state of the service'
complete -c rg_test -s o -x -a 'json' -d 'with delta and rank: print in this format'
complete -c rg_test -s v -d 'print the version'
complete -c rg_test -n 'not __fish_seen_subcommand_from test noop delta rank rules' -a 'test noop delta rank rules'
complete -c rg_test -n '__fish_seen_subcommand_from test noop delta rank rules' -F
