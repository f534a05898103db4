# fish completion for fence_tool; made from the options of the command

complete -c fence_tool -f
complete -c fence_tool -s n -d 'with ls: also every node and how it was fenced last'
complete -c fence_tool -s V -d 'print the version'
complete -c fence_tool -s h -d 'print a short help'
complete -c fence_tool -n 'not __fish_seen_subcommand_from ls dump' -a 'ls dump'
