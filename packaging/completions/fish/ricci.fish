# Print an optspec for argparse to handle cmd's options that are independent of any subcommand.
function __fish_ricci_global_optspecs
    string join \n listen= state-dir= conf= corosync-dir= socket= cluster-state-dir= init= run-dir= log-dir= ocf-root= fence-dir= corosync-program= rgmanager-program= corosync-cfgtool= reboot-program= legacy-protocol= boot-id-file= h/help V/version
end

function __fish_ricci_needs_command
    # Figure out if the current invocation already has a command.
    set -l cmd (commandline -opc)
    set -e cmd[1]
    argparse -s (__fish_ricci_global_optspecs) -- $cmd 2>/dev/null
    or return
    if set -q argv[1]
        # Also print the command, so this can be used to figure out what it is.
        echo $argv[1]
        return 1
    end
    return 0
end

function __fish_ricci_using_subcommand
    set -l cmd (__fish_ricci_needs_command)
    test -z "$cmd"
    and return 1
    contains -- $cmd[1] $argv
end

complete -c ricci -n "__fish_ricci_needs_command" -l listen -d 'Address and port to listen on. Without IPv6, the default becomes 0.0.0.0' -r
complete -c ricci -n "__fish_ricci_needs_command" -l state-dir -d 'Certificate, paired managers, one-time tokens and what was accepted but not yet done' -r -F
complete -c ricci -n "__fish_ricci_needs_command" -l conf -d 'The configuration of the cluster' -r -F
complete -c ricci -n "__fish_ricci_needs_command" -l corosync-dir -d 'Where corosync.conf and authkey belong' -r -F
complete -c ricci -n "__fish_ricci_needs_command" -l socket -d 'Control socket of rgmanager' -r -F
complete -c ricci -n "__fish_ricci_needs_command" -l cluster-state-dir -d 'What rgmanager keeps of its cluster; removed when the node leaves for good' -r -F
complete -c ricci -n "__fish_ricci_needs_command" -l init -d 'Who starts and stops corosync and rgmanager. `auto`: systemd if it runs here, else ricci itself' -r -f -a "auto\t''
systemd\t''
direct\t''"
complete -c ricci -n "__fish_ricci_needs_command" -l run-dir -d 'Process ids of daemons that ricci started itself (`--init direct`)' -r -F
complete -c ricci -n "__fish_ricci_needs_command" -l log-dir -d 'Output of daemons that ricci started itself (`--init direct`)' -r -F
complete -c ricci -n "__fish_ricci_needs_command" -l ocf-root -d 'Resource agents lie in `resource.d/<provider>/` below it' -r -F
complete -c ricci -n "__fish_ricci_needs_command" -l fence-dir -d 'Fence agents lie here as `fence_*`' -r -F
complete -c ricci -n "__fish_ricci_needs_command" -l corosync-program -d 'corosync, run with `-f` (`--init direct`)' -r -F
complete -c ricci -n "__fish_ricci_needs_command" -l rgmanager-program -d 'rgmanager (`--init direct`). Default: beside this program if it is there, else /usr/sbin/rgmanager' -r -F
complete -c ricci -n "__fish_ricci_needs_command" -l corosync-cfgtool -d 'Says that corosync is ready by exit status 0, run with `-s` (`--init direct`)' -r -F
complete -c ricci -n "__fish_ricci_needs_command" -l reboot-program -d 'Run instead of the usual way to reboot this node' -r -F
complete -c ricci -n "__fish_ricci_needs_command" -l legacy-protocol -d 'Also speak the original XML protocol of ricci with clients that name no HTTP version in their handshake' -r -f -a "on\t''
off\t''"
complete -c ricci -n "__fish_ricci_needs_command" -l boot-id-file -d 'Tells one boot of this node from the next' -r -F
complete -c ricci -n "__fish_ricci_needs_command" -s h -l help -d 'Print help'
complete -c ricci -n "__fish_ricci_needs_command" -s V -l version -d 'Print version'
complete -c ricci -n "__fish_ricci_needs_command" -f -a "serve" -d 'Answer managers (default)'
complete -c ricci -n "__fish_ricci_needs_command" -f -a "token" -d 'Print a one-time token with which a manager can pair within 15 minutes'
complete -c ricci -n "__fish_ricci_needs_command" -f -a "status" -d 'Print what a manager would see of this node'
complete -c ricci -n "__fish_ricci_needs_command" -f -a "fingerprint" -d 'Print the SHA-256 fingerprint of this node\'s certificate'
complete -c ricci -n "__fish_ricci_needs_command" -f -a "detach" -d 'Become a daemon and run a program (used by `serve`)'
complete -c ricci -n "__fish_ricci_needs_command" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c ricci -n "__fish_ricci_using_subcommand serve" -l listen -d 'Address and port to listen on. Without IPv6, the default becomes 0.0.0.0' -r
complete -c ricci -n "__fish_ricci_using_subcommand serve" -l state-dir -d 'Certificate, paired managers, one-time tokens and what was accepted but not yet done' -r -F
complete -c ricci -n "__fish_ricci_using_subcommand serve" -l conf -d 'The configuration of the cluster' -r -F
complete -c ricci -n "__fish_ricci_using_subcommand serve" -l corosync-dir -d 'Where corosync.conf and authkey belong' -r -F
complete -c ricci -n "__fish_ricci_using_subcommand serve" -l socket -d 'Control socket of rgmanager' -r -F
complete -c ricci -n "__fish_ricci_using_subcommand serve" -l cluster-state-dir -d 'What rgmanager keeps of its cluster; removed when the node leaves for good' -r -F
complete -c ricci -n "__fish_ricci_using_subcommand serve" -l init -d 'Who starts and stops corosync and rgmanager. `auto`: systemd if it runs here, else ricci itself' -r -f -a "auto\t''
systemd\t''
direct\t''"
complete -c ricci -n "__fish_ricci_using_subcommand serve" -l run-dir -d 'Process ids of daemons that ricci started itself (`--init direct`)' -r -F
complete -c ricci -n "__fish_ricci_using_subcommand serve" -l log-dir -d 'Output of daemons that ricci started itself (`--init direct`)' -r -F
complete -c ricci -n "__fish_ricci_using_subcommand serve" -l ocf-root -d 'Resource agents lie in `resource.d/<provider>/` below it' -r -F
complete -c ricci -n "__fish_ricci_using_subcommand serve" -l fence-dir -d 'Fence agents lie here as `fence_*`' -r -F
complete -c ricci -n "__fish_ricci_using_subcommand serve" -l corosync-program -d 'corosync, run with `-f` (`--init direct`)' -r -F
complete -c ricci -n "__fish_ricci_using_subcommand serve" -l rgmanager-program -d 'rgmanager (`--init direct`). Default: beside this program if it is there, else /usr/sbin/rgmanager' -r -F
complete -c ricci -n "__fish_ricci_using_subcommand serve" -l corosync-cfgtool -d 'Says that corosync is ready by exit status 0, run with `-s` (`--init direct`)' -r -F
complete -c ricci -n "__fish_ricci_using_subcommand serve" -l reboot-program -d 'Run instead of the usual way to reboot this node' -r -F
complete -c ricci -n "__fish_ricci_using_subcommand serve" -l legacy-protocol -d 'Also speak the original XML protocol of ricci with clients that name no HTTP version in their handshake' -r -f -a "on\t''
off\t''"
complete -c ricci -n "__fish_ricci_using_subcommand serve" -l boot-id-file -d 'Tells one boot of this node from the next' -r -F
complete -c ricci -n "__fish_ricci_using_subcommand serve" -s h -l help -d 'Print help'
complete -c ricci -n "__fish_ricci_using_subcommand token" -l listen -d 'Address and port to listen on. Without IPv6, the default becomes 0.0.0.0' -r
complete -c ricci -n "__fish_ricci_using_subcommand token" -l state-dir -d 'Certificate, paired managers, one-time tokens and what was accepted but not yet done' -r -F
complete -c ricci -n "__fish_ricci_using_subcommand token" -l conf -d 'The configuration of the cluster' -r -F
complete -c ricci -n "__fish_ricci_using_subcommand token" -l corosync-dir -d 'Where corosync.conf and authkey belong' -r -F
complete -c ricci -n "__fish_ricci_using_subcommand token" -l socket -d 'Control socket of rgmanager' -r -F
complete -c ricci -n "__fish_ricci_using_subcommand token" -l cluster-state-dir -d 'What rgmanager keeps of its cluster; removed when the node leaves for good' -r -F
complete -c ricci -n "__fish_ricci_using_subcommand token" -l init -d 'Who starts and stops corosync and rgmanager. `auto`: systemd if it runs here, else ricci itself' -r -f -a "auto\t''
systemd\t''
direct\t''"
complete -c ricci -n "__fish_ricci_using_subcommand token" -l run-dir -d 'Process ids of daemons that ricci started itself (`--init direct`)' -r -F
complete -c ricci -n "__fish_ricci_using_subcommand token" -l log-dir -d 'Output of daemons that ricci started itself (`--init direct`)' -r -F
complete -c ricci -n "__fish_ricci_using_subcommand token" -l ocf-root -d 'Resource agents lie in `resource.d/<provider>/` below it' -r -F
complete -c ricci -n "__fish_ricci_using_subcommand token" -l fence-dir -d 'Fence agents lie here as `fence_*`' -r -F
complete -c ricci -n "__fish_ricci_using_subcommand token" -l corosync-program -d 'corosync, run with `-f` (`--init direct`)' -r -F
complete -c ricci -n "__fish_ricci_using_subcommand token" -l rgmanager-program -d 'rgmanager (`--init direct`). Default: beside this program if it is there, else /usr/sbin/rgmanager' -r -F
complete -c ricci -n "__fish_ricci_using_subcommand token" -l corosync-cfgtool -d 'Says that corosync is ready by exit status 0, run with `-s` (`--init direct`)' -r -F
complete -c ricci -n "__fish_ricci_using_subcommand token" -l reboot-program -d 'Run instead of the usual way to reboot this node' -r -F
complete -c ricci -n "__fish_ricci_using_subcommand token" -l legacy-protocol -d 'Also speak the original XML protocol of ricci with clients that name no HTTP version in their handshake' -r -f -a "on\t''
off\t''"
complete -c ricci -n "__fish_ricci_using_subcommand token" -l boot-id-file -d 'Tells one boot of this node from the next' -r -F
complete -c ricci -n "__fish_ricci_using_subcommand token" -s h -l help -d 'Print help'
complete -c ricci -n "__fish_ricci_using_subcommand status" -l listen -d 'Address and port to listen on. Without IPv6, the default becomes 0.0.0.0' -r
complete -c ricci -n "__fish_ricci_using_subcommand status" -l state-dir -d 'Certificate, paired managers, one-time tokens and what was accepted but not yet done' -r -F
complete -c ricci -n "__fish_ricci_using_subcommand status" -l conf -d 'The configuration of the cluster' -r -F
complete -c ricci -n "__fish_ricci_using_subcommand status" -l corosync-dir -d 'Where corosync.conf and authkey belong' -r -F
complete -c ricci -n "__fish_ricci_using_subcommand status" -l socket -d 'Control socket of rgmanager' -r -F
complete -c ricci -n "__fish_ricci_using_subcommand status" -l cluster-state-dir -d 'What rgmanager keeps of its cluster; removed when the node leaves for good' -r -F
complete -c ricci -n "__fish_ricci_using_subcommand status" -l init -d 'Who starts and stops corosync and rgmanager. `auto`: systemd if it runs here, else ricci itself' -r -f -a "auto\t''
systemd\t''
direct\t''"
complete -c ricci -n "__fish_ricci_using_subcommand status" -l run-dir -d 'Process ids of daemons that ricci started itself (`--init direct`)' -r -F
complete -c ricci -n "__fish_ricci_using_subcommand status" -l log-dir -d 'Output of daemons that ricci started itself (`--init direct`)' -r -F
complete -c ricci -n "__fish_ricci_using_subcommand status" -l ocf-root -d 'Resource agents lie in `resource.d/<provider>/` below it' -r -F
complete -c ricci -n "__fish_ricci_using_subcommand status" -l fence-dir -d 'Fence agents lie here as `fence_*`' -r -F
complete -c ricci -n "__fish_ricci_using_subcommand status" -l corosync-program -d 'corosync, run with `-f` (`--init direct`)' -r -F
complete -c ricci -n "__fish_ricci_using_subcommand status" -l rgmanager-program -d 'rgmanager (`--init direct`). Default: beside this program if it is there, else /usr/sbin/rgmanager' -r -F
complete -c ricci -n "__fish_ricci_using_subcommand status" -l corosync-cfgtool -d 'Says that corosync is ready by exit status 0, run with `-s` (`--init direct`)' -r -F
complete -c ricci -n "__fish_ricci_using_subcommand status" -l reboot-program -d 'Run instead of the usual way to reboot this node' -r -F
complete -c ricci -n "__fish_ricci_using_subcommand status" -l legacy-protocol -d 'Also speak the original XML protocol of ricci with clients that name no HTTP version in their handshake' -r -f -a "on\t''
off\t''"
complete -c ricci -n "__fish_ricci_using_subcommand status" -l boot-id-file -d 'Tells one boot of this node from the next' -r -F
complete -c ricci -n "__fish_ricci_using_subcommand status" -s h -l help -d 'Print help'
complete -c ricci -n "__fish_ricci_using_subcommand fingerprint" -l listen -d 'Address and port to listen on. Without IPv6, the default becomes 0.0.0.0' -r
complete -c ricci -n "__fish_ricci_using_subcommand fingerprint" -l state-dir -d 'Certificate, paired managers, one-time tokens and what was accepted but not yet done' -r -F
complete -c ricci -n "__fish_ricci_using_subcommand fingerprint" -l conf -d 'The configuration of the cluster' -r -F
complete -c ricci -n "__fish_ricci_using_subcommand fingerprint" -l corosync-dir -d 'Where corosync.conf and authkey belong' -r -F
complete -c ricci -n "__fish_ricci_using_subcommand fingerprint" -l socket -d 'Control socket of rgmanager' -r -F
complete -c ricci -n "__fish_ricci_using_subcommand fingerprint" -l cluster-state-dir -d 'What rgmanager keeps of its cluster; removed when the node leaves for good' -r -F
complete -c ricci -n "__fish_ricci_using_subcommand fingerprint" -l init -d 'Who starts and stops corosync and rgmanager. `auto`: systemd if it runs here, else ricci itself' -r -f -a "auto\t''
systemd\t''
direct\t''"
complete -c ricci -n "__fish_ricci_using_subcommand fingerprint" -l run-dir -d 'Process ids of daemons that ricci started itself (`--init direct`)' -r -F
complete -c ricci -n "__fish_ricci_using_subcommand fingerprint" -l log-dir -d 'Output of daemons that ricci started itself (`--init direct`)' -r -F
complete -c ricci -n "__fish_ricci_using_subcommand fingerprint" -l ocf-root -d 'Resource agents lie in `resource.d/<provider>/` below it' -r -F
complete -c ricci -n "__fish_ricci_using_subcommand fingerprint" -l fence-dir -d 'Fence agents lie here as `fence_*`' -r -F
complete -c ricci -n "__fish_ricci_using_subcommand fingerprint" -l corosync-program -d 'corosync, run with `-f` (`--init direct`)' -r -F
complete -c ricci -n "__fish_ricci_using_subcommand fingerprint" -l rgmanager-program -d 'rgmanager (`--init direct`). Default: beside this program if it is there, else /usr/sbin/rgmanager' -r -F
complete -c ricci -n "__fish_ricci_using_subcommand fingerprint" -l corosync-cfgtool -d 'Says that corosync is ready by exit status 0, run with `-s` (`--init direct`)' -r -F
complete -c ricci -n "__fish_ricci_using_subcommand fingerprint" -l reboot-program -d 'Run instead of the usual way to reboot this node' -r -F
complete -c ricci -n "__fish_ricci_using_subcommand fingerprint" -l legacy-protocol -d 'Also speak the original XML protocol of ricci with clients that name no HTTP version in their handshake' -r -f -a "on\t''
off\t''"
complete -c ricci -n "__fish_ricci_using_subcommand fingerprint" -l boot-id-file -d 'Tells one boot of this node from the next' -r -F
complete -c ricci -n "__fish_ricci_using_subcommand fingerprint" -s h -l help -d 'Print help'
complete -c ricci -n "__fish_ricci_using_subcommand detach" -l pid-file -r -F
complete -c ricci -n "__fish_ricci_using_subcommand detach" -l listen -d 'Address and port to listen on. Without IPv6, the default becomes 0.0.0.0' -r
complete -c ricci -n "__fish_ricci_using_subcommand detach" -l state-dir -d 'Certificate, paired managers, one-time tokens and what was accepted but not yet done' -r -F
complete -c ricci -n "__fish_ricci_using_subcommand detach" -l conf -d 'The configuration of the cluster' -r -F
complete -c ricci -n "__fish_ricci_using_subcommand detach" -l corosync-dir -d 'Where corosync.conf and authkey belong' -r -F
complete -c ricci -n "__fish_ricci_using_subcommand detach" -l socket -d 'Control socket of rgmanager' -r -F
complete -c ricci -n "__fish_ricci_using_subcommand detach" -l cluster-state-dir -d 'What rgmanager keeps of its cluster; removed when the node leaves for good' -r -F
complete -c ricci -n "__fish_ricci_using_subcommand detach" -l init -d 'Who starts and stops corosync and rgmanager. `auto`: systemd if it runs here, else ricci itself' -r -f -a "auto\t''
systemd\t''
direct\t''"
complete -c ricci -n "__fish_ricci_using_subcommand detach" -l run-dir -d 'Process ids of daemons that ricci started itself (`--init direct`)' -r -F
complete -c ricci -n "__fish_ricci_using_subcommand detach" -l log-dir -d 'Output of daemons that ricci started itself (`--init direct`)' -r -F
complete -c ricci -n "__fish_ricci_using_subcommand detach" -l ocf-root -d 'Resource agents lie in `resource.d/<provider>/` below it' -r -F
complete -c ricci -n "__fish_ricci_using_subcommand detach" -l fence-dir -d 'Fence agents lie here as `fence_*`' -r -F
complete -c ricci -n "__fish_ricci_using_subcommand detach" -l corosync-program -d 'corosync, run with `-f` (`--init direct`)' -r -F
complete -c ricci -n "__fish_ricci_using_subcommand detach" -l rgmanager-program -d 'rgmanager (`--init direct`). Default: beside this program if it is there, else /usr/sbin/rgmanager' -r -F
complete -c ricci -n "__fish_ricci_using_subcommand detach" -l corosync-cfgtool -d 'Says that corosync is ready by exit status 0, run with `-s` (`--init direct`)' -r -F
complete -c ricci -n "__fish_ricci_using_subcommand detach" -l reboot-program -d 'Run instead of the usual way to reboot this node' -r -F
complete -c ricci -n "__fish_ricci_using_subcommand detach" -l legacy-protocol -d 'Also speak the original XML protocol of ricci with clients that name no HTTP version in their handshake' -r -f -a "on\t''
off\t''"
complete -c ricci -n "__fish_ricci_using_subcommand detach" -l boot-id-file -d 'Tells one boot of this node from the next' -r -F
complete -c ricci -n "__fish_ricci_using_subcommand detach" -s h -l help -d 'Print help'
complete -c ricci -n "__fish_ricci_using_subcommand help; and not __fish_seen_subcommand_from serve token status fingerprint detach help" -f -a "serve" -d 'Answer managers (default)'
complete -c ricci -n "__fish_ricci_using_subcommand help; and not __fish_seen_subcommand_from serve token status fingerprint detach help" -f -a "token" -d 'Print a one-time token with which a manager can pair within 15 minutes'
complete -c ricci -n "__fish_ricci_using_subcommand help; and not __fish_seen_subcommand_from serve token status fingerprint detach help" -f -a "status" -d 'Print what a manager would see of this node'
complete -c ricci -n "__fish_ricci_using_subcommand help; and not __fish_seen_subcommand_from serve token status fingerprint detach help" -f -a "fingerprint" -d 'Print the SHA-256 fingerprint of this node\'s certificate'
complete -c ricci -n "__fish_ricci_using_subcommand help; and not __fish_seen_subcommand_from serve token status fingerprint detach help" -f -a "detach" -d 'Become a daemon and run a program (used by `serve`)'
complete -c ricci -n "__fish_ricci_using_subcommand help; and not __fish_seen_subcommand_from serve token status fingerprint detach help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
