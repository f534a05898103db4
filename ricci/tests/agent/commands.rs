//! The commands of the program `ricci` as an administrator types them on the node: what they print, to the byte, and their
//! exit code.

use std::os::unix::process::CommandExt as _;
use std::process::Command;

use crate::support::Node;

const NOBODY: u32 = 65534;

/// Exit code, standard output and standard error; the node's folder is `(node)` in both.
fn typed(node: &Node, command: &mut Command) -> (i32, String, String) {
    let output = command.env_remove("RUST_BACKTRACE").output().unwrap();
    let folder = node.folder.path().display().to_string();
    let said = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap().replace(&folder, "(node)");
    (output.status.code().unwrap(), said(output.stdout), said(output.stderr))
}

fn fingerprint(node: &Node) -> String {
    let (code, out, err) = typed(node, &mut node.command("fingerprint"));
    assert_eq!((code, err.as_str()), (0, ""));
    let line = out.strip_suffix('\n').unwrap();
    let pairs: Vec<&str> = line.split(':').collect();
    let is_pair = |pair: &&str| pair.len() == 2 && pair.chars().all(|c| c.is_ascii_digit() || ('A'..='F').contains(&c));
    assert!(pairs.len() == 32 && pairs.iter().all(is_pair), "{line}");
    line.to_owned()
}

/// The page of `ricci status`; `cluster`, and what comes behind the daemons.
fn page(node: &Node, cluster: &str, managers: &str) -> String {
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    format!(
        "Node          {host}\n\
         Fingerprint   {}\n\
         Cluster       {cluster}\n\
         corosync      not running\n\
         rgmanager     not running\n\
         Answers       no: rgmanager does not listen at (node)/rgmanager.sk: No such file or directory (os error 2)\n\
         Paired with   {managers}\n",
        fingerprint(node)
    )
}

#[test]
fn status_tells_the_cluster_of_the_file_or_that_there_is_none() {
    let node = Node::prepare();
    let status = || typed(&node, &mut node.command("status"));
    assert_eq!(status(), (0, page(&node, "none", "0 managers"), String::new()));
    std::fs::create_dir_all(node.path("etc")).unwrap();
    std::fs::write(node.conf_path(), "<cluster name=\"alpha\" config_version=\"9\"/>\n").unwrap();
    assert_eq!(status(), (0, page(&node, "alpha, version 9", "0 managers"), String::new()));
    std::fs::write(node.conf_path(), "<cluster name=").unwrap();
    let broken = "unknown: (node)/etc/cluster.conf is not the configuration of a cluster; ccs_config_validate says why";
    assert_eq!(status(), (0, page(&node, broken, "0 managers"), String::new()));
    std::fs::remove_file(node.conf_path()).unwrap();
    std::fs::create_dir(node.conf_path()).unwrap();
    let unreadable = "unknown: cannot read (node)/etc/cluster.conf";
    assert_eq!(status(), (0, page(&node, unreadable, "0 managers"), String::new()));
}

#[tokio::test]
async fn status_names_each_manager_with_its_fingerprint() {
    let node = Node::start();
    let first = node.paired().await;
    let line = |manager: &crate::support::Manager| format!("  {}  test manager\n", manager.fingerprint());
    let (code, out, err) = typed(&node, &mut node.command("status"));
    assert_eq!((code, err.as_str()), (0, ""));
    assert_eq!(out, page(&node, "none", "1 manager") + &line(&first));
    let second = node.paired().await;
    let (_, out, _) = typed(&node, &mut node.command("status"));
    let listed: Vec<&str> = out.split_inclusive('\n').skip(7).collect();
    assert!(out.starts_with(&page(&node, "none", "2 managers")), "{out}");
    assert!(listed.len() == 2 && [&first, &second].iter().all(|one| listed.contains(&line(one).as_str())), "{out}");
    assert_eq!(fingerprint(&node), node.fingerprint, "what it says when it starts");
}

#[test]
fn a_token_is_all_that_stands_on_stdout() {
    let node = Node::prepare();
    let (code, out, err) = typed(&node, &mut node.command("token"));
    assert_eq!(code, 0);
    let groups: Vec<&str> = out.strip_suffix('\n').unwrap().split('-').collect();
    let is_group = |group: &&str| group.len() == 4 && group.chars().all(|c| c.is_ascii_alphanumeric());
    assert!(groups.len() == 4 && groups.iter().all(is_group), "{out}");
    let fingerprint = fingerprint(&node);
    let said = format!("valid once, for 15 minutes; the node's certificate has the fingerprint\n{fingerprint}\n");
    assert_eq!(err, said);
    let (_, other, _) = typed(&node, &mut node.command("token"));
    assert_ne!(out, other);
}

#[test]
fn what_cannot_be_done_is_said_in_one_line() {
    let node = Node::prepare();
    std::fs::write(node.path("state"), "").unwrap();
    for command in ["token", "status", "fingerprint", "serve"] {
        let (code, out, err) = typed(&node, &mut node.command(command));
        assert_eq!((code, out.as_str()), (1, ""), "ricci {command}");
        // `serve` writes the time and more of its own before.
        let last = err.lines().last().unwrap_or_default();
        assert_eq!(last, "ricci: cannot make the folder (node)/state: File exists (os error 17)", "ricci {command}");
    }
    std::fs::remove_file(node.path("state")).unwrap();
    if rustix::process::geteuid().is_root() {
        let sentence = "ricci: cannot make the folder (node)/state: Permission denied (os error 13); run it as root\n";
        for command in ["token", "status", "fingerprint"] {
            let mut command = node.command(command);
            let (code, out, err) = typed(&node, command.uid(NOBODY).gid(NOBODY).current_dir("/"));
            assert_eq!((code, out.as_str()), (1, ""));
            assert_eq!(err, sentence);
        }
    }
    assert!(!node.path("state").exists(), "nothing was made");
}

#[test]
fn mistyped_command_lines_are_explained_with_exit_code_2() {
    let node = Node::prepare();
    let ricci = |words: &[&str]| typed(&node, Command::new(env!("CARGO_BIN_EXE_ricci")).args(words));
    for (words, sentence) in [
        (&["tokens"][..], "error: unrecognized subcommand 'tokens'\n"),
        (&["token", "--long"], "error: unexpected argument '--long' found\n"),
        (&["status", "--init", "upstart"], "error: invalid value 'upstart' for '--init <INIT>'\n"),
        (&["status", "--listen", "11111"], "error: invalid value '11111' for '--listen <ADDRESS:PORT>': "),
    ] {
        let (code, out, err) = ricci(words);
        assert_eq!((code, out.as_str()), (2, ""), "{words:?}");
        assert!(err.starts_with(sentence), "{words:?}: {err}");
    }
    assert_eq!(ricci(&["--version"]), (0, format!("ricci {}\n", env!("CARGO_PKG_VERSION")), String::new()));
    let (code, out, err) = ricci(&["--help"]);
    assert_eq!((code, err.as_str()), (0, ""));
    assert!(out.contains("\nUsage: ricci [OPTIONS] [COMMAND]\n"), "{out}");
}
