//! Secrets through ricci: kept for root alone, one value for ever, resolved for a test, told when they are missing, never told
//! otherwise.

use crate::support::{Manager, Node, mode, problem};
use reqwest::StatusCode;
use serde_json::{Value, json};
use shared::api::ProblemCode;

const CONF: &str = include_str!("three_nodes.conf");

async fn put(manager: &Manager, node: &Node, name: &str, value: &str) -> reqwest::Response {
    manager.put(node, &format!("/v1/secrets/{name}"), &json!({ "value": value })).await
}

/// The configuration with a reference in the place of every password.
fn referring(name: &str) -> String {
    let (before, rest) = CONF.split_once("passwd=\"").expect("the sample has a password");
    let (_, after) = rest.split_once('"').expect("quoted");
    format!("{before}passwd=\"secret:{name}\"{after}")
}

#[tokio::test]
async fn a_secret_is_kept_for_root_alone_and_never_gets_another_value() {
    let node = Node::start();
    let manager = node.paired().await;
    assert_eq!(put(&manager, &node, "bmc1.passwd.1", "canary-1").await.status(), StatusCode::NO_CONTENT);
    let file = node.conf_path().with_file_name("secrets").join("bmc1.passwd.1");
    assert_eq!((mode(&file), mode(file.parent().unwrap())), (0o600, 0o700));
    assert_eq!(put(&manager, &node, "bmc1.passwd.1", "canary-1").await.status(), StatusCode::NO_CONTENT);
    let other = problem(put(&manager, &node, "bmc1.passwd.1", "canary-2").await, 409, ProblemCode::Refused).await;
    assert!(!other.text.contains("canary"), "{}", other.text);
    problem(put(&manager, &node, "..%2Fcluster.conf", "x").await, 400, ProblemCode::BadRequest).await;
    problem(put(&manager, &node, "two-lines", "a\nb").await, 400, ProblemCode::BadRequest).await;
    assert_eq!(manager.json(&node, "/v1/secrets").await, json!({ "present": ["bmc1.passwd.1"], "missing": [] }));
    assert_eq!(manager.json(&node, "/v1/secrets/bmc1.passwd.1").await, json!({ "value": "canary-1" }));
    // Whoever is not paired learns nothing, not even names.
    let stranger = Manager::new();
    for path in ["/v1/secrets", "/v1/secrets/bmc1.passwd.1"] {
        problem(stranger.get(&node, path).await, 401, ProblemCode::NotPaired).await;
    }
    let log = manager.json(&node, "/v1/log").await.to_string();
    assert!(log.contains("bmc1.passwd.1") && !log.contains("canary"), "{log}");
}

#[tokio::test]
async fn what_the_configuration_refers_to_and_the_node_lacks_is_told() {
    let node = Node::start();
    let manager = node.paired().await;
    let text = referring("bmc.passwd.7");
    let accepted = manager.put(&node, "/v1/conf", &json!({ "text": text, "origin": "test", "offline": true })).await;
    assert_eq!(accepted.status(), StatusCode::ACCEPTED);
    assert_eq!(manager.json(&node, "/v1/node").await["secrets_missing"], json!(["bmc.passwd.7"]));
    let checked: Value = manager.post(&node, "/v1/conf/check", &json!({ "text": text })).await.json().await.unwrap();
    let finding = checked["findings"].as_array().unwrap().iter().find(|one| one["rule"] == "secret-missing");
    assert!(finding.is_some_and(|one| one["severity"] == "warning"), "{checked}");
    put(&manager, &node, "bmc.passwd.7", "canary-1").await;
    assert_eq!(manager.json(&node, "/v1/node").await["secrets_missing"], json!([]));
    // It is needed, and stays.
    problem(manager.delete(&node, "/v1/secrets/bmc.passwd.7").await, 409, ProblemCode::Refused).await;
    put(&manager, &node, "unused", "canary-2").await;
    assert_eq!(manager.delete(&node, "/v1/secrets/unused").await.status(), StatusCode::NO_CONTENT);
    problem(manager.delete(&node, "/v1/secrets/unused").await, 404, ProblemCode::NotFound).await;
}

#[tokio::test]
async fn a_fence_test_gets_the_secret_on_its_input_and_gives_none_back() {
    let node = Node::start();
    let manager = node.paired().await;
    put(&manager, &node, "bmc.token.1", "canary-1").await;
    node.script("fence/fence_echo", "cat");
    let test =
        |reference: &str| json!({ "agent": "fence_echo", "action": "status", "arguments": [["token", reference]] });
    let answer = manager.post(&node, "/v1/fence/test", &test("secret:bmc.token.1")).await;
    assert_eq!(answer.status(), StatusCode::OK);
    let tested: Value = answer.json().await.unwrap();
    assert_eq!(tested["output"], "token=(secret)\naction=status\n");
    let lacking =
        problem(manager.post(&node, "/v1/fence/test", &test("secret:bmc.token.2")).await, 404, ProblemCode::NotFound)
            .await;
    assert!(lacking.text.contains("bmc.token.2"), "{}", lacking.text);
}

const FENCE_KEY: &str = "/v1/fence/key";

#[tokio::test]
async fn the_key_of_fence_xvm_is_made_once_kept_for_root_alone_and_told_by_its_fingerprint() {
    let (first, second) = (Node::start(), Node::start());
    let (manager, other) = (first.paired().await, second.paired().await);
    assert_eq!(manager.json(&first, "/v1/node").await["fence_key"], Value::Null);
    problem(manager.get(&first, FENCE_KEY).await, 404, ProblemCode::NotFound).await;
    let made: Value = manager.post(&first, FENCE_KEY, &json!({})).await.json().await.unwrap();
    let file = first.conf_path().with_file_name("fence_xvm.key");
    assert_eq!((mode(&file), std::fs::read(&file).unwrap().len()), (0o600, 4096));
    // Asked again it is the same, and another one only when that is wanted.
    assert_eq!(manager.json(&first, FENCE_KEY).await, made);
    let again: Value = manager.post(&first, FENCE_KEY, &json!({})).await.json().await.unwrap();
    assert_eq!(again, made);
    let replaced: Value = manager.post(&first, FENCE_KEY, &json!({ "replace": true })).await.json().await.unwrap();
    assert_ne!(replaced, made);
    // Handed on, the other node tells the same fingerprint: the one that sha256sum prints of the file.
    assert_eq!(other.put(&second, FENCE_KEY, &replaced).await.status(), StatusCode::NO_CONTENT);
    let fingerprint = manager.json(&first, "/v1/node").await["fence_key"].clone();
    assert_eq!(other.json(&second, "/v1/node").await["fence_key"], fingerprint);
    let printed = std::process::Command::new("sha256sum").arg(&file).output().unwrap();
    assert!(String::from_utf8(printed.stdout).unwrap().starts_with(fingerprint.as_str().unwrap()));
    let log = manager.json(&first, "/v1/log").await.to_string();
    let key = replaced["key_base64"].as_str().unwrap();
    assert!(log.contains("key of fence_xvm") && !log.contains(&key[..16]), "{log}");
}

#[tokio::test]
async fn what_cannot_be_a_key_of_fence_xvm_is_refused_and_strangers_get_none() {
    let node = Node::start();
    let manager = node.paired().await;
    let kept: Value = manager.post(&node, FENCE_KEY, &json!({})).await.json().await.unwrap();
    // 31 and 4097 bytes, no base64, nothing.
    let (short, long) = (format!("{}A==", "A".repeat(41)), "A".repeat(5464));
    for bad in [short.as_str(), long.as_str(), "not base64!", ""] {
        problem(manager.put(&node, FENCE_KEY, &json!({ "key_base64": bad })).await, 400, ProblemCode::BadRequest).await;
    }
    assert_eq!(manager.json(&node, FENCE_KEY).await, kept);
    let stranger = Manager::new();
    problem(stranger.get(&node, FENCE_KEY).await, 401, ProblemCode::NotPaired).await;
    problem(stranger.put(&node, FENCE_KEY, &kept).await, 401, ProblemCode::NotPaired).await;
}
