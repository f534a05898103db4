//! `ccs -h` against a real ricci on loopback: meeting, pairing, pinning, reading and writing.

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use std::sync::{Arc, Mutex};

use crate::agent_support::{FakeRgmanager, Node};
use shared::conf::{digest, load};
use shared::ids::ConfVersion;
use shared::socket::{Ask, PutConf, Reply};

/// A user with a home.
struct User {
    home: tempfile::TempDir,
}

impl User {
    fn new() -> Self {
        Self { home: tempfile::tempdir().unwrap() }
    }

    /// Exit code, stdout, stderr.
    fn ccs(&self, arguments: &[&str], typed: &str) -> (i32, String, String) {
        let mut child = Command::new(env!("CARGO_BIN_EXE_ccs"))
            .args(arguments)
            .env("HOME", self.home.path())
            .env("SUDO_USER", "alice")
            .env("RGMANAGER_SOCKET", self.home.path().join("rgmanager.sk"))
            .env("CLUSTER_CONF", self.home.path().join("cluster.conf"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        // The command may end without reading.
        let _ = child.stdin.take().unwrap().write_all(typed.as_bytes());
        let output = child.wait_with_output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
    }

    fn at(&self, node: &Node, words: &str) -> (i32, String, String) {
        let host = host(node);
        let mut arguments = vec!["-h", host.as_str()];
        arguments.extend(words.split_whitespace());
        self.ccs(&arguments, "")
    }

    /// Done without a word on stderr.
    fn done(&self, node: &Node, words: &str, out: &str) {
        assert_eq!(self.at(node, words), (0, out.to_owned(), String::new()), "{words}");
    }

    /// A user whom the node knows.
    fn paired(node: &Node) -> Self {
        let user = Self::new();
        let token = node.token();
        let (code, _, err) = user.at(node, &format!("--token {token} --lsfenceopts"));
        assert_eq!((code, err.as_str()), (0, ""));
        user
    }
}

fn host(node: &Node) -> String {
    format!("127.0.0.1:{}", node.port)
}

fn mode(path: &Path) -> u32 {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::metadata(path).unwrap().permissions().mode() & 0o777
}

/// A cluster of one name in steps, as the manual of the original builds it.
fn build(user: &User, node: &Node) {
    let (code, out, err) = user.at(node, "--createcluster alpha");
    assert_eq!((code, out.as_str()), (0, ""));
    assert!(err.contains("not sent to ") && err.contains("the cluster has no nodes"), "{err}");
    assert!(!node.conf_path().exists(), "a cluster without nodes is nothing for a host yet");
    let (code, out, err) = user.at(node, "--addnode 127.0.0.1");
    assert_eq!((code, out.as_str()), (0, "Node 127.0.0.1 added.\n"));
    assert!(err.contains("127.0.0.1 has no fence method") && err.contains("[node-not-fenced]"), "{err}");
}

#[test]
fn a_token_pairs_once_and_the_node_is_known_afterwards() {
    let node = Node::start();
    let user = User::paired(&node);
    build(&user, &node);
    user.done(&node, "--getversion", "2\n");
    user.done(&node, "--lsnodes", "127.0.0.1: nodeid=1\n");
    let folder = user.home.path().join(".ccs");
    assert_eq!(mode(&folder), 0o700);
    for name in ["privkey.pem", "cacert.pem", "known_nodes"] {
        assert_eq!(mode(&folder.join(name)), 0o600, "{name}");
    }
    let known = std::fs::read_to_string(folder.join("known_nodes")).unwrap();
    assert_eq!(known, format!("{} {}\n", host(&node), node.fingerprint));
    assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 3, "the draft is gone");
}

#[test]
fn a_change_reaches_the_disk_of_the_host_with_the_next_version() {
    let node = Node::start();
    let user = User::paired(&node);
    build(&user, &node);
    user.done(&node, "--addservice web autostart=0", "");
    let text = std::fs::read_to_string(node.conf_path()).unwrap();
    assert!(
        text.contains("config_version=\"3\"") && text.contains("<service name=\"web\" autostart=\"0\"/>"),
        "{text}"
    );
    user.done(&node, "--getconf", &text);
    let (code, out, err) = user.at(&node, "--addservice mail domain=nowhere");
    assert_eq!((code, out.as_str()), (1, ""));
    assert!(err.starts_with("ccs: nothing was changed: "), "{err}");
    assert_eq!(std::fs::read_to_string(node.conf_path()).unwrap(), text);
}

#[test]
fn setconf_gives_a_file_as_it_is_and_never_an_older_one() {
    let node = Node::start();
    let user = User::paired(&node);
    let file = user.home.path().join("mine.conf");
    let text = "<cluster name=\"alpha\" config_version=\"5\"><!-- mine -->\n<clusternodes><clusternode name=\"127.0.0.1\" nodeid=\"1\"/></clusternodes></cluster>\n";
    std::fs::write(&file, text).unwrap();
    let give = || user.ccs(&["-h", &host(&node), "-f", file.to_str().unwrap(), "--setconf"], "");
    let (code, out, err) = give();
    assert_eq!((code, out.as_str()), (0, ""));
    assert!(err.contains("[node-not-fenced]"), "{err}");
    assert_eq!(std::fs::read_to_string(node.conf_path()).unwrap(), text);
    std::fs::write(&file, text.replace("\"5\"", "\"4\"")).unwrap();
    let (code, _, err) = give();
    assert!(code == 1 && err.contains("a version never goes down"), "{err}");
    std::fs::write(&file, "garbage").unwrap();
    let (code, _, err) = give();
    assert!(code == 1 && err.starts_with("ccs: nothing was changed: "), "{err}");
    assert_eq!(std::fs::read_to_string(node.conf_path()).unwrap(), text);
}

#[test]
fn a_stranger_is_refused_and_pins_nothing() {
    let node = Node::start();
    let user = User::new();
    for words in ["-p wrong --lsnodes", "--token wrong --lsnodes"] {
        let (code, out, err) = user.at(&node, words);
        assert_eq!((code, out.as_str()), (1, ""), "{err}");
        assert!(err.starts_with("ccs: Unable to authenticate with ricci node, please check password. ("), "{err}");
        assert!(!err.contains("wrong --"), "{err}");
    }
    let (code, _, err) = user.at(&node, "--lsnodes");
    assert!(code == 1 && err.contains("Not yet authenticated with"), "no password at the end of the input: {err}");
    assert!(!user.home.path().join(".ccs/known_nodes").exists());
}

#[test]
fn another_certificate_than_the_pinned_one_ends_the_conversation() {
    let node = Node::start();
    let user = User::paired(&node);
    let known = user.home.path().join(".ccs/known_nodes");
    std::fs::write(&known, format!("{} {}\n", host(&node), "00:".repeat(31) + "00")).unwrap();
    let (code, out, err) = user.at(&node, "-p secret --lsnodes");
    assert_eq!((code, out.as_str()), (1, ""));
    assert!(err.contains("shows another certificate than when ccs first met it"), "{err}");
}

#[test]
fn a_host_without_ricci_costs_a_sentence() {
    let user = User::new();
    // Nothing listens on a port that was free a moment ago.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let (code, out, err) = user.ccs(&["-h", &format!("127.0.0.1:{port}"), "--lsnodes"], "");
    assert_eq!((code, out.as_str()), (1, ""));
    assert!(
        err.starts_with(&format!("ccs: Unable to connect to 127.0.0.1:{port}, make sure the ricci server is started.")),
        "{err}"
    );
    let node = Node::start();
    let (code, _, err) = User::paired(&node).at(&node, "--lsnodes");
    assert!(code == 1 && err.contains("has no cluster.conf; make one with --createcluster"), "{err}");
}

#[test]
fn sync_and_checkconf_reach_every_node() {
    let node = Node::start();
    let user = User::paired(&node);
    build(&user, &node);
    user.done(&node, "--sync --activate", "");
    assert!(node.path("etc/corosync/authkey").exists(), "the key of the cluster is made");
    let (code, out, _) = user.at(&node, "--checkconf");
    assert_eq!((code, out.as_str()), (0, "All nodes in sync.\n"));
}

#[test]
fn the_fence_agents_of_the_host_are_listed_with_their_options() {
    let node = Node::start();
    node.script(
        "fence/fence_demo",
        "cat <<'E'\n<?xml version=\"1.0\"?>\n<resource-agent name=\"fence_demo\" shortdesc=\"Demo\"><parameters>\
         <parameter name=\"action\"/><parameter name=\"ip\" required=\"1\"><content type=\"string\"/></parameter>\
         <parameter name=\"port\" required=\"0\"><content type=\"string\" default=\"1\"/></parameter>\
         </parameters></resource-agent>\nE",
    );
    let user = User::paired(&node);
    let (code, out, err) = user.at(&node, "--lsfenceopts fence_demo");
    assert_eq!(
        (code, out.as_str(), err.as_str()),
        (0, "fence_demo - Demo\n  Required Options:\n    ip\n  Optional Options:\n    port (default 1)\n", "")
    );
    let (code, _, err) = user.at(&node, "--lsfenceopts ../etc");
    assert!(code == 1 && err.contains("is not the name of a fence agent"), "{err}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_running_cluster_takes_a_change_into_force_and_nothing_is_left_to_activate() {
    let node = Node::start();
    let user = User::paired(&node);
    let text = "<cluster name=\"alpha\" config_version=\"5\"><clusternodes><clusternode name=\"127.0.0.1\" nodeid=\"1\"/></clusternodes></cluster>\n";
    let in_force = Arc::new(Mutex::new(text.to_owned()));
    let held = Arc::clone(&in_force);
    let _rgmanager = FakeRgmanager::listen(&node, move |ask| {
        let mut text = held.lock().unwrap();
        let version = |text: &str| load(text).conf.map_or(ConfVersion(0), |conf| conf.version);
        vec![match ask {
            Ask::Conf => Reply::Conf { version: version(&text), digest: digest(&text), text: text.clone() },
            Ask::PutConf { text: new, .. } => {
                new.clone_into(&mut text);
                Reply::PutConf {
                    result: PutConf::Accepted { version: version(&text), digest: digest(&text), findings: Vec::new() },
                }
            }
            _ => Reply::Error { text: "not asked for in this test".into() },
        }]
    });
    tokio::task::spawn_blocking(move || {
        user.done(&node, "--addservice web", "");
        user.done(&node, "--getversion", "6\n");
        let (code, out, err) = user.at(&node, "--activate");
        assert_eq!((code, out.as_str()), (0, ""));
        assert_eq!(err, "ccs: nothing to do: a running cluster takes every change into force at once\n");
        assert!(!node.conf_path().exists(), "rgmanager alone writes while the cluster runs");
    })
    .await
    .unwrap();
    assert!(in_force.lock().unwrap().contains("<service name=\"web\"/>"));
}

#[test]
fn movesecrets_leaves_only_references_in_the_configuration_and_prints_none_of_them() {
    let node = Node::start();
    let user = User::paired(&node);
    build(&user, &node);
    user.done(&node, "--addfencedev apc agent=fence_apc ipaddr=10.0.0.9 login=admin passwd=canary-1", "");
    let (code, out, err) = user.at(&node, "--movesecrets");
    assert_eq!((code, err.as_str()), (0, ""), "{out}");
    assert!(!out.contains("canary-1"), "{out}");
    let text = std::fs::read_to_string(node.conf_path()).unwrap();
    let (_, rest) = text.split_once("passwd=\"secret:").unwrap_or_else(|| panic!("no reference in {text}"));
    let name = rest.split('"').next().unwrap();
    assert!(!text.contains("canary-1") && text.contains("config_version=\"4\""), "{text}");
    let file = node.conf_path().with_file_name("secrets").join(name);
    assert_eq!((mode(&file), std::fs::read_to_string(&file).unwrap().as_str()), (0o600, "canary-1\n"));
    // What the user sees of it and keeps at home holds nothing either.
    for words in ["--getconf", "--lsfencedev"] {
        let (code, out, _) = user.at(&node, words);
        assert_eq!(code, 0);
        assert!(!out.contains("canary-1"), "{words}: {out}");
    }
    // Again there is nothing to move, and no version is made of it.
    let (code, _, err) = user.at(&node, "--movesecrets");
    assert_eq!((code, err.as_str()), (0, ""));
    assert_eq!(std::fs::read_to_string(node.conf_path()).unwrap(), text);
}

#[test]
fn movesecrets_changes_nothing_when_a_node_does_not_take_the_secrets() {
    let node = Node::start();
    let user = User::paired(&node);
    build(&user, &node);
    user.done(&node, "--addfencedev apc agent=fence_apc ipaddr=10.0.0.9 login=admin passwd=canary-1", "");
    // A file where the folder of secrets belongs: nothing can be stored.
    std::fs::write(node.conf_path().with_file_name("secrets"), "").unwrap();
    let before = std::fs::read_to_string(node.conf_path()).unwrap();
    let (code, out, err) = user.at(&node, "--movesecrets");
    assert_ne!(code, 0, "{out}");
    assert!(!err.contains("canary-1") && err.contains("secrets"), "{err}");
    assert_eq!(std::fs::read_to_string(node.conf_path()).unwrap(), before);
}
