//! The editor of a service's tree over fake nodes: an agent that nobody has seen is offered, filled in and applied; resources
//! are moved, nested, detached and removed; everything is a draft until it is applied, and no secret is told.

use std::collections::BTreeMap;

use crate::fake::Fake;
use crate::stage::{Stage, stage};
use axum::http::StatusCode;
use luci::repo::users::Role;

const SERVICE: &str = "/clusters/alpha/services/service:web";
const ADD: &str = "/clusters/alpha/services/service:web/add-resource";

/// An agent of the test alone, with one parameter of each type, a secret that only its metadata tells, and a parameter whose
/// name is that of the resource.
const WIDGET: &str = r#"<resource-agent name="widget"><shortdesc lang="en">Spins widgets</shortdesc>
<longdesc lang="en">Spins &lt;many&gt; widgets &amp; more.</longdesc><parameters>
<parameter name="name" required="1"><content type="string"/><shortdesc lang="en">Widget name</shortdesc></parameter>
<parameter name="speed" required="1"><content type="integer" min="1" max="9"/><shortdesc lang="en">Turns</shortdesc></parameter>
<parameter name="smooth"><content type="boolean" default="true"/></parameter>
<parameter name="pause"><content type="second" default="5"/></parameter>
<parameter name="way"><content type="select" default="left"><option value="left"/><option value="right"/></content></parameter>
<parameter name="token"><content type="string"/></parameter>
<parameter name="password"><content type="string"/></parameter>
<parameter name="turns" deprecated="1"><content type="integer"/></parameter>
</parameters><actions><action name="start" timeout="30s"/><action name="stop" timeout="40s"/>
<action name="monitor" timeout="10s" interval="15s" depth="0"/><action name="validate-all" timeout="5s"/></actions></resource-agent>"#;

async fn with_service() -> Stage {
    let fake = Fake::new();
    fake.change(|world| {
        world.resource_agents.insert("ocf:acme:widget".into(), WIDGET.into());
        world.resource_agents.insert(
            "ocf:acme:other".into(),
            r#"<resource-agent name="other"><shortdesc lang="en">Something else</shortdesc></resource-agent>"#.into(),
        );
    });
    let mut stage = stage(fake, &["node1", "node2"]).await;
    stage.fake.change(|world| world.nodes.values_mut().for_each(|node| node.secrets = Some(BTreeMap::new())));
    stage.add_service("web").await;
    stage
}

/// The part of a page between two marks.
fn between<'p>(page: &'p str, from: &str, to: &str) -> &'p str {
    let (_, rest) = page.split_once(from).unwrap_or_else(|| panic!("no {from} in {page}"));
    rest.split_once(to).map_or(rest, |(part, _)| part)
}

const FORM: &str = "/clusters/alpha/services/service:web/add-resource?parent=&kind=ocf&agent=ocf:acme:widget";
const CHOSEN: [(&str, &str); 5] =
    [("parent", ""), ("kind", "ocf"), ("a-provider", "acme"), ("a-type", "widget"), ("a-name", "w1")];

#[tokio::test]
async fn an_agent_that_nobody_has_seen_is_offered_filled_in_and_applied() {
    let mut stage = with_service().await;
    stage.browser.wait_for(ADD, "agent-ocf:acme:widget").await;
    let found = stage.browser.get(&format!("{ADD}?q=spins")).await;
    assert!(found.body.contains("agent-ocf:acme:widget") && !found.body.contains("agent-ocf:acme:other"));
    let nothing = stage.browser.get(&format!("{ADD}?q=nosuchthing")).await;
    assert!(nothing.body.contains("nothing-found"), "{}", nothing.text());

    let form = stage.browser.get(FORM).await;
    for (field, tag) in [
        ("a-name", "<input"),
        ("a-OCF_RESKEY_name", "<input"),
        ("a-speed", "<input"),
        ("a-smooth", "<select"),
        ("a-pause", "<input"),
        ("a-way", "<select"),
        ("a-token", "<input"),
        ("a-password", "<input"),
        ("a-turns", "<input"),
    ] {
        assert_eq!(form.body.matches(&format!("{tag} id=\"{field}\"")).count(), 1, "{field}");
        assert_eq!(form.body.matches(&format!("for=\"{field}\"")).count(), 1, "{field}");
    }
    assert!(form.body.contains("Spins &#60;many&#62; widgets &#38; more."), "the agent's words, escaped");
    assert!(between(&form.body, "id=\"a-token\"", ">").contains("type=\"password\""), "secret by the agent's own word");
    assert!(form.text().contains("From 1 to 9."));

    let mut missing = CHOSEN.to_vec();
    missing.extend([("a-speed", "fast"), ("a-pause", "7")]);
    let refused = stage.browser.submit(FORM, ADD, &missing).await;
    assert_eq!(refused.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(between(&refused.body, "id=\"wrong-a-speed\"", "</small>").contains("give a whole number"));
    assert!(between(&refused.body, "id=\"wrong-a-OCF_RESKEY_name\"", "</small>").contains("is required"));
    assert!(between(&refused.body, "id=\"a-pause\"", ">").contains("value=\"7\""), "what was entered stays");
    assert!(!refused.body.contains("review-draft"), "a refused change begins no draft");

    let mut right = CHOSEN.to_vec();
    right.extend([("a-OCF_RESKEY_name", "big"), ("a-speed", "3"), ("a-smooth", "false"), ("a-token", "4711-0815")]);
    right.extend([("a-password", "geheim"), ("action-0-name", "stop"), ("action-0-timeout", "2m")]);
    let before = stage.conf("node1");
    let added = stage.done(FORM, ADD, &right).await;
    assert_eq!(added.location.as_deref(), Some("/clusters/alpha/services/service%3Aweb"));
    assert_eq!(stage.conf("node1"), before, "a draft reaches no node");
    let review = stage.browser.get("/clusters/alpha/draft").await;
    assert!(review.body.contains("widget") && !review.body.contains("4711-0815") && !review.body.contains("geheim"));
    stage.apply().await;
    let conf = stage.conf("node2");
    for part in [
        r#"<ocf name="w1" OCF_RESKEY_name="big""#,
        r#"provider="acme""#,
        r#"type="widget""#,
        r#"speed="3""#,
        r#"smooth="false""#,
        r#"<action name="stop" timeout="2m"/>"#,
        r#"token="secret:"#,
        r#"password="secret:"#,
    ] {
        assert!(conf.contains(part), "{part}: {conf}");
    }
    assert!(!conf.contains("4711-0815") && !conf.contains("geheim"), "{conf}");
    // The secrets lie on the nodes, and the form says no more than that there are some.
    let kept = stage.fake.change(|world| world.nodes["node1"].secrets.clone().expect("secrets"));
    assert!(kept.values().any(|value| value == "4711-0815"), "{:?}", kept.keys());
    let form = stage.browser.get(&format!("{SERVICE}/resources/0")).await;
    assert!(between(&form.body, "id=\"a-token\"", ">").contains("placeholder=\"unchanged\""));
    assert!(!form.body.contains("secret:"), "a reference is no business of a form");
}

#[tokio::test]
async fn the_agents_own_words_are_heard_before_anything_is_written() {
    let mut stage = with_service().await;
    stage.browser.wait_for(ADD, "agent-ocf:acme:widget").await;
    let mut fields = CHOSEN.to_vec();
    fields.extend([("a-OCF_RESKEY_name", "big"), ("a-speed", "3"), ("a-token", "4711-0815"), ("check", "on")]);
    // A mistake that the schema knows keeps the agent from being asked at all.
    let mut wrong = fields.clone();
    wrong[6] = ("a-speed", "30");
    let answer = stage.browser.submit(FORM, ADD, &wrong).await;
    assert!(between(&answer.body, "id=\"wrong-a-speed\"", "</small>").contains("at most 9"));
    assert!(stage.fake.change(|world| world.validated.is_empty()));
    stage.fake.change(|world| {
        world.agent_words.insert("ocf:acme:widget".into(), (2, "big & 4711-0815 do not fit <here>".into()));
    });
    let answer = stage.browser.submit(FORM, ADD, &fields).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
    let word = between(&answer.body, "data-test=\"agent-word\"", "</section>");
    assert!(word.contains("big &#38; (secret) do not fit &#60;here&#62;"), "{word}");
    assert!(word.contains("it answered 2: invalid argument(s)"), "{word}");
    let asked = stage.fake.change(|world| world.validated.clone());
    assert_eq!(asked.len(), 1, "one node is enough: {asked:?}");
    assert!(asked[0].2.contains(&("name".into(), "big".into())), "by the agent's own names: {asked:?}");
    assert!(asked[0].2.iter().all(|(name, _)| name != "type" && name != "provider"), "{asked:?}");
    assert!(!answer.body.contains("review-draft"), "checking begins no draft");
    stage.fake.change(|world| world.agent_words.clear());
    let answer = stage.browser.submit(FORM, ADD, &fields).await;
    assert!(answer.text().contains("it finds nothing wrong"), "{}", answer.text());
}

/// `fs data (ip, script prog)`, `ip shared`.
async fn with_tree() -> Stage {
    let mut stage = with_service().await;
    let shared = "/clusters/alpha/add-resource";
    stage.done(&format!("{shared}?kind=ip"), shared, &[("kind", "ip"), ("a-address", "10.0.0.8")]).await;
    for (parent, kind, fields) in [
        ("", "fs", vec![("a-name", "data"), ("a-mountpoint", "/srv"), ("a-device", "/dev/sdb")]),
        ("0", "ip", vec![("a-address", "10.0.0.9/24")]),
        ("0", "script", vec![("a-name", "prog"), ("a-file", "/etc/init.d/prog")]),
    ] {
        let mut all = vec![("parent", parent), ("kind", kind)];
        all.extend(fields);
        stage.done(&format!("{ADD}?parent={parent}&kind={kind}"), ADD, &all).await;
    }
    stage.done(&format!("{ADD}?parent="), ADD, &[("parent", ""), ("shared", "ip:10.0.0.8")]).await;
    stage.apply().await;
    stage
}

/// Kinds and nesting of the service in a configuration.
fn shape(conf: &str) -> String {
    let service = between(conf, "<service ", "</service>");
    let tags = service.split('<').skip(1).filter(|tag| !tag.starts_with("action"));
    let shown = tags.map(|tag| match (tag.strip_prefix('/'), tag.contains("/>")) {
        (Some(_), _) => ")".to_owned(),
        (None, true) => tag.split([' ', '/']).next().unwrap_or_default().to_owned(),
        (None, false) => format!("{}(", tag.split([' ', '>']).next().unwrap_or_default()),
    });
    // An element that lost its last child keeps its end tag.
    shown.collect::<Vec<_>>().join(" ").replace("( )", "")
}

#[tokio::test]
async fn resources_are_moved_in_and_out_and_removed_with_or_without_their_children() {
    let mut stage = with_tree().await;
    assert_eq!(shape(&stage.conf("node1")), "fs( ip script ) ip");
    let page = stage.browser.get(SERVICE).await;
    // rhcs.md §5.3: a file system, what is in it, then addresses.
    let numbers: Vec<&str> =
        page.body.split("<span aria-hidden=\"true\">").skip(1).filter_map(|s| s.split('<').next()).collect();
    assert_eq!(numbers[..4], ["1", "2", "3", "4"]);
    let to = |place: &str, what: &str| format!("{SERVICE}/resources/{place}/{what}");
    for (place, way, shape_then) in [
        ("1", "in", "fs( ip script ip )"),
        ("0.1", "in", "fs( ip( script ) ip )"),
        ("0.0.0", "out", "fs( ip script ip )"),
        ("0.2", "up", "fs( ip ip script )"),
        ("0.2", "out", "fs( ip ip ) script"),
    ] {
        stage.done(SERVICE, &to(place, "move"), &[("to", way)]).await;
        stage.apply().await;
        assert_eq!(shape(&stage.conf("node1")), shape_then, "{place} {way}");
    }
    let form = stage.browser.get(&to("0", "remove")).await;
    assert!(form.text().contains("ip 10.0.0.9/24") && form.text().contains("ip 10.0.0.8"), "{}", form.text());
    stage.done(&to("0", "remove"), &to("0", "remove"), &[("expected", "fs data"), ("children", "keep")]).await;
    stage.done(SERVICE, &to("0", "remove"), &[("expected", "ip 10.0.0.9/24")]).await;
    stage.apply().await;
    assert_eq!(shape(&stage.conf("node1")), "ip script");
    assert!(stage.conf("node1").contains("<ip address=\"10.0.0.8\"/>"), "the shared one itself stays");
}

#[tokio::test]
async fn a_page_from_before_another_change_changes_nothing_else() {
    let mut stage = with_tree().await;
    stage.done(SERVICE, &format!("{SERVICE}/resources/0.0/remove"), &[("expected", "ip 10.0.0.9/24")]).await;
    // The same button of another window, opened before: something else stands there now.
    let remove = format!("{SERVICE}/resources/0.0/remove");
    let again = stage.browser.submit(SERVICE, &remove, &[("expected", "ip 10.0.0.9/24")]).await;
    assert_eq!(again.status, StatusCode::CONFLICT, "{}", again.text());
    assert!(again.text().contains("not there any more"), "{}", again.text());
    stage.apply().await;
    assert_eq!(shape(&stage.conf("node1")), "fs( script ) ip");
}

#[tokio::test]
async fn what_a_service_thinks_of_a_resource_is_kept_apart_from_the_resource() {
    let mut stage = with_tree().await;
    let own = format!("{SERVICE}/resources/0.1");
    let fields = [
        ("a-name", "prog"),
        ("a-file", "/etc/init.d/prog"),
        ("a-__independent_subtree", "2"),
        ("a-__max_restarts", "3"),
        ("a-__restart_expire_time", "5m"),
        ("action-0-name", "status"),
        ("action-0-depth", "0"),
        ("action-0-interval", "45"),
    ];
    stage.done(&own, &own, &fields).await;
    let shared = format!("{SERVICE}/resources/1");
    let form = stage.browser.get(&shared).await;
    assert!(!form.body.contains("id=\"a-address\"") && form.body.contains("a-__independent_subtree"));
    stage.done(&shared, &shared, &[("a-__independent_subtree", "1"), ("a-address", "10.9.9.9")]).await;
    stage.apply().await;
    let conf = stage.conf("node1");
    assert!(conf.contains(r#"<ip ref="10.0.0.8" __independent_subtree="1"/>"#), "{conf}");
    let script = between(&conf, "<script ", "</script>");
    for part in [r#"__independent_subtree="2""#, r#"__max_restarts="3""#, r#"__restart_expire_time="5m""#] {
        assert!(script.contains(part), "{part}: {script}");
    }
    assert!(script.contains(r#"<action name="status" depth="0" interval="45"/>"#), "{script}");
    for (field, value, text) in [
        ("a-__max_restarts", "some", "give a whole number"),
        ("a-__restart_expire_time", "soon", "give a time"),
        ("action-0-timeout", "later", "give a time"),
    ] {
        let fields = [("a-name", "prog"), ("a-file", "/etc/init.d/prog"), ("action-0-name", "start"), (field, value)];
        let refused = stage.browser.submit(&own, &own, &fields).await;
        assert_eq!(refused.status, StatusCode::UNPROCESSABLE_ENTITY, "{field}");
        assert!(refused.text().contains(text), "{field}: {}", refused.text());
    }
}

#[tokio::test]
async fn a_shared_resource_in_use_is_changed_and_deleted_in_a_draft_with_its_users_named() {
    let mut stage = with_tree().await;
    let page = "/clusters/alpha/resources/ip/10.0.0.8";
    let form = stage.browser.get(page).await;
    assert!(between(&form.body, "data-test=\"used-by\"", "</p>").contains("service:web"), "{}", form.text());
    let refused = stage.browser.submit(page, &format!("{page}/delete"), &[]).await;
    assert_eq!(refused.status, StatusCode::CONFLICT, "{}", refused.text());
    assert!(refused.text().contains("service:web"), "{}", refused.text());
    assert!(!stage.browser.get(page).await.body.contains("review-draft"), "nothing was begun by that");
    let before = stage.conf("node1");
    stage.done(page, page, &[("a-address", "10.0.0.7"), ("action-0-name", "stop"), ("action-0-timeout", "9")]).await;
    assert_eq!(stage.conf("node1"), before, "its users would restart: that is reviewed first");
    let page = "/clusters/alpha/resources/ip/10.0.0.7";
    stage.done(page, &format!("{page}/delete"), &[("detach", "on")]).await;
    let review = stage.browser.get("/clusters/alpha/draft").await;
    assert!(review.text().contains("Changes (2)"), "{}", review.text());
    stage.apply().await;
    let conf = stage.conf("node1");
    assert!(!conf.contains("10.0.0.7") && !conf.contains("10.0.0.8"), "{conf}");
    assert_eq!(shape(&conf), "fs( ip script )");
}

/// Two administrators change the resources of one service at once: what one of them has applied is told to the other by the
/// name of what it is about, and each way of deciding keeps what it says.
#[tokio::test]
async fn a_tree_that_two_change_at_once_is_told_by_its_service_and_decided_by_a_person() {
    for (keep, anna_wins) in [("theirs", false), ("mine", true)] {
        let mut stage = with_tree().await;
        let mut bert = stage.luci.login("bert", Role::Administrator).await;
        let own = format!("{SERVICE}/resources/0.1");
        let fields = [("a-name", "prog"), ("a-file", "/etc/init.d/other")];
        stage.done(&own, &own, &fields).await;
        stage.done(SERVICE, &format!("{SERVICE}/resources/1/remove"), &[("expected", "ip 10.0.0.8")]).await;
        // Meanwhile bert changes another resource of the same service, and a shared one, and is the first to apply.
        let data = format!("{SERVICE}/resources/0");
        let fields = [("a-name", "data"), ("a-mountpoint", "/srv/new"), ("a-device", "/dev/sdb")];
        assert_eq!(bert.submit(&data, &data, &fields).await.status, StatusCode::SEE_OTHER);
        let review = "/clusters/alpha/draft";
        let applied = bert.submit(review, &format!("{review}/apply"), &[]).await;
        assert_eq!(applied.status, StatusCode::SEE_OTHER, "{}", applied.text());

        let page = stage.browser.get(review).await;
        let conflict = between(&page.body, "data-test=\"conflict-service web\"", "</fieldset>");
        assert!(conflict.contains("bert") || page.text().contains("bert"), "who did it: {}", page.text());
        assert!(conflict.contains("/srv/new") && conflict.contains("/etc/init.d/other"), "both sides: {conflict}");
        let refused = stage.browser.submit(review, &format!("{review}/apply"), &[]).await;
        assert_eq!(refused.status, StatusCode::UNPROCESSABLE_ENTITY, "{}", refused.text());
        assert!(stage.conf("node1").contains("/srv/new"), "nothing is written over");
        let decided = [("subject-0", "service web"), ("keep-0", keep)];
        stage.done(review, &format!("{review}/move"), &decided).await;
        if anna_wins {
            stage.apply().await;
        }
        let conf = stage.conf("node1");
        assert_eq!(conf.contains("/etc/init.d/other"), anna_wins, "{conf}");
        assert_eq!(conf.contains("/srv/new"), !anna_wins, "{conf}");
    }
}

#[tokio::test]
async fn a_resource_of_a_draft_says_that_it_is_not_applied_and_a_running_service_without_resources_names_its_owner() {
    let mut stage = with_service().await;
    let request = format!("{SERVICE}/request");
    stage.done(SERVICE, &request, &[("verb", "enable"), ("node", "node2")]).await;
    let page = stage.browser.wait_for(SERVICE, "node2 has the service, but tells of no resources").await;
    assert!(!page.body.contains("Nobody runs the service"), "{}", page.text());
    let fields = [("parent", ""), ("kind", "script"), ("a-name", "one"), ("a-file", "/etc/init.d/one")];
    stage.done(&format!("{ADD}?parent=&kind=script"), ADD, &fields).await;
    let page = stage.browser.get(SERVICE).await;
    let state = between(&page.body, "id=\"state-script:one\">", "</li>");
    assert!(state.contains("not applied yet"), "{state}");
    stage.done(SERVICE, &request, &[("verb", "disable")]).await;
    stage.browser.wait_for(SERVICE, "Nobody runs the service").await;
    // It is still of the draft alone, whatever the service does.
    let page = stage.browser.get(SERVICE).await;
    assert!(between(&page.body, "id=\"state-script:one\">", "</li>").contains("not applied yet"));
}
