//! cluster.conf through ricci: to the cluster when it runs, to disk when it does not, and nothing with an error in it.

use crate::support::{FakeRgmanager, Manager, Node, problem};
use reqwest::{Response, StatusCode};
use serde_json::json;
use shared::api::{ConfDocument, ConfPreview, ProblemCode};
use shared::conf::Severity;
use shared::conf::delta::ServiceChange;
use shared::ids::ConfVersion;
use shared::socket::{Ask, PutConf, Reply};

const CONF: &str = include_str!("three_nodes.conf");

async fn put(manager: &Manager, node: &Node, text: &str, offline: bool) -> Response {
    manager.put(node, "/v1/conf", &json!({ "text": text, "origin": "test", "offline": offline })).await
}

fn stored(node: &Node) -> Option<String> {
    std::fs::read_to_string(node.conf_path()).ok()
}

#[tokio::test]
async fn a_configuration_for_a_cluster_that_does_not_run_is_written_with_its_corosync_conf() {
    let node = Node::start();
    let manager = node.paired().await;
    problem(manager.get(&node, "/v1/conf").await, 404, ProblemCode::NotFound).await;
    let accepted = put(&manager, &node, CONF, true).await;
    assert_eq!(accepted.status(), StatusCode::ACCEPTED, "{}", accepted.text().await.unwrap());
    assert_eq!(stored(&node).as_deref(), Some(CONF));
    assert_eq!(crate::support::mode(&node.conf_path()), 0o600);
    let corosync = node.path("etc/corosync/corosync.conf");
    let rendered = std::fs::read_to_string(&corosync).unwrap();
    assert!(rendered.contains("cluster_name: alpha") && rendered.contains("n3"), "{rendered}");
    assert_eq!(crate::support::mode(&corosync), 0o640);
    // Nothing half-written is left in either folder.
    assert_eq!(std::fs::read_dir(node.path("etc")).unwrap().count(), 2);
    assert_eq!(std::fs::read_dir(node.path("etc/corosync")).unwrap().count(), 1);

    let read: ConfDocument = manager.get(&node, "/v1/conf").await.json().await.unwrap();
    assert_eq!((read.version, read.text.as_str()), (ConfVersion(3), CONF));
    let report = manager.json(&node, "/v1/node").await;
    assert_eq!(report["conf"]["cluster"], "alpha");
    assert_eq!(report["conf"]["digest"], json!(read.digest));
    // The same once more is no change.
    assert_eq!(put(&manager, &node, CONF, true).await.status(), StatusCode::ACCEPTED);
}

#[tokio::test]
async fn a_configuration_with_errors_is_refused_with_findings_and_nothing_is_touched() {
    let node = Node::start();
    let manager = node.paired().await;
    put(&manager, &node, CONF, true).await;
    let corosync = std::fs::read(node.path("etc/corosync/corosync.conf")).unwrap();
    let bomb = "<!DOCTYPE cluster [<!ENTITY a \"aaaaaaaaaa\"><!ENTITY b \"&a;&a;&a;&a;&a;&a;&a;&a;\">]>\n<cluster name=\"&b;\" config_version=\"4\"/>";
    let next = CONF.replace("config_version=\"3\"", "config_version=\"4\"");
    let truncated = next.split("</fencedevices>").next().unwrap().to_owned();
    let script = next.replace("service name=\"web\"", "service name=\"&lt;script>alert(1)&lt;/script>\"");
    let reference = next.replace("ref=\"192.0.2.50\"", "ref=\"192.0.2.51\"");
    let twice = next.replace("name=\"n2\" nodeid=\"2\"", "name=\"n1\" nodeid=\"2\"");
    for text in [bomb.to_owned(), truncated, script, reference, twice, "garbage".to_owned(), String::new()] {
        let refused = problem(put(&manager, &node, &text, true).await, 422, ProblemCode::Findings).await;
        let first = refused.findings.first().unwrap_or_else(|| panic!("no finding for {text}"));
        assert!(!first.text.is_empty() && !first.rule.is_empty(), "{first:?}");
        let checked = manager.post(&node, "/v1/conf/check", &json!({ "text": text })).await;
        let checked: shared::api::Checked = checked.json().await.unwrap();
        assert!(!checked.findings.is_empty());
    }
    assert_eq!(stored(&node).as_deref(), Some(CONF));
    assert_eq!(std::fs::read(node.path("etc/corosync/corosync.conf")).unwrap(), corosync);
}

#[tokio::test]
async fn a_lower_version_another_content_or_another_cluster_is_refused_with_the_way_on() {
    let node = Node::start();
    let manager = node.paired().await;
    put(&manager, &node, CONF, true).await;
    let cases = [
        (CONF.replace("config_version=\"3\"", "config_version=\"2\""), "number 4 or higher"),
        (CONF.replace("192.0.2.9", "192.0.2.8"), "number 4 or higher"),
        (CONF.replace("\"alpha\" config_version=\"3\"", "\"beta\" config_version=\"9\""), "leave that cluster first"),
    ];
    for (text, way_on) in cases {
        let refused = problem(put(&manager, &node, &text, true).await, 409, ProblemCode::Refused).await;
        assert!(refused.text.contains(way_on), "{}", refused.text);
        assert_eq!(stored(&node).as_deref(), Some(CONF));
    }
    let next = CONF.replace("config_version=\"3\"", "config_version=\"4\"");
    assert_eq!(put(&manager, &node, &next, true).await.status(), StatusCode::ACCEPTED);
    assert_eq!(stored(&node), Some(next));
}

#[tokio::test]
async fn a_configuration_that_cannot_be_written_leaves_the_old_one() {
    let node = Node::start();
    let manager = node.paired().await;
    put(&manager, &node, CONF, true).await;
    // Not even root can make a file in a folder that is none.
    let corosync = node.path("etc/corosync");
    std::fs::rename(&corosync, node.path("etc/aside")).unwrap();
    std::fs::write(&corosync, "in the way").unwrap();
    let next = CONF.replace("config_version=\"3\"", "config_version=\"4\"");
    let failed = problem(put(&manager, &node, &next, true).await, 500, ProblemCode::Internal).await;
    assert!(failed.text.contains("etc/corosync"), "{}", failed.text);
    assert_eq!(stored(&node).as_deref(), Some(CONF));
}

#[tokio::test]
async fn a_configuration_of_more_than_a_megabyte_is_refused() {
    let node = Node::start();
    let manager = node.paired().await;
    let long = CONF.replace("power fencing", &"x".repeat(1024 * 1024));
    for offline in [true, false] {
        problem(put(&manager, &node, &long, offline).await, 413, ProblemCode::TooLarge).await;
    }
    assert_eq!(stored(&node), None);
}

#[tokio::test]
async fn while_the_cluster_runs_it_gets_the_configuration_and_ricci_writes_nothing() {
    let node = Node::start();
    let manager = node.paired().await;
    problem(put(&manager, &node, CONF, false).await, 503, ProblemCode::ClusterNotRunning).await;
    let _rgmanager = FakeRgmanager::listen(&node, |ask| match ask {
        Ask::PutConf { text, .. } => {
            let loaded = shared::conf::load(text);
            let digest = shared::conf::digest(text);
            let result = match loaded.accept() {
                Ok(conf) => PutConf::Accepted { version: conf.version, digest, findings: Vec::new() },
                Err(findings) => PutConf::Refused { findings },
            };
            vec![Reply::PutConf { result }]
        }
        Ask::Conf => {
            vec![Reply::Conf { version: ConfVersion(3), digest: shared::conf::digest(CONF), text: CONF.to_owned() }]
        }
        _ => Vec::new(),
    });
    let accepted = put(&manager, &node, CONF, false).await;
    assert_eq!(accepted.status(), StatusCode::ACCEPTED);
    let refused = problem(put(&manager, &node, "<cluster/>", false).await, 422, ProblemCode::Findings).await;
    assert!(!refused.findings.is_empty());
    let read: ConfDocument = manager.get(&node, "/v1/conf").await.json().await.unwrap();
    assert_eq!(read.text, CONF);
    problem(put(&manager, &node, CONF, true).await, 409, ProblemCode::ClusterRunning).await;
    assert_eq!(stored(&node), None);
}

#[tokio::test]
async fn a_preview_tells_what_would_restart_and_stores_nothing() {
    let node = Node::start();
    let manager = node.paired().await;
    let preview = |text: String| {
        let (manager, node) = (&manager, &node);
        async move { manager.post(node, "/v1/conf/preview", &json!({ "text": text })).await }
    };
    problem(preview(CONF.to_owned()).await, 404, ProblemCode::NotFound).await;
    put(&manager, &node, CONF, true).await;
    let next = CONF.replace("config_version=\"3\"", "config_version=\"4\"");
    let told: ConfPreview = preview(next.clone()).await.json().await.unwrap();
    assert!(told.against == ConfVersion(3) && told.delta.is_empty(), "{told:?}");
    let removed = preview(next.replace("service name=\"web\"", "service name=\"shop\"")).await;
    let told: ConfPreview = removed.json().await.unwrap();
    let changes: Vec<_> = told.delta.services.iter().map(|service| (service.name.0.as_str(), service.change)).collect();
    let expected = [("service:shop", ServiceChange::Added { starts: true }), ("service:web", ServiceChange::Removed)];
    assert_eq!(changes, expected);
    assert!(!told.delta.services[1].tree.stop.is_empty());
    problem(preview("garbage".to_owned()).await, 422, ProblemCode::Findings).await;
    assert_eq!(stored(&node).as_deref(), Some(CONF));
}

#[tokio::test]
async fn the_agents_of_the_node_are_asked_on_demand_and_only_warn_where_files_are_written_node_by_node() {
    let node = Node::start();
    let manager = node.paired().await;
    let metadata = "<resource-agent name=\"Strict\"><parameters/><actions><action name=\"validate-all\"/></actions></resource-agent>";
    let script = format!("[ \"$1\" = meta-data ] && echo '{metadata}' && exit 0\necho never with me; exit 2");
    node.script("ocf/resource.d/heartbeat/Strict", &script);
    let text = CONF.replace("</rm>", "<service name=\"s\"><ocf name=\"s\" type=\"Strict\"/></service></rm>");
    let check = async |agents: bool| {
        let response = manager.post(&node, "/v1/conf/check", &json!({ "text": text, "agents": agents })).await;
        response.json::<shared::api::Checked>().await.unwrap().findings
    };
    assert!(check(false).await.iter().all(|finding| finding.rule != "agent-refuses"));
    let said = check(true).await;
    let refusal = said.iter().find(|finding| finding.rule == "agent-refuses").unwrap();
    assert_eq!(refusal.severity, Severity::Error);
    assert!(refusal.text.contains("ocf:s of service:s") && refusal.text.contains("never with me"), "{refusal:?}");
    let accepted = put(&manager, &node, &text, true).await;
    assert_eq!(accepted.status(), StatusCode::ACCEPTED);
    let accepted: shared::api::ConfAccepted = accepted.json().await.unwrap();
    assert!(accepted.findings.iter().any(|finding| finding.rule == "agent-refuses"), "{accepted:?}");
    assert!(accepted.findings.iter().all(|finding| finding.severity != Severity::Error), "{accepted:?}");
}

#[tokio::test]
async fn an_error_that_lies_on_disk_already_keeps_nothing_else_from_being_changed() {
    let node = Node::start();
    let manager = node.paired().await;
    put(&manager, &node, CONF, true).await;
    let broken = CONF.replace("</rm>", "<service name=\"s\"><ip ref=\"192.0.2.77\"/></service></rm>");
    std::fs::write(node.conf_path(), &broken).unwrap();
    let next = broken.replace("config_version=\"3\"", "config_version=\"4\"");
    let accepted = put(&manager, &node, &next, true).await;
    assert_eq!(accepted.status(), StatusCode::ACCEPTED, "{}", accepted.text().await.unwrap());
    let accepted: shared::api::ConfAccepted = accepted.json().await.unwrap();
    assert!(accepted.findings.iter().any(|finding| finding.rule == "unknown-reference"), "{accepted:?}");
    let worse = next.replace("config_version=\"4\"", "config_version=\"5\"").replace("name=\"s\"", "name=\"web\"");
    problem(put(&manager, &node, &worse, true).await, 422, ProblemCode::Findings).await;
}
