//! `ccs_config_validate` and `rg_test`: a cluster.conf looked at without any daemon.

use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use crate::fake::{Ran, run};

const GOOD: &str = r#"<cluster name="prod" config_version="7">
  <clusternodes>
    <clusternode name="node1" nodeid="1"><fence><method name="m"><device name="bmc"/></method></fence></clusternode>
    <clusternode name="node2" nodeid="2"><fence><method name="m"><device name="bmc"/></method></fence></clusternode>
    <clusternode name="node3" nodeid="3"><fence><method name="m"><device name="bmc"/></method></fence></clusternode>
  </clusternodes>
  <fencedevices><fencedevice name="bmc" agent="fence_ipmilan" ipaddr="10.0.0.1" passwd="topsecret"/></fencedevices>
  <rm>
    <failoverdomains>
      <failoverdomain name="east" ordered="1" restricted="1">
        <failoverdomainnode name="node1" priority="1"/>
        <failoverdomainnode name="node2" priority="2"/>
      </failoverdomain>
    </failoverdomains>
    <resources><ip address="10.0.0.10/24"/></resources>
    <service name="web" domain="east" recovery="relocate">
      <script name="app" file="/etc/init.d/app"/>
      <ip ref="10.0.0.10/24"/>
      <fs name="data" device="/dev/sdb1" mountpoint="/data" fstype="ext4"><apache name="httpd"/></fs>
    </service>
  </rm>
</cluster>
"#;

struct Desk {
    directory: tempfile::TempDir,
}

impl Desk {
    fn with(text: &str) -> Self {
        let desk = Self { directory: tempfile::tempdir().unwrap() };
        std::fs::write(desk.file(), text).unwrap();
        desk
    }

    fn file(&self) -> PathBuf {
        self.directory.path().join("cluster.conf")
    }

    fn run(&self, program: &str, arguments: &[&str]) -> Ran {
        run(program, arguments, &self.directory.path().join("rgmanager.sk"), "")
    }
}

#[test]
fn a_good_file_validates_with_one_line() {
    let desk = Desk::with(&GOOD.replace(" passwd=\"topsecret\"", ""));
    let file = desk.file();
    let file = file.to_str().unwrap();
    desk.run("ccs_config_validate", &[]).expect(0, "Configuration validates\n");
    for letter in ["-f", "-l"] {
        desk.run("ccs_config_validate", &[letter, file]).expect(0, "Configuration validates\n");
    }
    desk.run("ccs_config_validate", &["-v", file]).expect(
        0,
        "Cluster prod, version 7: 3 nodes, 1 fence devices, 1 failover domains, 1 services\nConfiguration validates\n",
    );
    desk.run("ccs_config_validate", &["-urno", "-C", "xmlconfig", "-t", "/tmp/x"])
        .expect(0, "Configuration validates\n");
}

#[test]
fn every_error_is_told_with_its_place_and_what_to_do() {
    let desk = Desk::with(&GOOD.replace("<ip ref=\"10.0.0.10/24\"/>", "<ip ref=\"10.0.0.11\"/>"));
    let ran = desk.run("ccs_config_validate", &[]);
    assert_eq!((ran.code, ran.out.as_str()), (1, "Configuration fails to validate\n"));
    let first = ran.err.lines().next().unwrap();
    let place = format!("{}:18:11: error: ", desk.file().display());
    assert!(first.starts_with(&place) && first.contains("10.0.0.11"), "{first}");
    assert!(ran.err.lines().nth(1).unwrap().starts_with("    "), "a hint follows: {}", ran.err);
}

#[test]
fn what_is_no_cluster_conf_fails_with_a_sentence() {
    for text in ["", "garbage", "<cluster", "<html/>"] {
        let ran = Desk::with(text).run("ccs_config_validate", &[]);
        assert_eq!((ran.code, ran.out.as_str()), (1, "Configuration fails to validate\n"), "{text:?}");
        assert!(ran.err.contains(": error: "), "{text:?}: {}", ran.err);
    }
    let desk = Desk::with("");
    std::fs::write(desk.file(), b"<cluster name='\xff'/>").unwrap();
    let ran = desk.run("ccs_config_validate", &[]);
    assert!(ran.err.contains("is not UTF-8 from byte 15 on"), "{}", ran.err);
    std::fs::write(desk.file(), vec![b' '; 11 << 20]).unwrap();
    let ran = desk.run("ccs_config_validate", &[]);
    assert!(ran.code == 1 && ran.err.contains("which is no cluster.conf"), "{}", ran.err);
    std::fs::remove_file(desk.file()).unwrap();
    let ran = desk.run("ccs_config_validate", &[]);
    assert!(ran.code == 1 && ran.err.contains("No such file or directory"), "{}", ran.err);
    for arguments in [&["-k"][..], &["-f", "a", "-l", "b"], &["-f", "a", "b"], &["-f"]] {
        let ran = desk.run("ccs_config_validate", arguments);
        assert!(ran.code == 1 && ran.err.contains("\nusage: ccs_config_validate"), "{ran:?}");
    }
}

#[test]
fn noop_shows_the_order_of_start_and_stop_and_runs_nothing() {
    let desk = Desk::with(GOOD);
    let file = desk.file();
    let file = file.to_str().unwrap();
    let noop = |operation, kind, name| desk.run("rg_test", &["noop", file, operation, kind, name]);
    noop("start", "service", "web").expect(
        0,
        "Running in test mode.\nStarting web...\n[start] service:web\n[start] fs:data\n[start] apache:httpd\n\
         [start] ip:10.0.0.10/24\n[start] script:app\nStart of web complete\n",
    );
    noop("stop", "service", "web").expect(
        0,
        "Running in test mode.\nStopping web...\n[stop] script:app\n[stop] ip:10.0.0.10/24\n[stop] apache:httpd\n\
         [stop] fs:data\n[stop] service:web\nStop of web complete\n",
    );
    noop("status", "fs", "data").expect(
        0,
        "Running in test mode.\nChecking status of data...\n[status] fs:data\n[status] apache:httpd\n\
         Status check of data complete\n",
    );
    let ran = noop("start", "service", "wbe");
    assert_eq!(
        (ran.code, ran.err.as_str()),
        (1, format!("rg_test: there is no service named 'wbe' in {file}\n").as_str())
    );
    assert!(noop("fly", "service", "web").err.starts_with("rg_test: 'fly' is none of start, stop, status\n"));
}

/// A script that tells what it is asked, and fails where a file says so.
#[test]
fn test_with_a_verb_runs_the_agents_in_order_and_tells_which_failed() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    for name in ["one", "two"] {
        let script = format!("#!/bin/sh\necho $1 >> {}\n[ -e {}.$1 ] && exit 1\nexit 0\n", path("log"), path(name));
        std::fs::write(path(name), script).unwrap();
        std::fs::set_permissions(path(name), std::fs::Permissions::from_mode(0o755)).unwrap();
    }
    let conf = format!(
        "<cluster name=\"c\" config_version=\"1\"><clusternodes><clusternode name=\"n\" nodeid=\"1\"/></clusternodes><rm>\
         <service name=\"web\"><script name=\"one\" file=\"{}\"><script name=\"two\" file=\"{}\"/></script></service></rm></cluster>",
        path("one"),
        path("two")
    );
    let desk = Desk::with(&conf);
    let file = desk.file();
    let file = file.to_str().unwrap();
    let run = |verb, kind, name| desk.run("rg_test", &["test", file, verb, kind, name]);
    let ran = run("start", "service", "web");
    let text =
        "Running in test mode.\nStarting web...\n[start] script:one\n[start] script:two\nStart of web complete\n";
    assert_eq!((ran.code, ran.out.as_str()), (0, text), "{}", ran.err);
    let ran = run("status", "script", "two");
    let text = "Running in test mode.\nChecking status of two...\n[status] script:two\nStatus of two is good\n";
    assert_eq!((ran.code, ran.out.as_str()), (0, text), "{}", ran.err);
    // A stop goes on after a failure, a start does not.
    std::fs::write(path("two.stop"), "").unwrap();
    std::fs::write(path("one.start"), "").unwrap();
    let ran = run("stop", "service", "web");
    let text = "Running in test mode.\nStopping web...\n[stop] script:two\n[stop] script:one\nFailed to stop web\n";
    assert_eq!((ran.code, ran.out.as_str()), (1, text));
    assert_eq!(ran.err, "stop on script \"two\" returned 1 (generic error)\n");
    let ran = run("start", "service", "web");
    let text = "Running in test mode.\nStarting web...\n[start] script:one\nFailed to start web\n";
    assert_eq!((ran.code, ran.out.as_str()), (1, text));
    assert_eq!(std::fs::read_to_string(path("log")).unwrap(), "start\nstart\nstatus\nstop\nstop\nstart\n");
}

#[test]
fn noop_refuses_a_file_with_errors() {
    let desk = Desk::with(&GOOD.replace("ref=\"10.0.0.10/24\"", "ref=\"10.0.0.11\""));
    let file = desk.file();
    let ran = desk.run("rg_test", &["noop", file.to_str().unwrap(), "start", "service", "web"]);
    assert_eq!((ran.code, ran.out.as_str()), (1, ""));
    assert!(ran.err.contains("error: ") && ran.err.ends_with(" has errors; nothing can be run from it\n"));
}

#[test]
fn test_shows_what_a_file_means() {
    let desk = Desk::with(GOOD);
    let ran = desk.run("rg_test", &["test", desk.file().to_str().unwrap()]);
    assert_eq!(ran.code, 0);
    let tree = "\
=== Resource Tree ===
service {
  name = \"web\";
  domain = \"east\";
  autostart = \"1\";
  exclusive = \"0\";
  recovery = \"relocate\";
  script {
    file = \"/etc/init.d/app\";
    name = \"app\";
";
    assert!(ran.out.contains(tree), "{}", ran.out);
    assert!(ran.out.contains("    # run by ocf:heartbeat:IPaddr2\n"));
    let domains = "\
=== Failover Domains ===
Failover domain: east
Flags: Ordered Restricted
  Node node1 (id 1, priority 1)
  Node node2 (id 2, priority 2)
";
    assert!(ran.out.contains(domains), "{}", ran.out);
    assert!(!ran.out.contains("topsecret"));
}

#[test]
fn rules_list_every_type_with_its_agent() {
    let ran = Desk::with("").run("rg_test", &["rules"]);
    assert_eq!((ran.code, ran.err.as_str()), (0, ""));
    assert!(ran.out.contains("Resource type: ip\nAgent: ocf:heartbeat:IPaddr2\n"));
    assert!(ran.out.contains("  name [ primary required ]\n"), "{}", ran.out);
    for arguments in [&[][..], &["fly"], &["test"], &["noop", "x"]] {
        let ran = Desk::with("").run("rg_test", arguments);
        assert!(ran.code == 1 && ran.err.contains("\nusage: rg_test"), "{ran:?}");
    }
}

/// The good file and another version of it.
fn successor(from: &str, to: &str) -> (Desk, String, String) {
    let desk = Desk::with(GOOD);
    assert!(GOOD.contains(from), "{from}");
    let new = desk.directory.path().join("new.conf");
    std::fs::write(&new, GOOD.replace(from, to).replace("config_version=\"7\"", "config_version=\"8\"")).unwrap();
    let path = |file: PathBuf| file.to_str().unwrap().to_owned();
    let (old, new) = (path(desk.file()), path(new));
    (desk, old, new)
}

#[test]
fn delta_shows_what_stops_and_starts_when_one_file_follows_another() {
    let (desk, old, new) = successor(
        "<apache name=\"httpd\"/></fs>\n    </service>",
        "<apache name=\"httpd\" config_file=\"/etc/other.conf\"/></fs>\n    </service>\n    <service name=\"mail\"><script name=\"mta\" file=\"/etc/init.d/mta\"/></service>",
    );
    let ran = desk.run("rg_test", &["delta", &old, &new]);
    assert_eq!(ran.code, 0, "{ran:?}");
    for tree in
        ["      apache [ NEEDSTOP ] {\n", "    apache [ NEEDSTART ] {\n", "service [ NEEDSTART ] {\n", "  fs {\n"]
    {
        assert!(ran.out.contains(tree.trim_start_matches("      ")), "{tree}: {}", ran.out);
    }
    let phases = "=== Operations (down-phase) ===\n[stop] apache:httpd\n\
                  === Operations (up-phase) ===\n[start] apache:httpd\n[start] service:mail\n[start] script:mta\n\
                  === Changes without restart ===\n";
    assert!(ran.out.ends_with(phases), "{}", ran.out);
}

#[test]
fn delta_tells_what_changes_without_a_restart_and_speaks_json() {
    let (desk, old, new) = successor("domain=\"east\" recovery=\"relocate\"", "recovery=\"disable\" autostart=\"0\"");
    let ran = desk.run("rg_test", &["delta", &old, &new]);
    let quiet = "=== Operations (down-phase) ===\n=== Operations (up-phase) ===\n=== Changes without restart ===\n\
                 service:web domain: east -> (none)\nservice:web autostart: 1 -> 0\n\
                 service:web recovery: relocate -> disable\n";
    assert!(ran.out.contains("service [ RECONFIG ] {\n") && ran.out.ends_with(quiet), "{}", ran.out);
    let ran = desk.run("rg_test", &["delta", &old, &new, "-o", "json"]);
    let delta: shared::conf::delta::Delta = serde_json::from_str(&ran.out).unwrap();
    assert!(delta.services[0].tree.is_quiet() && delta.services[0].tree.keep.len() == 4, "{delta:?}");
    let missing = desk.run("rg_test", &["delta", &old, "/does/not/exist"]);
    assert!(missing.code == 1 && missing.err.contains("/does/not/exist"), "{missing:?}");
}

#[test]
fn rank_tells_where_a_service_would_go_and_why() {
    let desk = Desk::with(GOOD);
    let file = desk.file();
    let rank = |options: &[&str]| desk.run("rg_test", &[&["rank", file.to_str().unwrap(), "web"], options].concat());
    rank(&[]).expect(
        0,
        "node1 BEST has priority 1, the best that is online\n\
         node2 BETTER has priority 2, and a node with priority 1 is online\n\
         node3 ILLEGAL is not in the failover domain, which is restricted\n",
    );
    rank(&["--online", "node2,node3", "--owner", "node2", "--state", "started"]).expect(
        0,
        "node2 BEST has priority 2, the best that is online\n\
         node1 ILLEGAL is offline\n\
         node3 ILLEGAL is not in the failover domain, which is restricted\n",
    );
    let ran = rank(&["--online", "node3", "-o", "json"]);
    let ranked: serde_json::Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!(ranked[2]["node"], "node3");
    assert_eq!((&ranked[2]["level"], &ranked[2]["why"]), (&"ILLEGAL".into(), &"restricted-offline".into()));
    for (options, sentence) in [
        (&["--online", "node9"][..], "there is no node node9 in "),
        (&["--owner", "node1", "--state", "running"][..], "'running' is no state of a service"),
        (&["--owner"][..], "'--owner' is unknown here or lacks its value"),
    ] {
        let ran = rank(options);
        assert!(ran.code == 1 && ran.err.contains(sentence), "{ran:?}");
    }
}
