//! Proving who one is: passwords, the second factor, PAM; what is slowed down, what ends, and that reading changes nothing. PAM is the
//! machine's own, with service files that the test makes under names of its own (root).

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::support::{Answer, Browser, TestApp};
use axum::http::{Method, StatusCode};
use luci::app::auth;
use luci::http::routes;
use luci::repo::clusters::ClusterState;
use luci::repo::confs::{Origin, StoredConf};
use luci::repo::users::Role;
use shared::ids::ConfVersion;
use sqlx::Connection as _;
use tempfile::TempDir;
use totp_rs::{Builder, Secret};

const PASSWORD: &str = "correct horse";

/// The code that an authenticator shows now, or so many steps of 30 s later. Later ones are good for a test: a step that begins
/// meanwhile makes them younger, never too old.
fn code(secret: &str, steps_later: u64) -> String {
    let secret = Secret::try_from_base32(secret.replace(' ', "")).expect("base32");
    let totp = Builder::new().with_secret(secret).build().expect("a secret");
    let now_s = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs();
    totp.generate(now_s + 30 * steps_later).to_string()
}

fn between<'a>(answer: &'a Answer, start: &str) -> &'a str {
    let after = answer.body.split_once(start).unwrap_or_else(|| panic!("no {start}: {}", answer.text())).1;
    after.split('<').next().expect("an end")
}

/// Switches the second factor on; the secret and the recovery codes.
async fn enrol(browser: &mut Browser) -> (String, Vec<String>) {
    let page = "/account/second-factor";
    let begun = browser.submit(page, "/account/second-factor/begin", &[("factor-password", PASSWORD)]).await;
    assert_eq!(begun.status, StatusCode::OK, "{}", begun.text());
    let secret = between(&begun, "id=\"factor-secret\">").to_owned();
    let token = begun.hidden("csrf").expect("form token");
    let fields = [("csrf", token.as_str()), ("code", &code(&secret, 0))];
    let done = browser.post("/account/second-factor/confirm", &fields).await;
    assert_eq!(done.status, StatusCode::OK, "{}", done.text());
    let codes = between(&done, "id=\"recovery-codes\">").split_whitespace().map(str::to_owned).collect();
    (secret, codes)
}

/// Gives name and password in a browser in which nobody is logged in.
async fn give_password(luci: &TestApp, name: &str, password: &str) -> (Browser, Answer) {
    let mut browser = luci.browser();
    let token = browser.get("/login").await.hidden("csrf").expect("token");
    let answer = browser.post("/login", &[("csrf", &token), ("name", name), ("password", password)]).await;
    (browser, answer)
}

/// Gives the code on the page that asks for it.
async fn give_code(browser: &mut Browser, page: &Answer, code: &str) -> Answer {
    let token = page.hidden("csrf").expect("token");
    browser.post("/login/code", &[("csrf", &token), ("code", code)]).await
}

#[tokio::test]
async fn with_a_second_factor_the_password_alone_opens_nothing_and_no_code_works_twice() {
    let luci = TestApp::new().await;
    let mut browser = luci.login("alice", Role::Viewer).await;
    let mut elsewhere = luci.login_again("alice").await;
    let page = "/account/second-factor";
    let wrong = browser.submit(page, "/account/second-factor/begin", &[("factor-password", "wrong")]).await;
    assert_eq!(wrong.status, StatusCode::UNPROCESSABLE_ENTITY, "a session alone is not enough");
    let (secret, codes) = enrol(&mut browser).await;
    assert_eq!(codes.len(), 10);
    let mut later = luci.browser_with(&browser);
    let token = later.get(page).await.hidden("csrf").expect("token");
    let late = later.post("/account/second-factor/confirm", &[("csrf", &token), ("code", "000000")]).await;
    assert!(!late.body.contains(&secret), "a secret that is in use is not shown again: {}", late.text());
    assert_eq!(browser.get("/clusters").await.status, StatusCode::OK, "this session goes on");
    assert_eq!(elsewhere.get("/clusters").await.status, StatusCode::SEE_OTHER, "the others have ended");
    assert!(!browser.get(page).await.body.contains(&secret), "shown once");

    let (mut half, asked) = give_password(&luci, "alice", PASSWORD).await;
    assert_eq!(asked.status, StatusCode::OK);
    assert!(asked.body.contains("action=\"/login/code\""));
    assert!(half.is_stranger());
    assert_eq!(half.get("/clusters").await.status, StatusCode::SEE_OTHER, "half a login is none");
    let replayed = give_code(&mut half, &asked, &code(&secret, 0)).await;
    // The enrolment used this step up, unless the next one has begun meanwhile.
    assert!(replayed.status == StatusCode::UNPROCESSABLE_ENTITY || !half.is_stranger(), "{}", replayed.text());
    let next = code(&secret, 1);
    let (mut first, asked) = give_password(&luci, "alice", PASSWORD).await;
    let entered = give_code(&mut first, &asked, &next).await;
    assert_eq!(entered.status, StatusCode::SEE_OTHER, "{}", entered.text());
    assert_eq!(first.get("/clusters").await.status, StatusCode::OK);
    let (mut second, asked) = give_password(&luci, "alice", PASSWORD).await;
    let again = give_code(&mut second, &asked, &next).await;
    assert_eq!(again.status, StatusCode::UNPROCESSABLE_ENTITY, "a code works once");
    assert!(again.text().contains("was used already"), "{}", again.text());
}

#[tokio::test]
async fn a_recovery_code_works_once_and_is_stored_as_a_hash() {
    let luci = TestApp::new().await;
    let mut browser = luci.login("alice", Role::Administrator).await;
    let (_, codes) = enrol(&mut browser).await;
    let (mut first, asked) = give_password(&luci, "alice", PASSWORD).await;
    let typed = codes[0].to_lowercase().replace('-', " ");
    assert_eq!(give_code(&mut first, &asked, &typed).await.status, StatusCode::SEE_OTHER);
    let (mut second, asked) = give_password(&luci, "alice", PASSWORD).await;
    assert_eq!(give_code(&mut second, &asked, &codes[0]).await.status, StatusCode::UNPROCESSABLE_ENTITY);
    let page = browser.get("/account/second-factor").await;
    assert!(page.text().contains("Recovery codes left: 9"), "{}", page.text());
    let trail = browser.get("/audit").await.text();
    assert!(trail.contains("add-second-factor") && trail.contains("use-recovery-code"), "{trail}");
    let saved = luci.dir.path().join("copy.db");
    luci.app.repo.copy_to(&saved).await.expect("copy");
    let bytes = fs::read(saved).expect("copy");
    for code in &codes {
        assert!(!bytes.windows(code.len()).any(|window| window == code.as_bytes()), "{code} is stored");
    }
}

#[tokio::test]
async fn a_half_login_ends_after_a_few_wrong_codes_and_belongs_to_its_browser() {
    let luci = TestApp::new().await;
    let mut browser = luci.login("alice", Role::Viewer).await;
    let (_, codes) = enrol(&mut browser).await;
    let (mut half, asked) = give_password(&luci, "alice", PASSWORD).await;
    let token = asked.hidden("csrf").expect("token");
    let stolen = half.post_as("/login/code", &[("csrf", &token), ("code", &codes[0])], "Another/1.0").await;
    assert_eq!(stolen.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(stolen.text().contains("begin again"), "{}", stolen.text());
    let mut last = give_code(&mut half, &asked, "000000 wrong").await;
    for _ in 0..3 {
        last = give_code(&mut half, &asked, "000000 wrong").await;
    }
    assert!(last.text().contains("this code is wrong"), "{}", last.text());
    let over = give_code(&mut half, &asked, &codes[0]).await;
    assert!(over.text().contains("begin again"), "{}", over.text());
    assert!(half.is_stranger());
}

#[tokio::test]
async fn guessing_codes_is_slowed_down_however_often_the_login_begins_anew() {
    let luci = TestApp::new().await;
    let mut browser = luci.login("alice", Role::Viewer).await;
    enrol(&mut browser).await;
    let mut last = StatusCode::OK;
    for _ in 0..3 {
        let (mut half, asked) = give_password(&luci, "alice", PASSWORD).await;
        for _ in 0..4 {
            last = give_code(&mut half, &asked, "000000 wrong").await.status;
        }
    }
    assert_eq!(last, StatusCode::TOO_MANY_REQUESTS);
}

#[tokio::test]
async fn an_administrator_takes_a_lost_factor_away_and_its_owner_needs_password_and_code_for_it() {
    let luci = TestApp::new().await;
    let mut admin = luci.login("admin", Role::Administrator).await;
    let mut alice = luci.login("alice", Role::Viewer).await;
    let (_, codes) = enrol(&mut alice).await;
    let own = "/account/second-factor";
    let without = [("factor-password", PASSWORD), ("code", "123456")];
    let refused = alice.submit(own, "/account/second-factor/remove", &without).await;
    assert_eq!(refused.status, StatusCode::UNPROCESSABLE_ENTITY);
    let with = [("factor-password", PASSWORD), ("code", codes[1].as_str())];
    let removed = alice.submit(own, "/account/second-factor/remove", &with).await;
    assert_eq!(removed.status, StatusCode::SEE_OTHER, "{}", removed.text());
    enrol(&mut alice).await;
    let answer = admin.submit("/users/alice", "/users/alice/second-factor/remove", &[]).await;
    assert_eq!(answer.status, StatusCode::SEE_OTHER, "{}", answer.text());
    assert_eq!(alice.get("/clusters").await.status, StatusCode::SEE_OTHER, "her sessions have ended");
    luci.login_again("alice").await;
    assert!(admin.get("/audit").await.text().contains("remove-second-factor"));
}

#[tokio::test]
async fn tokens_go_on_with_a_second_factor_and_are_made_only_in_a_session_that_passed_both() {
    let luci = TestApp::new().await;
    let mut browser = luci.login("alice", Role::Administrator).await;
    let fields = [("token-name", "script"), ("token-role", "administrator")];
    let made = browser.submit("/account", "/account/tokens", &fields).await;
    let secret = between(&made, "id=\"token-secret\">").to_owned();
    enrol(&mut browser).await;
    let mut script = luci.browser();
    assert_eq!(script.get_with_token("/api/v1/clusters", &secret).await.status, StatusCode::OK);
    let body = serde_json::json!({"name": "another", "role": "viewer"});
    let refused = script.json("POST", "/api/v1/account/tokens", &secret, &[], &body).await;
    assert_eq!(refused.status, StatusCode::UNPROCESSABLE_ENTITY, "{}", refused.body);
    assert!(refused.body.contains("has a second factor"), "{}", refused.body);
    let fields = [("token-name", "another"), ("token-role", "viewer")];
    assert_eq!(browser.submit("/account", "/account/tokens", &fields).await.status, StatusCode::OK);
}

#[tokio::test]
async fn the_page_with_the_secret_needs_nothing_that_the_policy_forbids() {
    let luci = TestApp::new().await;
    let mut browser = luci.login("alice", Role::Viewer).await;
    let begun = browser
        .submit("/account/second-factor", "/account/second-factor/begin", &[("factor-password", PASSWORD)])
        .await;
    assert!(begun.body.contains("<svg class=\"qr\""), "{}", begun.body);
    for forbidden in ["style=\"", "<style", "<script>", "javascript:", "data:image", "onclick"] {
        assert!(!begun.body.contains(forbidden), "{forbidden}");
    }
    let policy = begun.headers["content-security-policy"].to_str().expect("text");
    assert!(policy.contains("default-src 'none'") && !policy.contains("unsafe"), "{policy}");
    assert_eq!(begun.headers["cache-control"], "no-store");
}

#[tokio::test]
async fn a_password_hashed_more_weakly_is_hashed_anew_at_the_next_login() {
    let luci = TestApp::new().await;
    luci.login("alice", Role::Viewer).await;
    // argon2id of "correct horse" with one pass and 8 KiB, as no release of luci makes it.
    let weak = weak_hash();
    let user = luci.app.account("alice").await.expect("account");
    luci.app.repo.rehash_password(user.id, &weak).await.expect("stored");
    luci.login_again("alice").await;
    let now = luci.app.account("alice").await.expect("account").password_hash;
    assert_ne!(now, weak);
    let fresh = auth::hash_password(PASSWORD.into()).await.expect("hash");
    let scheme = |hash: &str| hash.split('$').take(4).collect::<Vec<_>>().join("$");
    assert_eq!(scheme(&now), scheme(&fresh));
}

fn weak_hash() -> String {
    use argon2::password_hash::PasswordHasher as _;
    let parameters = argon2::Params::new(8, 1, 1, None).expect("parameters");
    let weak = argon2::Argon2::new(argon2::Algorithm::Argon2id, argon2::Version::V0x13, parameters);
    weak.hash_password(PASSWORD.as_bytes()).expect("hash").to_string()
}

#[tokio::test]
async fn guessing_many_names_from_one_address_is_slowed_down_and_the_right_password_waits_too() {
    let luci = TestApp::new().await;
    luci.login("alice", Role::Viewer).await;
    // Longer than any password, hence refused without the work of hashing: guesses must come faster than places are given back.
    let wrong = "x".repeat(2000);
    let mut refused = false;
    for round in 0..20 {
        let mut last = StatusCode::OK;
        for number in 0..40 {
            last = give_password(&luci, &format!("nobody{round}-{number}"), &wrong).await.1.status;
            if last == StatusCode::TOO_MANY_REQUESTS {
                break;
            }
        }
        assert_eq!(last, StatusCode::TOO_MANY_REQUESTS);
        // A place may have been given back just now; then it is guessed again.
        refused = give_password(&luci, "alice", PASSWORD).await.1.status == StatusCode::TOO_MANY_REQUESTS;
        if refused {
            break;
        }
    }
    assert!(refused, "the right password never waited");
}

#[tokio::test]
async fn a_session_is_over_when_it_was_not_used_for_long_or_is_old() {
    let luci = TestApp::new().await;
    for statement in [
        "UPDATE sessions SET seen_at = seen_at - 13 * 3600 * 1000",
        "UPDATE sessions SET created_at = created_at - 8 * 24 * 3600 * 1000",
    ] {
        let name = if statement.contains("seen_at") { "idle" } else { "old" };
        let mut browser = luci.login(name, Role::Viewer).await;
        assert_eq!(browser.get("/clusters").await.status, StatusCode::OK);
        luci.execute(statement).await.expect("aged");
        assert_eq!(browser.get("/clusters").await.status, StatusCode::SEE_OTHER, "{name}");
    }
}

#[tokio::test]
async fn no_page_and_no_answer_of_the_api_changes_anything_by_being_read() {
    let luci = TestApp::new().await;
    let mut admin = luci.login("admin", Role::Administrator).await;
    // Nobody watches this cluster, so nothing but the requests below could write.
    let id = luci.app.repo.add_cluster("alpha", ClusterState::Managed).await.expect("added").expect("new");
    let text = include_str!("../../../tests/fixtures/conf/three-node-nested.conf").to_owned();
    let conf = StoredConf {
        version: ConfVersion(1),
        digest: shared::conf::digest(&text),
        text,
        author: None,
        message: String::new(),
        origin: Origin::Node,
        at: 5,
        accepted: true,
    };
    luci.app.repo.store_conf(id, &conf).await.expect("stored");
    let path = luci.dir.path().join("luci.db");
    let mut witness = sqlx::SqliteConnection::connect(&format!("sqlite://{}", path.display())).await.expect("opened");
    let mut read = 0;
    for route in routes().into_iter().filter(|route| route.method == Method::GET) {
        let path = filled(route.path);
        let before = writes(&mut witness).await;
        admin.head(&path).await;
        // Who took a secret away stands in the audit; nothing else is written.
        let audited = i64::from(path.ends_with("/fence-key/file"));
        assert_eq!(writes(&mut witness).await, before + audited, "GET {path} has written");
        read += 1;
    }
    assert!(read > 70, "{read}");
}

/// Changes whenever another connection has written.
async fn writes(witness: &mut sqlx::SqliteConnection) -> i64 {
    let (version,): (i64,) = sqlx::query_as("PRAGMA data_version").fetch_one(witness).await.expect("version");
    version
}

fn filled(route: &str) -> String {
    let mut path = route.replace("{cluster}", "alpha").replace("{*path}", "luci.css").replace("{version}", "1");
    while let Some((before, rest)) = path.clone().split_once('{') {
        let (_, after) = rest.split_once('}').expect("a closed part");
        path = format!("{before}1{after}");
    }
    path
}

/// A service of PAM in which a script decides: it gets the name in `PAM_USER` and the password on standard input. Gone when dropped.
struct Service {
    name: String,
    path: PathBuf,
    _folder: TempDir,
}

impl Service {
    fn new(name: &str, script: &str) -> Self {
        let folder = tempfile::tempdir().expect("folder");
        let decide = folder.path().join("decide");
        fs::write(&decide, format!("#!/bin/sh\nread -r password\n{script}\n")).expect("script");
        fs::set_permissions(&decide, fs::Permissions::from_mode(0o755)).expect("executable");
        let name = format!("luci-test-{}-{name}", std::process::id());
        let path = PathBuf::from("/etc/pam.d").join(&name);
        // As Debian's own stacks do it: the next line refuses, and is jumped over when the script agrees.
        let stack = format!(
            "auth [success=1 default=ignore] pam_exec.so quiet expose_authtok {}\nauth requisite pam_deny.so\n\
             auth required pam_permit.so\naccount required pam_permit.so\n",
            decide.display()
        );
        fs::write(&path, stack).expect("root may write a service of PAM");
        Self { name, path, _folder: folder }
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

#[tokio::test]
async fn an_account_of_the_system_logs_in_by_pam_with_the_roles_that_luci_gives_it() {
    let service = Service::new("decides", "[ \"$PAM_USER\" = carol ] && [ \"$password\" = 'of the system' ]");
    let mut luci = TestApp::new().await;
    let mut admin = luci.login("admin", Role::Administrator).await;
    let fields = [("name", "carol"), ("login", "pam"), ("password", ""), ("everywhere", "operator")];
    let off = admin.submit("/users", "/users", &fields).await;
    assert!(off.text().contains("LUCI_PAM_SERVICE switches it on"), "off unless it is asked for: {}", off.text());

    luci.log_in_by_pam(&service.name);
    let mut admin = luci.login_again("admin").await;
    let added = admin.submit("/users", "/users", &fields).await;
    assert_eq!(added.status, StatusCode::SEE_OTHER, "{}", added.text());
    let (mut carol, answer) = give_password(&luci, "carol", "of the system").await;
    assert_eq!(answer.status, StatusCode::SEE_OTHER, "{}", answer.text());
    assert_eq!(carol.get("/clusters").await.status, StatusCode::OK);
    assert_eq!(carol.get("/users").await.status, StatusCode::FORBIDDEN, "an operator");
    let (_, answer) = give_password(&luci, "carol", "wrong").await;
    assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY);
    // A right password of the system is nothing without an account of luci.
    let (_, answer) = give_password(&luci, "mallory", "of the system").await;
    assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY);
    // And an account of luci's own does not log in by PAM.
    let (_, answer) = give_password(&luci, "admin", "of the system").await;
    assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY);
    let page = carol.get("/account").await;
    assert!(page.text().contains("You log in by PAM") && !page.body.contains("id=\"old\""), "{}", page.text());
    let (_, answer) = give_password(&luci, "carol", "").await;
    assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY, "an empty password opens nothing");
}

#[tokio::test]
async fn a_pam_that_hangs_delays_nobody_else() {
    let folder = tempfile::tempdir().expect("folder");
    let (gate, reached) = (folder.path().join("gate"), folder.path().join("reached"));
    for pipe in [&gate, &reached] {
        assert!(std::process::Command::new("mkfifo").arg(pipe).status().expect("mkfifo").success());
    }
    // Pipes wait for their other end.
    let script = format!("echo > {}; read -r line < {}; exit 1", reached.display(), gate.display());
    let service = Service::new("hangs", &script);
    let mut luci = TestApp::new().await;
    luci.log_in_by_pam(&service.name);
    assert!(luci.app.repo.add_pam_user("carol", Some(Role::Viewer)).await.expect("added"));
    let mut browser = luci.browser();
    let token = browser.get("/login").await.hidden("csrf").expect("token");
    let waiting = tokio::spawn(async move {
        browser.post("/login", &[("csrf", &token), ("name", "carol"), ("password", "any")]).await
    });
    tokio::task::spawn_blocking(move || fs::read(reached)).await.expect("ended").expect("PAM is at it");
    let mut admin = luci.login("admin", Role::Administrator).await;
    assert_eq!(admin.get("/clusters").await.status, StatusCode::OK);
    assert!(!waiting.is_finished());
    tokio::task::spawn_blocking(move || fs::write(gate, "\n")).await.expect("ended").expect("written");
    let answer = waiting.await.expect("ended");
    assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY, "{}", answer.text());
}

/// Whether an address leads to the page of the second factor.
fn leads_to_factor(answer: &Answer) -> bool {
    answer.status == StatusCode::SEE_OTHER && answer.location.as_deref() == Some("/account/second-factor")
}

#[tokio::test]
async fn whose_role_demands_a_second_factor_does_nothing_else_before_it_is_on() {
    let luci = TestApp::new().await;
    let mut admin = luci.login("admin", Role::Administrator).await;
    let demand = [("from", "operator")];
    let refused = admin.submit("/users", "/users-second-factor", &demand).await;
    assert_eq!(refused.status, StatusCode::UNPROCESSABLE_ENTITY, "nobody demands what they have not tried");
    enrol(&mut admin).await;
    let cluster = luci.app.repo.add_cluster("alpha", ClusterState::Managed).await.expect("database").expect("alpha");
    let mut viewer = luci.login("vera", Role::Viewer).await;
    let mut operator = luci.login_with("oscar", None).await;
    let oscar = luci.app.repo.user_by_name("oscar").await.expect("database").expect("oscar").id;
    // On one cluster only, which counts as well.
    let roles = [(cluster, Role::Operator)].into();
    luci.app.repo.set_roles(oscar, None, &roles).await.expect("database");
    let fields = [("token-name", "nightly"), ("token-role", "operator"), ("token-cluster", "")];
    let made = operator.submit("/account", "/account/tokens", &fields).await;
    let token = between(&made, "id=\"token-secret\">").to_owned();
    let open = operator.stream("/events-stream?tab=clusters").await;

    let settled = admin.submit("/users", "/users-second-factor", &demand).await;
    assert_eq!(settled.status, StatusCode::SEE_OTHER, "{}", settled.text());
    let page = admin.get("/users").await;
    assert_eq!(page.body.matches("demanded, not on yet").count(), 1, "of oscar alone: {}", page.text());
    // What was open already ends, too.
    let rest = tokio::time::timeout(crate::support::PATIENCE, axum::body::to_bytes(open.into_body(), 1 << 20));
    rest.await.expect("the stream ends").expect("whole");
    for path in ["/clusters", "/clusters/alpha", "/account", "/audit"] {
        assert!(leads_to_factor(&operator.get(path).await), "{path}");
        assert_eq!(viewer.get(path).await.status, StatusCode::OK, "{path}: a viewer is not meant");
    }
    assert_eq!(operator.get("/api/v1/clusters").await.status, StatusCode::FORBIDDEN);
    assert_eq!(operator.get_with_token("/api/v1/clusters", &token).await.status, StatusCode::OK);
    let own = operator.get("/account/second-factor").await;
    assert!(own.body.contains("data-test=\"factor-demanded\"") && !own.body.contains("alpha"), "{}", own.text());
    enrol(&mut operator).await;
    assert_eq!(operator.get("/clusters/alpha").await.status, StatusCode::OK);
    assert!(!admin.get("/users").await.body.contains("demanded, not on yet"));
    assert!(admin.get("/audit").await.text().contains("demand-second-factor"));

    // And of nobody again.
    let lifted = admin.submit("/users", "/users-second-factor", &[("from", "")]).await;
    assert_eq!(lifted.status, StatusCode::SEE_OTHER, "{}", lifted.text());
    assert_eq!(luci.app.repo.factor_demanded_from().await.expect("database"), None);
}
