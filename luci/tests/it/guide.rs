//! The way from a new cluster to one that is fenced and runs a service: each step is judged by the state of things.

use crate::fake::{Fake, PASSWORD};
use crate::support::{Browser, TestApp};
use axum::http::StatusCode;
use luci::repo::users::Role;

const GUIDE: &str = "/clusters/alpha/set-up";

async fn done(browser: &mut Browser, page: &str, to: &str, fields: &[(&str, &str)]) {
    let answer = browser.submit(page, to, fields).await;
    assert_eq!(answer.status, StatusCode::SEE_OTHER, "{to}: {}", answer.text());
}

/// Which steps the page calls done.
async fn steps(browser: &mut Browser) -> Vec<String> {
    let page = browser.get(GUIDE).await;
    assert_eq!(page.status, StatusCode::OK, "{}", page.text());
    let ids = page.body.split("data-test=\"guide-").skip(1).filter_map(|part| {
        let (id, rest) = part.split_once('"')?;
        rest.starts_with(" data-done=\"true\"").then(|| id.to_owned())
    });
    ids.collect()
}

#[tokio::test]
async fn every_step_is_done_when_the_cluster_says_so() {
    let fake = Fake::new();
    let luci = TestApp::new().await;
    let mut anna = luci.login("anna", Role::Administrator).await;
    let nodes = [fake.node("node1").await, fake.node("node2").await];
    let (_, finished) =
        anna.create_cluster(nodes.iter().map(|node| (node.name.as_str(), node.address)), PASSWORD).await;
    assert!(finished.body.contains(&format!("href=\"{GUIDE}\"")), "the way on: {}", finished.text());
    anna.wait_for("/clusters/alpha", "Quorate").await;
    assert_eq!(steps(&mut anna).await, ["members", "quorum"]);
    let strip = anna.get("/clusters/alpha").await;
    assert!(strip.text().contains("2 of 7 steps done"), "{}", strip.text());

    let page = "/clusters/alpha/add-fence-device";
    let device = [("name", "bmc"), ("agent", "fence_ipmilan"), ("a-ipaddr", "10.0.0.1"), ("a-login", "admin")];
    done(&mut anna, &format!("{page}?agent=fence_ipmilan"), page, &device).await;
    assert_eq!(steps(&mut anna).await, ["members", "quorum", "devices"]);
    for name in ["node1", "node2"] {
        let waits = anna.get(GUIDE).await;
        assert!(waits.body.contains(&format!("href=\"/clusters/alpha/nodes/{name}\"")), "{}", waits.text());
        let node = format!("/clusters/alpha/nodes/{name}");
        let method = [("op", "add-method"), ("name", "power"), ("device", "bmc")];
        done(&mut anna, &node, &format!("{node}/fence-methods"), &method).await;
    }
    assert_eq!(steps(&mut anna).await, ["members", "quorum", "devices", "methods"]);
    fake.change(|world| world.proven.insert("node1".into()));
    let half = anna.wait_for(GUIDE, "Not seen yet: node2.").await;
    assert!(!half.body.contains("data-test=\"guide-proof\" data-done=\"true\""), "one of two is not enough");
    fake.change(|world| world.proven.insert("node2".into()));
    anna.wait_for(GUIDE, "data-test=\"guide-proof\" data-done=\"true\"").await;

    let page = "/clusters/alpha/add-service";
    done(&mut anna, page, page, &[("name", "web"), ("autostart", "on"), ("recovery", "relocate")]).await;
    let end = anna.wait_for(GUIDE, "data-test=\"guide-complete\"").await;
    assert!(end.text().contains("What if node1 died now?"), "{}", end.text());
    assert!(!anna.get("/clusters/alpha").await.body.contains("data-test=\"set-up\""), "nothing is left to do");

    // A node that leaves opens the first step again.
    fake.change(|world| world.nodes.get_mut("node2").expect("node2").running = false);
    anna.wait_for(GUIDE, "data-test=\"guide-members\" data-done=\"false\"").await;
}
