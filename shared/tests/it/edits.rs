//! Edits as an administrator sees them: what changes in the file, in words, and what is refused.

use std::fmt::Write as _;

use expect_test::{Expect, expect};
use shared::conf::diff::{diff, line_diff};
use shared::conf::edit::{self, DomainNodeSpec, DomainSpec, InstanceSpec, MethodSpec, ServiceSpec};
use shared::conf::{self, Document, Edit};
use shared::ids::{DomainName, NodeName, ServiceName};

use crate::samples::{sample, samples};

fn edit(json: &str) -> Edit {
    serde_json::from_str(json).unwrap_or_else(|error| panic!("{error}: {json}"))
}

/// What edits do to a sample: the changed lines and the changes in words, or the refusal.
fn done(name: &str, edits: &[Edit]) -> String {
    let text = sample(name);
    let (mut document, _) = Document::parse(&text);
    for edit in edits {
        if let Err(error) = edit::apply(&mut document, edit) {
            assert_eq!(error.to_string().lines().count(), 1);
            return format!("refused: {error}\n");
        }
    }
    let edited = document.print();
    let mut out = String::new();
    for hunk in line_diff(&text, &edited) {
        let lines = hunk.to_string();
        for line in lines.lines().filter(|line| line.starts_with(['+', '-'])) {
            writeln!(out, "{line}").unwrap();
        }
    }
    let (old, new) = (conf::load(&text).conf.unwrap(), conf::load(&edited).conf.unwrap());
    for change in diff(&old, &new) {
        writeln!(out, "= {change}").unwrap();
    }
    out
}

fn check(name: &str, json: &[&str], expected: &Expect) {
    let edits: Vec<Edit> = json.iter().map(|json| edit(json)).collect();
    expected.assert_eq(&done(name, &edits));
}

#[test]
fn a_third_node_ends_two_node_mode_and_a_removed_one_brings_it_back() {
    check(
        "two-node-apache.conf",
        &[r#"{"edit":"add-node","name":"node3.example.com","altname":"hb3"}"#],
        &expect![[r#"
            +		<clusternode name="node3.example.com" nodeid="3">
            +			<altname name="hb3"/>
            +		</clusternode>
            -	<cman expected_votes="1" two_node="1"/>
            = cman: two_node on → off
            = cman: expected votes 1 → none
            = node node3.example.com added
        "#]],
    );
    check(
        "two-node-apache.conf",
        &[r#"{"edit":"add-node","name":"node3"}"#, r#"{"edit":"remove-node","name":"node3"}"#],
        &expect![[r#"
            -	<cman expected_votes="1" two_node="1"/>
            +	<cman expected_votes="1" two_node="1"/>
        "#]],
    );
    check(
        "three-node-nested.conf",
        &[
            r#"{"edit":"set-cman","attributes":{"expected_votes":"3"}}"#,
            r#"{"edit":"add-node","name":"db4","id":9,"votes":2,"altname":"db4-hb"}"#,
        ],
        &expect![[r#"
            -  <cman port="5405" transport="udpu"/>
            +  <cman port="5405" transport="udpu" expected_votes="5"/>
            +    </clusternode>
            +    <clusternode name="db4" nodeid="9" votes="2">
            +      <altname name="db4-hb"/>
            = cman: expected votes none → 5
            = node db4 added
        "#]],
    );
    check(
        "byte-order-mark.conf",
        &[r#"{"edit":"add-node","name":"n2"}"#],
        &expect![[r#"
        -<cluster name="bom" config_version="1"><clusternodes><clusternode name="n1" nodeid="1"/></clusternodes></cluster>
        +<cluster name="bom" config_version="1"><clusternodes><clusternode name="n1" nodeid="1"/>
        +  <clusternode name="n2" nodeid="2"/>
        +</clusternodes>
        +  <cman expected_votes="1" two_node="1"/>
        +</cluster>
        = cman: two_node off → on
        = cman: expected votes none → 1
        = node n2 added
    "#]],
    );
    check(
        "windows-line-ends.conf",
        &[r#"{"edit":"remove-node","name":"w2"}"#],
        &expect![[r#"
        -    <clusternode name="w2" nodeid="2"/>
        +  <cman expected_votes="1" two_node="1"/>
        = cman: two_node off → on
        = cman: expected votes none → 1
        = node w2 removed
    "#]],
    );
}

#[test]
fn what_is_in_use_is_not_removed() {
    for (json, expected) in [
        (
            r#"{"edit":"remove-node","name":"node1.example.com"}"#,
            expect![[r#"
            refused: the node node1.example.com is used by failover domain prefer1; remove it there first
        "#]],
        ),
        (
            r#"{"edit":"remove-fence-device","name":"ilo-node2"}"#,
            expect![[r#"
            refused: the fence device ilo-node2 is used by node node2.example.com; remove it there first
        "#]],
        ),
        (
            r#"{"edit":"remove-domain","name":"PREFER1"}"#,
            expect![[r#"
            refused: the failover domain PREFER1 is used by service:web; remove it there first
        "#]],
        ),
        (
            r#"{"edit":"remove-resource","kind":"fs","name":"webdata"}"#,
            expect![[r#"
            refused: the resource fs:webdata is used by service:web; remove it there first
        "#]],
        ),
    ] {
        check("two-node-apache.conf", &[json], &expected);
    }
    check(
        "virtual-machines.conf",
        &[r#"{"edit":"remove-service","name":"vm:guest1"}"#],
        &expect![[r#"
        refused: the service vm:guest1 is used by vm:guest2; remove it there first
    "#]],
    );
    check(
        "virtual-machines.conf",
        &[r#"{"edit":"remove-fence-device","name":"scsi"}"#],
        &expect![[r#"
            refused: the fence device scsi is used by node kvm1, node kvm2, node kvm3; remove it there first
        "#]],
    );
}

#[test]
fn a_name_that_is_taken_or_absent_is_refused() {
    for (json, expected) in [
        (
            r#"{"edit":"add-node","name":"node1.example.com"}"#,
            expect![[r#"
            refused: there is already a node node1.example.com
        "#]],
        ),
        (
            r#"{"edit":"add-node","name":"x","id":2}"#,
            expect![[r#"
            refused: there is already a node with the id 2
        "#]],
        ),
        (
            r#"{"edit":"add-fence-device","name":"ilo-node1","agent":"fence_ilo"}"#,
            expect![[r#"
            refused: there is already a fence device ilo-node1
        "#]],
        ),
        (
            r#"{"edit":"add-resource","kind":"ip","attributes":{"address":"192.168.1.100/24"}}"#,
            expect![[r#"
            refused: there is already a resource ip:192.168.1.100/24
        "#]],
        ),
        (
            r#"{"edit":"add-resource","kind":"ip","attributes":{"monitor_link":"1"}}"#,
            expect![[r#"
                refused: a resource of type ip needs the attribute address
            "#]],
        ),
        (
            r#"{"edit":"add-service","service":{"name":"web"}}"#,
            expect![[r#"
            refused: there is already a service service:web
        "#]],
        ),
        (
            r#"{"edit":"set-service","name":"service:bew","attributes":{}}"#,
            expect![[r#"
            refused: there is no service service:bew
        "#]],
        ),
        (
            r#"{"edit":"set-fence-methods","node":"node1.example.com","methods":[{"name":"m","devices":[{"device":"pdu"}]}]}"#,
            expect![[r#"
                refused: there is no fence device pdu
            "#]],
        ),
        (
            r#"{"edit":"set-totem","attributes":{"a b":"1"}}"#,
            expect![[r#"
            refused: a b cannot be the name of an attribute or element
        "#]],
        ),
        (
            r#"{"edit":"set-totem","attributes":{"token":"1\u0001"}}"#,
            expect![[r#"
            refused: the value of token contains a character that a file cannot hold
        "#]],
        ),
    ] {
        check("two-node-apache.conf", &[json], &expected);
    }
}

#[test]
fn one_attribute_changes_and_nothing_else() {
    check(
        "nasty-format.conf",
        &[r#"{"edit":"set-version","version":43}"#],
        &expect![[r#"
        -    config_version	=	"0042"
        +    config_version	=	"43"
    "#]],
    );
    check(
        "two-node-apache.conf",
        &[
            r#"{"edit":"set-fence-device","name":"ilo-node1","attributes":{"passwd":"new & <better>","lanplus":"1","login":null}}"#,
            r#"{"edit":"set-totem","attributes":{"token":"20000"}}"#,
        ],
        &expect![[r#"
            -		<fencedevice agent="fence_ilo" ipaddr="192.168.1.11" login="Administrator" name="ilo-node1" passwd="(secret)"/>
            +		<fencedevice agent="fence_ilo" ipaddr="192.168.1.11" name="ilo-node1" passwd="(secret, changed)" lanplus="1"/>
            +	<totem token="20000"/>
            = totem: token (ms) 10000 → 20000
            = fence device ilo-node1: login Administrator → none
            = fence device ilo-node1: passwd changed (secret)
            = fence device ilo-node1: lanplus none → 1
        "#]],
    );
    check(
        "three-node-nested.conf",
        &[r#"{"edit":"set-node","name":"db2","attributes":{"votes":"2"},"altname":"db2-x"}"#],
        &expect![[r#"
            -    <clusternode name="db2" nodeid="2">
            -      <altname name="db2-hb"/>
            +    <clusternode name="db2" nodeid="2" votes="2">
            +      <altname name="db2-x"/>
            = node db2: votes 1 → 2
            = node db2: altname db2-hb → db2-x
        "#]],
    );
}

#[test]
fn a_new_name_is_carried_over_to_its_users() {
    check(
        "three-node-nested.conf",
        &[
            r#"{"edit":"set-fence-device","name":"pdu-a","attributes":{"name":"pdu-left"}}"#,
            r#"{"edit":"set-resource","kind":"fs","name":"pgdata","attributes":{"name":"pg_data"}}"#,
            r#"{"edit":"set-service","name":"service:postgres","attributes":{"name":"pg"}}"#,
            r#"{"edit":"set-domain","name":"DB","domain":{"name":"databases","ordered":true,"nodes":[{"name":"db1","priority":1},{"name":"db3","priority":2}]}}"#,
        ],
        &expect![[r#"
            -          <device name="pdu-a" port="1" action="off"/>
            +          <device name="pdu-left" port="1" action="off"/>
            -          <device name="pdu-a" port="1" action="on"/>
            +          <device name="pdu-left" port="1" action="on"/>
            -    <fencedevice name="pdu-a" agent="fence_apc_snmp" ipaddr="10.1.1.1"/>
            +    <fencedevice name="pdu-left" agent="fence_apc_snmp" ipaddr="10.1.1.1"/>
            -      <failoverdomain name="DB" ordered="1">
            +      <failoverdomain name="databases" ordered="1">
            -        <failoverdomainnode name="db2" priority="2"/>
            -      <fs name="pgdata" device="/dev/vg_data/pg" mountpoint="/var/lib/pgsql" fstype="xfs" options="noatime,nodiratime">
            +      <fs name="pg_data" device="/dev/vg_data/pg" mountpoint="/var/lib/pgsql" fstype="xfs" options="noatime,nodiratime">
            -    <service name="postgres" domain="db" recovery="restart" max_restarts="3" restart_expire_time="1h30m" nfslock="1">
            +    <service name="pg" domain="databases" recovery="restart" max_restarts="3" restart_expire_time="1h30m" nfslock="1">
            -        <fs ref="pgdata">
            +        <fs ref="pg_data">
            -    <service name="report" domain="anywhere" depend="service:postgres" autostart="0" exclusive="1" recovery="disable">
            +    <service name="report" domain="anywhere" depend="service:pg" autostart="0" exclusive="1" recovery="disable">
            = node db1: devices of fence method pdu pdu-a, pdu-b, pdu-a, pdu-b → pdu-left, pdu-b, pdu-left, pdu-b
            = fence device pdu-a removed
            = fence device pdu-left added
            = failover domain db removed
            = failover domain databases added
            = resource fs:pgdata removed
            = resource fs:pg_data added
            = service postgres removed
            = service pg added
            = service report: depends on service:postgres → service:pg
        "#]],
    );
}

#[test]
fn fence_methods_are_added_reordered_and_removed() {
    let node = NodeName::from("db1");
    let (document, _) = Document::parse(&sample("three-node-nested.conf"));
    let mut methods = MethodSpec::read(&document, &node).unwrap();
    methods.reverse();
    methods[0].devices.remove(1);
    let kdump = InstanceSpec { device: "ipmi1".into(), attributes: [("timeout".to_owned(), "60".to_owned())].into() };
    methods.push(MethodSpec { name: "again".into(), devices: vec![kdump] });
    let reordered = Edit::SetFenceMethods { node: node.clone(), methods };
    expect![[r#"
        -        <method name="ipmi"><device name="ipmi1" action="reboot"/></method>
        -          <device name="pdu-b" port="1" action="off"/>
        +        </method>
        +        <method name="ipmi"><device name="ipmi1" action="reboot"/></method>
        +        <method name="again">
        +          <device name="ipmi1" timeout="60"/>
        = node db1: fence methods ipmi, pdu → pdu, ipmi, again
        = node db1: devices of fence method pdu pdu-a, pdu-b, pdu-a, pdu-b → pdu-a, pdu-a, pdu-b
    "#]]
    .assert_eq(&done("three-node-nested.conf", &[reordered]));
    let none = Edit::SetFenceMethods { node, methods: Vec::new() };
    expect![[r#"
        -        <method name="ipmi"><device name="ipmi1" action="reboot"/></method>
        -        <method name="pdu">
        -          <device name="pdu-a" port="1" action="off"/>
        -          <device name="pdu-b" port="1" action="off"/>
        -          <device name="pdu-a" port="1" action="on"/>
        -          <device name="pdu-b" port="1" action="on"/>
        -        </method>
        = node db1: fence methods ipmi, pdu → none
    "#]]
    .assert_eq(&done("three-node-nested.conf", &[none]));
}

#[test]
fn a_service_is_added_with_its_tree_and_changed_without_touching_the_rest() {
    check(
        "two-node-apache.conf",
        &[
            r#"{"edit":"add-domain","domain":{"name":"east","restricted":true,"nodes":[{"name":"node2.example.com"}]}}"#,
            r#"{"edit":"add-resource","kind":"ip","attributes":{"monitor_link":"1","address":"10.0.0.9/24","family":""}}"#,
            r#"{"edit":"add-service","service":{"name":"db","attributes":{"domain":"east","recovery":"relocate"},
                "resources":[{"kind":"fs","attributes":{"name":"d","device":"/dev/sdc1","mountpoint":"/d"},
                  "actions":[{"name":"status","depth":"10","interval":"5m"}],
                  "children":[{"kind":"ip","ref":"10.0.0.9/24"}]}]}}"#,
        ],
        &expect![[r#"
            +			<failoverdomain name="east" ordered="0" restricted="1" nofailback="0">
            +				<failoverdomainnode name="node2.example.com"/>
            +			</failoverdomain>
            +			<ip address="10.0.0.9/24" monitor_link="1"/>
            +		</service>
            +		<service name="db" domain="east" recovery="relocate">
            +			<fs name="d" device="/dev/sdc1" mountpoint="/d">
            +				<action name="status" depth="10" interval="5m"/>
            +				<ip ref="10.0.0.9/24"/>
            +			</fs>
            = failover domain east added
            = resource ip:10.0.0.9/24 added
            = service db added
        "#]],
    );
    let name = ServiceName::parse("postgres");
    let (document, _) = Document::parse(&sample("three-node-nested.conf"));
    let mut spec = ServiceSpec::read(&document, &name).unwrap();
    spec.resources.swap(0, 1);
    spec.resources[1].children[0].children[0].attributes.insert("startup_wait".into(), "20".into());
    let set = Edit::SetService {
        name,
        attributes: [("domain".to_owned(), Some("anywhere".to_owned())), ("nfslock".to_owned(), None)].into(),
        resources: Some(spec.resources),
    };
    expect![[r#"
        -    <service name="postgres" domain="db" recovery="restart" max_restarts="3" restart_expire_time="1h30m" nfslock="1">
        +    <service name="postgres" domain="anywhere" recovery="restart" max_restarts="3" restart_expire_time="1h30m">
        +      <ip ref="10.2.0.50/24" __independent_subtree="1" __max_restarts="3" __restart_expire_time="300"/>
        -          <postgres-8 name="pg" postmaster_options="-D /var/lib/pgsql/data -c listen_addresses=*" config_file="/var/lib/pgsql/data/postgresql.conf"/>
        +          <postgres-8 name="pg" postmaster_options="-D /var/lib/pgsql/data -c listen_addresses=*" config_file="/var/lib/pgsql/data/postgresql.conf" startup_wait="20"/>
        -      <ip ref="10.2.0.50/24" __independent_subtree="1" __max_restarts="3" __restart_expire_time="300"/>
        = service postgres: failover domain db → anywhere
        = service postgres: resource lvm:vg_data / fs:pgdata / postgres-8:pg: startup_wait none → 20
        = service postgres: order of resources changed
    "#]].assert_eq(&done("three-node-nested.conf", &[set]));
}

#[test]
fn a_service_given_back_as_it_was_read_changes_no_byte() {
    let mut services = 0;
    for (name, text) in samples() {
        let (mut document, _) = Document::parse(&text);
        let conf = conf::load(&text).conf.unwrap();
        for service in &conf.services {
            let Some(spec) = ServiceSpec::read(&document, &service.name) else { continue };
            let edit = Edit::SetService {
                name: service.name.clone(),
                attributes: spec.attributes.into_iter().map(|(key, value)| (key, Some(value))).collect(),
                resources: Some(spec.resources),
            };
            let round_trip: Edit = serde_json::from_str(&serde_json::to_string(&edit).unwrap()).unwrap();
            edit::apply(&mut document, &round_trip).unwrap();
            services += 1;
        }
        for node in &conf.nodes {
            let methods = MethodSpec::read(&document, &node.name).unwrap();
            edit::apply(&mut document, &Edit::SetFenceMethods { node: node.name.clone(), methods }).unwrap();
            let devices = InstanceSpec::read_unfence(&document, &node.name).unwrap();
            edit::apply(&mut document, &Edit::SetUnfence { node: node.name.clone(), devices }).unwrap();
        }
        for domain in &conf.domains {
            let spec = DomainSpec::read(&document, &domain.name).unwrap();
            edit::apply(&mut document, &Edit::SetDomain { name: domain.name.clone(), domain: spec }).unwrap();
        }
        assert_eq!(document.print(), text, "{name}");
    }
    assert!(services >= 10, "only {services} services");
}

#[test]
fn timeouts_of_a_shared_resource_are_set_and_taken_away() {
    let text = r#"<cluster name="a" config_version="1"><rm><resources><!-- ours --><ip address="10.0.0.1"><action name="stop" timeout="9"/></ip></resources></rm></cluster>"#;
    let (mut document, _) = Document::parse(text);
    let set = r#"{"edit":"set-resource","kind":"ip","name":"10.0.0.1","attributes":{"family":"ipv4"},
        "actions":[{"name":"stop","timeout":"20"},{"name":"status","depth":"10","interval":"1m"}]}"#;
    edit::apply(&mut document, &edit(set)).unwrap();
    let text = document.print();
    assert!(text.contains("<!-- ours -->") && text.contains(r#"<action name="stop" timeout="20"/>"#), "{text}");
    assert!(text.contains(r#"<action name="status" depth="10" interval="1m"/>"#), "{text}");
    // Without a word about them, they stay; with none, they go.
    let quiet = r#"{"edit":"set-resource","kind":"ip","name":"10.0.0.1","attributes":{"family":"ipv6"}}"#;
    edit::apply(&mut document, &edit(quiet)).unwrap();
    assert_eq!(document.print().matches("<action").count(), 2);
    let none = r#"{"edit":"set-resource","kind":"ip","name":"10.0.0.1","attributes":{},"actions":[]}"#;
    edit::apply(&mut document, &edit(none)).unwrap();
    assert!(!document.print().contains("<action"), "{}", document.print());
}

#[test]
fn what_is_added_and_removed_again_leaves_the_file_as_it_was() {
    for (name, text) in samples() {
        let (mut document, _) = Document::parse(&text);
        // The sections must be there, or they would remain.
        for edit in [
            Edit::AddFenceDevice {
                name: "zz".into(),
                agent: "fence_zz".into(),
                attributes: [("a".into(), "b".into())].into(),
            },
            Edit::AddDomain {
                domain: DomainSpec {
                    name: DomainName::from("zz"),
                    ordered: true,
                    restricted: false,
                    nofailback: false,
                    nodes: vec![DomainNodeSpec { name: NodeName::from("n"), priority: Some(3) }],
                },
            },
            Edit::AddResource {
                kind: "ip".into(),
                attributes: [("address".into(), "10.99.0.1".into())].into(),
                actions: Vec::new(),
            },
            Edit::AddService {
                service: ServiceSpec { name: "service:zz".into(), attributes: [].into(), resources: vec![] },
            },
        ] {
            edit::apply(&mut document, &edit).unwrap();
        }
        let with = document.print();
        for json in [
            r#"{"edit":"remove-service","name":"service:zz"}"#,
            r#"{"edit":"remove-resource","kind":"ip","name":"10.99.0.1"}"#,
            r#"{"edit":"remove-domain","name":"zz"}"#,
            r#"{"edit":"remove-fence-device","name":"zz"}"#,
        ] {
            edit::apply(&mut document, &edit(json)).unwrap();
        }
        let (old, new) = (conf::load(&text).conf.unwrap(), conf::load(&document.print()).conf.unwrap());
        assert_eq!(diff(&old, &new), [], "{name}");
        let added = with.lines().filter(|line| line.contains("zz")).count();
        assert_eq!(added, 3, "{name}:\n{with}");
        // Every line of the sample but those of sections that had to be opened is still there.
        let kept = document.print();
        let lost: Vec<_> = text.lines().filter(|line| !kept.lines().any(|other| other == *line)).collect();
        assert!(lost.len() <= 4, "{name}: {lost:?}\n{kept}");
    }
}

#[test]
fn a_new_cluster_is_sound_and_readable() {
    let nodes = ["a1", "a2"].map(NodeName::from);
    let document = conf::new_document("fresh", &nodes).unwrap();
    expect![[r#"
        <?xml version="1.0"?>
        <cluster name="fresh" config_version="1">
          <clusternodes>
            <clusternode name="a1" nodeid="1"/>
            <clusternode name="a2" nodeid="2"/>
          </clusternodes>
          <fencedevices/>
          <rm>
            <failoverdomains/>
            <resources/>
          </rm>
          <cman expected_votes="1" two_node="1"/>
        </cluster>
    "#]]
    .assert_eq(&document.print());
    let loaded = conf::load(&document.print());
    assert!(!loaded.has_errors(), "{:?}", loaded.findings);
    let three = conf::new_document("fresh", &["a1", "a2", "a3"].map(NodeName::from)).unwrap();
    assert!(!three.print().contains("cman"), "{}", three.print());
}

#[test]
fn a_file_that_cannot_be_read_is_not_edited() {
    let (mut document, _) = Document::parse("<cluster name='a' config_version='1'><rm></cluster>");
    let before = document.print();
    let refused = edit::apply(&mut document, &edit(r#"{"edit":"set-version","version":2}"#)).unwrap_err();
    assert_eq!(refused.to_string(), "this is not a cluster.conf that can be edited: correct it by hand first");
    assert_eq!(document.print(), before);
}

#[test]
fn no_secret_appears_in_any_difference() {
    let text = sample("two-node-apache.conf");
    let changed = text.replacen("s3cret", "ev3n-better", 1);
    let (old, new) = (conf::load(&text).conf.unwrap(), conf::load(&changed).conf.unwrap());
    let mut told: String = diff(&old, &new).iter().map(|change| format!("{change}\n")).collect();
    for hunk in line_diff(&text, &changed) {
        told.push_str(&hunk.to_string());
    }
    assert!(!told.contains("s3cret") && !told.contains("ev3n-better"), "{told}");
    assert!(told.contains("fence device ilo-node1: passwd changed (secret)"), "{told}");
    assert!(told.contains("passwd=\"(secret, changed)\""), "{told}");
}
