//! luci killed at every step of creating a cluster, before a node has done what was asked and after: the task goes on by itself, or
//! asks for what it does not keep, and says how to undo it.

use crate::fake::{Fake, Hold, PASSWORD};
use crate::support::{Answer, Browser, PATIENCE, TestApp};
use axum::http::StatusCode;
use luci::repo::users::Role;

/// Every call that luci makes to a node while it creates a cluster, in order.
const CALLS: [&str; 6] = [
    "GET /v1/alive",
    "POST /v1/pair",
    "POST /v1/cluster/key",
    "PUT /v1/cluster/key",
    "PUT /v1/conf",
    "POST /v1/cluster/start",
];

/// What a page of a task says when it waits for somebody, or has ended.
const STATES: [&str; 3] = ["\"task-done\"", "\"confirm-pairing\"", "\"task-failed\""];

/// Creates a cluster of two nodes up to the confirmation of the fingerprints; the address of the task.
async fn begin(browser: &mut Browser, ports: &[String]) -> String {
    let fields = [
        ("name", "alpha"),
        ("same-secret", "on"),
        ("node-0-name", "node1"),
        ("node-0-host", "127.0.0.1"),
        ("node-0-port", ports[0].as_str()),
        ("node-0-secret", PASSWORD),
        ("node-1-name", "node2"),
        ("node-1-host", "127.0.0.1"),
        ("node-1-port", ports[1].as_str()),
    ];
    let answer = browser.submit("/create-cluster", "/create-cluster", &fields).await;
    assert_eq!(answer.status, StatusCode::SEE_OTHER, "{}", answer.text());
    answer.location.expect("task")
}

/// Waits until the task waits for somebody or has ended, otherwise than before.
async fn next_state(
    luci: &TestApp,
    browser: &mut Browser,
    task: &str,
    before: Option<&'static str>,
) -> (&'static str, Answer) {
    let mut changes = luci.app.watchers.subscribe_any();
    let wait = async {
        loop {
            changes.mark_unchanged();
            let page = browser.get(task).await;
            match STATES.into_iter().find(|state| page.body.contains(state)) {
                Some(state) if before != Some(state) => return (state, page),
                // The end of a task is written before it is told.
                _ => drop(tokio::time::timeout(std::time::Duration::from_millis(500), changes.changed()).await),
            }
        }
    };
    tokio::time::timeout(PATIENCE, wait).await.unwrap_or_else(|_| panic!("{task} stays as it is: {before:?}"))
}

/// Goes on until the task has ended, as an administrator would who reads the page; what had to be given again.
async fn carry_to_the_end(luci: &TestApp, browser: &mut Browser, task: &str) -> Vec<&'static str> {
    let mut asked = Vec::new();
    let mut before = None;
    while asked.len() < 4 {
        let (state, page) = next_state(luci, browser, task, before).await;
        before = Some(state);
        if state == STATES[0] {
            return asked;
        }
        assert!(page.body.contains("data-test=\"give-up\""), "it does not say how to undo it: {}", page.text());
        if state == STATES[1] {
            asked.push("fingerprints");
            browser.submit(task, &format!("{task}/confirm"), &[]).await;
            continue;
        }
        asked.push("passwords");
        assert!(page.text().contains("does not keep passwords"), "{}", page.text());
        let names: Vec<(String, String)> =
            (0..2).map(|place| (format!("row-{place}"), format!("node-{place}-secret"))).collect();
        let rows: Vec<Option<String>> = names.iter().map(|(row, _)| page.hidden(row)).collect();
        let mut fields = Vec::new();
        for ((row, secret), value) in names.iter().zip(&rows) {
            let Some(value) = value else { continue };
            fields.push((row.as_str(), value.as_str()));
            fields.push((secret.as_str(), PASSWORD));
        }
        browser.submit(task, &format!("{task}/retry"), &fields).await;
    }
    panic!("the task goes in circles: {asked:?}");
}

/// Kills luci while this call is under way; what had to be asked for again.
async fn killed_at(call: &'static str, after: bool) -> Vec<&'static str> {
    let fake = Fake::new();
    let mut ports = Vec::new();
    for name in ["node1", "node2"] {
        ports.push(fake.node(name).await.address.port().to_string());
    }
    let luci = TestApp::new().await;
    let mut browser = luci.login("admin", Role::Administrator).await;
    let early = call == CALLS[0];
    let hold = || fake.change(|world| world.hold = Some(Hold { call, after, reached: false }));
    if early {
        hold();
    }
    let task = begin(&mut browser, &ports).await;
    if !early {
        browser.wait_for(&task, "confirm-pairing").await;
        hold();
        browser.submit(&task, &format!("{task}/confirm"), &[]).await;
    }
    let mut changes = fake.changed.subscribe();
    let reached = changes.wait_for(|_| fake.world.lock().expect("lock").hold.as_ref().is_some_and(|hold| hold.reached));
    let reached = tokio::time::timeout(PATIENCE, reached).await;
    assert!(reached.is_ok(), "{call} is never made");
    drop(reached);

    let luci = luci.restart().await;
    fake.change(|world| world.hold = None);
    let mut browser = luci.browser_with(&browser);
    let asked = carry_to_the_end(&luci, &mut browser, &task).await;
    browser.wait_for("/clusters/alpha", "Quorate").await;
    fake.change(|world| {
        let keys: Vec<_> = world.nodes.values().map(|node| node.key.clone()).collect();
        assert!(keys[0].is_some() && keys[0] == keys[1], "{call}: the nodes have different keys: {keys:?}");
        let confs: Vec<_> = world.nodes.values().map(|node| node.conf.clone()).collect();
        assert!(confs[0].is_some() && confs[0] == confs[1], "{call}: the nodes have different configurations");
        assert!(world.nodes.values().all(|node| node.running), "{call}: a node does not run");
        assert!(world.nodes.values().all(|node| node.pinned.len() == 1), "{call}: paired twice");
    });
    asked
}

#[tokio::test]
async fn luci_killed_at_every_step_goes_on_or_asks_for_what_it_does_not_keep() {
    for call in CALLS {
        for after in [false, true] {
            let asked = killed_at(call, after).await;
            let place = CALLS.iter().position(|known| *known == call).expect("it is known");
            let passwords = asked.contains(&"passwords");
            // Until both nodes are paired their passwords are needed, and luci keeps none on disk. When one has just taken
            // it, the other one may or may not have.
            if (place, after) != (1, true) {
                assert_eq!(passwords, place <= 1, "{call}, {}: {asked:?}", if after { "after" } else { "before" });
            }
            assert_eq!(asked.contains(&"fingerprints"), place == 0, "{call}: {asked:?}");
        }
    }
}

#[tokio::test]
async fn a_creation_that_was_killed_can_be_given_up_and_leaves_nothing_in_luci() {
    let fake = Fake::new();
    let ports =
        vec![fake.node("node1").await.address.port().to_string(), fake.node("node2").await.address.port().to_string()];
    let luci = TestApp::new().await;
    let mut browser = luci.login("admin", Role::Administrator).await;
    let task = begin(&mut browser, &ports).await;
    browser.wait_for(&task, "confirm-pairing").await;
    let luci = luci.restart().await;
    let mut browser = luci.browser_with(&browser);
    let answer = browser.submit(&task, &format!("{task}/give-up"), &[]).await;
    assert_eq!(answer.status, StatusCode::SEE_OTHER, "{}", answer.text());
    let clusters = browser.get("/clusters").await;
    assert!(clusters.body.contains("data-test=\"no-clusters\""), "{}", clusters.text());
    // The name is free again, and the nodes take a new attempt.
    let task = begin(&mut browser, &ports).await;
    browser.wait_for(&task, "confirm-pairing").await;
}
