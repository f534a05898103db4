//! Who may enter which route: every route of the router, every role, by session and by token. The table is written by
//! hand from what each role is for; a route that is missing here, or that the router does not have, fails the test.

use std::collections::BTreeMap;

use crate::fake::{Fake, FakeNode, PASSWORD};
use crate::support::{Answer, Browser, TestApp};
use axum::http::{Method, StatusCode};
use luci::http::{Route, routes};
use luci::ids::ClusterId;
use luci::repo::access::NewApiToken;
use luci::repo::users::Role;
use luci::tokens;

/// Method, path, the least that is needed: `open`, `account`, a role on the cluster (`viewer`, `operator`,
/// `administrator`), or `luci` for an administrator of luci itself.
const TABLE: &str = include_str!("roles.txt");

/// The needs of all routes, by method and path.
fn table() -> BTreeMap<(String, String), String> {
    let mut found = BTreeMap::new();
    for line in TABLE.lines().filter(|line| !line.trim().is_empty() && !line.starts_with('#')) {
        let mut words = line.split_whitespace();
        let (needs, method, path) = (words.next(), words.next(), words.next());
        let (needs, method, path) = (needs.expect("needs"), method.expect("method"), path.expect("path"));
        let before = found.insert((method.to_owned(), path.to_owned()), needs.to_owned());
        assert!(before.is_none(), "{method} {path} stands twice in the table");
    }
    found
}

/// A cluster with a service, and a task of it.
async fn stage(luci: &TestApp, fake: &Fake) -> (Vec<FakeNode>, String) {
    let nodes = vec![fake.node("node1").await];
    let mut browser = luci.login("founder", Role::Administrator).await;
    let port = nodes[0].address.port().to_string();
    let fields = [
        ("name", "alpha"),
        ("node-0-name", "node1"),
        ("node-0-host", "127.0.0.1"),
        ("node-0-port", port.as_str()),
        ("node-0-secret", PASSWORD),
    ];
    let answer = browser.submit("/create-cluster", "/create-cluster", &fields).await;
    let task = answer.location.expect("task");
    browser.wait_for(&task, "confirm-pairing").await;
    (nodes, task.trim_start_matches("/tasks/").to_owned())
}

/// An address for a route.
fn filled(route: &Route, task: &str) -> String {
    let values = [
        ("{*path}", "luci.css"),
        ("{cluster}", "alpha"),
        ("{task}", task),
        ("{node}", "node1"),
        ("{order}", "fence"),
        // None that exists: behind the door nothing is to be done.
        ("{action}", "none"),
        ("{service}", "service:web"),
        ("{place}", "0"),
        ("{name}", "nobody"),
        ("{kind}", "ip"),
        ("{version}", "1"),
        ("{session}", "1"),
        ("{token}", "1"),
        ("{request}", "1"),
        ("{domain}", "east"),
        ("{device}", "apc"),
        ("{draft}", "1"),
    ];
    let path = values.iter().fold(route.path.to_owned(), |path, (from, to)| path.replace(from, to));
    assert!(!path.contains('{'), "the test does not know a part of {}", route.path);
    path
}

/// What the door said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Said {
    /// Let in; whatever the handler then made of an empty form.
    In,
    /// Who are you?
    Login,
    /// Not with this role, or: there is no such thing for you.
    Refused,
}

/// What an answer means. A handler that was entered also answers 403 to a form without its token, and 404 when the node
/// or service does not exist: these are told apart by their words.
fn said(answer: &Answer) -> Said {
    let text = answer.text();
    let to_login = answer.location.as_deref().is_some_and(|to| to == "/login" || to.starts_with("/login?next="));
    if answer.status == StatusCode::UNAUTHORIZED || (answer.status == StatusCode::SEE_OTHER && to_login) {
        return Said::Login;
    }
    let refused = answer.status == StatusCode::FORBIDDEN && text.contains("this needs the role");
    let unseen = answer.status == StatusCode::NOT_FOUND
        && (text.contains("there is no cluster named alpha") || text.contains("there is no task named"));
    if refused || unseen { Said::Refused } else { Said::In }
}

/// Somebody who asks.
struct Person {
    name: &'static str,
    /// The role on the cluster.
    role: Option<Role>,
    /// The role on luci itself.
    everywhere: Option<Role>,
    browser: Browser,
    token: Option<String>,
}

impl Person {
    /// What the door must say.
    fn expected(&self, needs: &str, api: bool) -> Said {
        let known = !self.browser.is_stranger() || (api && self.token.is_some());
        let least = match needs {
            "open" => return Said::In,
            _ if !known => return Said::Login,
            "account" => return Said::In,
            "luci" => return if self.everywhere == Some(Role::Administrator) { Said::In } else { Said::Refused },
            role => Role::parse(role).unwrap_or_else(|| panic!("{needs} is not a role")),
        };
        if self.role >= Some(least) { Said::In } else { Said::Refused }
    }

    async fn ask(&mut self, method: &Method, path: &str) -> Answer {
        match (&self.token, method) {
            (Some(token), _) => {
                let token = token.clone();
                self.browser.head_with_token(method.as_str(), path, &token).await
            }
            (None, &Method::GET) => self.browser.head(path).await,
            (None, _) => self.browser.send_empty(method.as_str(), path).await,
        }
    }
}

async fn person(luci: &TestApp, name: &'static str, everywhere: Option<Role>, on_alpha: Option<Role>) -> Person {
    let browser = luci.login_with(name, everywhere).await;
    let user = luci.app.account(name).await.expect("account");
    let alpha = luci.app.cluster("alpha").await.expect("alpha").id;
    let grants: BTreeMap<ClusterId, Role> = on_alpha.map(|role| (alpha, role)).into_iter().collect();
    luci.app.repo.set_roles(user.id, everywhere, &grants).await.expect("roles");
    Person { name, role: everywhere.max(on_alpha), everywhere, browser, token: None }
}

/// A token of the founder, who may everything.
async fn token(luci: &TestApp, name: &'static str, role: Role, cluster: Option<ClusterId>) -> Person {
    let founder = luci.app.account("founder").await.expect("founder");
    let alpha = luci.app.cluster("alpha").await.expect("alpha").id;
    let (secret, user) = (tokens::random(), founder.id);
    let new = NewApiToken { token_hash: &tokens::hash(&secret), user, name, role, cluster };
    assert!(luci.app.repo.add_api_token(new).await.expect("token"));
    Person {
        name,
        role: cluster.is_none_or(|cluster| cluster == alpha).then_some(role),
        everywhere: cluster.is_none().then_some(role),
        browser: luci.browser(),
        token: Some(secret),
    }
}

#[test]
fn every_route_stands_in_the_table_once() {
    let table = table();
    let mut missing = Vec::new();
    let mut known = Vec::new();
    for route in routes() {
        let key = (route.method.to_string(), route.path.to_owned());
        if !table.contains_key(&key) {
            missing.push(format!("{} {}", key.0, key.1));
        }
        known.push(key);
    }
    assert!(missing.is_empty(), "routes without a line in roles.txt:\n{}", missing.join("\n"));
    let gone: Vec<_> = table.keys().filter(|key| !known.contains(key)).collect();
    assert!(gone.is_empty(), "lines of roles.txt without a route: {gone:?}");
}

#[tokio::test]
async fn every_role_enters_what_is_its_own_and_nothing_else() {
    let fake = Fake::new();
    let luci = TestApp::new().await;
    let (_nodes, task) = stage(&luci, &fake).await;
    let alpha = luci.app.cluster("alpha").await.expect("alpha").id;
    let beta = luci.app.repo.add_cluster("beta", luci::repo::clusters::ClusterState::Managed).await;
    let beta = beta.expect("database").expect("beta");
    let mut people = vec![
        Person { name: "a stranger", role: None, everywhere: None, browser: luci.browser(), token: None },
        person(&luci, "without-a-role", None, None).await,
        person(&luci, "viewer-of-alpha", None, Some(Role::Viewer)).await,
        person(&luci, "operator-of-alpha", None, Some(Role::Operator)).await,
        person(&luci, "administrator-of-alpha", None, Some(Role::Administrator)).await,
        person(&luci, "viewer", Some(Role::Viewer), None).await,
        person(&luci, "operator", Some(Role::Operator), None).await,
        person(&luci, "administrator", Some(Role::Administrator), None).await,
        token(&luci, "viewing token", Role::Viewer, None).await,
        token(&luci, "operating token of alpha", Role::Operator, Some(alpha)).await,
        token(&luci, "administrating token of beta", Role::Administrator, Some(beta)).await,
        token(&luci, "administrating token", Role::Administrator, None).await,
    ];
    let table = table();
    let mut wrong = Vec::new();
    let mut asked = 0;
    for route in routes() {
        let needs = &table[&(route.method.to_string(), route.path.to_owned())];
        let api = route.path.starts_with("/api/");
        for person in &mut people {
            // Forms are sent without their token and bodies empty, so that nothing is carried out; the door is before.
            let answer = person.ask(&route.method, &filled(&route, &task)).await;
            let (said, expected) = (said(&answer), person.expected(needs, api));
            asked += 1;
            if said != expected {
                let name = person.name;
                wrong.push(format!(
                    "{} {}: {name}: {said:?} instead of {expected:?} ({})",
                    route.method, route.path, answer.status
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "{} of {asked}:\n{}", wrong.len(), wrong.join("\n"));
    assert!(asked >= 12 * 80, "{asked}");
}

#[tokio::test]
async fn an_open_page_stops_seeing_when_the_role_is_taken_away() {
    use futures_util::StreamExt as _;
    let fake = Fake::new();
    let luci = TestApp::new().await;
    let _stage = stage(&luci, &fake).await;
    let person = person(&luci, "viewer", None, Some(Role::Viewer)).await;
    let response = person.browser.stream("/clusters/alpha/events-stream?panels=head").await;
    assert_eq!(response.status(), StatusCode::OK);
    let mut parts = response.into_body().into_data_stream();
    let first = tokio::time::timeout(crate::support::PATIENCE, parts.next()).await.expect("in time");
    assert!(first.is_some(), "the page is pushed");
    let user = luci.app.account("viewer").await.expect("account");
    luci.app.repo.set_roles(user.id, None, &BTreeMap::new()).await.expect("roles");
    luci.app.watchers.touch(None);
    let ended = async { while parts.next().await.is_some() {} };
    tokio::time::timeout(crate::support::PATIENCE, ended).await.expect("the stream ends");
}

#[tokio::test]
async fn a_revoked_session_or_token_is_over_at_once_and_the_audit_trail_stays() {
    let luci = TestApp::new().await;
    let mut admin = luci.login("admin", Role::Administrator).await;
    let mut other = luci.login("other", Role::Viewer).await;
    let answer =
        admin.submit("/account", "/account/tokens", &[("token-name", "backup"), ("token-role", "viewer")]).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
    let secret = answer.body.split_once("id=\"token-secret\">").expect("shown").1;
    let secret = secret.split('<').next().expect("end").to_owned();
    assert!(!admin.get("/account").await.body.contains(&secret), "shown once");
    let mut script = luci.browser();
    assert_eq!(script.get_with_token("/api/v1/clusters", &secret).await.status, StatusCode::OK);
    assert_eq!(script.get_with_token("/clusters", &secret).await.status, StatusCode::SEE_OTHER, "not for pages");

    let page = admin.get("/users/other").await;
    let end = page.body.split_once("action=\"/users/other/sessions/").expect("session").1;
    let end = format!("/users/other/sessions/{}", end.split('"').next().expect("end"));
    assert_eq!(admin.submit("/users/other", &end, &[]).await.status, StatusCode::SEE_OTHER);
    assert_eq!(other.get("/clusters").await.status, StatusCode::SEE_OTHER, "logged out");

    let page = admin.get("/account").await;
    let revoke = page.body.split_once("action=\"/account/tokens/").expect("token").1;
    let revoke = format!("/account/tokens/{}", revoke.split('"').next().expect("end"));
    assert_eq!(admin.submit("/account", &revoke, &[]).await.status, StatusCode::SEE_OTHER);
    assert_eq!(script.get_with_token("/api/v1/clusters", &secret).await.status, StatusCode::UNAUTHORIZED);

    let text = admin.get("/audit").await.text();
    for action in ["add-token", "end-session", "revoke-token"] {
        assert!(text.contains(action), "{action}: {text}");
    }
    for statement in ["UPDATE audit SET result = 'other'", "DELETE FROM audit"] {
        let refused = luci.execute(statement).await.expect_err(statement);
        assert!(refused.contains("the audit trail is kept"), "{refused}");
    }
}

#[tokio::test]
async fn a_session_is_not_taken_over_by_another_browser_and_nobody_loses_their_own_rights() {
    let luci = TestApp::new().await;
    let mut admin = luci.login("admin", Role::Administrator).await;
    assert_eq!(admin.get_as("/clusters", "Another/1.0").await.status, StatusCode::SEE_OTHER);
    assert_eq!(admin.get("/clusters").await.status, StatusCode::OK);
    let answer = admin.submit("/users/admin", "/users/admin/roles", &[("everywhere", "")]).await;
    assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY, "{}", answer.text());
    let answer = admin.submit("/users", "/users/admin/remove", &[]).await;
    assert_eq!(answer.status, StatusCode::CONFLICT);
    assert_eq!(admin.get("/users").await.status, StatusCode::OK);
}

#[tokio::test]
async fn preferences_change_the_pages_of_their_owner() {
    let luci = TestApp::new().await;
    let mut browser = luci.login("admin", Role::Administrator).await;
    assert!(browser.get("/clusters").await.body.contains("data-theme=\"auto\""));
    let fields = [("theme", "dark"), ("lines", "10")];
    assert_eq!(browser.submit("/account", "/account/preferences", &fields).await.status, StatusCode::SEE_OTHER);
    assert!(browser.get("/clusters").await.body.contains("data-theme=\"dark\""));
    let answer = browser.submit("/account", "/account/preferences", &[("theme", "dark"), ("lines", "9999")]).await;
    assert!(answer.text().contains("choose between 10 and 500 lines"), "{}", answer.text());
    for number in 0..11 {
        let name = format!("user{number}");
        let fields = [("name", name.as_str()), ("password", "correct horse"), ("everywhere", "")];
        assert_eq!(browser.submit("/users", "/users", &fields).await.status, StatusCode::SEE_OTHER);
    }
    let page = browser.get("/audit").await;
    assert_eq!(page.body.matches("<td data-label=\"Who\">").count(), 10);
    assert!(page.body.contains("Older entries"));
}
