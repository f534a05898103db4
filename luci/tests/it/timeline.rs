//! The timeline is read by what one is looking for, and taken along as a file; the list of clusters is searched.

use std::collections::BTreeSet;
use std::fs;

use axum::http::{StatusCode, header};
use luci::views::timeline::GROUPS;
use shared::ids::{NodeName, ServiceName};
use shared::status::{FactKind, Subject};

use crate::fake::Fake;
use crate::sources::root;
use crate::stage::{Stage, stage};

const EVENTS: &str = "/clusters/alpha/events";

/// A cluster in which something happened to a node and to a service.
async fn eventful() -> Stage {
    let mut stage = stage(Fake::new(), &["node1", "node2"]).await;
    stage.add_service("web").await;
    stage.fake.change(|world| {
        world.fact(Subject::Node(NodeName::from("node2")), FactKind::FenceFailed, "=fencing node2 \"failed\", twice");
        world.fact(Subject::Service(ServiceName::parse("web")), FactKind::ServiceStarted, "the web is up");
    });
    stage.browser.wait_for(EVENTS, "the web is up").await;
    stage.browser.wait_for(EVENTS, "fencing node2").await;
    stage
}

#[tokio::test]
async fn events_are_chosen_by_what_they_are_about_and_by_their_kind() {
    let mut stage = eventful().await;
    for (query, fencing, service) in [
        ("", true, true),
        ("?about=node:node2", true, false),
        ("?about=service:service:web", false, true),
        ("?about=cluster", false, false),
        ("?group=fencing", true, false),
        ("?group=services", false, true),
        ("?about=node:node2&group=services", false, false),
        ("?words=TWICE+fencing", true, false),
        ("?words=Service:WEB", false, true),
        ("?words=fencing+web", false, false),
        ("?words=fenc_ng", false, false),
        ("?words=%25", false, false),
    ] {
        let page = stage.browser.get(&format!("{EVENTS}{query}")).await;
        assert_eq!(page.status, StatusCode::OK, "{query}");
        let seen = (page.body.contains("fencing node2"), page.body.contains("the web is up"));
        assert_eq!(seen, (fencing, service), "{query}: {}", page.text());
    }
    let chosen = stage.browser.get(&format!("{EVENTS}?about=node:node2&group=fencing")).await;
    for mark in ["value=\"node:node2\" selected", "value=\"fencing\" selected", "data-test=\"all-events\""] {
        assert!(chosen.body.contains(mark), "{mark}: {}", chosen.body);
    }
    // Not everything, which would look as if it were the answer.
    for query in ["?about=host:web", "?group=weather"] {
        let refused = stage.browser.get(&format!("{EVENTS}{query}")).await;
        assert_eq!(refused.status, StatusCode::UNPROCESSABLE_ENTITY, "{query}");
    }
    let one = "/api/v1/clusters/alpha/events?about=node:node2&group=fencing";
    let told = stage.browser.get(one).await;
    assert!(told.body.contains("fencing node2") && !told.body.contains("the web is up"), "{}", told.body);
}

#[tokio::test]
async fn the_page_after_next_is_of_the_same_choice() {
    let mut stage = eventful().await;
    stage.fake.change(|world| {
        for number in 0..30 {
            let node = Subject::Node(NodeName::from("node2"));
            world.fact(node, FactKind::FenceFailed, &format!("attempt {number} ended"));
        }
    });
    stage.browser.wait_for(EVENTS, "attempt 29 ended").await;
    let account = "/account/preferences";
    stage.done("/account", account, &[("theme", "auto"), ("language", ""), ("lines", "25")]).await;
    let page = stage.browser.get(&format!("{EVENTS}?about=node:node2&group=fencing")).await;
    let (_, link) = page.body.split_once("/clusters/alpha/events?before=").expect("a link to older events");
    let link = link.split('"').next().expect("an address").replace("&#38;", "&").replace("&amp;", "&");
    assert!(link.ends_with("&about=node%3Anode2&group=fencing"), "{link}");
    let older = stage.browser.get(&format!("{EVENTS}?before={link}")).await;
    assert_eq!(older.status, StatusCode::OK);
    assert!(!older.body.contains("the web is up") && older.body.contains("attempt "), "{}", older.text());
}

#[tokio::test]
async fn what_was_chosen_is_taken_along_as_csv_and_as_json() {
    let mut stage = eventful().await;
    let file = format!("{EVENTS}/file");
    let csv = stage.browser.get(&format!("{file}?format=csv&about=node:node2&group=fencing")).await;
    let of = |name| csv.headers.get(name).expect("a head").to_str().expect("text").to_owned();
    assert_eq!(of(header::CONTENT_TYPE), "text/csv; charset=utf-8");
    assert_eq!(of(header::CONTENT_DISPOSITION), "attachment; filename=\"alpha-events.csv\"");
    let lines: Vec<&str> = csv.body.split_terminator("\r\n").collect();
    assert_eq!(lines[0], "at,severity,kind,about_kind,about,text,reason");
    assert_eq!(lines.len(), 2, "{}", csv.body);
    // A spreadsheet computes nothing of it.
    let (at, rest) = lines[1].split_once("Z\",").expect("a time");
    assert_eq!(at.len(), "\"2026-11-21T01:52:09.123".len(), "{at}");
    assert!(rest.ends_with(r#""fence-failed","node","node2","'=fencing node2 ""failed"", twice","""#), "{rest}");
    let json = stage.browser.get(&format!("{file}?format=json&group=services")).await;
    let told: Vec<serde_json::Value> = serde_json::from_str(&json.body).expect("JSON");
    assert!(told.iter().any(|event| event["text"] == "the web is up"), "{}", json.body);
    assert!(told.iter().all(|event| event["kind"] != "fence-failed"), "{}", json.body);
}

/// `FenceFailed` as the database has it.
fn kebab(name: &str) -> String {
    let mut word = String::new();
    for letter in name.chars() {
        if letter.is_ascii_uppercase() && !word.is_empty() {
            word.push('-');
        }
        word.push(letter.to_ascii_lowercase());
    }
    word
}

#[test]
fn every_kind_of_fact_belongs_to_one_group_of_the_timeline() {
    let source = fs::read_to_string(root().join("shared/src/status.rs")).expect("a readable file");
    let (_, body) = source.split_once("pub enum FactKind {").expect("the kinds");
    let (body, _) = body.split_once('}').expect("their end");
    let names = body.lines().map(str::trim).filter(|line| !line.starts_with("//") && !line.is_empty());
    let kinds: BTreeSet<String> = names.map(|name| kebab(name.trim_end_matches(','))).collect();
    let grouped: Vec<&str> = GROUPS.iter().flat_map(|(.., kinds)| kinds.iter().copied()).collect();
    assert_eq!(grouped.iter().map(|kind| (*kind).to_owned()).collect::<BTreeSet<_>>(), kinds);
    assert_eq!(grouped.len(), kinds.len(), "a kind belongs to two groups");
}

#[tokio::test]
async fn the_list_of_clusters_is_searched_in_everything_that_the_reader_may_see() {
    let mut stage = stage(Fake::new(), &["node1", "node2"]).await;
    stage.add_service("shop").await;
    let page = "/clusters/alpha/add-resource";
    stage.done(&format!("{page}?kind=ip"), page, &[("kind", "ip"), ("a-address", "10.0.0.77")]).await;
    for (query, hit) in [
        ("?q=node2", "/clusters/alpha/nodes/node2"),
        ("?q=SHOP", "/clusters/alpha/services/service%3Ashop"),
        ("?q=0.77", "/clusters/alpha/resources/ip/10.0.0.77"),
    ] {
        let found = stage.browser.get(&format!("/clusters{query}")).await;
        assert!(found.body.contains("data-test=\"hits\"") && found.body.contains(hit), "{query}: {}", found.body);
        assert!(found.body.contains("data-test=\"cluster-alpha\""), "{query}");
    }
    let nothing = stage.browser.get("/clusters?q=no-such-thing").await;
    assert!(nothing.body.contains("data-test=\"nothing-found\""), "{}", nothing.text());
    assert!(!nothing.body.contains("data-test=\"cluster-alpha\"") && !nothing.body.contains("no-clusters"));
    // A cluster that one may not see has nothing to find.
    let mut stranger = stage.luci.login_with("stranger", None).await;
    let blind = stranger.get("/clusters?q=node2").await;
    assert!(!blind.body.contains("data-test=\"hits\""), "{}", blind.text());
}

#[tokio::test]
async fn only_the_clusters_that_are_not_in_order_are_listed_if_one_asks_for_them() {
    let mut stage = stage(Fake::new(), &["node1", "node2"]).await;
    let fine = stage.browser.get("/clusters?only=problems").await;
    assert!(fine.body.contains("Every cluster is in order."), "{}", fine.text());
    stage.fake.change(|world| world.nodes.get_mut("node2").expect("node").running = false);
    stage.browser.wait_for("/clusters?only=problems", "data-test=\"cluster-alpha\"").await;
}
