# fish completion for ccs_config_validate; made from the options of the command

complete -c ccs_config_validate -f
complete -c ccs_config_validate -s f -r -F -d 'the file to check'
complete -c ccs_config_validate -s l -r -F -d 'the file to check'
complete -c ccs_config_validate -s v -d 'also notes, and what the file is'
complete -c ccs_config_validate -s V -d 'print the version'
complete -c ccs_config_validate -s h -d 'print a short help'
complete -c ccs_config_validate -F
