#!/bin/sh
# Monthly exercise: moves the web service to another node, adds a service and takes it away again, and checks at every step
# what the cluster says. Written for RHEL 6. Usage: exercise.sh NODE PASSWORD (NODE runs ricci; password of its user ricci)
NODE=$1
PASS=$2
PATH=$PATH:/usr/sbin:/sbin

die() {
    echo "FAILED: $*" >&2
    clustat >&2
    exit 1
}

# attribute GROUP NAME: of a service in the XML of clustat
attribute() {
    clustat -x | grep "<group name=\"$1\"" | sed -e "s/.* $2=\"\([^\"]*\)\".*/\1/"
}

clustat -Q || die "no quorum"
clustat -fx | grep -q '<quorum quorate="1" groupmember="1"/>' || die "this node is no member of the group"
clustat | grep -q '^Member Status: Quorate$' || die "clustat does not say that there is quorum"

# What everybody does before touching anything.
ccs -h "$NODE" -p "$PASS" --getconf > /root/cluster.conf.saved || die "--getconf"
grep -q '</cluster>' /root/cluster.conf.saved || die "--getconf is not whole"
configured=$(ccs -h "$NODE" --lsnodes | cut -d: -f1 | sort | xargs)
[ "$configured" = "$(cman_tool nodes | awk 'NR > 1 { print $NF }' | sort | xargs)" ] ||
    die "--lsnodes says $configured"
# A member's name is the sixth word of its line, after date and time.
[ "$(cman_tool nodes | awk '$2 == "M" { print $6 }' | wc -w)" -eq "$(clustat -x | grep '<node ' | grep -c 'state="1"')" ] ||
    die "cman_tool nodes"

# The check of the monitoring: whatever is started is on a node that is online, and nothing has failed.
clustat | awk '$1 ~ /^(service|vm):/ { print $1, $2, $3 }' > /tmp/services
[ -s /tmp/services ] || die "no services"
while read -r svc node state; do
    case $state in
    failed) die "$svc has failed on $node" ;;
    started) clustat -m "$node" > /dev/null || die "$svc is on $node, which is not online" ;;
    esac
done < /tmp/services

# Where does it run, where else could it?
owner=$(attribute service:web owner)
[ "$(attribute service:web state)" = 112 ] || die "service:web is not started"
target=$(clustat -x | grep '<node ' | grep 'state="1"' | grep 'rgmanager="1"' |
    sed -e 's/.*<node name="\([^"]*\)".*/\1/' | grep -v "^$owner\$" | head -1)
[ -n "$target" ] || die "no other node"

# The columns of the table, cut by position.
[ "$(clustat | grep '^ service:web ' | cut -c33-62 | tr -d ' ')" = "$owner" ] || die "the owner's column has moved"
[ "$(clustat | grep '^ service:web ' | cut -c64-70)" = started ] || die "the state's column has moved"

out=$(clusvcadm -r web -m "$target")
rc=$?
[ $rc -eq 0 ] || die "clusvcadm -r gave $rc: $out"
[ "$(echo "$out" | head -1)" = "Trying to relocate service:web to $target...Success" ] || die "clusvcadm said: $out"
[ "$(echo "$out" | tail -1)" = "service:web is now running on $target" ] || die "clusvcadm said: $out"
[ "$(attribute service:web owner)" = "$target" ] || die "service:web is not on $target"
[ "$(attribute service:web last_owner)" = "$owner" ] || die "the last owner is wrong"
clustat -s web > /dev/null || die "clustat -s web gave $?"

# A new service, by hand.
before=$(cman_tool version | awk '{ print $3 }')
ccs -h "$NODE" -p "$PASS" --addservice backup autostart=0 recovery=relocate || die "--addservice"
ccs -h "$NODE" -p "$PASS" --addsubservice backup ip address=10.77.0.101/24 || die "--addsubservice"
ccs -h "$NODE" -p "$PASS" --checkconf || die "--checkconf"
ccs -h "$NODE" -p "$PASS" --sync --activate || die "--sync --activate"
cman_tool version -r || die "cman_tool version -r"
after=$(cman_tool version | awk '{ print $3 }')
[ "$after" -eq $((before + 2)) ] || die "version $after after version $before"
grep -q "config_version=\"$after\"" /etc/cluster/cluster.conf || die "cluster.conf has not version $after"
ccs -h "$NODE" --lsservices | grep -q '^service: .*name=backup' || die "--lsservices does not list it"

# Its nodes take the change one after another.
i=0
until clustat -s backup > /dev/null 2>&1 || [ $? -eq 119 ] || [ $i -ge 60 ]; do
    i=$((i + 1))
    sleep 1
done
if clusvcadm -e backup -m "$owner" > /dev/null; then
    :
else
    die "clusvcadm -e gave $?"
fi
# Enabling what runs already is no failure.
clusvcadm -e backup > /dev/null || die "clusvcadm -e of a started service gave $?"
[ "$(attribute service:backup owner)" = "$owner" ] || die "service:backup is not on $owner"
# Hands off during the night's work: frozen, looked at, thawed.
clusvcadm -Z backup > /dev/null || die "clusvcadm -Z gave $?"
[ "$(clustat | awk '$1 == "service:backup" { print $4 }')" = "[Z]" ] || die "clustat does not show that it is frozen"
clusvcadm -r backup > /dev/null
[ $? -eq 245 ] || die "a frozen service was relocated"
clusvcadm -U backup > /dev/null || die "clusvcadm -U gave $?"
clusvcadm -s backup > /dev/null || die "clusvcadm -s gave $?"
clustat -s backup > /dev/null
[ $? -eq 110 ] || die "clustat -s of a stopped service did not give 110"
clusvcadm -d backup > /dev/null || die "clusvcadm -d gave $?"
clustat -s backup > /dev/null
[ $? -eq 119 ] || die "clustat -s of a disabled service did not give 119"
clusvcadm -e nosuch > /dev/null 2>&1
[ $? -eq 252 ] || die "clusvcadm -e of an unknown service did not give 252"

# cman's view.
online=$(clustat -x | grep '<node ' | grep -c 'state="1"')
[ "$(cman_tool nodes | awk '$2 == "M"' | wc -l)" -eq "$online" ] || die "cman_tool nodes"
[ "$(cman_tool status | awk -F': ' '$1 == "Nodes" { print $2 }')" -eq "$online" ] || die "cman_tool status"
[ "$(fence_tool ls | awk '/^victim count/ { print $3 }')" -eq 0 ] || die "somebody is being fenced"

ccs -h "$NODE" --rmservice backup || die "--rmservice"
# The other nodes take the change a moment later than NODE.
for i in 1 2 3 4 5 6 7 8 9 10; do
    clustat -s backup > /dev/null 2>&1
    rc=$?
    [ $rc -eq 255 ] && break
    sleep 1
done
[ $rc -eq 255 ] || die "the removed service is still there"
echo "exercise done"
