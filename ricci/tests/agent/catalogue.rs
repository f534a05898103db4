//! Agents' lists, metadata and fence tests, with agents that are scripts of the test.

use crate::never::Never;
use crate::support::{Node, problem};
use reqwest::StatusCode;
use serde_json::{Value, json};
use shared::api::{ProblemCode, path};

const METADATA: &str = r#"<?xml version="1.0"?>
<resource-agent name="fence_x" shortdesc="Fences x"><parameters/></resource-agent>"#;

fn fence_agent(node: &Node, name: &str) {
    let told = node.path("told");
    let script = format!(
        "if [ \"$1\" = -o ]; then echo run >> {runs}; cat <<'END'\n{METADATA}\nEND\nexit 0; fi\ncat | tee {told}; echo denied >&2; exit 2",
        told = told.display(),
        runs = node.path("runs").display(),
    );
    node.script(&format!("fence/{name}"), &script);
}

#[tokio::test]
async fn installed_agents_are_listed_with_their_metadata() {
    let node = Node::start();
    let manager = node.paired().await;
    fence_agent(&node, "fence_x");
    fence_agent(&node, "fence_node");
    node.script("fence/other", "exit 0");
    node.script(
        "ocf/resource.d/heartbeat/Thing",
        "echo '<resource-agent name=\"Thing\"><shortdesc lang=\"en\">A thing</shortdesc></resource-agent>'",
    );
    std::fs::write(node.path("ocf/resource.d/heartbeat/notes.txt"), "no program").unwrap();
    let fence = manager.json(&node, "/v1/agents/fence").await;
    assert_eq!(fence.as_array().unwrap().len(), 1, "{fence}");
    assert_eq!((&fence[0]["name"], &fence[0]["short"]), (&json!("fence_x"), &json!("Fences x")));
    assert_eq!(fence[0]["problem"], json!("it offers neither off nor reboot, so that it can fence nothing"));
    let resource = manager.json(&node, "/v1/agents/resource").await;
    assert_eq!((&resource[0]["name"], &resource[0]["short"]), (&json!("ocf:heartbeat:Thing"), &json!("A thing")));
    assert_eq!(resource.as_array().unwrap().len(), 1, "{resource}");
    let metadata = manager.json(&node, "/v1/agents/resource/ocf:heartbeat:Thing/metadata").await;
    assert!(metadata["xml"].as_str().unwrap().contains("A thing"));
}

#[tokio::test]
async fn metadata_is_asked_once_per_version_of_the_agent() {
    let node = Node::start();
    let manager = node.paired().await;
    fence_agent(&node, "fence_x");
    for _ in 0..3 {
        manager.json(&node, "/v1/agents/fence/fence_x/metadata").await;
    }
    let runs = || std::fs::read_to_string(node.path("runs")).unwrap().lines().count();
    assert_eq!(runs(), 1);
    fence_agent(&node, "fence_x");
    manager.json(&node, "/v1/agents/fence/fence_x/metadata").await;
    assert_eq!(runs(), 2);
}

/// An agent with one parameter, which is asked by `validate-all` as well.
fn resource_agent(node: &Node, name: &str) {
    let script = format!(
        r#"case $1 in
meta-data) echo run >> {runs}; echo '<resource-agent name="{name}" version="1.2"><shortdesc lang="en">A thing</shortdesc><parameters><parameter name="port" required="1"><content type="integer"/></parameter><parameter name="password"><content type="string"/></parameter></parameters><actions><action name="start" timeout="9s"/><action name="stop"/><action name="monitor"/><action name="validate-all"/></actions></resource-agent>';;
validate-all) echo "port $OCF_RESKEY_port with $OCF_RESKEY_password is taken"; exit 2;;
esac"#,
        runs = node.path("runs").display(),
    );
    node.script(&format!("ocf/resource.d/heartbeat/{name}"), &script);
}

#[tokio::test]
async fn an_agent_that_hangs_delays_neither_the_list_nor_the_others() {
    let node = Node::start();
    let manager = node.paired().await;
    resource_agent(&node, "Thing");
    // It reads a pipe that nobody ever writes.
    let _never = Never::at(node.path("never"));
    node.script("ocf/resource.d/heartbeat/Hangs", &format!("cat {}", node.path("never").display()));
    let list = manager.json(&node, "/v1/agents/resource").await;
    let names: Vec<&Value> = list.as_array().unwrap().iter().map(|agent| &agent["name"]).collect();
    assert_eq!(names, [&json!("ocf:heartbeat:Hangs"), &json!("ocf:heartbeat:Thing")]);
    assert_eq!((&list[0]["short"], &list[0]["digest"]), (&json!(""), &Value::Null));
    assert_eq!((&list[1]["short"], &list[1]["version"]), (&json!("A thing"), &json!("1.2")));
    // It is given up in the end, and the list says so.
    let refused = manager.get(&node, "/v1/agents/resource/ocf:heartbeat:Hangs/metadata").await;
    assert!(problem(refused, 404, ProblemCode::NotFound).await.text.contains("did not end within 10 seconds"));
    let list = manager.json(&node, "/v1/agents/resource").await;
    assert!(list[0]["problem"].as_str().unwrap().contains("did not end within 10 seconds"), "{list}");
}

#[tokio::test]
async fn a_restarted_ricci_knows_what_the_agents_said() {
    let mut node = Node::start();
    let manager = node.paired().await;
    resource_agent(&node, "Thing");
    let before = manager.json(&node, "/v1/agents/resource").await;
    node.kill();
    node.run();
    assert_eq!(manager.json(&node, "/v1/agents/resource").await, before);
    let runs = std::fs::read_to_string(node.path("runs")).unwrap();
    assert_eq!(runs.lines().count(), 1);
}

#[tokio::test]
async fn parameters_are_judged_by_the_schema_and_by_the_agent() {
    let node = Node::start();
    let manager = node.paired().await;
    resource_agent(&node, "Thing");
    let schema = manager.json(&node, "/v1/agents/resource/ocf:heartbeat:Thing/schema").await;
    assert_eq!(schema["parameters"][0]["type"], json!({ "kind": "integer", "min": null, "max": null }));
    assert_eq!(schema["actions"][0]["timeout_ms"], json!(9000));
    let place = "/v1/agents/resource/ocf:heartbeat:Thing/validate";
    let asked = json!({ "parameters": [["port", "x"], ["password", "geheim"]] });
    let response = manager.post(&node, place, &asked).await;
    assert_eq!(response.status(), StatusCode::OK);
    let validated: Value = response.json().await.unwrap();
    assert_eq!(validated["complaints"][0]["text"], json!("port=\"x\" cannot be right: give a whole number"));
    assert_eq!(validated["said"]["code"], json!(2));
    assert_eq!(validated["said"]["output"], json!("port x with (secret) is taken\n"));
    let smuggled = json!({ "parameters": [["port\nLD_PRELOAD", "x"]] });
    problem(manager.post(&node, place, &smuggled).await, 400, ProblemCode::BadRequest).await;
}

#[tokio::test]
async fn no_path_leads_out_of_the_folders_of_agents() {
    let node = Node::start();
    let manager = node.paired().await;
    node.script("bin/fence_evil", "touch /nonexistent");
    for name in ["..%2fbin%2ffence_evil", "fence_..%2f..%2fbin%2fsh", "sh", "fence_node", "%00", ""] {
        let response = manager.get(&node, &format!("/v1/agents/fence/{name}/metadata")).await;
        problem(response, 404, ProblemCode::NotFound).await;
    }
    for name in ["ocf:..:..%2f..%2fbin%2fsh", "ocf:heartbeat:..", "ocf:.:x", "ocf:heartbeat", "lsb:x"] {
        let response = manager.get(&node, &format!("/v1/agents/resource/{name}/metadata")).await;
        problem(response, 404, ProblemCode::NotFound).await;
    }
}

#[tokio::test]
async fn an_agent_that_prints_no_metadata_is_said_to() {
    let node = Node::start();
    let manager = node.paired().await;
    node.script("fence/fence_mute", "echo 'python is missing' >&2; exit 1");
    let refused = manager.get(&node, "/v1/agents/fence/fence_mute/metadata").await;
    let refused = problem(refused, 404, ProblemCode::NotFound).await;
    assert!(refused.text.contains("python is missing"), "{}", refused.text);
}

#[tokio::test]
async fn a_fence_test_hands_the_arguments_over_and_masks_the_secrets() {
    let node = Node::start();
    let manager = node.paired().await;
    fence_agent(&node, "fence_x");
    let test =
        json!({ "agent": "fence_x", "action": "status", "arguments": [["ipaddr", "192.0.2.9"], ["passwd", "geheim"]] });
    let response = manager.post(&node, "/v1/fence/test", &test).await;
    assert_eq!(response.status(), StatusCode::OK);
    let tested: Value = response.json().await.unwrap();
    assert_eq!((&tested["succeeded"], &tested["code"]), (&json!(false), &json!(2)));
    let output = tested["output"].as_str().unwrap();
    assert!(output.contains("denied") && output.contains("192.0.2.9") && !output.contains("geheim"), "{output}");
    let told = std::fs::read_to_string(node.path("told")).unwrap();
    assert_eq!(told, "ipaddr=192.0.2.9\npasswd=geheim\naction=status\n");
}

#[tokio::test]
async fn a_fence_test_switches_nothing() {
    let node = Node::start();
    let manager = node.paired().await;
    fence_agent(&node, "fence_x");
    let off = json!({ "agent": "fence_x", "action": "off", "arguments": [] });
    problem(manager.post(&node, "/v1/fence/test", &off).await, 400, ProblemCode::BadRequest).await;
    for arguments in [json!([["action", "off"]]), json!([["ipaddr", "x\naction=off"]])] {
        let test = json!({ "agent": "fence_x", "action": "status", "arguments": arguments });
        problem(manager.post(&node, "/v1/fence/test", &test).await, 400, ProblemCode::BadRequest).await;
    }
    let unknown = json!({ "agent": "fence_y", "action": "status", "arguments": [] });
    problem(manager.post(&node, "/v1/fence/test", &unknown).await, 404, ProblemCode::NotFound).await;
    assert!(!node.path("told").exists());
}

#[tokio::test]
async fn the_openapi_document_has_every_path() {
    let node = Node::start();
    let manager = node.paired().await;
    let document = manager.json(&node, path::OPENAPI).await;
    let all = [
        path::ALIVE,
        path::PAIR,
        path::NODE,
        path::STATUS,
        path::STATUS_STREAM,
        path::REQUESTS,
        path::REQUEST,
        path::CONF,
        path::CONF_CHECK,
        path::CONF_PREVIEW,
        path::WHY,
        path::NODE_WHY,
        path::PREDICT,
        path::SECRETS,
        path::SECRET,
        path::CLUSTER,
        path::COROSYNC_KEY,
        path::CLUSTER_START,
        path::CLUSTER_STOP,
        path::REBOOT,
        path::FENCE_KEY,
        path::FENCE_TEST,
        path::RESOURCE_AGENTS,
        path::FENCE_AGENTS,
        path::RESOURCE_AGENT_METADATA,
        path::FENCE_AGENT_METADATA,
        path::RESOURCE_AGENT_SCHEMA,
        path::FENCE_AGENT_SCHEMA,
        path::RESOURCE_AGENT_VALIDATE,
        path::LOG,
        path::OPENAPI,
    ];
    for path in all {
        assert!(document["paths"].get(path).is_some(), "{path}");
    }
    assert_eq!(document["paths"].as_object().unwrap().len(), all.len());
}
