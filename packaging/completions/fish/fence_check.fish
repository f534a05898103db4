# fish completion for fence_check; made from the options of the command

complete -c fence_check -f
complete -c fence_check -s v -d 'also the result of each device'
complete -c fence_check -s d -d 'also the arguments of each device'
complete -c fence_check -s e -d 'end at the first method that fails'
complete -c fence_check -s f -d 'also while a node is being fenced or without quorum'
complete -c fence_check -s V -d 'print the version'
complete -c fence_check -s h -d 'print a short help'
