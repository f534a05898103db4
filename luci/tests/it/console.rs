//! The console over a cluster of fake nodes: what a person does, and what must be refused.

use std::time::{Duration, Instant};

use crate::fake::{Cable, Fake, FakeNode, PASSWORD};
use crate::support::{Answer, Browser, PATIENCE, TestApp};
use axum::http::StatusCode;
use futures_util::StreamExt as _;
use luci::repo::users::Role;
use shared::ids::NodeName;
use shared::status::{FenceAttempt, FenceDeviceRun, FencingStatus, FencingStep};

/// Fields of the creation form for these nodes.
fn creation(name: &str, nodes: &[FakeNode], password: &str) -> Vec<(String, String)> {
    let mut fields = vec![("name".to_owned(), name.to_owned())];
    for (place, node) in nodes.iter().enumerate() {
        let field = |name: &str| format!("node-{place}-{name}");
        fields.push((field("name"), node.name.clone()));
        fields.push((field("host"), "127.0.0.1".into()));
        fields.push((field("port"), node.address.port().to_string()));
        fields.push((field("secret"), password.into()));
    }
    fields
}

fn borrowed(fields: &[(String, String)]) -> Vec<(&str, &str)> {
    fields.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect()
}

async fn begin_creation(browser: &mut Browser, nodes: &[FakeNode], password: &str) -> String {
    let fields = creation("alpha", nodes, password);
    let answer = browser.submit("/create-cluster", "/create-cluster", &borrowed(&fields)).await;
    assert_eq!(answer.status, StatusCode::SEE_OTHER, "{}", answer.text());
    answer.location.expect("task")
}

async fn press(browser: &mut Browser, task: &str, button: &str) -> Answer {
    let answer = browser.submit(task, &format!("{task}/{button}"), &[]).await;
    assert_eq!(answer.status, StatusCode::SEE_OTHER, "{}", answer.text());
    answer
}

/// A running cluster of three fake nodes, and an administrator's browser.
async fn cluster() -> (TestApp, Fake, Vec<FakeNode>, Browser) {
    let fake = Fake::new();
    let mut nodes = Vec::new();
    for name in ["node1", "node2", "node3"] {
        nodes.push(fake.node(name).await);
    }
    let luci = TestApp::new().await;
    let mut browser = luci.login("admin", Role::Administrator).await;
    let task = begin_creation(&mut browser, &nodes, PASSWORD).await;
    browser.wait_for(&task, "confirm-pairing").await;
    press(&mut browser, &task, "confirm").await;
    browser.wait_for(&task, "task-done").await;
    (luci, fake, nodes, browser)
}

async fn with_service() -> (TestApp, Fake, Vec<FakeNode>, Browser) {
    let (luci, fake, nodes, mut browser) = cluster().await;
    let page = "/clusters/alpha/add-service";
    let answer = browser.submit(page, page, &[("name", "web"), ("autostart", "on"), ("recovery", "relocate")]).await;
    assert_eq!(answer.status, StatusCode::SEE_OTHER, "{}", answer.text());
    browser.wait_for("/clusters/alpha", "data-test=\"service-service:web\"").await;
    (luci, fake, nodes, browser)
}

#[tokio::test]
async fn the_one_time_link_makes_the_first_administrator_once() {
    let luci = TestApp::new().await;
    let token = luci::app::auth::setup_token(&luci.app.repo).await.expect("database").expect("nobody can log in");
    let link = format!("/setup?token={token}");
    let mut browser = luci.browser();
    let form = browser.get(&link).await;
    let csrf = form.hidden("csrf").expect("token");
    let fields = [
        ("csrf", csrf.as_str()),
        ("token", &token),
        ("name", "admin"),
        ("password", "correct horse"),
        ("again", "correct horse"),
    ];
    let answer = browser.post("/setup", &fields).await;
    assert_eq!(answer.status, StatusCode::SEE_OTHER, "{}", answer.text());
    assert_eq!(browser.get("/clusters").await.status, StatusCode::OK);
    let mut second = luci.browser();
    assert_eq!(second.get(&link).await.status, StatusCode::CONFLICT);
    assert_eq!(luci::app::auth::setup_token(&luci.app.repo).await.expect("database"), None);
}

#[tokio::test]
async fn a_cluster_is_created_only_after_the_fingerprints_are_confirmed() {
    let fake = Fake::new();
    let nodes = [fake.node("node1").await, fake.node("node2").await];
    let luci = TestApp::new().await;
    let mut browser = luci.login("admin", Role::Administrator).await;
    let task = begin_creation(&mut browser, &nodes, PASSWORD).await;
    let page = browser.wait_for(&task, "confirm-pairing").await;
    for node in &nodes {
        assert!(page.body.contains(&luci::tls::spoken_fingerprint(&node.fingerprint)), "{}", page.text());
    }
    assert!(fake.change(|world| world.nodes.values().all(|node| node.pinned.is_empty())), "paired too early");
    press(&mut browser, &task, "confirm").await;
    browser.wait_for(&task, "task-done").await;
    fake.change(|world| {
        let keys: Vec<_> = world.nodes.values().map(|node| node.key.clone()).collect();
        assert_eq!(keys, [Some("key-of-node1".to_owned()), Some("key-of-node1".to_owned())]);
        assert!(world.nodes.values().all(|node| node.running && node.enabled));
        assert!(world.nodes["node1"].conf.as_ref().is_some_and(|conf| conf.contains("two_node=\"1\"")));
    });
    let page = browser.wait_for("/clusters/alpha", "Quorate").await;
    assert!(page.text().contains("version 1 in force on 2 of 2"), "{}", page.text());
}

#[tokio::test]
async fn a_wrong_password_stops_the_task_and_the_right_one_lets_it_go_on() {
    let fake = Fake::new();
    let nodes = [fake.node("node1").await];
    let luci = TestApp::new().await;
    let mut browser = luci.login("admin", Role::Administrator).await;
    let task = begin_creation(&mut browser, &nodes, "wrong").await;
    browser.wait_for(&task, "confirm-pairing").await;
    press(&mut browser, &task, "confirm").await;
    let page = browser.wait_for(&task, "task-failed").await;
    assert!(page.text().contains("the password of the user ricci is wrong"), "{}", page.text());
    let row = page.hidden("row-0").expect("the node's row");
    let fields = [("row-0", row.as_str()), ("node-0-with", "password"), ("node-0-secret", PASSWORD)];
    browser.submit(&task, &format!("{task}/retry"), &fields).await;
    browser.wait_for(&task, "task-done").await;
}

#[tokio::test]
async fn creating_a_cluster_goes_on_after_luci_was_killed() {
    let fake = Fake::new();
    let nodes = [fake.node("node1").await, fake.node("node2").await];
    let luci = TestApp::new().await;
    let mut browser = luci.login("admin", Role::Administrator).await;
    let task = begin_creation(&mut browser, &nodes, PASSWORD).await;
    browser.wait_for(&task, "confirm-pairing").await;

    // Killed before the confirmation: it still waits for it.
    let luci = luci.restart().await;
    let mut browser = luci.login("second", Role::Administrator).await;
    browser.wait_for(&task, "confirm-pairing").await;
    press(&mut browser, &task, "confirm").await;
    // Passwords are not stored, so they are asked for again.
    let page = browser.wait_for(&task, "task-failed").await;
    assert!(page.text().contains("does not keep passwords"), "{}", page.text());
    let rows: Vec<String> = (0..2).map(|place| page.hidden(&format!("row-{place}")).expect("row")).collect();
    fake.change(|world| {
        world.nodes.get_mut("node2").expect("node").start_fails = Some("corosync did not start".into())
    });
    let fields = [
        ("row-0", rows[0].as_str()),
        ("node-0-secret", PASSWORD),
        ("row-1", rows[1].as_str()),
        ("node-1-secret", PASSWORD),
    ];
    browser.submit(&task, &format!("{task}/retry"), &fields).await;
    let page = browser.wait_for(&task, "task-failed").await;
    assert!(page.text().contains("corosync did not start"), "{}", page.text());

    // Killed in the middle of the work: nothing that is done is done again, and no password is needed any more.
    let luci = luci.restart().await;
    let mut browser = luci.login("third", Role::Administrator).await;
    fake.change(|world| world.nodes.get_mut("node2").expect("node").start_fails = None);
    press(&mut browser, &task, "retry").await;
    browser.wait_for(&task, "task-done").await;
    assert_eq!(fake.change(|world| world.nodes["node1"].starts), 1);
    browser.wait_for("/clusters/alpha", "Quorate").await;
}

#[tokio::test]
async fn a_task_that_was_running_when_luci_was_killed_ends_by_itself() {
    let fake = Fake::new();
    let nodes = [fake.node("node1").await, fake.node("node2").await];
    let luci = TestApp::new().await;
    let mut browser = luci.login("admin", Role::Administrator).await;
    let task = begin_creation(&mut browser, &nodes, PASSWORD).await;
    browser.wait_for(&task, "confirm-pairing").await;
    press(&mut browser, &task, "confirm").await;
    // As soon as a node has the key, the passwords are no longer needed: from here on luci may die at any point.
    let mut changes = fake.changed.subscribe();
    tokio::time::timeout(PATIENCE, changes.wait_for(|_| fake.world.lock().expect("lock").nodes["node1"].key.is_some()))
        .await
        .expect("in time")
        .expect("world");
    let luci = luci.restart().await;
    let mut browser = luci.login("second", Role::Administrator).await;
    browser.wait_for(&task, "task-done").await;
    assert!(fake.change(|world| world.nodes.values().all(|node| node.running)));
}

#[tokio::test]
async fn a_service_is_relocated_from_the_matrix_and_the_stream_tells_it() {
    let (_luci, _fake, _nodes, mut browser) = with_service().await;
    let stream = browser.stream("/clusters/alpha/events-stream?panels=matrix").await;
    let mut updates = stream.into_body().into_data_stream();
    let first = tokio::time::timeout(PATIENCE, updates.next()).await.expect("in time").expect("open").expect("data");
    assert!(String::from_utf8_lossy(&first).contains("panel-matrix"));

    let to = "/clusters/alpha/services/service:web/request";
    let matrix = browser.get("/clusters/alpha").await;
    assert!(matrix.body.contains("value=\"relocate node3\""), "{}", matrix.body);
    let fields = [("ask", "relocate node3"), ("from", "overview")];
    let answer = browser.submit("/clusters/alpha", to, &fields).await;
    assert_eq!(answer.location.as_deref(), Some("/clusters/alpha"));
    let page = browser.wait_for("/clusters/alpha", "data-owner=\"node3\"").await;
    assert!(page.text().contains("relocate was requested by admin via luci"), "{}", page.text());

    let told = async {
        let mut text = String::new();
        while let Some(Ok(chunk)) = updates.next().await {
            text.push_str(&String::from_utf8_lossy(&chunk));
            if text.contains("data-owner=\\\"node3\\\"") {
                return;
            }
        }
        panic!("the stream ended");
    };
    tokio::time::timeout(PATIENCE, told).await.expect("the stream tells it");
}

#[tokio::test]
async fn a_refusal_is_shown_with_its_reason() {
    let (_luci, _fake, _nodes, mut browser) = with_service().await;
    browser.submit("/clusters/alpha", "/clusters/alpha/lock", &[("verb", "lock")]).await;
    let to = "/clusters/alpha/services/service:web/request";
    browser.submit("/clusters/alpha", to, &[("verb", "relocate"), ("from", "overview")]).await;
    let page = browser.wait_for("/clusters/alpha", "refused").await;
    assert!(page.text().contains("Temporary failure; try again: services are locked"), "{}", page.text());
}

#[tokio::test]
async fn a_form_without_the_sessions_token_changes_nothing() {
    let luci = TestApp::new().await;
    let mut browser = luci.login("admin", Role::Administrator).await;
    for token in ["", "guessed", &"x".repeat(43)] {
        let fields = [("csrf", token), ("name", "evil"), ("password", "long enough"), ("role", "administrator")];
        let answer = browser.post("/users", &fields).await;
        assert_eq!(answer.status, StatusCode::FORBIDDEN);
    }
    let form = browser.get("/users").await;
    let token = form.hidden("csrf").expect("token");
    let fields = [("csrf", token.as_str()), ("name", "evil"), ("password", "long enough"), ("role", "administrator")];
    let answer = browser.post_from("/users", &fields, "https://evil.example").await;
    assert_eq!(answer.status, StatusCode::FORBIDDEN);
    assert_eq!(luci.app.repo.users().await.expect("users").len(), 1);
}

#[tokio::test]
async fn markup_in_a_name_is_refused_or_shown_as_text() {
    let fake = Fake::new();
    let node = fake.node("node1").await;
    let luci = TestApp::new().await;
    let mut browser = luci.login("admin", Role::Administrator).await;
    let fields = creation("<script>alert(1)</script>", std::slice::from_ref(&node), PASSWORD);
    let answer = browser.submit("/create-cluster", "/create-cluster", &borrowed(&fields)).await;
    assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(!answer.body.contains("<script>alert"), "{}", answer.body);
    assert!(answer.text().contains("a cluster name consists of letters"), "{}", answer.text());
    assert!(luci.app.repo.clusters().await.expect("clusters").is_empty());
}

#[tokio::test]
async fn a_service_name_from_the_cluster_itself_is_shown_as_text() {
    let (_luci, fake, _nodes, mut browser) = cluster().await;
    fake.change(|world| {
        for node in world.nodes.values_mut() {
            let conf = node.conf.clone().expect("conf");
            let evil = "<service name=\"&lt;script&gt;alert(1)&lt;/script&gt;\"/>";
            let conf = conf.replace("config_version=\"1\"", "config_version=\"2\"");
            node.conf = Some(conf.replace("</rm>", &format!("{evil}</rm>")));
        }
    });
    let page = browser.wait_for("/clusters/alpha", "alert(1)").await;
    assert!(!page.body.contains("<script>alert"), "{}", page.body);
    let versions = browser.wait_for("/clusters/alpha/configure", "changed on a node").await;
    assert!(versions.body.contains("data-test=\"version-2\""));
}

#[tokio::test]
async fn a_hung_node_makes_no_page_wait_and_never_looks_healthy() {
    let (_luci, fake, _nodes, mut browser) = with_service().await;
    fake.change(|world| world.nodes.get_mut("node2").expect("node").hung = true);
    for page in [
        "/clusters",
        "/clusters/alpha",
        "/clusters/alpha/nodes",
        "/clusters/alpha/nodes/node2",
        "/clusters/alpha/configure",
    ] {
        let begun = Instant::now();
        assert_eq!(browser.get(page).await.status, StatusCode::OK);
        // Whoever asked the node would wait for five seconds.
        assert!(begun.elapsed() < Duration::from_secs(4), "{page} took {:?}", begun.elapsed());
    }
    // A request does not wait for it either: another member takes it.
    let to = "/clusters/alpha/services/service:web/request";
    browser.submit("/clusters/alpha", to, &[("verb", "disable"), ("from", "overview")]).await;
    browser.wait_for("/clusters/alpha", "data-state=\"disabled\"").await;
    let page = browser.wait_for("/clusters/alpha/nodes", "no answer").await;
    assert!(page.body.contains("data-test=\"node-node2\""), "it does not disappear");
    assert!(page.text().contains("Not a cluster member"), "{}", page.text());
}

#[tokio::test]
async fn a_nodes_page_tells_how_its_failures_are_noticed() {
    let (_luci, fake, _nodes, mut browser) = with_service().await;
    let own = "/clusters/alpha/nodes/node2";
    let part = |text: &str| text.split("Failures are noticed").nth(1).expect("the part").to_owned();
    let told = part(&browser.wait_for(own, "mounts (mountinfo)").await.text());
    for words in ["at once", "units (systemd", "at the next check", "not connected yet"] {
        assert!(told.contains(words), "{words} is not told: {told}");
    }
    // Silent, it may be noticing nothing at all.
    fake.change(|world| world.nodes.get_mut("node2").expect("node").hung = true);
    let told = part(&browser.wait_for(own, "no answer").await.text());
    assert!(told.contains("mounts (mountinfo)") && !told.contains("at once"), "{told}");
}

#[tokio::test]
async fn after_a_restart_the_last_state_is_shown_as_unknown_since_then() {
    let (luci, fake, _nodes, mut browser) = with_service().await;
    browser.wait_for("/clusters/alpha", "data-owner=\"node1\"").await;
    // The copy is written at most once a second.
    let cluster = luci.app.cluster("alpha").await.expect("cluster");
    let mut changes = luci.app.watchers.subscribe(cluster.id).expect("watched");
    tokio::time::timeout(PATIENCE, async {
        loop {
            let stored = luci.app.repo.stored_status(cluster.id).await.expect("database");
            if stored.is_some_and(|stored| stored.status.services.len() == 1) {
                return;
            }
            let _ = tokio::time::timeout(Duration::from_millis(200), changes.changed()).await;
        }
    })
    .await
    .expect("stored");
    fake.change(|world| world.nodes.values_mut().for_each(|node| node.hung = true));
    let luci = luci.restart().await;
    let mut browser = luci.login("second", Role::Viewer).await;
    let page = browser.get("/clusters/alpha").await;
    let text = page.text();
    assert!(text.contains("Status unknown") && text.contains("Unknown since"), "{text}");
    assert!(text.contains("last known: started on node1"), "{text}");
    assert!(!page.body.contains("data-state=\"started\""), "nothing looks healthy: {text}");
    assert!(!page.body.contains("Cluster Member"), "nothing looks healthy: {text}");
}

#[tokio::test]
async fn an_edit_on_an_old_version_is_refused_and_says_what_came_between() {
    let (_luci, fake, _nodes, mut browser) = cluster().await;
    let page = "/clusters/alpha/add-failover-domain";
    let stale = browser.get(page).await;
    let (token, base) = (stale.hidden("csrf").expect("token"), stale.hidden("base").expect("base"));
    browser.submit(page, page, &[("name", "first"), ("node", "node1")]).await;
    let fields = [("csrf", token.as_str()), ("base", &base), ("name", "second"), ("node", "node2")];
    let answer = browser.post(page, &fields).await;
    assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(answer.text().contains("failover domain first added"), "{}", answer.text());
    let conf = fake.change(|world| world.nodes["node1"].conf.clone()).expect("conf");
    assert!(conf.contains("\"first\"") && !conf.contains("\"second\""), "{conf}");
    assert!(conf.contains("config_version=\"2\""), "{conf}");
}

#[tokio::test]
async fn fence_passwords_are_shown_nowhere_and_kept_when_left_empty() {
    let (_luci, fake, _nodes, mut browser) = cluster().await;
    let page = "/clusters/alpha/add-fence-device";
    let form = format!("{page}?agent=fence_ipmilan");
    let fields = [
        ("agent", "fence_ipmilan"),
        ("name", "bmc1"),
        ("a-ipaddr", "10.0.0.1"),
        ("a-login", "root"),
        ("a-passwd", "geheim-7"),
    ];
    let answer = browser.submit(&form, page, &fields).await;
    assert_eq!(answer.status, StatusCode::SEE_OTHER, "{}", answer.text());
    let device = "/clusters/alpha/fence-devices/bmc1";
    browser
        .submit(device, device, &[("name", "bmc1"), ("a-ipaddr", "10.0.0.2"), ("a-login", "root"), ("a-passwd", "")])
        .await;
    let conf = fake.change(|world| world.nodes["node1"].conf.clone()).expect("conf");
    assert!(conf.contains("10.0.0.2") && conf.contains("geheim-7"), "{conf}");
    for page in [
        "/clusters/alpha/fence-devices",
        device,
        "/clusters/alpha/configure",
        "/clusters/alpha/configure/text",
        "/clusters/alpha/configure/versions/3",
        "/clusters/alpha/configure/compare?from=1&to=3",
        "/audit",
    ] {
        let answer = browser.get(page).await;
        assert_eq!(answer.status, StatusCode::OK, "{page}");
        assert!(!answer.body.contains("geheim-7"), "{page} shows the password");
    }
    // The text editor gives it back unchanged.
    let text = browser.get("/clusters/alpha/configure/text").await;
    let edited = text
        .body
        .split_once("autocomplete=\"off\">")
        .and_then(|(_, rest)| rest.split_once("</textarea>"))
        .expect("text")
        .0;
    let edited =
        edited.replace("&#60;", "<").replace("&#62;", ">").replace("&#34;", "\"").replace("10.0.0.2", "10.0.0.3");
    let editor = "/clusters/alpha/configure/text";
    let answer = browser.submit(editor, editor, &[("text", &edited), ("message", "moved the BMC")]).await;
    assert_eq!(answer.status, StatusCode::SEE_OTHER, "{}", answer.text());
    let conf = fake.change(|world| world.nodes["node1"].conf.clone()).expect("conf");
    assert!(conf.contains("10.0.0.3") && conf.contains("geheim-7"), "{conf}");
}

#[tokio::test]
async fn a_version_that_would_not_be_valid_is_refused_and_nothing_is_written() {
    let (_luci, fake, _nodes, mut browser) = cluster().await;
    let before = fake.change(|world| world.nodes["node1"].conf.clone());
    let editor = "/clusters/alpha/configure/text";
    for text in ["<cluster", "<cluster name=\"alpha\" config_version=\"9\"><clusternodes/></cluster>", "garbage"] {
        let answer = browser.submit(editor, editor, &[("text", text)]).await;
        assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY, "{text}");
        assert!(answer.body.contains("data-test=\"findings\""), "{}", answer.text());
    }
    assert_eq!(fake.change(|world| world.nodes["node1"].conf.clone()), before);
}

#[tokio::test]
async fn an_older_version_is_brought_back_as_a_new_one() {
    let (_luci, fake, _nodes, mut browser) = with_service().await;
    let to = "/clusters/alpha/configure/versions/1/bring-back";
    let answer = browser.submit("/clusters/alpha/configure/versions/1", to, &[]).await;
    assert_eq!(answer.status, StatusCode::SEE_OTHER, "{}", answer.text());
    let conf = fake.change(|world| world.nodes["node1"].conf.clone()).expect("conf");
    assert!(conf.contains("config_version=\"3\"") && !conf.contains("web"), "{conf}");
    let page = browser.get("/clusters/alpha/configure/compare?from=2&to=3").await;
    assert!(page.text().contains("service web removed"), "{}", page.text());
}

#[tokio::test]
async fn resources_are_nested_moved_and_removed_in_a_services_tree() {
    let (_luci, fake, _nodes, mut browser) = with_service().await;
    let service = "/clusters/alpha/services/service:web";
    let add = format!("{service}/add-resource");
    for (parent, kind, fields) in [
        ("", "fs", vec![("a-name", "data"), ("a-mountpoint", "/srv"), ("a-device", "/dev/sdb")]),
        ("0", "ip", vec![("a-address", "10.0.0.9/24")]),
        ("0", "script", vec![("a-name", "prog"), ("a-file", "/etc/init.d/prog")]),
    ] {
        let form = format!("{add}?parent={parent}&kind={kind}");
        let mut all = vec![("parent", parent), ("kind", kind)];
        all.extend(fields);
        let answer = browser.submit(&form, &add, &all).await;
        assert_eq!(answer.status, StatusCode::SEE_OTHER, "{}", answer.text());
    }
    browser.submit(service, &format!("{service}/resources/0.1/move"), &[("to", "up")]).await;
    browser.submit("/clusters/alpha/draft", "/clusters/alpha/draft/apply", &[]).await;
    let conf = fake.change(|world| world.nodes["node1"].conf.clone()).expect("conf");
    let place = |what: &str| conf.find(what).unwrap_or_else(|| panic!("{what} in {conf}"));
    assert!(place("<fs ") < place("<script ") && place("<script ") < place("<ip ") && place("<ip ") < place("</fs>"));
    browser.submit(service, &format!("{service}/resources/0.0/remove"), &[]).await;
    browser.submit("/clusters/alpha/draft", "/clusters/alpha/draft/apply", &[]).await;
    let conf = fake.change(|world| world.nodes["node1"].conf.clone()).expect("conf");
    assert!(!conf.contains("<script ") && conf.contains("<ip "), "{conf}");
}

#[tokio::test]
async fn a_node_is_added_to_a_running_cluster_and_deleted_again() {
    let (_luci, fake, _nodes, mut browser) = cluster().await;
    let fourth = fake.node("node4").await;
    let port = fourth.address.port().to_string();
    let fields = [
        ("node-0-name", "node4"),
        ("node-0-host", "127.0.0.1"),
        ("node-0-port", port.as_str()),
        ("node-0-secret", PASSWORD),
    ];
    let page = "/clusters/alpha/add-node";
    let task = browser.submit(page, page, &fields).await.location.expect("task");
    browser.wait_for(&task, "confirm-pairing").await;
    press(&mut browser, &task, "confirm").await;
    browser.wait_for(&task, "task-done").await;
    fake.change(|world| {
        assert!(world.nodes["node4"].running);
        assert_eq!(world.nodes["node4"].key, world.nodes["node1"].key);
        assert!(world.nodes["node1"].conf.as_ref().is_some_and(|conf| conf.contains("node4")));
    });
    let delete = "/clusters/alpha/nodes/node4/delete";
    let answer = browser.submit(delete, delete, &[("confirmed", "yes"), ("type-name", "wrong")]).await;
    assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY);
    let task =
        browser.submit(delete, delete, &[("confirmed", "yes"), ("type-name", "node4")]).await.location.expect("task");
    browser.wait_for(&task, "task-done").await;
    fake.change(|world| {
        assert!(!world.nodes["node4"].running);
        assert_eq!(world.nodes["node4"].key, None);
        assert!(world.nodes["node1"].conf.as_ref().is_some_and(|conf| !conf.contains("node4")));
    });
    assert_eq!(browser.get("/clusters/alpha/nodes/node4").await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn an_existing_cluster_is_added_through_one_node_and_the_others_wait_for_pairing() {
    let (_first, _fake, nodes, _browser) = cluster().await;
    let luci = TestApp::new().await;
    let mut browser = luci.login("other", Role::Administrator).await;
    let port = nodes[1].address.port().to_string();
    let fields = [("node-0-host", "127.0.0.1"), ("node-0-port", port.as_str()), ("node-0-secret", PASSWORD)];
    let task = browser.submit("/add-cluster", "/add-cluster", &fields).await.location.expect("task");
    browser.wait_for(&task, "confirm-pairing").await;
    press(&mut browser, &task, "confirm").await;
    browser.wait_for(&task, "task-done").await;
    browser.wait_for("/clusters/alpha", "Quorate").await;
    let page = browser.get("/clusters/alpha/nodes").await;
    assert_eq!(page.body.matches("data-state=\"not paired\"").count(), 2, "{}", page.text());
}

#[tokio::test]
async fn a_node_with_another_certificate_than_the_pinned_one_is_not_believed() {
    let (luci, _fake, nodes, mut browser) = cluster().await;
    // Somebody else answers at the address of node2.
    let stranger = Fake::new();
    stranger.node("node2").await;
    let other = stranger.node("node2").await;
    let cluster = luci.app.cluster("alpha").await.expect("cluster");
    let row = luci.app.node(&cluster, "node2").await.expect("node");
    luci.app.repo.move_node(row.id, "127.0.0.1", other.address.port()).await.expect("moved");
    luci.app.repo.set_fingerprint(row.id, &nodes[1].fingerprint).await.expect("pin");
    luci.app.repo.set_paired(row.id, 1).await.expect("paired");
    browser.wait_for("/clusters/alpha/nodes", "another certificate").await;
}

#[tokio::test]
async fn roles_are_refused_what_is_not_theirs() {
    let (luci, fake, _nodes, _admin) = with_service().await;
    let mut viewer = luci.login("viewer", Role::Viewer).await;
    let mut operator = luci.login("operator", Role::Operator).await;
    let request = "/clusters/alpha/services/service:web/request";
    let answer = viewer.submit("/clusters/alpha", request, &[("verb", "disable")]).await;
    assert_eq!(answer.status, StatusCode::FORBIDDEN);
    assert!(fake.change(|world| world.requests.is_empty()));
    assert_eq!(operator.submit("/clusters/alpha", request, &[("verb", "disable")]).await.status, StatusCode::SEE_OTHER);
    for browser in [&mut viewer, &mut operator] {
        let page = "/clusters/alpha/configure/network";
        let fields = [("section", "totem"), ("a-token", "5000")];
        assert_eq!(browser.submit(page, page, &fields).await.status, StatusCode::FORBIDDEN);
        for page in ["/create-cluster", "/users", "/clusters/alpha/configure/text", "/clusters/alpha/add-node"] {
            assert_eq!(browser.get(page).await.status, StatusCode::FORBIDDEN, "{page}");
        }
        let answer = browser.submit("/clusters/alpha", "/clusters/alpha/remove", &[("type-name", "alpha")]).await;
        assert_eq!(answer.status, StatusCode::FORBIDDEN);
    }
}

#[tokio::test]
async fn guessing_a_password_is_slowed_down() {
    let luci = TestApp::new().await;
    luci.login("admin", Role::Administrator).await;
    let mut browser = luci.browser();
    let token = browser.get("/login").await.hidden("csrf").expect("token");
    let mut last = StatusCode::OK;
    for _ in 0..12 {
        let fields = [("csrf", token.as_str()), ("name", "admin"), ("password", "guess")];
        last = browser.post("/login", &fields).await.status;
    }
    assert_eq!(last, StatusCode::TOO_MANY_REQUESTS);
}

#[tokio::test]
async fn pages_carry_the_headers_that_protect_them_and_lead_to_the_login() {
    let luci = TestApp::new().await;
    let mut browser = luci.browser();
    let answer = browser.get("/clusters/alpha?x=1").await;
    assert_eq!(answer.status, StatusCode::SEE_OTHER);
    assert_eq!(answer.location.as_deref(), Some("/login?next=/clusters/alpha%3Fx%3D1"));
    let answer = browser.get("/login?next=//evil.example").await;
    assert_eq!(answer.hidden("next").as_deref(), Some("/"));
    let policy = answer.headers.get("content-security-policy").expect("policy").to_str().expect("text");
    assert!(policy.starts_with("default-src 'none'") && !policy.contains("unsafe"), "{policy}");
    let missing = browser.get("/nowhere").await;
    assert_eq!(missing.status, StatusCode::NOT_FOUND);
    assert!(missing.body.contains("error-home"), "an error page offers a way on");
    for (answer, status) in [
        (browser.post("/clusters", &[]).await, StatusCode::METHOD_NOT_ALLOWED),
        (browser.post_from("/login", &[], "https://evil.example").await, StatusCode::FORBIDDEN),
    ] {
        assert_eq!(answer.status, status);
        assert!(answer.body.contains("error-home"), "{}", answer.body);
    }
}

#[tokio::test]
async fn the_api_tells_the_state_and_refuses_strangers() {
    let (luci, _fake, _nodes, mut browser) = with_service().await;
    let answer = browser.get("/api/v1/clusters/alpha").await;
    let body: serde_json::Value = serde_json::from_str(&answer.body).expect("json");
    assert_eq!(body["known"], "live");
    assert_eq!(body["status"]["services"][0]["name"], "service:web");
    let mut stranger = luci.browser();
    assert_eq!(stranger.get("/api/v1/clusters").await.status, StatusCode::UNAUTHORIZED);
    assert_eq!(stranger.get("/api/v1/health").await.status, StatusCode::OK);
}

/// Values of an attribute on a page, as addresses.
fn addresses(body: &str, attribute: &str) -> Vec<String> {
    let mark = format!(" {attribute}=\"");
    body.split(&mark)
        .skip(1)
        .filter_map(|rest| rest.split('"').next())
        .filter(|address| address.starts_with('/'))
        .map(|address| address.replace("&#38;", "&").replace("&amp;", "&"))
        .collect()
}

#[tokio::test]
async fn every_link_and_every_form_of_every_page_leads_somewhere() {
    let (_luci, _fake, _nodes, mut browser) = with_service().await;
    let fence = "/clusters/alpha/add-fence-device";
    let fields = [("agent", "fence_xvm"), ("name", "xvm"), ("a-multicast_address", "225.0.0.12")];
    browser.submit(&format!("{fence}?agent=fence_xvm"), fence, &fields).await;
    let methods = "/clusters/alpha/nodes/node1/fence-methods";
    let fields = [("op", "add-method"), ("name", "power"), ("device", "xvm"), ("a-port", "node1")];
    browser.submit("/clusters/alpha/nodes/node1", methods, &fields).await;
    let domain = "/clusters/alpha/add-failover-domain";
    browser.submit(domain, domain, &[("name", "a domain"), ("node", "node1")]).await;
    let resource = "/clusters/alpha/add-resource";
    let fields = [("kind", "ip"), ("a-address", "10.0.0.9/24")];
    browser.submit(&format!("{resource}?kind=ip"), resource, &fields).await;
    let tree = "/clusters/alpha/services/service:web/add-resource";
    browser.submit(tree, tree, &[("parent", ""), ("shared", "ip:10.0.0.9/24")]).await;

    let mut waiting = vec!["/clusters".to_owned()];
    let mut seen = std::collections::BTreeSet::new();
    let mut forms = std::collections::BTreeSet::new();
    while let Some(page) = waiting.pop() {
        if !seen.insert(page.clone()) {
            continue;
        }
        let answer = browser.get(&page).await;
        assert_eq!(answer.status, StatusCode::OK, "{page}: {}", answer.text());
        forms.extend(addresses(&answer.body, "action").into_iter().map(|action| (action, page.clone())));
        waiting.extend(addresses(&answer.body, "href"));
    }
    for page in [
        "/clusters/alpha/nodes/node1/fence",
        "/clusters/alpha/services/service%3Aweb/resources/0",
        "/clusters/alpha/resources/ip/10.0.0.9%2F24",
        "/clusters/alpha/failover-domains/a%20domain",
        "/clusters/alpha/configure/versions/2",
    ] {
        assert!(seen.contains(page), "{page} is not linked; there are {seen:#?}");
    }
    for (action, page) in forms {
        // Without the token a form that exists is refused; one that does not exist is not found.
        let answer = browser.post(&action, &[]).await;
        let linked = seen.iter().any(|page| page.split('?').next() == Some(action.as_str()));
        let reads = linked && answer.status == StatusCode::METHOD_NOT_ALLOWED;
        assert!(reads || answer.status == StatusCode::FORBIDDEN, "{action} on {page}: {}", answer.status);
    }
}

#[tokio::test]
async fn when_the_followed_member_loses_its_power_another_one_is_followed_within_seconds() {
    let fake = Fake::new();
    let (mut nodes, mut cables) = (Vec::new(), Vec::new());
    for name in ["node1", "node2", "node3"] {
        let node = fake.node(name).await;
        let cable = Cable::to(node.address).await;
        nodes.push(FakeNode { address: cable.address, ..node });
        cables.push(cable);
    }
    let luci = TestApp::new().await;
    let mut browser = luci.login("admin", Role::Administrator).await;
    let task = begin_creation(&mut browser, &nodes, PASSWORD).await;
    browser.wait_for(&task, "confirm-pairing").await;
    press(&mut browser, &task, "confirm").await;
    browser.wait_for(&task, "task-done").await;
    let cluster = luci.app.cluster("alpha").await.expect("cluster");
    let mut changes = luci.app.watchers.subscribe(cluster.id).expect("watched");
    let followed = |snapshot: &luci::watcher::Snapshot| match &snapshot.link {
        luci::watcher::Link::Live { from } => Some(from.clone()),
        _ => None,
    };
    let first = followed(&changes.borrow()).expect("live");
    let place = nodes.iter().position(|node| node.name == first.0).expect("one of them");
    cables[place].cut();
    let begun = Instant::now();
    let other = changes.wait_for(|snapshot| followed(snapshot).is_some_and(|now| now != first));
    tokio::time::timeout(PATIENCE, other).await.expect("in time").expect("watched");
    // Silence alone would be noticed after eleven seconds.
    assert!(begun.elapsed() < Duration::from_secs(9), "it took {:?}", begun.elapsed());
}

#[tokio::test]
async fn a_fencing_that_fails_says_why_and_what_to_do_and_nothing_looks_well() {
    let (_luci, fake, _nodes, mut browser) = with_service().await;
    fake.change(|world| {
        world.nodes.get_mut("node3").expect("node").running = false;
        let service = world.services.get_mut("service:web").expect("service");
        service.owner = None;
        service.last = Some(NodeName("node3".into()));
        service.state = shared::text::ServiceState::Stopped;
        let run = FenceDeviceRun {
            device: "bmc3".into(),
            agent: "fence_ipmilan".into(),
            code: Some(1),
            output: "Unable to connect/login to fencing device".into(),
            duration_ms: 2100,
        };
        let attempt = FenceAttempt {
            at: crate::fake::now(),
            by: "node1".into(),
            method: "power".into(),
            attempt: 2,
            succeeded: false,
            devices: vec![run],
        };
        let fencing = FencingStatus {
            since: crate::fake::now(),
            attempt: 3,
            step: FencingStep::Waiting,
            by: Some("node2".into()),
            method: Some("power".into()),
            last: Some(attempt),
            advice: "correct the password of bmc3, or switch the node off and acknowledge it by hand".into(),
        };
        world.fencing.insert("node3".into(), fencing);
    });
    let page = browser.wait_for("/clusters/alpha", "being fenced").await;
    let text = page.text();
    assert!(text.contains("Needs attention") && text.contains("correct the password of bmc3"), "{text}");
    assert!(text.contains("waits because node3 must be fenced first"), "{text}");
    assert!(text.contains("fencing attempt 3: waiting, method power"), "{text}");
    let text = browser.get("/clusters/alpha/nodes/node3").await.text();
    assert!(text.contains("bmc3 (fence_ipmilan): exit 1, 2100 ms. Unable to connect/login"), "{text}");
    let page = browser.get("/clusters").await;
    assert!(page.text().contains("Needs attention") && page.text().contains("2 of 3"), "{}", page.text());
    // By hand only with the name typed out.
    let acknowledge = "/clusters/alpha/nodes/node3/acknowledge-fence";
    let answer = browser.submit(acknowledge, acknowledge, &[("confirmed", "yes"), ("type-name", "node1")]).await;
    assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(fake.change(|world| world.requests.is_empty()));
    browser.submit(acknowledge, acknowledge, &[("confirmed", "yes"), ("type-name", "node3")]).await;
    assert_eq!(fake.change(|world| world.requests.len()), 1);
}

#[tokio::test]
async fn a_node_is_put_in_standby_and_taken_out_again() {
    let (_luci, fake, _nodes, mut browser) = with_service().await;
    let page = "/clusters/alpha/nodes/node1";
    browser.wait_for(page, "data-test=\"standby\"").await;
    let unasked = browser.submit(page, &format!("{page}/standby"), &[]).await;
    assert_eq!(unasked.location.as_deref(), Some("/clusters/alpha/nodes/node1/standby"), "it is asked for first");
    assert!(fake.change(|world| world.standby.is_empty()));
    let asked = browser.submit(&format!("{page}/standby"), &format!("{page}/standby"), &[("confirmed", "yes")]).await;
    assert_eq!(asked.status, StatusCode::SEE_OTHER, "{}", asked.text());
    let shown = browser.wait_for(page, "in standby: takes no services").await;
    assert!(shown.body.contains("data-test=\"unstandby\"") && !shown.body.contains("data-test=\"standby\""));
    browser.submit(page, &format!("{page}/unstandby"), &[]).await;
    browser.wait_for(page, "data-test=\"standby\"").await;
}

#[tokio::test]
async fn a_whole_cluster_is_stopped_after_a_question_and_started_again() {
    let (_luci, fake, _nodes, mut browser) = with_service().await;
    let page = "/clusters/alpha/nodes";
    let form = browser.get(page).await;
    let whole = form.body.split("data-test=\"whole-cluster\"").nth(1).expect("the form").split("</form>").next();
    let whole = whole.expect("its end");
    assert_eq!(whole.matches("name=\"node\" value=").count(), 3, "it names every node: {whole}");
    let fields = [("order", "leave"), ("node", "node1"), ("node", "node2"), ("node", "node3")];
    let question = browser.submit(page, &format!("{page}-order"), &fields).await;
    assert!(question.text().contains("too few for quorum, the services stop"), "{}", question.text());
    let mut sure = fields.to_vec();
    sure.push(("confirmed", "yes"));
    browser.submit(page, &format!("{page}-order"), &sure).await;
    browser.wait_for("/clusters", "does not run on any of its nodes").await;
    let fields = [("order", "join"), ("node", "node1"), ("node", "node2"), ("node", "node3")];
    browser.submit(page, &format!("{page}-order"), &fields).await;
    browser.wait_for("/clusters", "Quorate").await;
    assert!(fake.change(|world| world.nodes.values().all(|node| node.running)));
}
