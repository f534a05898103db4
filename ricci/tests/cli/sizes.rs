//! Names of 1, 40, 63 and 255 characters, 32 nodes, 500 services, terminals of 80 and 200 columns: what every command that
//! prints names makes of them. Only the tables of `clustat` follow the terminal and cut names; everything else prints
//! names whole and the same everywhere.

use std::fmt::Write as _;
use std::process::{Command, Stdio};

use crate::fake::{FakeRgmanager, Say, cluster, node, path_of, run, service};
use ricci::cli::cman_tool::layout::{Facts, NodeFacts, NodesView, render_nodes};
use shared::ids::{NodeId, NodeName, ServiceName};
use shared::socket::{Ask, Reply};
use shared::status::{
    Answer, ClusterStatus, Command as Request, FenceAttempt, FenceDeviceRun, Membership, NodeStatus, Outcome,
};
use shared::text::{ResultCode, ServiceState};

const LENGTHS: [usize; 4] = [1, 40, 63, 255];
const NODES: usize = 32;
const SERVICES: usize = 500;
/// How many names there are of one letter.
const LETTERS: &[u8] = b"abcdefghijklmnopqrstuvwxyz";

/// The name of this number: of each length in turn, and of 40 when letters have run out.
fn name(number: usize) -> String {
    let length = LENGTHS[number % LENGTHS.len()];
    match LETTERS.get(number / LENGTHS.len()) {
        Some(letter) if length == 1 => char::from(*letter).to_string(),
        _ => format!("{number:x<width$}", width = if length == 1 { 40 } else { length }),
    }
}

fn nodes() -> Vec<String> {
    (0..NODES).map(name).collect()
}

fn services() -> Vec<String> {
    (0..SERVICES).map(name).collect()
}

/// Service n is on node n modulo 32; every seventh is disabled.
fn status() -> ClusterStatus {
    let nodes = nodes();
    let all = (1..).zip(&nodes).map(|(id, name)| node(id, name)).collect();
    let services = services().into_iter().enumerate().map(|(number, name)| {
        let owner = nodes[number % NODES].as_str();
        let name = format!("service:{name}");
        match number % 7 {
            0 => service(&name, ServiceState::Disabled, None, Some(owner)),
            _ => service(&name, ServiceState::Started, Some(owner), None),
        }
    });
    let services = services.collect();
    cluster(all, services)
}

fn rgmanager() -> FakeRgmanager {
    let status = status();
    FakeRgmanager::start(move |ask| {
        Say::Reply(match ask {
            Ask::Status => Reply::Status { status: Box::new(status.clone()) },
            Ask::Request { .. } => Reply::Answer { answer: Answer::Accepted },
            Ask::Await { .. } => {
                let owner = Some(NodeName(name(3)));
                Reply::Outcome { outcome: Outcome { code: ResultCode::Success, owner, text: String::new() } }
            }
            Ask::Conf => Reply::Conf {
                version: shared::ids::ConfVersion(1),
                digest: shared::conf::digest(&conf()),
                text: conf(),
            },
            Ask::FenceNode { node, .. } => Reply::Fence { attempts: vec![fenced(node)] },
            other => panic!("{other:?}"),
        })
    })
}

fn fenced(node: &NodeName) -> FenceAttempt {
    FenceAttempt {
        at: shared::ids::Time(0),
        by: node.clone(),
        method: "power".into(),
        attempt: 1,
        succeeded: true,
        devices: vec![FenceDeviceRun {
            device: "psu".into(),
            agent: "fence_apc".into(),
            code: Some(0),
            output: String::new(),
            duration_ms: 1,
        }],
    }
}

fn conf() -> String {
    let mut text = String::from("<cluster name=\"large\" config_version=\"1\">\n<clusternodes>\n");
    for (number, name) in nodes().iter().enumerate() {
        let _ = writeln!(
            text,
            "<clusternode name=\"{name}\" nodeid=\"{}\"><fence><method name=\"{name}\"><device name=\"psu\"/></method></fence></clusternode>",
            number + 1
        );
    }
    text.push_str("</clusternodes>\n<fencedevices><fencedevice name=\"psu\" agent=\"fence_that_is_not_installed\"/></fencedevices>\n<rm>\n<failoverdomains>\n");
    for domain in LENGTHS.iter().enumerate().map(|(number, _)| name(number)) {
        let _ = writeln!(
            text,
            "<failoverdomain name=\"{domain}\" restricted=\"1\"><failoverdomainnode name=\"{}\"/></failoverdomain>",
            name(3)
        );
    }
    text.push_str("</failoverdomains>\n");
    for name in services() {
        let _ = writeln!(text, "<service name=\"{name}\"/>");
    }
    text.push_str("</rm>\n</cluster>\n");
    text
}

/// What the command prints on a terminal of that many columns.
fn on_terminal(columns: usize, rgmanager: &FakeRgmanager, words: &[&str]) -> String {
    let line = format!("stty cols {columns} -onlcr; {} {}", path_of(words[0]), words[1..].join(" "));
    let output = Command::new("script")
        .args(["-qec", &line, "/dev/null"])
        .env("RGMANAGER_SOCKET", rgmanager.socket())
        .env("CLUSTER_CONF", rgmanager.socket().with_file_name("cluster.conf"))
        .env("HOME", rgmanager.socket().parent().unwrap())
        .env("TZ", "UTC")
        .env("SUDO_USER", "alice")
        .env_remove("COLUMNS")
        .stdin(Stdio::null())
        .output()
        .unwrap();
    String::from_utf8(output.stdout).unwrap()
}

/// Padded or cut to this many characters.
fn fit(text: &str, width: usize) -> String {
    let cut: String = text.chars().take(width).collect();
    format!("{cut:<width$}")
}

/// The tables as the field documents them: widths follow from the columns of the terminal.
fn tables(columns: usize) -> String {
    let (member, service) = ((columns / 2).min(64), ((columns - 20) / 2).min(64));
    let mut text = format!(" {}ID   Status\n", fit("Member Name", member));
    let _ = writeln!(text, " {}---- ------", fit("------ ----", member));
    for (id, name) in (1..).zip(nodes()) {
        let state = if id == 1 { "Online, Local, rgmanager" } else { "Online, rgmanager" };
        let _ = writeln!(text, " {} {id:>4} {state}", fit(&name, member));
    }
    let _ = writeln!(text, "\n {} {} State         ", fit("Service Name", service), fit("Owner (Last)", service));
    let _ = writeln!(text, " {} {} -----         ", fit("------- ----", service), fit("----- ------", service));
    let mut rows: Vec<(String, String)> = Vec::new();
    for (number, name) in services().iter().enumerate() {
        let (full, owner) = (format!("service:{name}"), self::name(number % NODES));
        let (owner, state) = match number % 7 {
            0 => (format!("({})", owner.chars().take(service - 2).collect::<String>()), "disabled"),
            _ => (owner, "started"),
        };
        let row = format!(" {} {} {}\n", fit(&full, service), fit(&owner, service), fit(state, 14));
        rows.push((full, row));
    }
    rows.sort();
    rows.into_iter().fold(text, |text, (_, row)| text + &row)
}

#[test]
fn the_tables_of_clustat_follow_the_terminal() {
    let rgmanager = rgmanager();
    for columns in [80, 200] {
        let drawn = on_terminal(columns, &rgmanager, &["clustat"]);
        let (_, drawn) = drawn.split_once("\n\n").unwrap();
        assert_eq!(drawn, tables(columns), "{columns} columns");
    }
    let plain = rgmanager.run("clustat", &[]).out;
    assert_eq!(plain.split_once("\n\n").unwrap().1, tables(80), "without a terminal");
    for (columns, name) in [(80, 30), (200, 64)] {
        let drawn = on_terminal(columns, &rgmanager, &["clustat", "-s", &self::name(7)]);
        let row = drawn.lines().last().unwrap();
        assert_eq!(row.len(), 1 + name + 1 + name + 1 + 14, "{columns} columns");
    }
}

/// The same with and without a terminal, of whatever width.
fn the_same_everywhere(rgmanager: &FakeRgmanager, words: &[&str]) -> String {
    let plain = rgmanager.run(words[0], &words[1..]);
    let told = format!("{}{}", plain.out, plain.err);
    for columns in [80, 200] {
        let drawn = on_terminal(columns, rgmanager, words);
        // What a terminal sees while it waits is wiped away again.
        let drawn = drawn.split("\x1b7").map(|part| part.rsplit("\x1b8\x1b[K").next().unwrap()).collect::<String>();
        assert_eq!(drawn.len(), told.len(), "{words:?} at {columns} columns: {drawn}");
        assert!(drawn.lines().all(|line| told.contains(line)), "{words:?} at {columns} columns: {drawn}");
    }
    told
}

#[test]
fn clusvcadm_and_the_fence_commands_say_names_whole() {
    let rgmanager = rgmanager();
    for number in 0..LENGTHS.len() {
        let name = name(number);
        let (service, node) = (name.as_str(), self::name(3));
        let said = the_same_everywhere(&rgmanager, &["clusvcadm", "-r", service, "-m", &node]);
        let expected = format!(
            "Trying to relocate service:{service} to {node}...Success\nservice:{service} is now running on {node}\n"
        );
        assert_eq!(said, expected);
        let said = the_same_everywhere(&rgmanager, &["clusvcadm", "--standby", &name]);
        assert_eq!(said, format!("{name} is in standby\n"));
        let said = the_same_everywhere(&rgmanager, &["fence_node", &name]);
        assert_eq!(said, format!("fence {name} success\n"));
        let said = the_same_everywhere(&rgmanager, &["fence_ack_manual", "-O", &name]);
        assert_eq!(said, format!("fence_ack_manual: nothing waits for fencing of {name}; nothing was done.\n"));
    }
    let tested = rgmanager.run("fence_check", &[]).out;
    let expected: String = nodes().iter().map(|name| format!("Testing {name} method 1: FAILED\n")).collect();
    assert_eq!(tested, expected);
}

#[test]
fn the_fence_domain_lists_all_nodes() {
    let mut status = status();
    status.nodes[3] = NodeStatus { member: Membership::Victim, online: false, ..status.nodes[3].clone() };
    status.waits_for_fencing_of = vec![NodeName(name(3))];
    let rgmanager = FakeRgmanager::with_status(status);
    let ids: Vec<String> = (1..=NODES).filter(|id| *id != 4).map(|id| id.to_string()).collect();
    let head = format!(
        "fence domain\nmember count  31\nvictim count  1\nvictim now    0\nmaster nodeid 1\nwait state    fencing\n\
         members       {}\n",
        ids.join(" ")
    );
    assert_eq!(the_same_everywhere(&rgmanager, &["fence_tool", "ls"]), head);
    let all: String = (1..=NODES)
        .map(|id| {
            let (member, victim) = if id == 4 { (0, 1) } else { (1, 0) };
            format!("nodeid {id} member {member} victim {victim} last fence master 0 how none\n")
        })
        .collect();
    assert_eq!(the_same_everywhere(&rgmanager, &["fence_tool", "ls", "-n"]), format!("{head}all nodes\n{all}"));
    assert_eq!(the_same_everywhere(&rgmanager, &["cman_tool", "services"]), head);
}

#[test]
fn cman_tool_prints_names_last_and_whole() {
    let node = |(id, name): (u32, String)| NodeFacts {
        id: NodeId(id),
        name: Some(NodeName(name)),
        is_member: true,
        votes: 1,
        joins: 12,
        joined: Some("2026-11-05 09:58:20".to_owned()),
        addresses: Vec::new(),
        last_fenced: None,
    };
    let facts = Facts { nodes: (1..).zip(nodes()).map(node).collect(), ..Facts::default() };
    let drawn = render_nodes(&facts, &NodesView::default()).unwrap();
    let rows: String =
        (1..).zip(nodes()).map(|(id, name)| format!("{id:>4}   M     12   2026-11-05 09:58:20  {name}\n")).collect();
    assert_eq!(drawn, format!("Node  Sts   Inc   Joined               Name\n{rows}"));
}

#[test]
fn the_other_forms_of_clustat_print_names_whole() {
    let rgmanager = rgmanager();
    let xml = the_same_everywhere(&rgmanager, &["clustat", "-x"]);
    let groups: Vec<&str> = xml.lines().filter(|line| line.starts_with("    <group name=\"")).collect();
    assert_eq!(groups.len(), SERVICES);
    for (number, name) in services().iter().enumerate() {
        let (state, owner, last) = match number % 7 {
            0 => ("state=\"119\" state_str=\"disabled\"", "none".to_owned(), self::name(number % NODES)),
            _ => ("state=\"112\" state_str=\"started\"", self::name(number % NODES), "none".to_owned()),
        };
        let row = format!(
            "    <group name=\"service:{name}\" {state} flags=\"0\" flags_str=\"\" owner=\"{owner}\" \
             last_owner=\"{last}\" restarts=\"0\" last_transition=\"1793872798\" \
             last_transition_str=\"Thu Nov  5 09:59:58 2026\"/>"
        );
        assert!(groups.contains(&row.as_str()), "{row}");
    }
    for (id, name) in (1..).zip(nodes()) {
        let local = u8::from(id == 1);
        let row = format!(
            "    <node name=\"{name}\" state=\"1\" local=\"{local}\" estranged=\"0\" rgmanager=\"1\" \
             rgmanager_master=\"0\" qdisk=\"0\" nodeid=\"0x{id:08x}\"/>\n"
        );
        assert!(xml.contains(&row), "{row}");
    }
    let long = rgmanager.run("clustat", &["-l"]).out;
    for name in services() {
        assert!(long.contains(&format!("\nService Name      : service:{name}\n")), "{name}");
    }
    let json: ClusterStatus = serde_json::from_str(&rgmanager.run("clustat", &["-o", "json"]).out).unwrap();
    assert_eq!(json, status());
    let mut completed: Vec<String> =
        rgmanager.run("clustat", &["--complete", "services"]).out.lines().map(str::to_owned).collect();
    let mut expected = services();
    completed.sort();
    expected.sort();
    assert_eq!(completed, expected);
}

#[test]
fn the_lists_of_ccs_and_rg_test_print_names_whole() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("large.conf").display().to_string();
    std::fs::write(&file, conf()).unwrap();
    let desk = |program: &str, words: &[&str]| {
        let ran = run(program, words, &folder.path().join("rgmanager.sk"), "");
        assert_eq!(ran.code, 0, "{words:?}: {}", ran.err);
        ran.out
    };
    let nodes_listed: String = (1..).zip(nodes()).map(|(id, name)| format!("{name}: nodeid={id}\n")).collect();
    assert_eq!(desk("ccs", &["-f", &file, "--lsnodes"]), nodes_listed);
    let instances: String = nodes().iter().map(|name| format!("{name}\n  {name}\n    psu: \n")).collect();
    assert_eq!(desk("ccs", &["-f", &file, "--lsfenceinst"]), instances);
    let domains: String = (0..LENGTHS.len()).map(|n| format!("{}: restricted=1\n  {}: \n", name(n), name(3))).collect();
    assert_eq!(desk("ccs", &["-f", &file, "--lsfailoverdomain"]), domains);
    let listed: String = services().iter().map(|name| format!("service: name={name}\n")).collect();
    assert_eq!(desk("ccs", &["-f", &file, "--lsservices"]), listed);
    let ranked: String = desk("rg_test", &["rank", &file, &name(7)]);
    assert_eq!(ranked.lines().count(), NODES);
    for (line, name) in ranked.lines().zip(nodes()) {
        assert!(line.starts_with(&format!("{name} BEST ")), "{line}");
    }
    for number in 0..LENGTHS.len() {
        let name = name(number);
        let steps = desk("rg_test", &["noop", &file, "start", "service", &name]);
        let expected =
            format!("Running in test mode.\nStarting {name}...\n[start] service:{name}\nStart of {name} complete\n");
        assert_eq!(steps, expected);
    }
    let trees = desk("rg_test", &["test", &file]);
    for name in services() {
        assert!(trees.contains(&format!("\nservice {{\n  name = \"{name}\";\n")), "{name}");
    }
    let summary = desk("ccs_config_validate", &["-v", &file]);
    assert!(
        summary.starts_with("Cluster large, version 1: 32 nodes, 1 fence devices, 4 failover domains, 500 services\n")
    );
}

/// A name is one word in requests as well.
#[test]
fn long_names_reach_rgmanager_as_they_were_typed() {
    let rgmanager = rgmanager();
    let (service, node) = (name(3), name(2));
    rgmanager.run("clusvcadm", &["-r", &service, &node]);
    let asked = rgmanager.asked().into_iter().find_map(|ask| match ask {
        Ask::Request { request } => Some(request.command),
        _ => None,
    });
    let expected = Request::Relocate { service: ServiceName::parse(&service), to: Some(NodeName(node)) };
    assert_eq!(asked, Some(expected));
}
