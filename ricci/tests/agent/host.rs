//! Start, stop, reboot and leaving for good, with daemons that ricci starts itself. The daemons are scripts; the rest is
//! as on a node.

use std::time::Duration;

use crate::support::{FakeRgmanager, Manager, Node, problem};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reqwest::StatusCode;
use serde_json::json;
use shared::api::ProblemCode;

const CONF: &str = include_str!("three_nodes.conf");

/// A node with a configuration, a key, and daemons that run until they are told to stop.
async fn ready(node: &Node) -> Manager {
    let daemon = "case \"$1\" in -v|--version) echo version 3.1.4; exit;; esac; exec sleep 600";
    node.script("bin/corosync", daemon);
    node.script("bin/rgmanager", daemon);
    node.script("bin/corosync-cfgtool", "exit 0");
    let manager = node.paired().await;
    let put = json!({ "text": CONF, "origin": "test", "offline": true });
    assert_eq!(manager.put(node, "/v1/conf", &put).await.status(), StatusCode::ACCEPTED);
    assert_eq!(manager.post(node, "/v1/cluster/key", &json!({})).await.status(), StatusCode::OK);
    manager
}

fn daemon_pid(node: &Node, name: &str) -> String {
    std::fs::read_to_string(node.path(&format!("run/{name}.pid"))).unwrap()
}

#[tokio::test]
async fn the_cluster_starts_stops_and_a_restarted_ricci_knows_its_daemons() {
    let mut node = Node::start();
    let manager = ready(&node).await;
    let rgmanager = FakeRgmanager::listen(&node, |_| Vec::new());
    assert_eq!(
        manager.post(&node, "/v1/cluster/start", &json!({ "enable": true })).await.status(),
        StatusCode::ACCEPTED
    );
    let ended = manager.operation_ended(&node).await;
    assert_eq!((&ended["kind"], &ended["failure"]), (&json!("start"), &json!(null)), "{ended}");
    let report = manager.json(&node, "/v1/node").await;
    assert_eq!(report["corosync"]["running"], true);
    assert_eq!(report["corosync"]["version"], "3.1.4");
    assert_eq!(report["rgmanager"]["running"], true);
    assert_eq!(report["rgmanager"]["enabled_at_boot"], true);

    let before = daemon_pid(&node, "corosync");
    node.kill();
    node.run();
    let manager = manager.restarted();
    assert_eq!(manager.json(&node, "/v1/node").await["corosync"]["running"], true);
    // Starting what runs already changes nothing.
    assert_eq!(manager.post(&node, "/v1/cluster/start", &json!({})).await.status(), StatusCode::ACCEPTED);
    assert_eq!(manager.operation_ended(&node).await["failure"], json!(null));
    assert_eq!(daemon_pid(&node, "corosync"), before);

    // While it runs, the node cannot leave for good and gets no configuration behind the cluster's back.
    problem(manager.delete(&node, "/v1/cluster").await, 409, ProblemCode::ClusterRunning).await;
    let put = json!({ "text": CONF, "origin": "test", "offline": true });
    problem(manager.put(&node, "/v1/conf", &put).await, 409, ProblemCode::ClusterRunning).await;
    let key = json!({ "key_base64": STANDARD.encode([1; 128]) });
    problem(manager.put(&node, "/v1/cluster/key", &key).await, 409, ProblemCode::ClusterRunning).await;

    assert_eq!(
        manager.post(&node, "/v1/cluster/stop", &json!({ "disable": true })).await.status(),
        StatusCode::ACCEPTED
    );
    assert_eq!(manager.operation_ended(&node).await["failure"], json!(null));
    let report = manager.json(&node, "/v1/node").await;
    assert_eq!(report["corosync"]["running"], false);
    assert_eq!(report["rgmanager"]["running"], false);
    assert_eq!(report["rgmanager"]["enabled_at_boot"], false);
    drop(rgmanager);
    std::fs::remove_file(node.path("rgmanager.sk")).unwrap();

    // What rgmanager remembers of this cluster must not meet the next one.
    std::fs::create_dir_all(node.path("cluster/conf")).unwrap();
    std::fs::write(node.path("cluster/intents.json"), "{}").unwrap();
    assert_eq!(manager.delete(&node, "/v1/cluster").await.status(), StatusCode::NO_CONTENT);
    assert_eq!(std::fs::read_dir(node.path("cluster")).unwrap().count(), 0);
    let report = manager.json(&node, "/v1/node").await;
    assert_eq!((&report["conf"], &report["has_corosync_key"]), (&json!(null), &json!(false)));
    assert!(!node.path("etc/corosync/corosync.conf").exists());
    problem(manager.post(&node, "/v1/cluster/start", &json!({})).await, 404, ProblemCode::NotFound).await;
}

#[tokio::test]
async fn a_start_that_was_accepted_is_taken_up_again_after_kill() {
    let mut node = Node::start();
    let manager = ready(&node).await;
    // corosync is not ready before the file is there.
    let ready = node.path("ready");
    node.script("bin/corosync-cfgtool", &format!("test -e {}", ready.display()));
    let _rgmanager = FakeRgmanager::listen(&node, |_| Vec::new());
    assert_eq!(manager.post(&node, "/v1/cluster/start", &json!({})).await.status(), StatusCode::ACCEPTED);
    let busy = problem(manager.post(&node, "/v1/cluster/stop", &json!({})).await, 409, ProblemCode::Refused).await;
    assert!(busy.text.contains("start"), "{}", busy.text);
    node.kill();
    std::fs::write(&ready, "").unwrap();
    node.run();
    let manager = manager.restarted();
    let ended = manager.operation_ended(&node).await;
    assert_eq!((&ended["kind"], &ended["failure"]), (&json!("start"), &json!(null)), "{ended}");
    assert_eq!(manager.json(&node, "/v1/node").await["rgmanager"]["running"], true);
}

#[tokio::test]
async fn a_daemon_that_dies_at_its_start_is_told_with_its_last_words() {
    let node = Node::start();
    let manager = ready(&node).await;
    node.script("bin/corosync", "echo 'no such interface'; exit 8");
    node.script("bin/corosync-cfgtool", "exit 1");
    assert_eq!(manager.post(&node, "/v1/cluster/start", &json!({})).await.status(), StatusCode::ACCEPTED);
    let ended = manager.operation_ended(&node).await;
    let failure = ended["failure"].as_str().unwrap();
    assert!(failure.contains("corosync") && failure.contains("no such interface"), "{failure}");
}

#[tokio::test]
async fn a_start_without_a_key_says_what_is_missing() {
    let node = Node::start();
    let manager = ready(&node).await;
    std::fs::remove_file(node.path("etc/corosync/authkey")).unwrap();
    assert_eq!(manager.post(&node, "/v1/cluster/start", &json!({})).await.status(), StatusCode::ACCEPTED);
    let ended = manager.operation_ended(&node).await;
    assert!(ended["failure"].as_str().unwrap().contains("authkey"), "{ended}");
    assert_eq!(manager.json(&node, "/v1/node").await["corosync"]["running"], false);
}

/// As a cluster.conf of RHEL 6 that was copied here by hand: what is wrong with services keeps nobody from starting.
#[tokio::test]
async fn errors_of_services_and_fencing_do_not_keep_the_cluster_from_starting_and_others_do() {
    let node = Node::start();
    let manager = ready(&node).await;
    let _rgmanager = FakeRgmanager::listen(&node, |_| Vec::new());
    let old = CONF.replacen("</rm>", "<service name=\"old\" domain=\"gone\"/></rm>", 1);
    assert!(shared::conf::load(&old).has_errors());
    std::fs::write(node.conf_path(), &old).unwrap();
    assert_eq!(manager.post(&node, "/v1/cluster/start", &json!({})).await.status(), StatusCode::ACCEPTED);
    let ended = manager.operation_ended(&node).await;
    assert_eq!(ended["failure"], json!(null), "{ended}");
    assert_eq!(manager.post(&node, "/v1/cluster/stop", &json!({})).await.status(), StatusCode::ACCEPTED);
    manager.operation_ended(&node).await;

    std::fs::write(node.conf_path(), old.replacen("nodeid=\"1\"", "nodeid=\"2\"", 1)).unwrap();
    assert_eq!(manager.post(&node, "/v1/cluster/start", &json!({})).await.status(), StatusCode::ACCEPTED);
    let ended = manager.operation_ended(&node).await;
    assert!(ended["failure"].as_str().is_some_and(|why| why.contains("nodeid 2")), "{ended}");
}

#[tokio::test]
async fn an_enabled_cluster_starts_after_a_boot_and_only_then() {
    let mut node = Node::start();
    let manager = ready(&node).await;
    let _rgmanager = FakeRgmanager::listen(&node, |_| Vec::new());
    manager.post(&node, "/v1/cluster/start", &json!({ "enable": true })).await;
    manager.operation_ended(&node).await;
    manager.post(&node, "/v1/cluster/stop", &json!({})).await;
    manager.operation_ended(&node).await;

    node.kill();
    node.run();
    let again = manager.restarted();
    let report = again.json(&node, "/v1/node").await;
    assert_eq!((&report["operation"]["kind"], &report["corosync"]["running"]), (&json!("stop"), &json!(false)));

    node.kill();
    std::fs::write(node.path("boot_id"), "boot-two\n").unwrap();
    node.run();
    let again = manager.restarted();
    let ended = again.operation_ended(&node).await;
    assert_eq!((&ended["kind"], &ended["origin"]), (&json!("start"), &json!("start at boot")));
    assert_eq!(again.json(&node, "/v1/node").await["corosync"]["running"], true);
}

#[tokio::test]
async fn a_reboot_is_accepted_carried_out_and_over_after_the_next_boot() {
    let mut node = Node::start();
    let manager = node.paired().await;
    let marker = node.path("rebooted");
    node.script("bin/reboot", &format!("touch {}", marker.display()));
    assert_eq!(manager.post(&node, "/v1/reboot", &json!({})).await.status(), StatusCode::ACCEPTED);
    while !marker.exists() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(manager.json(&node, "/v1/node").await["operation"]["ended_ms"], json!(null));
    node.kill();
    std::fs::write(node.path("boot_id"), "boot-two\n").unwrap();
    node.run();
    let ended = manager.restarted().operation_ended(&node).await;
    assert_eq!((&ended["kind"], &ended["failure"]), (&json!("reboot"), &json!(null)));
}

#[tokio::test]
async fn the_corosync_key_is_made_once_handed_on_and_kept_secret() {
    let (one, two) = (Node::start(), Node::start());
    let (first, second) = (one.paired().await, two.paired().await);
    problem(first.get(&one, "/v1/cluster/key").await, 404, ProblemCode::NotFound).await;
    let made: serde_json::Value = first.post(&one, "/v1/cluster/key", &json!({})).await.json().await.unwrap();
    let again: serde_json::Value = first.post(&one, "/v1/cluster/key", &json!({})).await.json().await.unwrap();
    assert_eq!(made, again);
    assert_eq!(first.json(&one, "/v1/cluster/key").await, made);
    assert_eq!(second.put(&two, "/v1/cluster/key", &made).await.status(), StatusCode::NO_CONTENT);
    let path = "etc/corosync/authkey";
    assert_eq!(std::fs::read(one.path(path)).unwrap(), std::fs::read(two.path(path)).unwrap());
    assert_eq!(std::fs::read(one.path(path)).unwrap().len(), 256);
    assert_eq!(crate::support::mode(&two.path(path)), 0o400);
    for bad in ["", "!!!", &STANDARD.encode([0; 127])] {
        let refused = second.put(&two, "/v1/cluster/key", &json!({ "key_base64": bad })).await;
        problem(refused, 400, ProblemCode::BadRequest).await;
    }
}

#[tokio::test]
async fn the_log_has_the_last_lines_of_all_programs_in_the_order_of_time() {
    let node = Node::start();
    let manager = node.paired().await;
    std::fs::create_dir_all(node.path("log")).unwrap();
    let year = time::OffsetDateTime::now_utc().year();
    std::fs::write(node.path("log/corosync-stderr.log"), "Jan 02 03:04:05.100 notice  [TOTEM ] three\n").unwrap();
    let rgmanager = format!("{year}-01-02T03:04:05.000Z rgmanager: one\n{year}-01-02T03:04:05.050Z rgmanager: two\n");
    std::fs::write(node.path("log/rgmanager.log"), rgmanager).unwrap();
    let lines = manager.json(&node, "/v1/log").await;
    let lines: Vec<(&str, &str)> = lines
        .as_array()
        .unwrap()
        .iter()
        .map(|line| (line["program"].as_str().unwrap(), line["text"].as_str().unwrap()))
        .collect();
    let begin = [("rgmanager", "one"), ("rgmanager", "two"), ("corosync", "notice  [TOTEM ] three")];
    assert!(lines.starts_with(&begin), "{lines:?}");
    // ricci's own lines are newer, and the pairing is among them.
    assert!(lines.iter().any(|(program, text)| *program == "ricci" && text.contains("paired")), "{lines:?}");
    assert_eq!(manager.json(&node, "/v1/log?lines=1").await.as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn a_reboot_ends_a_start_that_does_not_come_to_its_end() {
    let node = Node::start();
    let manager = ready(&node).await;
    let marker = node.path("rebooted");
    node.script("bin/reboot", &format!("touch {}", marker.display()));
    // A start that never becomes ready stands for whatever hangs.
    node.script("bin/corosync-cfgtool", "exit 1");
    assert_eq!(manager.post(&node, "/v1/cluster/start", &json!({})).await.status(), StatusCode::ACCEPTED);
    assert_eq!(manager.post(&node, "/v1/reboot", &json!({})).await.status(), StatusCode::ACCEPTED);
    while !marker.exists() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let report = manager.json(&node, "/v1/node").await;
    // What ran was stopped first.
    assert_eq!((&report["operation"]["kind"], &report["corosync"]["running"]), (&json!("reboot"), &json!(false)));
}
