//! Why and what if: the engine's words reach the pages and the API, and where nobody answers it is said.

use crate::fake::{Fake, FakeNode, PASSWORD};
use crate::support::{Answer, Browser, TestApp};
use axum::http::StatusCode;
use luci::repo::access::NewApiToken;
use luci::repo::users::Role;
use luci::tokens;
use serde_json::{Value, json};

const WEB: &str = "/clusters/alpha/services/service:web";

/// Three nodes, a service on the first, and an administrator's browser.
async fn stage() -> (TestApp, Fake, Vec<FakeNode>, Browser) {
    let fake = Fake::new();
    let luci = TestApp::new().await;
    let mut browser = luci.login("anna", Role::Administrator).await;
    let mut nodes = Vec::new();
    for name in ["node1", "node2", "node3"] {
        nodes.push(fake.node(name).await);
    }
    browser.create_cluster(nodes.iter().map(|node| (node.name.as_str(), node.address)), PASSWORD).await;
    add_service(&mut browser, "web").await;
    browser.wait_for("/clusters/alpha", "data-test=\"service-service:web\"").await;
    (luci, fake, nodes, browser)
}

async fn add_service(browser: &mut Browser, name: &str) -> Answer {
    let page = "/clusters/alpha/add-service";
    let answer = browser.submit(page, page, &[("name", name), ("autostart", "on"), ("recovery", "relocate")]).await;
    assert_eq!(answer.status, StatusCode::SEE_OTHER, "{}", answer.text());
    answer
}

#[tokio::test]
async fn every_state_and_every_cell_leads_to_its_reason() {
    let (_luci, fake, _nodes, mut anna) = stage().await;
    let overview = anna.get("/clusters/alpha").await;
    assert!(overview.body.contains(&format!("href=\"{}/why\"", WEB.replace(':', "%3A"))), "{}", overview.body);
    for node in ["node1", "node2", "node3"] {
        assert!(overview.body.contains(&format!("/why#node-{node}\"")), "no reason for {node}");
    }
    let why = anna.get(&format!("{WEB}/why")).await;
    assert_eq!(why.status, StatusCode::OK, "{}", why.text());
    for words in
        ["on node1: enable was requested by autostart", "the cluster is quorate (3 of 3 votes)", "number 2", "said at"]
    {
        assert!(why.text().contains(words), "{words}: {}", why.text());
    }
    // Nodes of before do not know the question and are asked service by service.
    for older in [true, false] {
        fake.change(|world| {
            world.nodes.values_mut().for_each(|node| node.secrets = (!older).then(Default::default));
        });
        let node = anna.get("/clusters/alpha/nodes/node2/why").await;
        assert!(node.body.contains("data-test=\"why-service:web\""), "{}", node.text());
        assert!(node.text().contains("would be next") && node.text().contains("is a member"), "{}", node.text());
    }
    assert_eq!(anna.get("/clusters/alpha/services/service:none/why").await.status, StatusCode::NOT_FOUND);
    assert_eq!(anna.get("/clusters/alpha/nodes/nobody/why").await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_lost_node_is_imagined_and_nothing_is_done() {
    let (_luci, fake, _nodes, mut anna) = stage().await;
    assert!(anna.get(WEB).await.body.contains("what-if?lost=node1"), "the service page asks it of the owner");
    let page = anna.get("/clusters/alpha/what-if?lost=node1").await;
    for words in [
        "If node1 lost its power now",
        "started on node1",
        "on node2",
        "node1 was lost and has been fenced",
        "node1 was lost without a goodbye",
    ] {
        assert!(page.text().contains(words), "{words}: {}", page.text());
    }
    let page = anna.get("/clusters/alpha/what-if?service=service:none&verb=relocate").await;
    assert!(page.body.contains("data-test=\"foreseen-refused\""), "{}", page.text());
    let page = anna.get("/clusters/alpha/what-if?service=service:web&verb=dance").await;
    assert_eq!(page.status, StatusCode::NOT_FOUND);
    let page = anna.get("/clusters/alpha/what-if").await;
    assert!(!page.body.contains("data-test=\"foreseen\""), "nothing was asked");
    fake.change(|world| {
        assert!(world.requests.is_empty() && world.nodes.values().all(|node| node.running), "something was done");
    });
}

#[tokio::test]
async fn the_review_of_a_draft_tells_what_applying_it_would_do() {
    let (luci, _fake, _nodes, mut anna) = stage().await;
    let none = anna.get("/clusters/alpha/what-if?draft=on").await;
    assert!(none.text().contains("you have no draft"), "{}", none.text());
    anna.submit("/clusters/alpha/configure", "/clusters/alpha/draft/begin", &[]).await;
    add_service(&mut anna, "mail").await;
    for page in ["/clusters/alpha/draft", "/clusters/alpha/what-if?draft=on"] {
        let review = anna.get(page).await;
        assert!(review.body.contains("data-test=\"change-service:mail\""), "{page}: {}", review.text());
        assert!(review.text().contains("autostart is on"), "{page}: {}", review.text());
    }
    let review = anna.get("/clusters/alpha/draft").await;
    assert!(review.body.contains("data-test=\"effect-service:mail\""), "{}", review.text());
    assert!(!review.body.contains("data-test=\"effect-service:web\""), "it is not touched: {}", review.text());
    // Somebody else has no draft, and does not see this one.
    let mut bert = luci.login("bert", Role::Administrator).await;
    assert!(!bert.get("/clusters/alpha/what-if?draft=on").await.text().contains("mail"));
}

#[tokio::test]
async fn where_nobody_answers_the_page_says_so_and_another_member_is_asked_first() {
    let (_luci, fake, _nodes, mut anna) = stage().await;
    // The member that fed the page hangs; another one answers.
    fake.change(|world| world.nodes.get_mut("node1").expect("node1").hung = true);
    let why = anna.get(&format!("{WEB}/why")).await;
    assert!(why.body.contains("data-test=\"why-service\""), "{}", why.text());
    fake.change(|world| {
        for node in world.nodes.values_mut() {
            node.hung = false;
            node.running = false;
        }
    });
    anna.wait_for("/clusters/alpha", "does not run on any of its nodes").await;
    for page in [format!("{WEB}/why"), "/clusters/alpha/nodes/node1/why".into()] {
        let why = anna.get(&page).await;
        assert_eq!(why.status, StatusCode::OK);
        assert!(why.text().contains("Nobody can say now"), "{}", why.text());
    }
    let page = anna.get("/clusters/alpha/what-if?lost=node1").await;
    assert!(page.body.contains("data-test=\"foreseen-unknown\""), "{}", page.text());
}

#[tokio::test]
async fn a_script_reads_the_same() {
    let (luci, _fake, _nodes, _anna) = stage().await;
    let user = luci.app.account("anna").await.expect("account").id;
    let token = tokens::random();
    let new = NewApiToken { token_hash: &tokens::hash(&token), user, name: "test", role: Role::Viewer, cluster: None };
    assert!(luci.app.repo.add_api_token(new).await.expect("token"));
    let mut script = luci.browser();
    let read = |answer: Answer| -> Value { serde_json::from_str(&answer.body).expect("JSON") };
    let why = script.get_with_token("/api/v1/clusters/alpha/services/service:web/why", &token).await;
    let why = read(why);
    assert_eq!((&why["owner"], &why["nodes"][1]["verdict"]["rank"]), (&json!("node1"), &json!(1)), "{why}");
    let body = json!({ "if": "node-lost", "node": "node1" });
    let foreseen = read(script.json("POST", "/api/v1/clusters/alpha/predictions", &token, &[], &body).await);
    assert_eq!(foreseen["changes"][0]["to"], json!(["started", "node2"]), "{foreseen}");
    let none = script.get_with_token("/api/v1/clusters/alpha/services/service:none/why", &token).await;
    assert_eq!(none.status, StatusCode::NOT_FOUND, "{}", none.body);
}

#[tokio::test]
async fn a_failover_domain_is_previewed_before_anything_is_written() {
    let (_luci, fake, _nodes, mut anna) = stage().await;
    let page = "/clusters/alpha/add-failover-domain";
    let mut fields = vec![
        ("name", "east"),
        ("ordered", "on"),
        ("restricted", "on"),
        ("node", "node1"),
        ("node", "node2"),
        ("priority-node1", "2"),
        ("priority-node2", "1"),
    ];
    fields.push(("preview", "on"));
    let shown = anna.submit(page, page, &fields).await;
    assert_eq!(shown.status, StatusCode::OK, "{}", shown.text());
    for words in [
        "all nodes are therenode2",
        "node2 failednode1",
        "node2, node1 failedno node: it stays down",
        "it moves from node1 to node2",
        "node3 is not in the failover domain, which is restricted",
    ] {
        assert!(shown.text().contains(words), "{words}: {}", shown.text());
    }
    assert!(shown.body.contains("value=\"east\""), "the form is as it was");
    let told = ["If this were applied now", "In the end every service is where and as it is now"];
    assert!(told.iter().all(|words| shown.text().contains(words)), "{}", shown.text());
    fields.push(("nofailback", "on"));
    let shown = anna.submit(page, page, &fields).await;
    assert!(shown.text().contains("it stays on node1"), "{}", shown.text());
    fake.change(|world| {
        let conf = world.nodes["node1"].conf.clone().expect("conf");
        assert!(!conf.contains("east"), "something was written: {conf}");
    });
}

#[tokio::test]
async fn the_page_of_a_failover_domain_tells_what_the_engine_would_do() {
    let (_luci, fake, _nodes, mut anna) = stage().await;
    let domain = "/clusters/alpha/failover-domains/east";
    let page = "/clusters/alpha/add-failover-domain";
    anna.submit(page, page, &[("name", "east"), ("node", "node1"), ("node", "node2")]).await;
    let shown = anna.get(domain).await;
    assert!(shown.body.contains(&format!("{domain}?lost=node1#foreseen")), "{}", shown.body);
    assert!(!shown.body.contains("data-test=\"foreseen\""), "nothing was asked");
    let shown = anna.get(&format!("{domain}?lost=node1")).await;
    assert!(shown.body.contains("data-test=\"change-service:web\""), "{}", shown.text());
    assert!(shown.text().contains("node1 was lost without a goodbye"), "{}", shown.text());
    // With a draft, the change would be applied together with it.
    anna.submit("/clusters/alpha/configure", "/clusters/alpha/draft/begin", &[]).await;
    add_service(&mut anna, "mail").await;
    let shown = anna.submit(domain, domain, &[("name", "east"), ("node", "node1"), ("preview", "on")]).await;
    assert!(shown.text().contains("If your draft and this were applied now"), "{}", shown.text());
    assert!(shown.body.contains("data-test=\"change-service:mail\""), "{}", shown.text());
    fake.change(|world| world.nodes.values_mut().for_each(|node| node.running = false));
    anna.wait_for("/clusters/alpha", "does not run on any of its nodes").await;
    let shown = anna.get(&format!("{domain}?lost=node1")).await;
    assert!(shown.body.contains("data-test=\"foreseen-unknown\"") && shown.body.contains("data-test=\"placement\""));
}
