# fish completion for rg_test; made from the options of the command

complete -c rg_test -f
complete -c rg_test -s v -d 'print the version'
complete -c rg_test -n 'not __fish_seen_subcommand_from test noop rules' -a 'test noop rules'
complete -c rg_test -n '__fish_seen_subcommand_from test noop rules' -F
