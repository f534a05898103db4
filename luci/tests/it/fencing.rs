//! Fence devices in the console: forms drawn from the agents' own words.

use crate::fake::{Fake, FakeNode, PASSWORD};
use crate::support::{Browser, TestApp};
use axum::http::StatusCode;
use luci::repo::users::Role;

const METADATA: &str = r#"<resource-agent name="fence_test" shortdesc="Fence agent of a test"><longdesc>It fences.</longdesc><parameters>
<parameter name="ip" required="1" obsoletes="ipaddr"><content type="string"/><shortdesc lang="en">Address of the device</shortdesc></parameter>
<parameter name="ipaddr" required="1" deprecated="1"><content type="string"/></parameter>
<parameter name="password"><content type="string"/><shortdesc lang="en">Password</shortdesc></parameter>
<parameter name="cipher"><content type="integer" default="3"/><shortdesc lang="en">Cipher suite</shortdesc></parameter>
<parameter name="plug" required="1" obsoletes="port"><content type="string"/><shortdesc lang="en">Outlet</shortdesc></parameter>
<parameter name="port" required="1" deprecated="1"><content type="string"/></parameter>
</parameters><actions><action name="off"/><action name="status"/><action name="list"/></actions></resource-agent>"#;

/// A running cluster of two nodes that have the agent.
async fn cluster() -> (TestApp, Fake, Vec<FakeNode>, Browser) {
    cluster_after(|_| ()).await
}

/// The same of nodes to which something is done before luci meets them.
async fn cluster_after(prepare: impl FnOnce(&Fake)) -> (TestApp, Fake, Vec<FakeNode>, Browser) {
    let fake = Fake::new();
    fake.change(|world| world.fence_agents.insert("fence_test".into(), METADATA.into()));
    let nodes = vec![fake.node("node1").await, fake.node("node2").await];
    prepare(&fake);
    let luci = TestApp::new().await;
    let mut browser = luci.login("admin", Role::Administrator).await;
    browser.create_cluster(nodes.iter().map(|node| (node.name.as_str(), node.address)), PASSWORD).await;
    (luci, fake, nodes, browser)
}

#[tokio::test]
async fn the_form_of_a_device_is_drawn_from_its_agents_own_words() {
    let (_luci, fake, _nodes, mut browser) = cluster().await;
    let page = "/clusters/alpha/add-fence-device";
    let form = format!("{page}?agent=fence_test");
    let drawn = browser.get(&form).await;
    for part in ["It fences.", "id=\"a-ip\"", "IP Address or Hostname", "default: 3", "id=\"a-cipher\""] {
        assert!(drawn.body.contains(part), "the form lacks {part}");
    }
    assert!(!drawn.body.contains("id=\"a-plug\""), "the plug is given per node");
    // What the agent cannot take is said at the field, and nothing is written.
    let fields = [("agent", "fence_test"), ("name", "pdu"), ("a-cipher", "three")];
    let refused = browser.submit(&form, page, &fields).await;
    assert_eq!(refused.status, StatusCode::UNPROCESSABLE_ENTITY, "{}", refused.text());
    assert!(refused.body.contains("ip is required") && refused.body.contains("give a whole number"));
    let fields = [("agent", "fence_test"), ("name", "pdu"), ("a-ip", "10.0.0.9"), ("a-cipher", "17")];
    let added = browser.submit(&form, page, &fields).await;
    assert_eq!(added.status, StatusCode::SEE_OTHER, "{}", added.text());
    let conf = fake.change(|world| world.nodes["node1"].conf.clone()).expect("conf");
    assert!(conf.contains("ip=\"10.0.0.9\"") && conf.contains("cipher=\"17\""), "{conf}");
}

#[tokio::test]
async fn what_a_node_gives_of_its_own_is_asked_in_a_form_of_its_own() {
    let (_luci, fake, _nodes, mut browser) = cluster().await;
    let page = "/clusters/alpha/add-fence-device";
    let fields = [("agent", "fence_test"), ("name", "pdu"), ("a-ip", "10.0.0.9")];
    browser.submit(&format!("{page}?agent=fence_test"), page, &fields).await;
    let node = "/clusters/alpha/nodes/node1";
    let methods = format!("{node}/fence-methods");
    let fields = [("op", "add-method"), ("name", "power"), ("device", "pdu"), ("a-plug", "7")];
    let added = browser.submit(node, &methods, &fields).await;
    assert_eq!(added.status, StatusCode::SEE_OTHER, "{}", added.text());
    let instance = format!("{node}/fence-instance");
    let form = format!("{instance}?method=0&instance=0");
    let drawn = browser.get(&form).await;
    assert!(drawn.body.contains("id=\"a-plug\"") && !drawn.body.contains("id=\"a-ip\""), "{}", drawn.body);
    let place = [("method", "0"), ("instance", "0")];
    let refused = browser.submit(&form, &instance, &[place[0], place[1], ("a-plug", "")]).await;
    assert_eq!(refused.status, StatusCode::UNPROCESSABLE_ENTITY, "{}", refused.text());
    let changed = browser.submit(&form, &instance, &[place[0], place[1], ("a-plug", "8")]).await;
    assert_eq!(changed.status, StatusCode::SEE_OTHER, "{}", changed.text());
    let conf = fake.change(|world| world.nodes["node1"].conf.clone()).expect("conf");
    assert!(conf.contains("plug=\"8\"") && !conf.contains("plug=\"7\""), "{conf}");
    // Written by the name that the agent has for it, and never by two: the agent would choose, or fail.
    let second = |more: &[(&'static str, &'static str)]| {
        [&[("op", "add-method"), ("name", "second"), ("device", "pdu"), ("a-port", "9")], more].concat()
    };
    let both = second(&[("attr-0-name", "plug"), ("attr-0-value", "9")]);
    let refused = browser.submit(node, &methods, &both).await;
    assert_eq!(refused.status, StatusCode::UNPROCESSABLE_ENTITY, "{}", refused.text());
    assert!(refused.text().contains("port and plug are two names of one thing"), "{}", refused.text());
    let added = browser.submit(node, &methods, &second(&[])).await;
    assert_eq!(added.status, StatusCode::SEE_OTHER, "{}", added.text());
    let conf = fake.change(|world| world.nodes["node1"].conf.clone()).expect("conf");
    assert!(conf.contains("plug=\"9\"") && !conf.contains("port="), "{conf}");
    // A plug of somebody else's method is not found, and not invented.
    assert_eq!(browser.get(&format!("{instance}?method=4&instance=0")).await.status, StatusCode::NOT_FOUND);
}

/// All nodes keep secrets.
fn keep_secrets(fake: &Fake) {
    fake.change(|world| {
        for node in world.nodes.values_mut() {
            node.secrets = Some(std::collections::BTreeMap::new());
        }
    });
}

fn conf(fake: &Fake) -> String {
    fake.change(|world| world.nodes["node1"].conf.clone()).expect("conf")
}

const DEVICE: [(&str, &str); 4] =
    [("agent", "fence_test"), ("name", "pdu"), ("a-ip", "10.0.0.9"), ("a-password", "canary-1")];

#[tokio::test]
async fn a_password_goes_to_the_nodes_and_only_its_name_into_the_configuration() {
    let (luci, fake, _nodes, mut browser) = cluster().await;
    keep_secrets(&fake);
    let page = "/clusters/alpha/add-fence-device";
    let added = browser.submit(&format!("{page}?agent=fence_test"), page, &DEVICE).await;
    assert_eq!(added.status, StatusCode::SEE_OTHER, "{}", added.text());
    let conf = conf(&fake);
    assert!(conf.contains("password=\"secret:pdu.password.") && !conf.contains("canary-1"), "{conf}");
    for node in ["node1", "node2"] {
        let secrets = fake.change(|world| world.nodes[node].secrets.clone()).expect("secrets");
        assert_eq!(secrets.values().collect::<Vec<_>>(), ["canary-1"], "{node}");
    }
    // Left empty, it stays the same secret.
    let device = "/clusters/alpha/fence-devices/pdu";
    let fields = [("name", "pdu"), ("a-ip", "10.0.0.8"), ("a-password", ""), ("keep-password", "1")];
    let changed = browser.submit(device, device, &fields).await;
    assert_eq!(changed.status, StatusCode::SEE_OTHER, "{}", changed.text());
    let reference = |conf: &str| conf.split("secret:").nth(1).map(|rest| rest.split('"').next().map(str::to_owned));
    assert_eq!(reference(&self::conf(&fake)), reference(&conf));
    // Nothing that luci keeps or shows holds it.
    for page in [device, "/clusters/alpha/configure/text", "/clusters/alpha/configure/compare?from=1&to=3", "/audit"] {
        assert!(!browser.get(page).await.body.contains("canary-1"), "{page}");
    }
    for entry in std::fs::read_dir(luci.state_dir()).expect("folder") {
        let path = entry.expect("entry").path();
        let bytes = std::fs::read(&path).unwrap_or_default();
        assert!(!bytes.windows(8).any(|window| window == b"canary-1"), "{} holds the secret", path.display());
    }
}

#[tokio::test]
async fn a_draft_holds_no_secret_either() {
    let (luci, fake, _nodes, mut browser) = cluster().await;
    keep_secrets(&fake);
    browser.submit("/clusters/alpha/configure", "/clusters/alpha/draft/begin", &[]).await;
    let page = "/clusters/alpha/add-fence-device";
    let added = browser.submit(&format!("{page}?agent=fence_test"), page, &DEVICE).await;
    assert_eq!(added.status, StatusCode::SEE_OTHER, "{}", added.text());
    let review = browser.get("/clusters/alpha/draft").await;
    assert!(review.body.contains("pdu") && !review.body.contains("canary-1"));
    for entry in std::fs::read_dir(luci.state_dir()).expect("folder") {
        let path = entry.expect("entry").path();
        let bytes = std::fs::read(&path).unwrap_or_default();
        assert!(!bytes.windows(8).any(|window| window == b"canary-1"), "{} holds the secret", path.display());
    }
}

#[tokio::test]
async fn a_node_that_lacks_a_secret_gets_it_from_another_one() {
    let (_luci, fake, _nodes, mut browser) = cluster().await;
    keep_secrets(&fake);
    let page = "/clusters/alpha/add-fence-device";
    browser.submit(&format!("{page}?agent=fence_test"), page, &DEVICE).await;
    fake.change(|world| world.nodes.get_mut("node2").expect("node").secrets = Some(std::collections::BTreeMap::new()));
    let begun = std::time::Instant::now();
    loop {
        let secrets = fake.change(|world| world.nodes["node2"].secrets.clone()).expect("secrets");
        if secrets.values().any(|value| value == "canary-1") {
            break;
        }
        assert!(begun.elapsed() < crate::support::PATIENCE, "node2 still lacks the secret");
        fake.changed.subscribe().changed().await.expect("change");
    }
}

#[tokio::test]
async fn plain_passwords_keep_working_and_move_out_when_somebody_asks_for_it() {
    let (_luci, fake, _nodes, mut browser) = cluster().await;
    // A node whose ricci is too old: its rgmanager would take a reference for the password.
    let page = "/clusters/alpha/add-fence-device";
    let added = browser.submit(&format!("{page}?agent=fence_test"), page, &DEVICE).await;
    assert_eq!(added.status, StatusCode::SEE_OTHER, "{}", added.text());
    assert!(conf(&fake).contains("password=\"canary-1\""));
    let devices = "/clusters/alpha/fence-devices";
    let refused = browser.submit(devices, "/clusters/alpha/move-secrets", &[]).await;
    assert_eq!(refused.status, StatusCode::CONFLICT);
    let says = "is older than this console and cannot keep secrets; update it on that node";
    assert!(refused.text().contains(says) && !refused.body.contains("no path"), "{}", refused.text());
    keep_secrets(&fake);
    let offered = browser.get(devices).await;
    assert!(offered.body.contains("data-test=\"move-secrets\""), "{}", offered.body);
    let moved = browser.submit(devices, "/clusters/alpha/move-secrets", &[]).await;
    assert_eq!(moved.status, StatusCode::SEE_OTHER, "{}", moved.text());
    let conf = conf(&fake);
    assert!(conf.contains("password=\"secret:pdu.password.") && !conf.contains("canary-1"), "{conf}");
    assert!(!browser.get(devices).await.body.contains("data-test=\"move-secrets\""));
}

#[tokio::test]
async fn the_key_of_fence_xvm_is_made_on_one_node_and_sent_to_all() {
    let (_luci, fake, _nodes, mut browser) = cluster().await;
    fake.change(|world| world.fence_agents.insert("fence_xvm".into(), METADATA.into()));
    let add = "/clusters/alpha/add-fence-device";
    let fields = [("agent", "fence_xvm"), ("name", "xvm"), ("a-ip", "10.0.0.9")];
    let added = browser.submit(&format!("{add}?agent=fence_xvm"), add, &fields).await;
    assert_eq!(added.status, StatusCode::SEE_OTHER, "{}", added.text());
    let node = "/clusters/alpha/nodes/node1";
    let fields = [("op", "add-method"), ("name", "xvm"), ("device", "xvm"), ("a-plug", "vm1")];
    browser.submit(node, &format!("{node}/fence-methods"), &fields).await;
    let device = "/clusters/alpha/fence-devices/xvm";
    let page = browser.get(device).await;
    assert!(page.body.contains("Make the key and send it to all nodes") && !page.body.contains("download-key"));
    for part in ["#\t\tuuid = &#34;vm1&#34;;    # node1", "scp root@127.0.0.1:/etc/cluster/fence_xvm.key"] {
        assert!(page.body.contains(part), "{part} is not in {}", page.text());
    }
    let send = "/clusters/alpha/fence-key";
    let sent = browser.submit(device, send, &[("device", "xvm")]).await;
    assert_eq!(sent.location.as_deref(), Some(device), "{}", sent.text());
    let keys = |fake: &Fake| {
        fake.change(|world| ["node1", "node2"].map(|node| world.nodes[node].fence_key.clone().expect("a key")))
    };
    let first = keys(&fake);
    assert_eq!(first[0], first[1]);
    browser.wait_for(device, "fence-key-node1").await;
    let told = browser.wait_for(device, "fence-key-node2").await;
    assert!(told.body.contains(&format!("fingerprint-of-{}", first[0])), "{}", told.text());
    assert!(!told.body.contains("keys-differ"));
    // Sent again, it stays the same; a new one is made only when asked for, and replaces it everywhere.
    browser.submit(device, send, &[("device", "xvm")]).await;
    assert_eq!(keys(&fake), first);
    browser.submit(device, send, &[("device", "xvm"), ("replace", "1")]).await;
    let second = keys(&fake);
    assert_eq!(second[0], second[1]);
    assert_ne!(second, first);
    let file = browser.submit(device, "/clusters/alpha/fence-key/file", &[]).await;
    assert_eq!(file.status, StatusCode::OK, "{}", file.text());
    assert!(file.headers["content-disposition"].to_str().expect("text").contains("fence_xvm.key"));
    let audit = browser.get("/audit").await;
    for action in ["send-fence-key", "replace-fence-key", "download-fence-key"] {
        assert!(audit.body.contains(action), "{action}");
    }
}

#[tokio::test]
async fn a_node_that_did_not_get_the_key_is_named_and_gets_the_same_one_later() {
    let (_luci, fake, _nodes, mut browser) = cluster().await;
    let page = "/clusters/alpha/add-fence-device?agent=fence_xvm";
    let send = "/clusters/alpha/fence-key";
    fake.change(|world| world.nodes.get_mut("node2").expect("node").hung = true);
    assert_eq!(browser.submit(page, send, &[]).await.status, StatusCode::SEE_OTHER);
    let told = browser.get(page).await;
    assert!(told.body.contains("The key of fence_xvm is not on node2: node2 does not answer"), "{}", told.text());
    let made = fake.change(|world| world.nodes["node1"].fence_key.clone()).expect("a key");
    assert_eq!(fake.change(|world| world.nodes["node2"].fence_key.clone()), None);
    fake.change(|world| world.nodes.get_mut("node2").expect("node").hung = false);
    browser.submit(page, send, &[]).await;
    for node in ["node1", "node2"] {
        assert_eq!(fake.change(|world| world.nodes[node].fence_key.clone()).as_ref(), Some(&made), "{node}");
    }
    assert!(browser.get("/audit").await.body.contains("not stored on node2"));
    // The one node that has the key is silent: no second one is made, which would part the others from it and from the host.
    fake.change(|world| world.nodes.get_mut("node2").expect("node").fence_key = None);
    browser.wait_for(page, "fence-key-node1").await;
    fake.change(|world| world.nodes.get_mut("node1").expect("node").hung = true);
    let refused = browser.submit(page, send, &[]).await;
    assert!(refused.text().contains("node1 does not answer"), "{}", refused.text());
    assert_eq!(fake.change(|world| world.nodes["node2"].fence_key.clone()), None);
}

/// node1 with a method whose plug is this one.
async fn with_method(browser: &mut Browser, plug: &str) {
    let page = "/clusters/alpha/add-fence-device";
    browser.submit(&format!("{page}?agent=fence_test"), page, &DEVICE).await;
    let node = "/clusters/alpha/nodes/node1";
    let fields = [("op", "add-method"), ("name", "power"), ("device", "pdu"), ("a-plug", plug)];
    let added = browser.submit(node, &format!("{node}/fence-methods"), &fields).await;
    assert_eq!(added.status, StatusCode::SEE_OTHER, "{}", added.text());
}

const LADDER: &str = "/clusters/alpha/nodes/node1/fence-test";

#[tokio::test]
async fn the_ladder_is_climbed_from_every_node_that_may_have_to_fence() {
    let (_luci, fake, _nodes, mut browser) = cluster().await;
    keep_secrets(&fake);
    with_method(&mut browser, "1").await;
    assert!(browser.get("/clusters/alpha").await.body.contains("data-test=\"unproven\""));
    let task = browser.submit(LADDER, LADDER, &[]).await.location.expect("task");
    browser.wait_for(&task, "task-done").await;
    let tests = fake.change(|world| world.fence_tests.clone());
    assert!(tests.iter().all(|(tester, _)| tester == "node2"), "a node cannot fence itself: {tests:?}");
    let plugs: Vec<&str> = tests
        .iter()
        .filter_map(|(_, test)| test.arguments.iter().find(|(name, _)| name == "plug"))
        .map(|(_, plug)| plug.as_str())
        .collect();
    assert_eq!(plugs, ["1", "1", "no-such-plug-7f3a"]);
    // The node resolves the reference; luci never has the password.
    assert!(tests.iter().all(|(_, test)| test.arguments.iter().any(|(_, value)| value.starts_with("secret:pdu."))));
    let page = browser.get(LADDER).await;
    assert!(page.body.contains("wrong plug must fail") && page.body.contains("never tried"), "{}", page.text());
    // Nothing was switched, and so nothing is proven.
    assert!(fake.change(|world| world.fenced.is_empty()));
}

#[tokio::test]
async fn a_wrong_plug_in_the_configuration_stops_the_ladder_before_anything_is_switched() {
    let (_luci, fake, _nodes, mut browser) = cluster().await;
    with_method(&mut browser, "9").await;
    let fields = [("power", "1"), ("type-name", "node1")];
    let task = browser.submit(LADDER, LADDER, &fields).await.location.expect("task");
    let failed = browser.wait_for(&task, "task-failed").await;
    assert!(failed.text().contains("the device gives no status"), "{}", failed.text());
    assert!(fake.change(|world| world.fenced.is_empty() && world.standby.is_empty()));
}

#[tokio::test]
async fn a_power_cycle_is_asked_for_by_name_and_proves_by_the_boot_id() {
    let (_luci, fake, _nodes, mut browser) = cluster().await;
    with_method(&mut browser, "1").await;
    let refused = browser.submit(LADDER, LADDER, &[("power", "1"), ("type-name", "node2")]).await;
    assert_eq!(refused.status, StatusCode::UNPROCESSABLE_ENTITY);
    let fields = [("power", "1"), ("type-name", "node1")];
    let task = browser.submit(LADDER, LADDER, &fields).await.location.expect("task");
    browser.wait_for(&task, "task-done").await;
    let verbs: Vec<&str> = fake.change(|world| world.requests.iter().map(|request| request.command.verb()).collect());
    assert_eq!(verbs, ["standby", "fence", "unstandby"]);
    let page = browser.get(LADDER).await;
    for part in ["data-test=\"proof-card\"", "boot-1", "boot-2", "method power, run by node2"] {
        assert!(page.body.contains(part), "{part}: {}", page.text());
    }
    assert!(!browser.get("/clusters/alpha").await.body.contains("data-test=\"unproven\""));
    // Another plug is another method: the proof is about the old one.
    let instance = "/clusters/alpha/nodes/node1/fence-instance";
    let form = format!("{instance}?method=0&instance=0");
    browser.submit(&form, instance, &[("method", "0"), ("instance", "0"), ("a-plug", "2")]).await;
    assert!(browser.get(LADDER).await.body.contains("changed since its proof"));
    let audit = browser.get("/audit").await;
    assert!(audit.body.contains("prove-fencing") && audit.body.contains("with a power cycle"));
}

#[tokio::test]
async fn an_agent_that_another_node_lacks_is_told_before_and_after_a_change() {
    let lacks = |fake: &Fake| {
        fake.change(|world| world.nodes.get_mut("node2").expect("node").lacks.insert("fence_test".into()));
    };
    let (_luci, _fake, _nodes, mut browser) = cluster_after(lacks).await;
    let known = "is not installed on node2";
    let page = "/clusters/alpha/add-fence-device";
    let form = format!("{page}?agent=fence_test");
    browser.submit(&form, page, &DEVICE).await;
    // luci learns the nodes' lists in the background.
    browser.wait_for("/clusters/alpha/configure", known).await;
    let device = "/clusters/alpha/fence-devices/pdu";
    browser.submit(device, &format!("{device}/delete"), &[]).await;
    assert!(!browser.get("/clusters/alpha/configure").await.body.contains(known));
    let added = browser.submit(&form, page, &DEVICE).await;
    let told = browser.get(&added.location.expect("a page")).await;
    assert!(told.body.contains("is stored. But fence_test, which the fence device pdu needs,"), "{}", told.text());
    // In a draft: on its review, before anything is applied.
    browser.submit("/clusters/alpha/configure", "/clusters/alpha/draft/begin", &[]).await;
    let fields = [("name", "pdu"), ("a-ip", "10.0.0.8"), ("a-password", ""), ("keep-password", "1")];
    browser.submit(device, device, &fields).await;
    let review = browser.get("/clusters/alpha/draft").await;
    assert!(review.body.contains(known), "{}", review.text());
}
