//! What is said about configurations: the samples, and one fault at a time in an otherwise sound file.

use std::fmt::Write as _;

use expect_test::{Expect, expect};
use shared::conf::{self, Finding, check_successor};

use crate::samples::{sample, samples};

fn told(findings: &[Finding]) -> String {
    let mut out = String::new();
    for finding in findings {
        let place = &finding.place;
        let severity = format!("{:?}", finding.severity).to_lowercase();
        writeln!(out, "{}:{} {severity} {} {}", place.line, place.column, finding.rule, place.path).unwrap();
        writeln!(out, "    {}", finding.text).unwrap();
        writeln!(out, "    → {}", finding.hint).unwrap();
    }
    out
}

/// A sound three-node configuration into which a fault is put.
const SOUND: &str = "<cluster name='c' config_version='5'>
<cman/>
<clusternodes>
<clusternode name='n1' nodeid='1'><fence><method name='m'><device name='ipmi' port='1'/></method></fence></clusternode>
<clusternode name='n2' nodeid='2'><fence><method name='m'><device name='ipmi' port='2'/></method></fence></clusternode>
<clusternode name='n3' nodeid='3'><fence><method name='m'><device name='ipmi' port='3'/></method></fence></clusternode>
</clusternodes>
<fencedevices><fencedevice name='ipmi' agent='fence_ipmilan'/></fencedevices>
<rm>
<failoverdomains><failoverdomain name='east' ordered='1'><failoverdomainnode name='n1' priority='1'/></failoverdomain></failoverdomains>
<resources><ip address='10.0.0.1/24'/></resources>
<service name='web' domain='east'><ip ref='10.0.0.1/24'/></service>
</rm>
</cluster>";

/// What is said after a piece of the sound configuration is replaced.
fn with(from: &str, to: &str) -> String {
    assert!(SOUND.contains(from), "{from}");
    told(&conf::load(&SOUND.replace(from, to)).findings)
}

fn check_table(table: &[(&str, &str)], expected: &Expect) {
    let lines: Vec<_> = table.iter().map(|(from, to)| format!("{from} ⇒ {to}\n{}", with(from, to))).collect();
    expected.assert_eq(&lines.join("\n"));
}

/// As `with`, of devices of another agent.
fn with_agent(agent: &str, from: &str, to: &str) -> String {
    let sound = SOUND.replace("agent='fence_ipmilan'", &format!("agent='{agent}'"));
    told(&conf::load(&sound.replace(from, to)).findings)
}

#[test]
fn an_argument_of_a_fence_agent_under_two_names_is_told_and_refused_where_the_agent_would_fail_or_choose() {
    let instance = "<device name='ipmi' port='1'/>";
    let both = |value: &str| format!("<device name='ipmi' port='1' plug='{value}'/>");
    expect![[r#"
        4:88 error argument-twice /cluster/clusternodes/clusternode[@name='n1']/fence/method[@name='m']/device[@name='ipmi']/@plug
            port and plug of fence device ipmi are two names of one argument
            → leave out port: fence_xvm does not run when it is given both
    "#]]
    .assert_eq(&with_agent("fence_xvm", instance, &both("1")));
    expect![[r#"
        4:88 error argument-twice /cluster/clusternodes/clusternode[@name='n1']/fence/method[@name='m']/device[@name='ipmi']/@plug
            port and plug of fence device ipmi are two names of one argument
            → leave out port: which of the two values counts is left to the agent
    "#]]
    .assert_eq(&with(instance, &both("2")));
    expect![[r#"
        4:88 warning argument-twice /cluster/clusternodes/clusternode[@name='n1']/fence/method[@name='m']/device[@name='ipmi']/@plug
            port and plug of fence device ipmi are two names of one argument
            → leave out port
    "#]]
    .assert_eq(&with(instance, &both("1")));
    // A device and its use are two places: there the use counts, by whatever name.
    assert_eq!(with("agent='fence_ipmilan'", "agent='fence_ipmilan' plug='7'"), "");
    // Of a device itself; `-` and `_` are one to the agents.
    let told =
        with("agent='fence_ipmilan'", "agent='fence_ipmilan' username='a' login='b' power-wait='1' power_wait='1'");
    assert!(told.contains("username and login of fence device ipmi") && told.contains("leave out login:"), "{told}");
    assert!(told.contains("warning argument-twice") && told.contains("power-wait and power_wait"), "{told}");
}

#[test]
fn nothing_is_said_about_a_sound_configuration() {
    assert_eq!(told(&conf::load(SOUND).findings), "");
}

#[test]
fn no_sample_has_an_error_and_what_changed_since_rhel_6_is_told() {
    let mut out = String::new();
    for (name, text) in samples() {
        let loaded = conf::load(&text);
        assert!(!loaded.has_errors(), "{name}: {}", told(&loaded.findings));
        writeln!(out, "== {name}\n{}", told(&loaded.findings)).unwrap();
    }
    expect![[r#"
        == byte-order-mark.conf
        2:54 warning node-not-fenced /cluster/clusternodes/clusternode[@name='n1']
            node n1 has no fence method: if it fails, its services stay down until someone acknowledges it by hand
            → add a fence device and a method for the node

        == luci-one-line.conf
        2:58 warning node-not-fenced /cluster/clusternodes/clusternode[@name='x1']
            node x1 has no fence method: if it fails, its services stay down until someone acknowledges it by hand
            → add a fence device and a method for the node
        2:114 warning node-not-fenced /cluster/clusternodes/clusternode[@name='x2']
            node x2 has no fence method: if it fails, its services stay down until someone acknowledges it by hand
            → add a fence device and a method for the node

        == many-types.conf
        11:78 info attribute-ignored /cluster/rm/resources/apache[@name='www']/@shutdown_wait
            shutdown_wait of <apache> has no effect
            → the timeout of the stop action takes its place: <action name="stop" timeout="…"/>
        13:52 info attribute-ignored /cluster/rm/resources/named[@name='dns']/@named_sdb
            named_sdb of <named> has no effect
            → named reads its zones as its configuration says
        15:4 info kind-note /cluster/rm/resources/samba[@name='smb']
            <samba> differs from RHEL 6
            → smb.service is started; where the unit has another name use <systemd unit=…>, and a second one for nmb
        15:22 info attribute-ignored /cluster/rm/resources/samba[@name='smb']/@config_file
            config_file of <samba> has no effect
            → the unit smb.service reads /etc/samba/smb.conf
        16:4 info kind-note /cluster/rm/resources/tomcat-6[@name='tc']
            <tomcat-6> differs from RHEL 6
            → give catalina_home and java_home unless /usr/share/tomcat and /usr/lib/jvm/default-java are right
        16:24 info attribute-ignored /cluster/rm/resources/tomcat-6[@name='tc']/@config_file
            config_file of <tomcat-6> has no effect
            → the agent takes its settings from the attributes catalina_home and java_home
        17:4 info kind-note /cluster/rm/resources/oracledb[@name='ORCL']
            <oracledb> differs from RHEL 6
            → only the database is started; add <oralistener> for its listener
        21:4 info kind-note /cluster/rm/resources/clusterfs[@name='gfs']
            <clusterfs> differs from RHEL 6
            → a shared file system needs its lock manager (dlm) running on every node; this suite does not start it

        == minimal.conf
        1:54 warning node-not-fenced /cluster/clusternodes/clusternode[@name='solo']
            node solo has no fence method: if it fails, its services stay down until someone acknowledges it by hand
            → add a fence device and a method for the node

        == nasty-format.conf
        10:15 warning node-not-fenced /cluster/clusternodes/clusternode[@name='n1']
            node n1 has no fence method: if it fails, its services stay down until someone acknowledges it by hand
            → add a fence device and a method for the node
        11:2 warning node-not-fenced /cluster/clusternodes/clusternode[@name='n2']
            node n2 has no fence method: if it fails, its services stay down until someone acknowledges it by hand
            → add a fence device and a method for the node
        13:42 warning node-not-fenced /cluster/clusternodes/clusternode[@name='n3']
            node n3 has no fence method: if it fails, its services stay down until someone acknowledges it by hand
            → add a fence device and a method for the node

        == nfs.conf
        16:25 info attribute-ignored /cluster/rm/service[@name='nfs']/@nfslock
            nfslock of <service> has no effect
            → exports give up their locks when they stop, and an nfsserver resource takes those of the clients along
        16:37 info attribute-ignored /cluster/rm/service[@name='nfs']/@nfs_client_cache
            nfs_client_cache of <service> has no effect
            → each check of an export asks the kernel, which takes no time worth saving

        == qdisk-and-logging.conf
        3:9 warning expected-votes-differ /cluster/cman/@expected_votes
            expected_votes is 5, but the votes of all nodes add up to 3
            → remove expected_votes: it is computed from the nodes
        4:5 info no-effect /cluster/cman/multicast
            <multicast> has no effect
            → corosync's knet sends to each node by itself
        7:3 warning no-effect /cluster/quorumd
            <quorumd> has no effect
            → quorum disks are gone; <qdevice> names a host outside the cluster that votes in their place
        10:3 info no-effect /cluster/dlm
            <dlm> has no effect
            → the lock manager is configured in /etc/dlm/dlm.conf
        15:3 info no-effect /cluster/uidgid
            <uidgid> has no effect
            → put a file into /etc/corosync/uidgid.d
        22:63 info secret-plain /cluster/fencedevices/fencedevice[@name='drac']/@passwd
            a secret stands in the configuration itself
            → it works; luci (Fence Devices) and ccs --movesecrets move them to a file per node that only root reads

        == service-in-resources.conf
        4:9 warning node-not-fenced /cluster/clusternodes/clusternode[@name='s1']
            node s1 has no fence method: if it fails, its services stay down until someone acknowledges it by hand
            → add a fence device and a method for the node
        5:9 warning node-not-fenced /cluster/clusternodes/clusternode[@name='s2']
            node s2 has no fence method: if it fails, its services stay down until someone acknowledges it by hand
            → add a fence device and a method for the node
        6:9 warning node-not-fenced /cluster/clusternodes/clusternode[@name='s3']
            node s3 has no fence method: if it fails, its services stay down until someone acknowledges it by hand
            → add a fence device and a method for the node

        == three-node-nested.conf
        3:21 info transport-ignored /cluster/cman/@transport
            transport of <cman> has no effect: messages travel by knet, encrypted
            → nothing needs to be done
        32:84 info secret-plain /cluster/fencedevices/fencedevice[@name='ipmi1']/@passwd
            3 secrets stand in the configuration itself
            → it works; luci (Fence Devices) and ccs --movesecrets move them to a file per node that only root reads
        45:7 warning domain-empty /cluster/rm/failoverdomains/failoverdomain[@name='anywhere']
            failover domain anywhere has no nodes, so that it prefers none
            → add nodes, or remove it
        48:7 info kind-note /cluster/rm/resources/lvm[@name='vg_data']
            <lvm> differs from RHEL 6
            → volumes are activated by tags as before; set volume_list in lvm.conf on every node, or write vg_access_mode="system_id"
        55:106 info attribute-ignored /cluster/rm/service[@name='postgres']/@nfslock
            nfslock of <service> has no effect
            → exports give up their locks when they stop, and an nfsserver resource takes those of the clients along

        == two-node-apache.conf
        23:95 info secret-plain /cluster/fencedevices/fencedevice[@name='ilo-node1']/@passwd
            2 secrets stand in the configuration itself
            → it works; luci (Fence Devices) and ccs --movesecrets move them to a file per node that only root reads
        34:53 info attribute-ignored /cluster/rm/resources/ip[@address='192.168.1.100/24']/@sleeptime
            sleeptime of <ip> has no effect
            → stopping does not wait after the address is removed

        == vendor-elements.conf
        4:3 info unknown-element /cluster/acme:inventory
            <acme:inventory> is not known
            → it is kept as it is and has no effect
        7:5 warning node-not-fenced /cluster/clusternodes/clusternode[@name='v1']
            node v1 has no fence method: if it fails, its services stay down until someone acknowledges it by hand
            → add a fence device and a method for the node
        8:5 warning node-not-fenced /cluster/clusternodes/clusternode[@name='v2']
            node v2 has no fence method: if it fails, its services stay down until someone acknowledges it by hand
            → add a fence device and a method for the node
        9:5 warning node-not-fenced /cluster/clusternodes/clusternode[@name='v3']
            node v3 has no fence method: if it fails, its services stay down until someone acknowledges it by hand
            → add a fence device and a method for the node
        10:5 warning node-not-fenced /cluster/clusternodes/clusternode[@name='v4']
            node v4 has no fence method: if it fails, its services stay down until someone acknowledges it by hand
            → add a fence device and a method for the node

        == virtual-machines.conf

        == windows-line-ends.conf
        4:5 warning node-not-fenced /cluster/clusternodes/clusternode[@name='w1']
            node w1 has no fence method: if it fails, its services stay down until someone acknowledges it by hand
            → add a fence device and a method for the node
        5:5 warning node-not-fenced /cluster/clusternodes/clusternode[@name='w2']
            node w2 has no fence method: if it fails, its services stay down until someone acknowledges it by hand
            → add a fence device and a method for the node
        6:5 warning node-not-fenced /cluster/clusternodes/clusternode[@name='w3']
            node w3 has no fence method: if it fails, its services stay down until someone acknowledges it by hand
            → add a fence device and a method for the node

    "#]].assert_eq(&out);
}

#[test]
fn faults_of_the_cluster_and_its_nodes_are_found() {
    check_table(
        &[
            (" config_version='5'", ""),
            ("config_version='5'", "config_version='five'"),
            ("name='c' ", ""),
            ("name='c'", "name='&lt;script&gt;'"),
            ("name='c'", "name='a&#10;b'"),
            ("nodeid='2'", ""),
            ("nodeid='2'", "nodeid='1'"),
            ("nodeid='2'", "nodeid='0'"),
            ("nodeid='2'", "nodeid='-3'"),
            ("clusternode name='n2'", "clusternode name='N1'"),
            ("clusternode name='n2' ", "clusternode "),
            ("clusternode name='n2'", "clusternode name='n 2'"),
            ("<cman/>", "<cman two_node='1' expected_votes='1'/>"),
            ("<cman/>", "<cman expected_votes='1'/>"),
            ("<cman/>", "<cman expected_votes='9'/>"),
            ("<cman/>", "<cman/><cman/>"),
            ("<cman/>", "<cman transport='udpu'/>"),
            ("<cman/>", "<totem token='10s'/>"),
            ("nodeid='1'>", "nodeid='1'><altname name='n1-hb'/>"),
        ],
        &expect![[r#"
             config_version='5' ⇒ 
            1:1 error attribute-missing /cluster
                <cluster> lacks the attribute config_version
                → add it with a whole number from 1

            config_version='5' ⇒ config_version='five'
            1:19 error invalid-number /cluster/@config_version
                config_version="five" is not a number that can be used here
                → write a whole number without a unit

            name='c'  ⇒ 
            1:1 error name-missing /cluster
                a cluster has no name
                → add name="…"

            name='c' ⇒ name='&lt;script&gt;'
            1:10 error name-invalid /cluster/@name
                the name "<script>" of a cluster cannot be used: it contains <
                → use letters, digits, "-", "_" and "."

            name='c' ⇒ name='a&#10;b'
            1:10 error name-invalid /cluster/@name
                the name "ab" of a cluster cannot be used: it contains a control character
                → use letters, digits, "-", "_" and "."

            nodeid='2' ⇒ 
            5:1 error attribute-missing /cluster/clusternodes/clusternode[@name='n2']
                <clusternode> lacks the attribute nodeid
                → add it with a whole number from 1

            nodeid='2' ⇒ nodeid='1'
            5:24 error nodeid-duplicate /cluster/clusternodes/clusternode[@name='n2']/@nodeid
                the nodes n1 and n2 both have the nodeid 1
                → give each node its own number

            nodeid='2' ⇒ nodeid='0'
            5:24 error nodeid-zero /cluster/clusternodes/clusternode[@name='n2']/@nodeid
                node n2 has the nodeid 0
                → node ids count from 1

            nodeid='2' ⇒ nodeid='-3'
            5:24 error invalid-number /cluster/clusternodes/clusternode[@name='n2']/@nodeid
                nodeid="-3" is not a number that can be used here
                → write a whole number without a unit

            clusternode name='n2' ⇒ clusternode name='N1'
            5:14 error name-duplicate /cluster/clusternodes/clusternode[@name='N1']/@name
                there is another node N1 in line 4
                → give one of them another name, or remove it

            clusternode name='n2'  ⇒ clusternode 
            5:1 error name-missing /cluster/clusternodes/clusternode[2]
                a node has no name
                → add name="…"

            clusternode name='n2' ⇒ clusternode name='n 2'
            5:14 error node-name-invalid /cluster/clusternodes/clusternode[@name='n 2']/@name
                n 2 cannot be the name of a host
                → use the name by which the other nodes reach it, or its address

            <cman/> ⇒ <cman two_node='1' expected_votes='1'/>
            2:7 error two-node-count /cluster/cman/@two_node
                two_node is set, but the cluster has 3 nodes
                → remove two_node and expected_votes from <cman>

            <cman/> ⇒ <cman expected_votes='1'/>
            2:7 error expected-votes-low /cluster/cman/@expected_votes
                expected_votes is 1, but the votes of all nodes add up to 3
                → remove expected_votes: it is computed from the nodes

            <cman/> ⇒ <cman expected_votes='9'/>
            2:7 warning expected-votes-differ /cluster/cman/@expected_votes
                expected_votes is 9, but the votes of all nodes add up to 3
                → remove expected_votes: it is computed from the nodes

            <cman/> ⇒ <cman/><cman/>
            2:8 error element-duplicate /cluster/cman[2]
                <cman> stands twice
                → put everything into the first one

            <cman/> ⇒ <cman transport='udpu'/>
            2:7 info transport-ignored /cluster/cman/@transport
                transport of <cman> has no effect: messages travel by knet, encrypted
                → nothing needs to be done

            <cman/> ⇒ <totem token='10s'/>
            2:8 error invalid-number /cluster/totem/@token
                token="10s" is not a number that can be used here
                → write a whole number without a unit

            nodeid='1'> ⇒ nodeid='1'><altname name='n1-hb'/>
            3:1 error altname-missing /cluster/clusternodes
                1 nodes have an altname and 2 have none
                → the second link needs an address on every node: add the missing altnames
        "#]],
    );
}

#[test]
fn faults_of_fencing_are_found() {
    check_table(
        &[
            ("<device name='ipmi' port='1'/>", "<device name='impi' port='1'/>"),
            ("<device name='ipmi' port='1'/>", "<device port='1'/>"),
            ("<device name='ipmi' port='1'/>", ""),
            ("<fence><method name='m'><device name='ipmi' port='1'/></method></fence>", ""),
            (
                "<device name='ipmi' port='1'/></method>",
                "<device name='ipmi' port='1'/></method><method name='m'><device name='ipmi'/></method>",
            ),
            ("<fencedevices>", "<fencedevices><fencedevice name='ipmi' agent='fence_apc'/>"),
            ("<fencedevices>", "<fencedevices><fencedevice name='2pdu' agent='fence_apc'/>"),
            (" agent='fence_ipmilan'", ""),
            ("agent='fence_ipmilan'", "agent='../../bin/reboot'"),
            ("agent='fence_ipmilan'", "agent='fence_ipmilan' passwd='a&#10;action=off'"),
        ],
        &expect![[r#"
            <device name='ipmi' port='1'/> ⇒ <device name='impi' port='1'/>
            4:67 error unknown-reference /cluster/clusternodes/clusternode[@name='n1']/fence/method[@name='m']/device[@name='impi']/@name
                there is no fence device impi
                → add <fencedevice name="impi" …>; did you mean ipmi?

            <device name='ipmi' port='1'/> ⇒ <device port='1'/>
            4:59 error name-missing /cluster/clusternodes/clusternode[@name='n1']/fence/method[@name='m']/device
                a <device> does not say which fence device it is
                → add name="…" with the name of a <fencedevice>

            <device name='ipmi' port='1'/> ⇒ 
            4:42 error method-empty /cluster/clusternodes/clusternode[@name='n1']/fence/method[@name='m']
                fence method m has no devices
                → add a <device>, or remove the method

            <fence><method name='m'><device name='ipmi' port='1'/></method></fence> ⇒ 
            4:1 warning node-not-fenced /cluster/clusternodes/clusternode[@name='n1']
                node n1 has no fence method: if it fails, its services stay down until someone acknowledges it by hand
                → add a fence device and a method for the node

            <device name='ipmi' port='1'/></method> ⇒ <device name='ipmi' port='1'/></method><method name='m'><device name='ipmi'/></method>
            4:106 error name-duplicate /cluster/clusternodes/clusternode[@name='n1']/fence/method[@name='m'][2]/@name
                there is another fence method m in line 4
                → give one of them another name, or remove it

            <fencedevices> ⇒ <fencedevices><fencedevice name='ipmi' agent='fence_apc'/>
            8:72 error name-duplicate /cluster/fencedevices/fencedevice[@name='ipmi'][2]/@name
                there is another fence device ipmi in line 8
                → give one of them another name, or remove it

            <fencedevices> ⇒ <fencedevices><fencedevice name='2pdu' agent='fence_apc'/>
            8:15 info unused /cluster/fencedevices/fencedevice[@name='2pdu']
                fence device 2pdu is not used by any node
                → add it to a fence method of the node that it can switch off
            8:28 warning device-name-digit /cluster/fencedevices/fencedevice[@name='2pdu']/@name
                the name of fence device 2pdu starts with a digit
                → tools of RHEL 6 refuse such a file; begin the name with a letter

             agent='fence_ipmilan' ⇒ 
            8:15 error attribute-missing /cluster/fencedevices/fencedevice[@name='ipmi']
                fence device ipmi has no agent
                → add agent="fence_…"

            agent='fence_ipmilan' ⇒ agent='../../bin/reboot'
            8:40 error agent-invalid /cluster/fencedevices/fencedevice[@name='ipmi']/@agent
                ../../bin/reboot is not the name of a fence agent
                → the names of fence agents begin with fence_, e.g. fence_ipmilan

            agent='fence_ipmilan' ⇒ agent='fence_ipmilan' passwd='a&#10;action=off'
            8:62 error argument-invalid /cluster/fencedevices/fencedevice[@name='ipmi']/@passwd
                the attribute passwd contains a line end
                → remove it
            8:62 info secret-plain /cluster/fencedevices/fencedevice[@name='ipmi']/@passwd
                a secret stands in the configuration itself
                → it works; luci (Fence Devices) and ccs --movesecrets move them to a file per node that only root reads
        "#]],
    );
}

#[test]
fn faults_of_domains_and_services_are_found() {
    check_table(
        &[
            ("<failoverdomainnode name='n1' priority='1'/>", "<failoverdomainnode name='n9' priority='1'/>"),
            (
                "<failoverdomainnode name='n1' priority='1'/>",
                "<failoverdomainnode name='n1' priority='1'/><failoverdomainnode name='n1' priority='2'/>",
            ),
            ("<failoverdomainnode name='n1' priority='1'/>", "<failoverdomainnode name='n1' priority='200'/>"),
            ("ordered='1'><failoverdomainnode name='n1' priority='1'/>", "restricted='1'>"),
            ("ordered='1'", "ordered='yes'"),
            (
                "</failoverdomains>",
                "<failoverdomain name='EAST'><failoverdomainnode name='n2'/></failoverdomain></failoverdomains>",
            ),
            ("domain='east'", "domain='esat'"),
            ("domain='east'", "depend='service:db'"),
            ("domain='east'", "depend='service:web'"),
            ("domain='east'", "recovery='restrat'"),
            ("domain='east'", "restart_expire_time='5x'"),
            ("<service name='web'", "<service name=''"),
            ("</rm>", "<service name='web'><script name='s' file='/etc/init.d/s'/></service></rm>"),
            ("</rm>", "<service ref='db'/></rm>"),
        ],
        &expect![[r#"
            <failoverdomainnode name='n1' priority='1'/> ⇒ <failoverdomainnode name='n9' priority='1'/>
            10:78 error unknown-reference /cluster/rm/failoverdomains/failoverdomain[@name='east']/failoverdomainnode[@name='n9']/@name
                there is no node n9
                → add the node to the cluster or remove it here; did you mean n1?

            <failoverdomainnode name='n1' priority='1'/> ⇒ <failoverdomainnode name='n1' priority='1'/><failoverdomainnode name='n1' priority='2'/>
            10:122 error name-duplicate /cluster/rm/failoverdomains/failoverdomain[@name='east']/failoverdomainnode[@name='n1'][2]/@name
                there is another node of this failover domain n1 in line 10
                → give one of them another name, or remove it

            <failoverdomainnode name='n1' priority='1'/> ⇒ <failoverdomainnode name='n1' priority='200'/>
            10:88 warning priority-invalid /cluster/rm/failoverdomains/failoverdomain[@name='east']/failoverdomainnode[@name='n1']/@priority
                priority="200" counts as 0, which is preferred to all others
                → use 1 (preferred) to 100

            ordered='1'><failoverdomainnode name='n1' priority='1'/> ⇒ restricted='1'>
            10:18 error domain-empty /cluster/rm/failoverdomains/failoverdomain[@name='east']
                the restricted failover domain east has no nodes: its services could run nowhere
                → add nodes, or make it unrestricted

            ordered='1' ⇒ ordered='yes'
            10:46 warning switch-not-a-number /cluster/rm/failoverdomains/failoverdomain[@name='east']/@ordered
                ordered="yes" counts as off: only a number switches it on
                → write 1 for on, 0 for off

            </failoverdomains> ⇒ <failoverdomain name='EAST'><failoverdomainnode name='n2'/></failoverdomain></failoverdomains>
            10:135 error name-duplicate /cluster/rm/failoverdomains/failoverdomain[@name='EAST']/@name
                there is another failover domain EAST in line 10
                → give one of them another name, or remove it

            domain='east' ⇒ domain='esat'
            12:21 error unknown-reference /cluster/rm/service[@name='web']/@domain
                there is no failover domain esat
                → add it, or remove the attribute domain; did you mean east?

            domain='east' ⇒ depend='service:db'
            12:21 error unknown-reference /cluster/rm/service[@name='web']/@depend
                there is no service:db
                → write depend="service:NAME" or "vm:NAME"; did you mean service:web?

            domain='east' ⇒ depend='service:web'
            12:21 error dependency-circle /cluster/rm/service[@name='web']/@depend
                service:web depends on itself, so that it could never start
                → remove one depend of the circle

            domain='east' ⇒ recovery='restrat'
            12:21 warning recovery-unknown /cluster/rm/service[@name='web']/@recovery
                recovery="restrat" is not known and counts as restart
                → use restart, relocate, disable or restart-disable

            domain='east' ⇒ restart_expire_time='5x'
            12:21 error time-invalid /cluster/rm/service[@name='web']/@restart_expire_time
                restart_expire_time="5x" is not a time
                → write seconds, or numbers with s, m, h, d, w, y: 90, 5m, 1h30m

            <service name='web' ⇒ <service name=''
            12:1 error name-missing /cluster/rm/service
                a service has no name
                → add name="…"

            </rm> ⇒ <service name='web'><script name='s' file='/etc/init.d/s'/></service></rm>
            13:10 error name-duplicate /cluster/rm/service[@name='web'][2]/@name
                there is another service web in line 12
                → give one of them another name, or remove it

            </rm> ⇒ <service ref='db'/></rm>
            13:10 error unknown-reference /cluster/rm/service[@ref='db']/@ref
                <resources> has no service db
                → define it in <resources>, or write <service name="db">
        "#]],
    );
}

#[test]
fn faults_of_resources_are_found() {
    check_table(
        &[
            ("<ip ref='10.0.0.1/24'/>", "<ip ref='10.0.0.2/24'/>"),
            ("<ip ref='10.0.0.1/24'/>", "<ip ref='10.0.0.1/24' monitor_link='0'/>"),
            ("<ip ref='10.0.0.1/24'/>", "<condor name='x'/>"),
            ("<ip ref='10.0.0.1/24'/>", "<drbd name='x' resource='r0'/>"),
            ("<ip ref='10.0.0.1/24'/>", "<fs name='x' device='/dev/sda1'/>"),
            (
                "<ip ref='10.0.0.1/24'/>",
                "<fs name='x' device='/dev/sda1' mountpoint='/a'/><fs name='y' device='/dev/sda1' mountpoint='/b'/>",
            ),
            (
                "<ip ref='10.0.0.1/24'/>",
                "<fs name='x' device='/dev/sda1' mountpoint='/a' self_fence='1' mount_point='/b'/>",
            ),
            ("<ip ref='10.0.0.1/24'/>", "<script name='x' file='httpd'/><script name='x' file='/etc/init.d/x'/>"),
            ("<ip ref='10.0.0.1/24'/>", "<script name='x' file='/etc/init.d/x'/><script ref='x'/>"),
            ("<ip ref='10.0.0.1/24'/>", "<ip ref='10.0.0.1/24'><nfsexport name='e'/></ip>"),
            ("<ip ref='10.0.0.1/24'/>", "<nfsclient name='c' target='*'/>"),
            ("<ip ref='10.0.0.1/24'/>", "<ip ref='10.0.0.1/24'><action name='status' interval='often'/></ip>"),
            (
                "<resources><ip address='10.0.0.1/24'/>",
                "<resources><ip address='10.0.0.1/24'/><ip address='10.0.0.999'/>",
            ),
            (
                "<resources><ip address='10.0.0.1/24'/>",
                "<resources><ip address='10.0.0.1/24'/><fs device='/dev/sda1' mountpoint='/'/>",
            ),
            ("<resources>", "<resources><ip address='10.0.0.1/24'/>"),
            ("</rm>", "<service name='b'><ip ref='10.0.0.1/24'/></service></rm>"),
            ("</rm>", "<vm name='g'><ip address='10.0.0.7'/></vm></rm>"),
        ],
        &expect![[r#"
            <ip ref='10.0.0.1/24'/> ⇒ <ip ref='10.0.0.2/24'/>
            12:1 info service-empty /cluster/rm/service[@name='web']
                service:web has no resources: it counts as started and runs nothing
                → add resources
            12:39 error unknown-reference /cluster/rm/service[@name='web']/ip[@ref='10.0.0.2/24']/@ref
                <resources> has no ip 10.0.0.2/24
                → define it there; did you mean 10.0.0.1/24?

            <ip ref='10.0.0.1/24'/> ⇒ <ip ref='10.0.0.1/24' monitor_link='0'/>
            12:57 warning attribute-ignored /cluster/rm/service[@name='web']/ip[@ref='10.0.0.1/24']/@monitor_link
                monitor_link beside ref has no effect: the definition counts
                → set it in <resources>, or write the resource out here without ref

            <ip ref='10.0.0.1/24'/> ⇒ <condor name='x'/>
            12:35 error unknown-kind /cluster/rm/service[@name='web']/condor[@name='x']
                <condor> is not a known type of resource
                → use <ocf type="…">, <systemd unit="…"> or <script file="…">

            <ip ref='10.0.0.1/24'/> ⇒ <drbd name='x' resource='r0'/>
            12:35 error no-successor /cluster/rm/service[@name='web']/drbd[@name='x']
                <drbd> cannot be run today
                → DRBD's agent promotes and demotes, which services do not do; put "drbdadm primary" and "secondary" into an init script and use <script>

            <ip ref='10.0.0.1/24'/> ⇒ <fs name='x' device='/dev/sda1'/>
            12:35 error attribute-missing /cluster/rm/service[@name='web']/fs[@name='x']
                fs:x lacks the attribute mountpoint
                → add mountpoint="…"

            <ip ref='10.0.0.1/24'/> ⇒ <fs name='x' device='/dev/sda1' mountpoint='/a'/><fs name='y' device='/dev/sda1' mountpoint='/b'/>
            12:97 error value-duplicate /cluster/rm/service[@name='web']/fs[@name='y']/@device
                device="/dev/sda1" is also used in line 12
                → two resources of type fs cannot share it; define one in <resources> and refer to it

            <ip ref='10.0.0.1/24'/> ⇒ <fs name='x' device='/dev/sda1' mountpoint='/a' self_fence='1' mount_point='/b'/>
            12:98 warning attribute-unknown /cluster/rm/service[@name='web']/fs[@name='x']/@mount_point
                <fs> has no attribute mount_point; it has no effect
                → remove it, or use <ocf> to give an agent any parameter; did you mean mountpoint?

            <ip ref='10.0.0.1/24'/> ⇒ <script name='x' file='httpd'/><script name='x' file='/etc/init.d/x'/>
            12:52 error attribute-invalid /cluster/rm/service[@name='web']/script[@name='x'][1]/@file
                file="httpd" of script:x cannot be used
                → give the whole path, e.g. /etc/init.d/httpd
            12:74 error name-duplicate /cluster/rm/service[@name='web']/script[@name='x'][2]/@name
                there is another script x in line 12
                → give one of them another name; to use one resource twice, define it in <resources> and write ref="x"

            <ip ref='10.0.0.1/24'/> ⇒ <script name='x' file='/etc/init.d/x'/><script ref='x'/>
            12:82 error unknown-reference /cluster/rm/service[@name='web']/script[@ref='x']/@ref
                the script x belongs to one service (line 12)
                → move its definition into <resources> and refer to it from both places

            <ip ref='10.0.0.1/24'/> ⇒ <ip ref='10.0.0.1/24'><nfsexport name='e'/></ip>
            12:57 error nesting-forbidden /cluster/rm/service[@name='web']/ip[@ref='10.0.0.1/24']/nfsexport[@name='e']
                <nfsexport> cannot stand below <ip>
                → put it beside, or below the file system

            <ip ref='10.0.0.1/24'/> ⇒ <nfsclient name='c' target='*'/>
            12:35 error attribute-missing /cluster/rm/service[@name='web']/nfsclient[@name='c']
                nfsclient:c lacks the attribute path
                → add path="…"

            <ip ref='10.0.0.1/24'/> ⇒ <ip ref='10.0.0.1/24'><action name='status' interval='often'/></ip>
            12:79 error time-invalid /cluster/rm/service[@name='web']/ip[@ref='10.0.0.1/24']/action[@name='status']/@interval
                interval="often" is not a time
                → write seconds, or numbers with s, m, h, d, w, y: 90, 5m, 1h30m

            <resources><ip address='10.0.0.1/24'/> ⇒ <resources><ip address='10.0.0.1/24'/><ip address='10.0.0.999'/>
            11:43 error attribute-invalid /cluster/rm/resources/ip[@address='10.0.0.999']/@address
                address="10.0.0.999" of ip:10.0.0.999 cannot be used
                → it is not an IP address

            <resources><ip address='10.0.0.1/24'/> ⇒ <resources><ip address='10.0.0.1/24'/><fs device='/dev/sda1' mountpoint='/'/>
            11:39 error name-missing /cluster/rm/resources/fs
                a resource of type fs has no name
                → add name="…", or refer to a resource with ref="…"

            <resources> ⇒ <resources><ip address='10.0.0.1/24'/>
            11:43 error name-duplicate /cluster/rm/resources/ip[@address='10.0.0.1/24'][2]/@address
                there is another ip 10.0.0.1/24 in line 11
                → give one of them another address; to use one resource twice, define it in <resources> and write ref="10.0.0.1/24"

            </rm> ⇒ <service name='b'><ip ref='10.0.0.1/24'/></service></rm>
            13:19 warning shared-by-services /cluster/rm/service[@name='b']/ip[@ref='10.0.0.1/24']
                the ip 10.0.0.1/24 is used by service:web and service:b
                → put what needs it into one service; on two nodes at once it would do damage

            </rm> ⇒ <vm name='g'><ip address='10.0.0.7'/></vm></rm>
            13:14 error nesting-forbidden /cluster/rm/vm[@name='g']/ip[@address='10.0.0.7']
                a virtual machine has no resources below it, but there is <ip>
                → put it into a service of its own
        "#]],
    );
}

#[test]
fn a_successor_has_a_higher_version_and_the_same_name() {
    let old = conf::load(SOUND).accept().unwrap();
    let judge = |from: &str, to: &str| told(&check_successor(&old, &conf::load(&SOUND.replace(from, to))));
    assert_eq!(judge("config_version='5'", "config_version='6'"), "");
    expect![[r#"
        1:19 error version-not-higher /cluster/@config_version
            config_version 5 is not higher than 5, which is in force
            → set config_version to 6
    "#]]
    .assert_eq(&judge("config_version='5'", "config_version='5'"));
    expect![[r#"
        1:19 error version-not-higher /cluster/@config_version
            config_version 4 is not higher than 5, which is in force
            → set config_version to 6
        1:10 error cluster-name-changed /cluster/@name
            the cluster is called c, not d
            → the name of a cluster cannot change while it exists
    "#]]
    .assert_eq(&judge("name='c' config_version='5'", "name='d' config_version='4'"));
}

#[test]
fn a_configuration_with_an_error_is_not_accepted() {
    let text = sample("three-node-nested.conf");
    assert!(conf::load(&text).accept().is_ok());
    let findings = conf::load(&text.replace("ref=\"pgdata\"", "ref=\"pgdata2\"")).accept().unwrap_err();
    assert!(findings.iter().any(|finding| finding.rule == "unknown-reference"), "{}", told(&findings));
}

#[test]
fn marks_that_have_no_effect_are_told() {
    let ip = "<ip ref='10.0.0.1/24'/></service>";
    let marked = |marks: &str| format!("<ip ref='10.0.0.1/24' {marks}/></service>");
    let twice = format!("{}<service name='b'><ip ref='10.0.0.1/24'/></service>", marked("__independent_subtree='2'"));
    let number = marked("__independent_subtree='1' __max_restarts='3'");
    let time = marked("__failure_expire_time='1m'");
    let both = marked("__max_failures='1' __failure_expire_time='1m'");
    check_table(
        &[(ip, &twice), (ip, &number), (ip, &time), (ip, &both)],
        &expect![[r#"
            <ip ref='10.0.0.1/24'/></service> ⇒ <ip ref='10.0.0.1/24' __independent_subtree='2'/></service><service name='b'><ip ref='10.0.0.1/24'/></service>
            12:57 warning isolation-ignored /cluster/rm/service[@name='web']/ip[@ref='10.0.0.1/24']/@__independent_subtree
                the ip 10.0.0.1/24 is used more than once and cannot be non-critical
                → write it out in each service, or drop the mark
            12:112 warning shared-by-services /cluster/rm/service[@name='b']/ip[@ref='10.0.0.1/24']
                the ip 10.0.0.1/24 is used by service:web and service:b
                → put what needs it into one service; on two nodes at once it would do damage

            <ip ref='10.0.0.1/24'/></service> ⇒ <ip ref='10.0.0.1/24' __independent_subtree='1' __max_restarts='3'/></service>
            12:83 warning isolation-ignored /cluster/rm/service[@name='web']/ip[@ref='10.0.0.1/24']/@__max_restarts
                __max_restarts has no effect without __restart_expire_time
                → add __restart_expire_time, or remove __max_restarts

            <ip ref='10.0.0.1/24'/></service> ⇒ <ip ref='10.0.0.1/24' __failure_expire_time='1m'/></service>
            12:57 warning isolation-ignored /cluster/rm/service[@name='web']/ip[@ref='10.0.0.1/24']/@__failure_expire_time
                __failure_expire_time has no effect without __max_failures
                → add __max_failures, or remove __failure_expire_time

            <ip ref='10.0.0.1/24'/></service> ⇒ <ip ref='10.0.0.1/24' __max_failures='1' __failure_expire_time='1m'/></service>
        "#]],
    );
}

#[test]
fn a_node_that_is_left_off_gives_no_witness() {
    check_table(
        &[(
            "<fencedevices>",
            "<fence_daemon require_witness='1'/><fencedevices><fencedevice name='pdu' agent='fence_apc' action='off'/>",
        )],
        &expect![[r#"
            <fencedevices> ⇒ <fence_daemon require_witness='1'/><fencedevices><fencedevice name='pdu' agent='fence_apc' action='off'/>
            8:50 info unused /cluster/fencedevices/fencedevice[@name='pdu']
                fence device pdu is not used by any node
                → add it to a fence method of the node that it can switch off
            8:92 warning witness-never /cluster/fencedevices/fencedevice[@name='pdu']/@action
                fence device pdu leaves the node off, and require_witness waits for its next boot
                → use action="reboot", or be ready to power the node on or to run fence_ack_manual
        "#]],
    );
}

#[test]
fn attributes_of_a_service_that_ask_for_nothing_today_are_told() {
    check_table(
        &[
            ("domain='east'", "nfslock='1'"),
            ("domain='east'", "nfs_client_cache='yes'"),
            ("domain='east'", "nfslock='0' nfs_client_cache='0' hardrecovery='1' priority='0'"),
            ("domain='east'", "priority='3'"),
            ("<rm>", "<rm central_processing='1'><service name='other' priority='3'/>"),
            ("</rm>", "<vm name='g' migrate='pause'/></rm>"),
            ("</rm>", "<vm name='g' migrate='offline'/></rm>"),
        ],
        &expect![[r#"
            domain='east' ⇒ nfslock='1'
            12:21 info attribute-ignored /cluster/rm/service[@name='web']/@nfslock
                nfslock of <service> has no effect
                → exports give up their locks when they stop, and an nfsserver resource takes those of the clients along

            domain='east' ⇒ nfs_client_cache='yes'
            12:21 info attribute-ignored /cluster/rm/service[@name='web']/@nfs_client_cache
                nfs_client_cache of <service> has no effect
                → each check of an export asks the kernel, which takes no time worth saving

            domain='east' ⇒ nfslock='0' nfs_client_cache='0' hardrecovery='1' priority='0'

            domain='east' ⇒ priority='3'
            12:21 info attribute-ignored /cluster/rm/service[@name='web']/@priority
                priority has no effect without central processing
                → write <rm central_processing="1">

            <rm> ⇒ <rm central_processing='1'><service name='other' priority='3'/>
            9:28 info service-empty /cluster/rm/service[@name='other']
                service:other has no resources: it counts as started and runs nothing
                → add resources

            </rm> ⇒ <vm name='g' migrate='pause'/></rm>

            </rm> ⇒ <vm name='g' migrate='offline'/></rm>
            13:14 warning migrate-unknown /cluster/rm/vm[@name='g']/@migrate
                migrate="offline" is not known and counts as live
                → use live or pause
        "#]],
    );
}
