//! Drafts over a cluster of fake nodes: several edits, reviewed once, applied once; two administrators on the same
//! service, and neither loses anything without being told.

use crate::fake::{Fake, FakeNode, PASSWORD};
use crate::support::{Answer, Browser, TestApp};
use axum::http::StatusCode;
use luci::repo::confs::{Origin, StoredConf};
use luci::repo::users::Role;
use shared::ids::ConfVersion;
use shared::text::ServiceState;

const DRAFT: &str = "/clusters/alpha/draft";
const CONFIGURE: &str = "/clusters/alpha/configure";

/// A running cluster of two fake nodes, and the browser of its first administrator.
async fn stage() -> (TestApp, Fake, Vec<FakeNode>, Browser) {
    let fake = Fake::new();
    let nodes = vec![fake.node("node1").await, fake.node("node2").await];
    let luci = TestApp::new().await;
    let mut browser = luci.login("anna", Role::Administrator).await;
    browser.create_cluster(nodes.iter().map(|node| (node.name.as_str(), node.address)), PASSWORD).await;
    (luci, fake, nodes, browser)
}

async fn done(browser: &mut Browser, page: &str, to: &str, fields: &[(&str, &str)]) -> Answer {
    let answer = browser.submit(page, to, fields).await;
    assert_eq!(answer.status, StatusCode::SEE_OTHER, "{to}: {}", answer.text());
    answer
}

async fn add_service(browser: &mut Browser, name: &str) {
    let page = "/clusters/alpha/add-service";
    done(browser, page, page, &[("name", name), ("autostart", "on"), ("recovery", "relocate")]).await;
}

async fn begin(browser: &mut Browser) {
    done(browser, CONFIGURE, "/clusters/alpha/draft/begin", &[]).await;
}

async fn set_recovery(browser: &mut Browser, recovery: &str, max_restarts: &str) {
    let page = "/clusters/alpha/services/service:web";
    let fields = [("autostart", "on"), ("recovery", recovery), ("max_restarts", max_restarts)];
    done(browser, page, &format!("{page}/edit"), &fields).await;
}

fn conf_of(fake: &Fake, node: &str) -> String {
    fake.change(|world| world.nodes[node].conf.clone().expect("conf"))
}

#[tokio::test]
async fn several_edits_are_reviewed_once_and_applied_as_one_version() {
    let (luci, fake, _nodes, mut anna) = stage().await;
    begin(&mut anna).await;
    let page = "/clusters/alpha/add-failover-domain";
    done(&mut anna, page, page, &[("name", "east"), ("ordered", "on"), ("node", "node1"), ("priority-node1", "1")])
        .await;
    add_service(&mut anna, "web").await;
    // The second edit builds on the first, and nothing has reached the cluster.
    let service = "/clusters/alpha/services/service:web";
    let fields = [("autostart", "on"), ("recovery", "relocate"), ("domain", "east")];
    done(&mut anna, service, &format!("{service}/edit"), &fields).await;
    assert!(!conf_of(&fake, "node1").contains("east"), "applied too early");
    let mut other = luci.login("bert", Role::Administrator).await;
    assert!(!other.get("/clusters/alpha/failover-domains").await.body.contains("east"), "a draft is its owner's");

    let review = anna.get(DRAFT).await;
    for words in ["failover domain east added", "service web added", "Changes (3)"] {
        assert!(review.text().contains(words), "{words}: {}", review.text());
    }
    // It outlives the session.
    let luci = luci.restart().await;
    let mut anna = luci.login_again("anna").await;
    assert!(anna.get("/clusters/alpha/services").await.body.contains("review-draft"));
    anna.wait_for("/clusters/alpha", "Quorate").await;
    let applied = done(&mut anna, DRAFT, "/clusters/alpha/draft/apply", &[("message", "east and web")]).await;
    assert_eq!(applied.location.as_deref(), Some("/clusters/alpha/configure/versions/2"));
    assert!(conf_of(&fake, "node1").contains("config_version=\"2\""));
    assert!(conf_of(&fake, "node2").contains("domain=\"east\""));
    // The page of the version tells how far each node is.
    let page = anna.wait_for("/clusters/alpha/configure/versions/2", "rollout-node2").await;
    assert!(page.text().contains("Version 2 stored"), "{}", page.text());
    assert!(!anna.get(CONFIGURE).await.body.contains("review-draft"), "the draft is done");
    assert!(anna.get(CONFIGURE).await.text().contains("east and web"));
}

#[tokio::test]
async fn a_change_in_between_is_told_object_by_object_and_nothing_is_lost_unseen() {
    let (luci, fake, _nodes, mut anna) = stage().await;
    add_service(&mut anna, "web").await;
    add_service(&mut anna, "mail").await;
    let mut bert = luci.login("bert", Role::Administrator).await;
    begin(&mut anna).await;
    set_recovery(&mut anna, "disable", "").await;
    let mail = "/clusters/alpha/services/service:mail";
    let fields = [("autostart", "on"), ("recovery", "relocate"), ("exclusive", "on")];
    done(&mut anna, mail, &format!("{mail}/edit"), &fields).await;
    // Meanwhile, without a draft.
    set_recovery(&mut bert, "restart", "3").await;

    let review = anna.get(DRAFT).await;
    assert!(review.body.contains("data-test=\"conflict-service web\""), "{}", review.text());
    assert!(!review.body.contains("data-test=\"conflict-service mail\""), "only one side changed it");
    assert!(review.text().contains("bert"), "{}", review.text());
    let refused = anna.submit(DRAFT, "/clusters/alpha/draft/apply", &[]).await;
    assert_eq!(refused.status, StatusCode::UNPROCESSABLE_ENTITY, "{}", refused.text());
    assert!(!conf_of(&fake, "node1").contains("recovery=\"disable\""), "written over");

    let keep = [("subject-0", "service web"), ("keep-0", "theirs")];
    done(&mut anna, DRAFT, "/clusters/alpha/draft/move", &keep).await;
    done(&mut anna, DRAFT, "/clusters/alpha/draft/apply", &[]).await;
    let conf = conf_of(&fake, "node1");
    assert!(conf.contains("max_restarts=\"3\"") && !conf.contains("recovery=\"disable\""), "theirs is kept: {conf}");
    assert!(conf.contains("exclusive=\"1\""), "mine about something else is kept: {conf}");
}

#[tokio::test]
async fn mine_is_made_again_over_theirs_when_that_is_wanted() {
    let (luci, fake, _nodes, mut anna) = stage().await;
    add_service(&mut anna, "web").await;
    let mut bert = luci.login("bert", Role::Administrator).await;
    begin(&mut anna).await;
    set_recovery(&mut anna, "disable", "").await;
    set_recovery(&mut bert, "relocate", "3").await;
    let keep = [("subject-0", "service web"), ("keep-0", "mine")];
    done(&mut anna, DRAFT, "/clusters/alpha/draft/move", &keep).await;
    done(&mut anna, DRAFT, "/clusters/alpha/draft/apply", &[]).await;
    assert!(conf_of(&fake, "node1").contains("recovery=\"disable\""));
}

#[tokio::test]
async fn the_last_step_is_taken_back_and_a_draft_is_discarded() {
    let (_luci, fake, _nodes, mut anna) = stage().await;
    begin(&mut anna).await;
    add_service(&mut anna, "web").await;
    add_service(&mut anna, "mail").await;
    done(&mut anna, DRAFT, "/clusters/alpha/draft/undo", &[]).await;
    let review = anna.get(DRAFT).await.text();
    assert!(review.contains("service web added") && !review.contains("service mail added"), "{review}");
    done(&mut anna, DRAFT, "/clusters/alpha/draft/discard", &[]).await;
    assert_eq!(anna.get(DRAFT).await.status, StatusCode::CONFLICT);
    assert!(conf_of(&fake, "node1").contains("config_version=\"1\""));
}

#[tokio::test]
async fn errors_that_were_there_before_keep_nobody_from_changing_something_else() {
    let (luci, fake, _nodes, mut anna) = stage().await;
    add_service(&mut anna, "mail").await;
    // As read from a node on which somebody edited the file by hand.
    let text = conf_of(&fake, "node1")
        .replace("config_version=\"2\"", "config_version=\"3\"")
        .replace("name=\"mail\"", "name=\"mail\" domain=\"gone\"");
    let alpha = luci.app.cluster("alpha").await.expect("alpha").id;
    let by_hand = StoredConf {
        version: ConfVersion(3),
        digest: shared::conf::digest(&text),
        text,
        author: None,
        message: "changed on a node".into(),
        origin: Origin::Node,
        at: 1,
        accepted: true,
    };
    for node in ["node1", "node2"] {
        fake.change(|world| world.nodes.get_mut(node).expect("node").conf = Some(by_hand.text.clone()));
    }
    luci.app.repo.store_conf(alpha, &by_hand).await.expect("stored");

    let page = "/clusters/alpha/add-service";
    // The nodes take what does not make it worse, and so does luci; what is still wrong is said.
    done(&mut anna, page, page, &[("name", "web"), ("autostart", "on"), ("recovery", "relocate")]).await;
    let told = anna.get("/clusters/alpha/configure").await.text();
    assert!(told.contains("it still has 1 errors that the version before had too"), "{told}");
    begin(&mut anna).await;
    add_service(&mut anna, "news").await;
    let review = anna.get(DRAFT).await;
    assert!(!review.text().contains("must be corrected in this draft"), "{}", review.text());
    assert!(review.text().contains("the version in force has this error too"), "{}", review.text());
    // A new error is refused at once.
    let web = "/clusters/alpha/services/service:web";
    let fields = [("autostart", "on"), ("recovery", "relocate"), ("domain", "nowhere")];
    let refused = anna.submit(web, &format!("{web}/edit"), &fields).await;
    assert_eq!(refused.status, StatusCode::UNPROCESSABLE_ENTITY, "{}", refused.text());
    done(&mut anna, DRAFT, "/clusters/alpha/draft/apply", &[]).await;
    let conf = conf_of(&fake, "node1");
    assert!(conf.contains("config_version=\"5\"") && conf.contains("name=\"news\"") && conf.contains("gone"), "{conf}");
    let mail = "/clusters/alpha/services/service:mail";
    done(&mut anna, mail, &format!("{mail}/edit"), &[("autostart", "on"), ("recovery", "relocate")]).await;
    assert!(!conf_of(&fake, "node1").contains("gone"));
}

#[tokio::test]
async fn a_thing_in_use_is_deleted_with_its_uses_or_not_at_all() {
    let (_luci, fake, _nodes, mut anna) = stage().await;
    let page = "/clusters/alpha/add-failover-domain";
    done(&mut anna, page, page, &[("name", "east"), ("node", "node1")]).await;
    let page = "/clusters/alpha/add-service";
    done(&mut anna, page, page, &[("name", "web"), ("autostart", "on"), ("recovery", "relocate"), ("domain", "east")])
        .await;
    let domain = "/clusters/alpha/failover-domains/east";
    let shown = anna.get(domain).await;
    assert!(shown.text().contains("In use by service:web"), "{}", shown.text());
    let refused = anna.submit(domain, &format!("{domain}/delete"), &[]).await;
    assert_eq!(refused.status, StatusCode::CONFLICT, "{}", refused.text());
    done(&mut anna, domain, &format!("{domain}/delete"), &[("detach", "on")]).await;
    let conf = conf_of(&fake, "node1");
    assert!(!conf.contains("east") && conf.contains("name=\"web\""), "{conf}");

    let page = "/clusters/alpha/add-fence-device";
    let fields = [
        ("name", "bmc"),
        ("agent", "fence_ipmilan"),
        ("a-ipaddr", "10.0.0.1"),
        ("a-login", "admin"),
        ("a-passwd", "secret"),
    ];
    done(&mut anna, &format!("{page}?agent=fence_ipmilan"), page, &fields).await;
    let node = "/clusters/alpha/nodes/node1";
    let fields = [("op", "add-method"), ("name", "power"), ("device", "bmc")];
    done(&mut anna, node, &format!("{node}/fence-methods"), &fields).await;
    let device = "/clusters/alpha/fence-devices/bmc";
    assert_eq!(anna.submit(device, &format!("{device}/delete"), &[]).await.status, StatusCode::CONFLICT);
    done(&mut anna, device, &format!("{device}/delete"), &[("detach", "on")]).await;
    let conf = conf_of(&fake, "node1");
    assert!(!conf.contains("bmc") && !conf.contains("<method"), "{conf}");
}

#[tokio::test]
async fn a_button_that_would_be_refused_is_disabled_and_says_why() {
    let (_luci, fake, _nodes, mut anna) = stage().await;
    add_service(&mut anna, "web").await;
    anna.wait_for("/clusters/alpha", "data-test=\"service-service:web\"").await;
    let page = "/clusters/alpha/services/service:web";
    let set = |state: ServiceState, frozen: bool| {
        fake.change(|world| {
            let service = world.services.get_mut("service:web").expect("web");
            service.state = state;
            service.frozen = frozen;
            if !matches!(state, ServiceState::Started | ServiceState::Failed) {
                service.owner = None;
            }
        });
    };
    set(ServiceState::Disabled, false);
    let shown = anna.wait_for(page, "Restart: it is disabled, not started").await;
    assert!(shown.body.contains("data-test=\"restart\" disabled title="), "{}", shown.body);
    assert!(shown.body.contains("data-test=\"start\">Start"), "it can be started");
    set(ServiceState::Disabled, true);
    let shown = anna.wait_for(page, "Start: it is frozen; unfreeze it first").await;
    assert!(shown.body.contains("data-test=\"unfreeze\">Unfreeze"));
    set(ServiceState::Failed, false);
    anna.wait_for(page, "it is failed; disable it first").await;
    let overview = anna.get("/clusters/alpha").await;
    assert!(overview.body.contains("disabled title=\"it is failed"), "{}", overview.text());
}

#[tokio::test]
async fn several_services_and_nodes_are_asked_at_once_and_each_answer_is_told() {
    let (_luci, fake, _nodes, mut anna) = stage().await;
    add_service(&mut anna, "web").await;
    add_service(&mut anna, "mail").await;
    let page = "/clusters/alpha/services";
    anna.wait_for(page, "mark-service:mail").await;
    anna.wait_for("/clusters/alpha", "data-test=\"service-service:mail\"").await;
    let none = anna.submit(page, "/clusters/alpha/services-request", &[("verb", "disable")]).await;
    assert!(none.text().contains("mark at least one service"), "{}", none.text());
    let fields = [("verb", "disable"), ("service", "service:web"), ("service", "service:mail")];
    done(&mut anna, page, "/clusters/alpha/services-request", &fields).await;
    let told = anna.get(page).await.text();
    assert!(told.contains("disable service:web, service:mail: under way"), "{told}");
    assert_eq!(fake.change(|world| world.requests.len()), 2);

    let page = "/clusters/alpha/nodes";
    let fields = [("order", "leave"), ("node", "node1"), ("node", "node2")];
    let question = anna.submit(page, "/clusters/alpha/nodes-order", &fields).await;
    assert!(question.text().contains("Let leave node1, node2"), "{}", question.text());
    assert!(fake.change(|world| world.nodes.values().all(|node| node.running)), "before the answer");
    let mut fields = fields.to_vec();
    fields.push(("confirmed", "yes"));
    done(&mut anna, page, "/clusters/alpha/nodes-order", &fields).await;
    assert!(fake.change(|world| world.nodes.values().all(|node| !node.running)));
    anna.wait_for("/clusters/alpha", "does not run on any of its nodes").await;
}

#[tokio::test]
async fn an_edit_of_the_text_is_moved_onto_a_newer_version_or_says_where_it_cannot_be() {
    let (luci, fake, _nodes, mut anna) = stage().await;
    add_service(&mut anna, "web").await;
    add_service(&mut anna, "mail").await;
    let mut bert = luci.login("bert", Role::Administrator).await;
    let text = "/clusters/alpha/configure/text";
    let edited = |conf: String| conf.replace("name=\"mail\"", "name=\"mail\" exclusive=\"1\"");

    begin(&mut anna).await;
    let mine = edited(conf_of(&fake, "node1"));
    done(&mut anna, text, text, &[("text", &mine), ("message", "mail alone")]).await;
    // Meanwhile, elsewhere in the file.
    let page = "/clusters/alpha/add-failover-domain";
    done(&mut bert, page, page, &[("name", "east"), ("node", "node1")]).await;
    done(&mut anna, DRAFT, "/clusters/alpha/draft/move", &[]).await;
    done(&mut anna, DRAFT, "/clusters/alpha/draft/apply", &[]).await;
    let conf = conf_of(&fake, "node1");
    assert!(conf.contains("exclusive=\"1\"") && conf.contains("name=\"east\""), "both are kept: {conf}");

    // On the same line: nobody is overwritten, and it is said where.
    begin(&mut anna).await;
    let mine = conf_of(&fake, "node1").replace("exclusive=\"1\"", "exclusive=\"2\"");
    done(&mut anna, text, text, &[("text", &mine), ("message", "mail alone")]).await;
    let mail = "/clusters/alpha/services/service:mail";
    done(&mut bert, mail, &format!("{mail}/edit"), &[("autostart", "on"), ("recovery", "disable")]).await;
    let refused = anna.submit(DRAFT, "/clusters/alpha/draft/move", &[]).await;
    assert_eq!(refused.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(refused.text().contains("edits the text where version"), "{}", refused.text());
    assert!(refused.text().contains("near line"), "{}", refused.text());
    assert!(conf_of(&fake, "node1").contains("recovery=\"disable\""), "theirs is kept");
    assert!(anna.get(DRAFT).await.text().contains("mail alone"), "mine is kept");
}

#[tokio::test]
async fn two_administrators_edit_the_same_service_and_neither_loses_anything_untold() {
    let (luci, fake, _nodes, mut anna) = stage().await;
    add_service(&mut anna, "web").await;
    let mut bert = luci.login("bert", Role::Administrator).await;
    let page = "/clusters/alpha/services/service:web";
    // Both have the page open.
    let (of_anna, of_bert) = (anna.get(page).await, bert.get(page).await);
    let sent = |page: &Answer, recovery: &'static str, restarts: &'static str| {
        let hidden = |name: &str| page.hidden(name).expect("a field of the form");
        [
            ("csrf", hidden("csrf")),
            ("base", hidden("base")),
            ("autostart", "on".to_owned()),
            ("recovery", recovery.to_owned()),
            ("max_restarts", restarts.to_owned()),
        ]
    };
    let of_bert = sent(&of_bert, "restart", "3");
    let of_bert: Vec<(&str, &str)> = of_bert.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let written = bert.post(&format!("{page}/edit"), &of_bert).await;
    assert_eq!(written.status, StatusCode::SEE_OTHER, "{}", written.text());
    let of_anna = sent(&of_anna, "disable", "");
    let of_anna: Vec<(&str, &str)> = of_anna.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let refused = anna.post(&format!("{page}/edit"), &of_anna).await;

    assert_eq!(refused.status, StatusCode::UNPROCESSABLE_ENTITY);
    let conf = conf_of(&fake, "node1");
    assert!(conf.contains("max_restarts=\"3\"") && !conf.contains("recovery=\"disable\""), "bert's stands: {conf}");
    // Anna is told whose change came first, and still has what she had entered.
    assert!(refused.text().contains("by bert (properties of service:web changed)"), "{}", refused.text());
    let entered =
        refused.body.split("data-test=\"entered\"").nth(1).expect("what she entered").split("</section>").next();
    let entered = entered.expect("its end");
    assert!(entered.contains("<code>recovery</code>: disable"), "{entered}");
    // The form now holds what bert made of the rest: sending it with her change undoes nothing.
    assert!(refused.body.contains("name=\"max_restarts\" value=\"3\""), "{}", refused.body);
    set_recovery(&mut anna, "disable", "3").await;
    let conf = conf_of(&fake, "node1");
    assert!(conf.contains("recovery=\"disable\"") && conf.contains("max_restarts=\"3\""), "{conf}");
}
