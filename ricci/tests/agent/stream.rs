//! The status stream: passed through as it comes, resumed by position, ended when it goes dead.

use crate::support::{FakeRgmanager, Node, empty_status, problem};
use axum::body::Bytes;
use futures_util::StreamExt as _;
use reqwest::Response;
use shared::api::ProblemCode;
use shared::socket::{Ask, Reply};
use shared::status::{StreamItem, StreamPosition};

fn position(sequence: u64) -> StreamPosition {
    StreamPosition { stream: "s1".into(), sequence }
}

fn whole(sequence: u64) -> Reply {
    let status = Box::new(empty_status());
    Reply::Stream { stream: StreamItem::Whole { position: position(sequence), status, facts: Vec::new() } }
}

fn change(sequence: u64) -> Reply {
    Reply::Stream {
        stream: StreamItem::Change {
            position: position(sequence),
            head: Box::new(empty_status()),
            nodes: Vec::new(),
            nodes_removed: Vec::new(),
            services: Vec::new(),
            services_removed: Vec::new(),
            facts: Vec::new(),
        },
    }
}

/// The sequence numbers of the next lines.
async fn sequences(response: Response, count: usize) -> Vec<u64> {
    let mut chunks = response.bytes_stream();
    let mut text = String::new();
    while text.lines().count() < count || !text.ends_with('\n') {
        text.push_str(std::str::from_utf8(&chunks.next().await.unwrap().unwrap()).unwrap());
    }
    let items = text.lines().map(|line| match serde_json::from_str(line).unwrap() {
        StreamItem::Whole { position, .. } | StreamItem::Change { position, .. } | StreamItem::Alive { position } => {
            position.sequence
        }
    });
    items.collect()
}

#[tokio::test]
async fn changes_come_through_line_by_line_and_resume_after_a_position() {
    let node = Node::start();
    let manager = node.paired().await;
    let rgmanager = FakeRgmanager::listen(&node, |ask| match ask {
        Ask::Watch { since: None } => vec![whole(7), change(8), change(9)],
        Ask::Watch { since: Some(since) } => vec![change(since.sequence + 1), change(since.sequence + 2)],
        _ => Vec::new(),
    });
    let response = manager.get(&node, "/v1/status/stream").await;
    assert_eq!(response.headers()["content-type"], "application/x-ndjson");
    assert_eq!(sequences(response, 3).await, [7, 8, 9]);

    let response = manager.get(&node, "/v1/status/stream?stream=s1&sequence=9").await;
    assert_eq!(sequences(response, 2).await, [10, 11]);
    assert!(matches!(rgmanager.asked().last(), Some(Ask::Watch { since: Some(since) }) if *since == position(9)));
}

#[tokio::test]
async fn half_a_position_is_refused() {
    let node = Node::start();
    let manager = node.paired().await;
    for query in ["stream=s1", "sequence=3", "stream=s1&sequence=x"] {
        let response = manager.get(&node, &format!("/v1/status/stream?{query}")).await;
        problem(response, 400, ProblemCode::BadRequest).await;
    }
}

/// Nothing more comes; HTTP/2 may say so with an empty piece.
async fn has_ended(chunks: &mut (impl futures_util::Stream<Item = reqwest::Result<Bytes>> + Unpin)) -> bool {
    while let Some(Ok(chunk)) = chunks.next().await {
        if !chunk.is_empty() {
            return false;
        }
    }
    true
}

#[tokio::test]
async fn a_stream_ends_when_rgmanager_goes_silent_or_away() {
    let node = Node::start();
    let manager = node.paired().await;
    let rgmanager = FakeRgmanager::listen(&node, |_| vec![whole(1)]);
    let mut chunks = manager.get(&node, "/v1/status/stream").await.bytes_stream();
    assert!(chunks.next().await.unwrap().is_ok());
    // Silence: the stream ends by itself, within the limit that ricci sets.
    assert!(has_ended(&mut chunks).await);

    let mut chunks = manager.get(&node, "/v1/status/stream").await.bytes_stream();
    assert!(chunks.next().await.unwrap().is_ok());
    drop(rgmanager);
    assert!(has_ended(&mut chunks).await);
}

#[tokio::test]
async fn a_resumed_stream_opens_though_nothing_was_missed() {
    let node = Node::start();
    let manager = node.paired().await;
    let _rgmanager = FakeRgmanager::listen(&node, |_| Vec::new());
    let response = manager.get(&node, "/v1/status/stream?stream=s1&sequence=9").await;
    assert_eq!(response.status(), 200);
}
