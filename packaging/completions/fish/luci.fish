# Print an optspec for argparse to handle cmd's options that are independent of any subcommand.
function __fish_luci_global_optspecs
    string join \n log-json state-dir= database-url= h/help V/version
end

function __fish_luci_needs_command
    # Figure out if the current invocation already has a command.
    set -l cmd (commandline -opc)
    set -e cmd[1]
    argparse -s (__fish_luci_global_optspecs) -- $cmd 2>/dev/null
    or return
    if set -q argv[1]
        # Also print the command, so this can be used to figure out what it is.
        echo $argv[1]
        return 1
    end
    return 0
end

function __fish_luci_using_subcommand
    set -l cmd (__fish_luci_needs_command)
    test -z "$cmd"
    and return 1
    contains -- $cmd[1] $argv
end

complete -c luci -n "__fish_luci_needs_command" -l state-dir -d 'Folder of the database and the keys' -r -F
complete -c luci -n "__fish_luci_needs_command" -l database-url -d 'A database of PostgreSQL (postgres://NAME:PASSWORD@HOST/DATABASE) instead of the one in the state folder. Better given in the environment: the list of processes shows arguments to everybody' -r
complete -c luci -n "__fish_luci_needs_command" -l log-json -d 'Write the log as lines of JSON'
complete -c luci -n "__fish_luci_needs_command" -s h -l help -d 'Print help'
complete -c luci -n "__fish_luci_needs_command" -s V -l version -d 'Print version'
complete -c luci -n "__fish_luci_needs_command" -f -a "serve" -d 'Serve the console and the API until stopped'
complete -c luci -n "__fish_luci_needs_command" -f -a "backup" -d 'Write a backup (database, certificates, keys) into a folder of its own; luci may go on serving'
complete -c luci -n "__fish_luci_needs_command" -f -a "restore" -d 'Put a backup in place, on this machine or another; luci must not be serving. What was there is kept aside'
complete -c luci -n "__fish_luci_needs_command" -f -a "user" -d 'Accounts'
complete -c luci -n "__fish_luci_needs_command" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c luci -n "__fish_luci_using_subcommand serve" -l listen -d 'Address and port to listen on' -r
complete -c luci -n "__fish_luci_using_subcommand serve" -l host-name -d 'Host name in the one-time link and in the certificate; the machine\'s own name unless given' -r
complete -c luci -n "__fish_luci_using_subcommand serve" -l pam-service -d 'Let accounts that were added for it log in by this service of PAM, a file in /etc/pam.d' -r
complete -c luci -n "__fish_luci_using_subcommand serve" -l state-dir -d 'Folder of the database and the keys' -r -F
complete -c luci -n "__fish_luci_using_subcommand serve" -l database-url -d 'A database of PostgreSQL (postgres://NAME:PASSWORD@HOST/DATABASE) instead of the one in the state folder. Better given in the environment: the list of processes shows arguments to everybody' -r
complete -c luci -n "__fish_luci_using_subcommand serve" -l log-json -d 'Write the log as lines of JSON'
complete -c luci -n "__fish_luci_using_subcommand serve" -s h -l help -d 'Print help'
complete -c luci -n "__fish_luci_using_subcommand backup" -l state-dir -d 'Folder of the database and the keys' -r -F
complete -c luci -n "__fish_luci_using_subcommand backup" -l database-url -d 'A database of PostgreSQL (postgres://NAME:PASSWORD@HOST/DATABASE) instead of the one in the state folder. Better given in the environment: the list of processes shows arguments to everybody' -r
complete -c luci -n "__fish_luci_using_subcommand backup" -l log-json -d 'Write the log as lines of JSON'
complete -c luci -n "__fish_luci_using_subcommand backup" -s h -l help -d 'Print help'
complete -c luci -n "__fish_luci_using_subcommand restore" -l state-dir -d 'Folder of the database and the keys' -r -F
complete -c luci -n "__fish_luci_using_subcommand restore" -l database-url -d 'A database of PostgreSQL (postgres://NAME:PASSWORD@HOST/DATABASE) instead of the one in the state folder. Better given in the environment: the list of processes shows arguments to everybody' -r
complete -c luci -n "__fish_luci_using_subcommand restore" -l log-json -d 'Write the log as lines of JSON'
complete -c luci -n "__fish_luci_using_subcommand restore" -s h -l help -d 'Print help'
complete -c luci -n "__fish_luci_using_subcommand user; and not __fish_seen_subcommand_from add reset remove-factor remove list help" -l state-dir -d 'Folder of the database and the keys' -r -F
complete -c luci -n "__fish_luci_using_subcommand user; and not __fish_seen_subcommand_from add reset remove-factor remove list help" -l database-url -d 'A database of PostgreSQL (postgres://NAME:PASSWORD@HOST/DATABASE) instead of the one in the state folder. Better given in the environment: the list of processes shows arguments to everybody' -r
complete -c luci -n "__fish_luci_using_subcommand user; and not __fish_seen_subcommand_from add reset remove-factor remove list help" -l log-json -d 'Write the log as lines of JSON'
complete -c luci -n "__fish_luci_using_subcommand user; and not __fish_seen_subcommand_from add reset remove-factor remove list help" -s h -l help -d 'Print help'
complete -c luci -n "__fish_luci_using_subcommand user; and not __fish_seen_subcommand_from add reset remove-factor remove list help" -f -a "add" -d 'Add an account; the password is read from standard input'
complete -c luci -n "__fish_luci_using_subcommand user; and not __fish_seen_subcommand_from add reset remove-factor remove list help" -f -a "reset" -d 'Set a new password, read from standard input, and end the account\'s sessions'
complete -c luci -n "__fish_luci_using_subcommand user; and not __fish_seen_subcommand_from add reset remove-factor remove list help" -f -a "remove-factor" -d 'Take the second factor of an account away and end its sessions: its owner has lost the device and the recovery codes'
complete -c luci -n "__fish_luci_using_subcommand user; and not __fish_seen_subcommand_from add reset remove-factor remove list help" -f -a "remove" -d 'Remove an account and end its sessions'
complete -c luci -n "__fish_luci_using_subcommand user; and not __fish_seen_subcommand_from add reset remove-factor remove list help" -f -a "list" -d 'List the accounts'
complete -c luci -n "__fish_luci_using_subcommand user; and not __fish_seen_subcommand_from add reset remove-factor remove list help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c luci -n "__fish_luci_using_subcommand user; and __fish_seen_subcommand_from add" -l role -d 'Its role on every cluster and on luci itself' -r -f -a "none\t'Only what it is given on single clusters, in the console'
viewer\t''
operator\t''
administrator\t''"
complete -c luci -n "__fish_luci_using_subcommand user; and __fish_seen_subcommand_from add" -l state-dir -d 'Folder of the database and the keys' -r -F
complete -c luci -n "__fish_luci_using_subcommand user; and __fish_seen_subcommand_from add" -l database-url -d 'A database of PostgreSQL (postgres://NAME:PASSWORD@HOST/DATABASE) instead of the one in the state folder. Better given in the environment: the list of processes shows arguments to everybody' -r
complete -c luci -n "__fish_luci_using_subcommand user; and __fish_seen_subcommand_from add" -l pam -d 'It logs in by PAM; no password is read'
complete -c luci -n "__fish_luci_using_subcommand user; and __fish_seen_subcommand_from add" -l log-json -d 'Write the log as lines of JSON'
complete -c luci -n "__fish_luci_using_subcommand user; and __fish_seen_subcommand_from add" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c luci -n "__fish_luci_using_subcommand user; and __fish_seen_subcommand_from reset" -l state-dir -d 'Folder of the database and the keys' -r -F
complete -c luci -n "__fish_luci_using_subcommand user; and __fish_seen_subcommand_from reset" -l database-url -d 'A database of PostgreSQL (postgres://NAME:PASSWORD@HOST/DATABASE) instead of the one in the state folder. Better given in the environment: the list of processes shows arguments to everybody' -r
complete -c luci -n "__fish_luci_using_subcommand user; and __fish_seen_subcommand_from reset" -l log-json -d 'Write the log as lines of JSON'
complete -c luci -n "__fish_luci_using_subcommand user; and __fish_seen_subcommand_from reset" -s h -l help -d 'Print help'
complete -c luci -n "__fish_luci_using_subcommand user; and __fish_seen_subcommand_from remove-factor" -l state-dir -d 'Folder of the database and the keys' -r -F
complete -c luci -n "__fish_luci_using_subcommand user; and __fish_seen_subcommand_from remove-factor" -l database-url -d 'A database of PostgreSQL (postgres://NAME:PASSWORD@HOST/DATABASE) instead of the one in the state folder. Better given in the environment: the list of processes shows arguments to everybody' -r
complete -c luci -n "__fish_luci_using_subcommand user; and __fish_seen_subcommand_from remove-factor" -l log-json -d 'Write the log as lines of JSON'
complete -c luci -n "__fish_luci_using_subcommand user; and __fish_seen_subcommand_from remove-factor" -s h -l help -d 'Print help'
complete -c luci -n "__fish_luci_using_subcommand user; and __fish_seen_subcommand_from remove" -l state-dir -d 'Folder of the database and the keys' -r -F
complete -c luci -n "__fish_luci_using_subcommand user; and __fish_seen_subcommand_from remove" -l database-url -d 'A database of PostgreSQL (postgres://NAME:PASSWORD@HOST/DATABASE) instead of the one in the state folder. Better given in the environment: the list of processes shows arguments to everybody' -r
complete -c luci -n "__fish_luci_using_subcommand user; and __fish_seen_subcommand_from remove" -l log-json -d 'Write the log as lines of JSON'
complete -c luci -n "__fish_luci_using_subcommand user; and __fish_seen_subcommand_from remove" -s h -l help -d 'Print help'
complete -c luci -n "__fish_luci_using_subcommand user; and __fish_seen_subcommand_from list" -l state-dir -d 'Folder of the database and the keys' -r -F
complete -c luci -n "__fish_luci_using_subcommand user; and __fish_seen_subcommand_from list" -l database-url -d 'A database of PostgreSQL (postgres://NAME:PASSWORD@HOST/DATABASE) instead of the one in the state folder. Better given in the environment: the list of processes shows arguments to everybody' -r
complete -c luci -n "__fish_luci_using_subcommand user; and __fish_seen_subcommand_from list" -l log-json -d 'Write the log as lines of JSON'
complete -c luci -n "__fish_luci_using_subcommand user; and __fish_seen_subcommand_from list" -s h -l help -d 'Print help'
complete -c luci -n "__fish_luci_using_subcommand user; and __fish_seen_subcommand_from help" -f -a "add" -d 'Add an account; the password is read from standard input'
complete -c luci -n "__fish_luci_using_subcommand user; and __fish_seen_subcommand_from help" -f -a "reset" -d 'Set a new password, read from standard input, and end the account\'s sessions'
complete -c luci -n "__fish_luci_using_subcommand user; and __fish_seen_subcommand_from help" -f -a "remove-factor" -d 'Take the second factor of an account away and end its sessions: its owner has lost the device and the recovery codes'
complete -c luci -n "__fish_luci_using_subcommand user; and __fish_seen_subcommand_from help" -f -a "remove" -d 'Remove an account and end its sessions'
complete -c luci -n "__fish_luci_using_subcommand user; and __fish_seen_subcommand_from help" -f -a "list" -d 'List the accounts'
complete -c luci -n "__fish_luci_using_subcommand user; and __fish_seen_subcommand_from help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c luci -n "__fish_luci_using_subcommand help; and not __fish_seen_subcommand_from serve backup restore user help" -f -a "serve" -d 'Serve the console and the API until stopped'
complete -c luci -n "__fish_luci_using_subcommand help; and not __fish_seen_subcommand_from serve backup restore user help" -f -a "backup" -d 'Write a backup (database, certificates, keys) into a folder of its own; luci may go on serving'
complete -c luci -n "__fish_luci_using_subcommand help; and not __fish_seen_subcommand_from serve backup restore user help" -f -a "restore" -d 'Put a backup in place, on this machine or another; luci must not be serving. What was there is kept aside'
complete -c luci -n "__fish_luci_using_subcommand help; and not __fish_seen_subcommand_from serve backup restore user help" -f -a "user" -d 'Accounts'
complete -c luci -n "__fish_luci_using_subcommand help; and not __fish_seen_subcommand_from serve backup restore user help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c luci -n "__fish_luci_using_subcommand help; and __fish_seen_subcommand_from user" -f -a "add" -d 'Add an account; the password is read from standard input'
complete -c luci -n "__fish_luci_using_subcommand help; and __fish_seen_subcommand_from user" -f -a "reset" -d 'Set a new password, read from standard input, and end the account\'s sessions'
complete -c luci -n "__fish_luci_using_subcommand help; and __fish_seen_subcommand_from user" -f -a "remove-factor" -d 'Take the second factor of an account away and end its sessions: its owner has lost the device and the recovery codes'
complete -c luci -n "__fish_luci_using_subcommand help; and __fish_seen_subcommand_from user" -f -a "remove" -d 'Remove an account and end its sessions'
complete -c luci -n "__fish_luci_using_subcommand help; and __fish_seen_subcommand_from user" -f -a "list" -d 'List the accounts'
