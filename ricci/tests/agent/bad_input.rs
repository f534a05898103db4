//! What hangs, floods or lies costs one bounded answer and nothing else.

use std::time::{Duration, Instant};

use crate::support::{FakeRgmanager, Manager, Node, empty_status, problem};
use reqwest::{Method, StatusCode};
use serde_json::json;
use shared::api::{Problem, ProblemCode};
use shared::socket::{Ask, Reply};
use shared::status::{Answer, Refusal};
use shared::text::ResultCode;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

fn garbage(length: usize) -> Vec<u8> {
    // A linear congruence: bytes without a pattern that any parser knows.
    let mut state = 1_u32;
    let next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state.to_be_bytes()[0]
    };
    std::iter::repeat_with(next).take(length).collect()
}

#[tokio::test]
async fn ten_megabytes_of_garbage_are_refused_and_the_node_goes_on() {
    let node = Node::start();
    let manager = node.paired().await;
    for (who, path) in [(&manager, "/v1/conf"), (&manager.over_http1(), "/v1/conf"), (&manager, "/v1/requests")] {
        let method = if path == "/v1/conf" { Method::PUT } else { Method::POST };
        let request = who.client(&node).request(method, node.url(path)).body(garbage(10_000_000));
        let refused = problem(request.send().await.unwrap(), 413, ProblemCode::TooLarge).await;
        assert!(refused.text.contains("nothing was stored"), "{}", refused.text);
    }
    assert_eq!(manager.get(&node, "/v1/node").await.status(), StatusCode::OK);
}

#[tokio::test]
async fn garbage_without_a_length_is_cut_off_too() {
    let node = Node::start();
    let manager = node.paired().await;
    let chunks =
        garbage(10_000_000).chunks(100_000).map(|chunk| Ok::<_, std::io::Error>(chunk.to_vec())).collect::<Vec<_>>();
    let body = reqwest::Body::wrap_stream(futures_util::stream::iter(chunks));
    let response = manager.over_http1().client(&node).put(node.url("/v1/conf")).body(body).send().await.unwrap();
    problem(response, 413, ProblemCode::TooLarge).await;
}

#[tokio::test]
async fn garbage_instead_of_tls_closes_that_connection_only() {
    let node = Node::start();
    let mut stream = TcpStream::connect(("127.0.0.1", node.port)).await.unwrap();
    // The node may close before all of it is written.
    let _ = stream.write_all(&garbage(10_000_000)).await;
    let mut rest = Vec::new();
    let _ = stream.read_to_end(&mut rest).await;
    assert_eq!(Manager::new().get(&node, "/v1/alive").await.status(), StatusCode::OK);
}

#[tokio::test]
async fn a_body_that_is_no_json_says_what_is_wrong_with_it() {
    let node = Node::start();
    let manager = node.paired().await;
    for body in ["{", "[]", "{\"text\":1,\"origin\":\"x\"}", "<conf/>"] {
        let request = manager.client(&node).put(node.url("/v1/conf")).body(body);
        let refused = problem(request.send().await.unwrap(), 400, ProblemCode::BadRequest).await;
        assert!(refused.text.contains("line 1"), "{}", refused.text);
    }
}

#[tokio::test]
async fn many_silent_strangers_do_not_keep_a_paired_manager_out() {
    let node = Node::start();
    let manager = node.paired().await;
    let mut silent = Vec::new();
    for address in 2..=8_u8 {
        for _ in 0..40 {
            let socket = tokio::net::TcpSocket::new_v4().unwrap();
            socket.bind((std::net::Ipv4Addr::new(127, 0, 0, address), 0).into()).unwrap();
            silent.push(socket.connect(([127, 0, 0, 1], node.port).into()).await.unwrap());
        }
    }
    // A connection that is open is not touched.
    assert_eq!(manager.get(&node, "/v1/node").await.status(), StatusCode::OK);
    // When the handshakes of the silent ones have timed out, a new one gets in.
    let late = manager.restarted();
    let begun = Instant::now();
    while late.client(&node).get(node.url("/v1/node")).send().await.is_err() {
        assert!(begun.elapsed() < Duration::from_secs(20));
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    drop(silent);
}

#[tokio::test]
async fn a_hanging_rgmanager_is_told_as_such_and_blocks_nothing_else() {
    let node = Node::start();
    let manager = node.paired().await;
    let _silent = FakeRgmanager::listen(&node, |_| Vec::new());
    let begun = Instant::now();
    let (status, stream, conf, alone) = tokio::join!(
        manager.get(&node, "/v1/status"),
        manager.get(&node, "/v1/status/stream"),
        manager.get(&node, "/v1/conf"),
        async {
            let response = manager.get(&node, "/v1/node").await;
            (response.status(), begun.elapsed())
        },
    );
    assert_eq!(alone.0, StatusCode::OK);
    assert!(alone.1 < Duration::from_secs(3), "{:?}", alone.1);
    for response in [status, stream, conf] {
        let refused = problem(response, 504, ProblemCode::Timeout).await;
        assert!(refused.text.contains("rgmanager"), "{}", refused.text);
    }
    assert!(begun.elapsed() < Duration::from_secs(20));
}

#[tokio::test]
async fn without_rgmanager_the_cluster_is_said_not_to_run() {
    let node = Node::start();
    let manager = node.paired().await;
    for path in ["/v1/status", "/v1/status/stream", "/v1/requests/x"] {
        problem(manager.get(&node, path).await, 503, ProblemCode::ClusterNotRunning).await;
    }
}

#[tokio::test]
async fn an_rgmanager_that_talks_nonsense_is_not_believed() {
    let node = Node::start();
    let manager = node.paired().await;
    let _odd = FakeRgmanager::listen(&node, |_| vec![Reply::Done]);
    let refused = problem(manager.get(&node, "/v1/status").await, 500, ProblemCode::Internal).await;
    assert!(refused.text.contains("not an answer"), "{}", refused.text);
}

#[tokio::test]
async fn a_request_is_passed_on_and_its_answer_comes_back() {
    let node = Node::start();
    let manager = node.paired().await;
    let rgmanager = FakeRgmanager::listen(&node, |ask| match ask {
        Ask::Status => vec![Reply::Status { status: Box::new(empty_status()) }],
        Ask::Request { request } if request.command.verb() == "lock" => {
            vec![Reply::Answer { answer: Answer::Accepted }]
        }
        Ask::Request { .. } => {
            let refusal = Refusal { code: ResultCode::NoService, text: "there is no service:web".into() };
            vec![Reply::Answer { answer: Answer::Refused(refusal) }]
        }
        _ => Vec::new(),
    });
    assert_eq!(manager.json(&node, "/v1/status").await["cluster"], "one");
    let lock = json!({ "id": "1", "origin": "admin", "command": { "command": "lock" } });
    assert_eq!(manager.post(&node, "/v1/requests", &lock).await.status(), StatusCode::ACCEPTED);
    let stop = json!({ "id": "2", "origin": "admin", "command": { "command": "stop", "service": "service:web" } });
    let refused: Problem = problem(manager.post(&node, "/v1/requests", &stop).await, 409, ProblemCode::Refused).await;
    assert_eq!(refused.refusal.unwrap().code, ResultCode::NoService);
    assert!(refused.text.contains("service:web"), "{}", refused.text);
    let asked = rgmanager.asked();
    assert!(matches!(asked.last(), Some(Ask::Request { request }) if request.id.as_str() == "2"), "{asked:?}");
}
