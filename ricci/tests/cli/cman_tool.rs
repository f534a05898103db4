//! `cman_tool`: lines, columns, sentences and exit codes. What comes from corosync is rendered from values here.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::fake::{FakeRgmanager, Say, run, three_nodes};
use ricci::cli::cman_tool::layout::{
    Column, Facts, NodeFacts, NodesView, cluster_id_of, render_nodes, render_status, render_version,
};
use shared::conf::finding::{Finding, Place, Severity};
use shared::ids::{ConfDigest, ConfVersion, NodeId, NodeName};
use shared::socket::{Ask, PutConf, Reply};

fn node(id: u32, name: &str, is_member: bool) -> NodeFacts {
    NodeFacts {
        id: NodeId(id),
        name: Some(NodeName::from(name)),
        is_member,
        votes: u32::from(is_member),
        joins: u32::from(is_member) * 2,
        joined: (is_member && id == 1).then(|| "2026-11-05 09:58:20".to_owned()),
        addresses: vec![format!("10.0.0.{id}"), format!("10.1.0.{id}")],
        last_fenced: Some((id == 3).then(|| "Thu Nov  5 09:58:20 2026 by node1 with method power".to_owned())),
    }
}

fn facts() -> Facts {
    Facts {
        cluster: Some("prod".into()),
        conf_version: Some(ConfVersion(42)),
        generation: Some(24),
        local: Some(NodeId(1)),
        quorate: true,
        votes_expected: 3,
        votes_total: 2,
        quorum: 2,
        rgmanager: Some(true),
        nodes: vec![node(1, "node1", true), node(2, "node2", true), node(3, "node3", false)],
        ..Facts::default()
    }
}

#[test]
fn status_has_the_lines_of_the_original_in_their_order() {
    let expected = "\
Version: 6.2.0
Config Version: 42
Cluster Name: prod
Cluster Id: 1674
Cluster Member: Yes
Cluster Generation: 24
Membership state: Cluster-Member
Nodes: 2
Expected votes: 3
Total votes: 2
Node votes: 1
Quorum: 2  \n\
Active subsystems: 1
Flags: HaveState \n\
Ports Bound: 0 177  \n\
Node name: node1
Node ID: 1
Multicast addresses: \n\
Node addresses: 10.0.0.1 10.1.0.1 \n";
    assert_eq!(render_status(&facts()), expected);
}

#[test]
fn what_nobody_told_is_unknown_and_lost_quorum_blocks() {
    let facts = Facts {
        cluster: None,
        conf_version: None,
        generation: None,
        local: None,
        quorate: false,
        two_node: true,
        rgmanager: None,
        ..facts()
    };
    let text = render_status(&facts);
    let line = |name: &str| text.lines().find(|line| line.starts_with(name)).unwrap().to_owned();
    for name in
        ["Config Version", "Cluster Name", "Cluster Id", "Cluster Generation", "Node votes", "Node name", "Node ID"]
    {
        assert_eq!(line(name), format!("{name}: unknown"));
    }
    assert_eq!(line("Quorum"), "Quorum: 2 Activity blocked");
    assert_eq!(line("Flags"), "Flags: 2node ");
    assert_eq!(line("Ports"), "Ports Bound: 0  ");
}

#[test]
fn the_cluster_id_is_made_of_the_name_as_it_was_unless_cluster_conf_gives_one() {
    assert_eq!(cluster_id_of("a"), 97);
    assert_eq!(cluster_id_of("ab"), 2 * 97 + 98);
    assert!(cluster_id_of(&"x".repeat(255)) <= 0xffff);
    let text = render_status(&Facts { cluster_id: Some(7), ..facts() });
    assert!(text.contains("\nCluster Id: 7\n"));
}

#[test]
fn nodes_stand_in_the_columns_of_the_original() {
    let mut facts = facts();
    facts.nodes.push(node(1000, "node1000.example.com", true));
    let text = render_nodes(&facts, &NodesView::default()).unwrap();
    assert_eq!(
        text,
        "Node  Sts   Inc   Joined               Name\n   \
         1   M      2   2026-11-05 09:58:20  node1\n   \
         2   M      2   unknown    unknown   node2\n   \
         3   X      0                        node3\n\
         1000   M      2   unknown    unknown   node1000.example.com\n"
    );
    let header = text.lines().next().unwrap();
    for line in text.lines().skip(1) {
        assert_eq!(line.find("node1").or(line.find("node")), header.find("Name"), "{line}");
    }
}

#[test]
fn nodes_shows_addresses_fencing_one_node_or_chosen_columns() {
    let view = NodesView { addresses: true, fencing: true, only: Some("node3".into()), columns: None };
    assert_eq!(
        render_nodes(&facts(), &view).unwrap(),
        "Node  Sts   Inc   Joined               Name\n   \
         3   X      0                        node3\n       \
         Last fenced:   Thu Nov  5 09:58:20 2026 by node1 with method power\n       \
         Addresses: 10.0.0.3 10.1.0.3 \n"
    );
    let columns = ["id", "type", "name", "addr"].map(|name| Column::parse(name).unwrap());
    let view = NodesView { columns: Some(columns.to_vec()), ..NodesView::default() };
    assert_eq!(render_nodes(&facts(), &view).unwrap(), "1 M node1 10.0.0.1\n2 M node2 10.0.0.2\n3 X node3 10.0.0.3\n");
    assert_eq!(render_nodes(&facts(), &NodesView { only: Some("node9".into()), ..NodesView::default() }), None);
}

#[test]
fn version_and_services_come_from_rgmanager() {
    let fake = FakeRgmanager::with_status(three_nodes());
    fake.run("cman_tool", &["version"]).expect(0, "6.2.0 config 42\n");
    assert_eq!(render_version(None), "6.2.0 config unknown\n");
    let ran = fake.run("cman_tool", &["services"]);
    assert!(ran.code == 0 && ran.out.starts_with("fence domain\nmember count  2\n"), "{ran:?}");
}

#[test]
fn without_corosync_the_sentence_of_the_original_and_1() {
    // Where a corosync runs, its answer is not the subject of this test.
    if std::path::Path::new("/run/corosync.pid").exists() {
        return;
    }
    let nowhere = tempfile::tempdir().unwrap();
    for word in ["status", "nodes"] {
        let ran = run("cman_tool", &[word], &nowhere.path().join("rgmanager.sk"), "");
        assert_eq!((ran.code, ran.out.as_str()), (1, ""));
        assert!(ran.err.starts_with("cman_tool: Cannot open connection to cman, is it running ? ("), "{}", ran.err);
    }
    let ran = run("cman_tool", &["wait", "-q", "-t", "1"], &nowhere.path().join("rgmanager.sk"), "");
    assert_eq!((ran.code, ran.err.as_str()), (2, "cman_tool: this node has no quorum after 1 seconds\n"));
}

const NEXT: &str = r#"<cluster name="prod" config_version="43">
  <clusternodes>
    <clusternode name="node1" nodeid="1"/><clusternode name="node2" nodeid="2"/><clusternode name="node3" nodeid="3"/>
  </clusternodes>
</cluster>
"#;

/// An rgmanager with version 42 in force that takes what it is given, in force at the second look.
fn taking() -> FakeRgmanager {
    let in_force = AtomicU64::new(42);
    FakeRgmanager::start(move |ask| match ask {
        Ask::Conf => Say::Reply(Reply::Conf {
            version: ConfVersion(in_force.load(Ordering::SeqCst)),
            digest: ConfDigest::from("00"),
            // The same but for its version and the end: nothing new is to be told of its successor.
            text: NEXT.replace("43", "42") + "\n",
        }),
        Ask::PutConf { .. } => {
            in_force.store(43, Ordering::SeqCst);
            let result =
                PutConf::Accepted { version: ConfVersion(43), digest: ConfDigest::from("01"), findings: Vec::new() };
            Say::Reply(Reply::PutConf { result })
        }
        _ => Say::HangUp,
    })
}

fn write_conf(fake: &FakeRgmanager, text: &str) {
    std::fs::write(fake.socket().with_file_name("cluster.conf"), text).unwrap();
}

#[test]
fn version_r_gives_the_file_to_the_cluster_and_prints_nothing() {
    for arguments in [&["version", "-r"][..], &["version", "-r", "-S"], &["version", "-r", "-D", "WARN"]] {
        let fake = taking();
        write_conf(&fake, NEXT);
        fake.run("cman_tool", arguments).expect(0, "");
        let given = fake.asked().into_iter().find_map(|ask| match ask {
            Ask::PutConf { text, origin, .. } => Some((text, origin)),
            _ => None,
        });
        assert_eq!(given, Some((NEXT.to_owned(), "alice with cman_tool".to_owned())));
    }
}

#[test]
fn version_r_gives_nothing_that_is_older_or_has_errors() {
    let cases = [
        (NEXT.replace("43", "42"), "version 42 of ", "set config_version to 43 or higher"),
        (NEXT.replace("node2", "node1"), "has errors; nothing was changed", "node1"),
        ("garbage".to_owned(), "has errors; nothing was changed", "error:"),
    ];
    for (text, what, place) in cases {
        let fake = taking();
        write_conf(&fake, &text);
        let ran = fake.run("cman_tool", &["version", "-r"]);
        assert_eq!((ran.code, ran.out.as_str()), (1, ""));
        assert!(ran.err.contains(what) && ran.err.contains(place), "{}", ran.err);
        assert!(!fake.asked().iter().any(|ask| matches!(ask, Ask::PutConf { .. })));
    }
}

#[test]
fn version_r_of_what_is_in_force_already_is_done() {
    let fake = FakeRgmanager::start(|ask| match ask {
        Ask::Conf => Say::Reply(Reply::Conf {
            version: ConfVersion(43),
            digest: shared::conf::digest(NEXT),
            text: NEXT.to_owned(),
        }),
        _ => Say::HangUp,
    });
    write_conf(&fake, NEXT);
    fake.run("cman_tool", &["version", "-r"]).expect(0, "");
    write_conf(&fake, &NEXT.replace("node3", "node4"));
    let ran = fake.run("cman_tool", &["version", "-r"]);
    assert_eq!((ran.code, ran.out.as_str()), (1, ""));
    assert!(ran.err.contains("set config_version to 44 or higher"), "{}", ran.err);
}

#[test]
fn version_r_tells_what_the_cluster_refuses() {
    let fake = FakeRgmanager::start(|ask| match ask {
        Ask::Conf => {
            Say::Reply(Reply::Conf { version: ConfVersion(42), digest: ConfDigest::from("00"), text: String::new() })
        }
        _ => Say::Reply(Reply::PutConf {
            result: PutConf::Refused {
                findings: vec![Finding {
                    rule: "x".into(),
                    severity: Severity::Error,
                    place: Place { line: 3, column: 5, path: "/cluster".into() },
                    text: "another version is under way".into(),
                    hint: "try again".into(),
                }],
            },
        }),
    });
    write_conf(&fake, NEXT);
    let ran = fake.run("cman_tool", &["version", "-r"]);
    assert_eq!(
        (ran.code, ran.err.as_str()),
        (
            1,
            "cman_tool: the cluster refused version 43; nothing was changed:\n3:5: another version is under way; try again\n"
        )
    );
}

#[test]
fn leaving_is_refused_while_rgmanager_runs() {
    let fake = FakeRgmanager::with_status(three_nodes());
    let ran = fake.run("cman_tool", &["leave"]);
    assert_eq!((ran.code, ran.out.as_str()), (1, ""));
    assert!(
        ran.err.starts_with("cman_tool: Error leaving cluster: Device or resource busy (rgmanager runs"),
        "{ran:?}"
    );
}

#[test]
fn what_has_no_meaning_any_more_says_so_in_one_sentence() {
    let fake = FakeRgmanager::with_status(three_nodes());
    for arguments in
        [&["join"][..], &["join", "-w"], &["leave", "remove"], &["leave", "force"], &["debug"], &["join", "-c", "x"]]
    {
        let ran = fake.run("cman_tool", arguments);
        assert_eq!((ran.code, ran.out.as_str(), ran.err.lines().count()), (1, "", 1), "{ran:?}");
        assert!(ran.err.contains("no meaning any more"), "{}", ran.err);
    }
    for arguments in [
        &[][..],
        &["fly"],
        &["status", "x"],
        &["-k", "status"],
        &["kill"],
        &["expected"],
        &["expected", "-e", "0"],
        &["votes"],
        &["wait", "-t", "x"],
        &["nodes", "-F", "id,shoe"],
    ] {
        let ran = fake.run("cman_tool", arguments);
        assert!(ran.code == 1 && ran.out.is_empty() && ran.err.contains("\nusage: cman_tool"), "{ran:?}");
    }
    assert!(fake.asked().is_empty());
}
