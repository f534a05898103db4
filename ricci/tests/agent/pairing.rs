//! Who may talk to a node: nobody without a pinned certificate, and how certificates get pinned.

use std::process::Command;
use std::time::Duration;

use crate::support::{Manager, Node, problem};
use reqwest::StatusCode;
use serde_json::{Value, json};
use shared::api::ProblemCode;

/// Every path but the liveness answer and pairing.
const PINNED: [(&str, &str); 21] = [
    ("GET", "/v1/node"),
    ("GET", "/v1/status"),
    ("GET", "/v1/status/stream"),
    ("POST", "/v1/requests"),
    ("GET", "/v1/requests/x"),
    ("GET", "/v1/conf"),
    ("PUT", "/v1/conf"),
    ("POST", "/v1/conf/check"),
    ("POST", "/v1/conf/preview"),
    ("GET", "/v1/services/service:web/why"),
    ("POST", "/v1/predict"),
    ("DELETE", "/v1/cluster"),
    ("GET", "/v1/cluster/key"),
    ("POST", "/v1/cluster/start"),
    ("POST", "/v1/cluster/stop"),
    ("POST", "/v1/reboot"),
    ("POST", "/v1/fence/test"),
    ("GET", "/v1/agents/fence"),
    ("GET", "/v1/log"),
    ("GET", "/v1/openapi.json"),
    ("GET", "/no/such/path"),
];

#[tokio::test]
async fn only_the_liveness_answer_is_given_to_everyone() {
    let node = Node::start();
    for stranger in [Manager::without_certificate(), Manager::new()] {
        let alive = stranger.json(&node, "/v1/alive").await;
        assert_eq!(alive["program"], "ricci");
        for (method, path) in PINNED {
            let request = stranger.client(&node).request(method.parse().unwrap(), node.url(path));
            let refused = problem(request.send().await.unwrap(), 401, ProblemCode::NotPaired).await;
            assert!(refused.text.contains("paired"), "{method} {path}: {}", refused.text);
        }
    }
}

#[tokio::test]
async fn a_token_pairs_one_manager_and_no_second() {
    let node = Node::start();
    let (first, second) = (Manager::new(), Manager::new());
    let token = node.token();
    let paired = first.pair_with_token(&node, &token).await;
    assert_eq!(paired.status(), StatusCode::OK);
    let paired: Value = paired.json().await.unwrap();
    assert_eq!((&paired["boot_id"], &paired["cluster"]), (&json!("boot-one"), &Value::Null));
    assert_eq!(first.get(&node, "/v1/node").await.status(), StatusCode::OK);

    let refused = problem(second.pair_with_token(&node, &token).await, 403, ProblemCode::PairingRefused).await;
    assert!(refused.text.contains("used"), "{}", refused.text);
    problem(second.get(&node, "/v1/node").await, 401, ProblemCode::NotPaired).await;
}

#[tokio::test]
async fn pairing_needs_a_client_certificate() {
    let node = Node::start();
    let token = node.token();
    let refused = Manager::without_certificate().pair_with_token(&node, &token).await;
    problem(refused, 400, ProblemCode::BadRequest).await;
    // The token is still good.
    assert_eq!(Manager::new().pair_with_token(&node, &token).await.status(), StatusCode::OK);
}

#[tokio::test]
async fn guessing_is_slowed_down_even_for_the_right_token() {
    let node = Node::start();
    let manager = Manager::new();
    problem(manager.pair_with_token(&node, "0000-0000-0000-0000").await, 403, ProblemCode::PairingRefused).await;
    let token = node.token();
    let slowed = manager.pair_with_token(&node, &token).await;
    let wait: u64 = slowed.headers()["retry-after"].to_str().unwrap().parse().unwrap();
    problem(slowed, 429, ProblemCode::TooManyAttempts).await;
    tokio::time::sleep(Duration::from_secs(wait)).await;
    assert_eq!(manager.pair_with_token(&node, &token).await.status(), StatusCode::OK);
}

#[tokio::test]
async fn a_pairing_survives_kill_and_the_nodes_certificate_stays_the_same() {
    let mut node = Node::start();
    let manager = node.paired().await;
    let fingerprint = node.fingerprint.clone();
    node.kill();
    node.run();
    assert_eq!(node.fingerprint, fingerprint);
    assert_eq!(manager.restarted().get(&node, "/v1/node").await.status(), StatusCode::OK);
    problem(Manager::new().get(&node, "/v1/node").await, 401, ProblemCode::NotPaired).await;
    assert_eq!(crate::support::mode(&node.path("state/key.pem")), 0o600);
    assert_eq!(crate::support::mode(&node.path("state/managers.json")), 0o600);
    assert_eq!(crate::support::mode(&node.path("state")), 0o700);
}

#[tokio::test]
async fn an_unpaired_manager_is_refused_on_its_open_connection() {
    let node = Node::start();
    let manager = node.paired().await;
    assert_eq!(manager.delete(&node, "/v1/pair").await.status(), StatusCode::NO_CONTENT);
    problem(manager.get(&node, "/v1/node").await, 401, ProblemCode::NotPaired).await;
}

#[tokio::test]
async fn a_client_that_shows_a_paired_certificate_without_its_key_gets_no_connection() {
    let node = Node::start();
    let manager = node.paired().await;
    let thief = manager.with_stolen_certificate();
    let outcome = thief.client(&node).get(node.url("/v1/node")).send().await;
    assert!(outcome.is_err(), "{outcome:?}");
}

#[tokio::test]
async fn a_label_that_could_deface_a_log_is_refused() {
    let node = Node::start();
    let body = json!({ "with": "token", "token": node.token(), "label": "x\nroot paired" });
    let refused = Manager::new().post(&node, "/v1/pair", &body).await;
    problem(refused, 400, ProblemCode::BadRequest).await;
}

#[tokio::test]
async fn the_commands_print_what_an_administrator_compares() {
    let node = Node::start();
    let manager = node.paired().await;
    let fingerprint = node.command("fingerprint").output().unwrap();
    assert_eq!(String::from_utf8(fingerprint.stdout).unwrap().trim(), node.fingerprint);
    let status = node.command("status").output().unwrap();
    let status = String::from_utf8(status.stdout).unwrap();
    assert!(status.contains("test manager") && status.contains("not running"), "{status}");
    drop(manager);
}

/// The system user exists in a mount namespace of ricci's own, with our PAM service and nothing else in /etc/pam.d.
#[tokio::test]
async fn the_password_of_the_user_ricci_pairs_and_a_wrong_one_does_not() {
    let mut node = Node::prepare();
    let hash = Command::new("openssl").args(["passwd", "-6", "westos"]).output().unwrap();
    let hash = String::from_utf8(hash.stdout).unwrap();
    let passwd = std::fs::read_to_string("/etc/passwd").unwrap();
    let others: String =
        passwd.lines().filter(|line| !line.starts_with("ricci:")).map(|line| format!("{line}\n")).collect();
    std::fs::write(node.path("passwd"), format!("{others}ricci:x:140:140::/nonexistent:/usr/sbin/nologin\n")).unwrap();
    std::fs::write(node.path("shadow"), format!("ricci:{}:19000:0:99999:7:::\n", hash.trim())).unwrap();
    let service = concat!(env!("CARGO_MANIFEST_DIR"), "/../packaging/pam.d/ricci");
    let set_up = "mount --bind passwd /etc/passwd && mount --bind shadow /etc/shadow && \
         mount -t tmpfs none /etc/pam.d && cp \"$0\" /etc/pam.d/ricci && exec \"$@\"";
    let mut command = Command::new("unshare");
    command.current_dir(node.folder.path()).args(["--mount", "sh", "-c", set_up, service]);
    command.arg(env!("CARGO_BIN_EXE_ricci")).args(node.arguments("serve"));
    if !rustix::process::geteuid().is_root() {
        // A user of its own cannot be made here; only the refusal is shown.
        command = node.command("serve");
    }
    node.run_command(command);

    let manager = Manager::new();
    let body = |password: &str| json!({ "with": "password", "password": password, "label": "test manager" });
    let refused = manager.post(&node, "/v1/pair", &body("wrong")).await;
    let refused = problem(refused, 403, ProblemCode::PairingRefused).await;
    problem(manager.get(&node, "/v1/node").await, 401, ProblemCode::NotPaired).await;
    if !rustix::process::geteuid().is_root() {
        return;
    }
    assert!(refused.text.contains("not the password"), "{}", refused.text);
    // The failed attempt has to be waited out.
    let accepted = loop {
        let response = manager.post(&node, "/v1/pair", &body("westos")).await;
        if response.status() != StatusCode::TOO_MANY_REQUESTS {
            break response;
        }
        let wait: u64 = response.headers()["retry-after"].to_str().unwrap().parse().unwrap();
        tokio::time::sleep(Duration::from_secs(wait)).await;
    };
    assert_eq!(accepted.status(), StatusCode::OK);
    assert_eq!(manager.get(&node, "/v1/node").await.status(), StatusCode::OK);
}
