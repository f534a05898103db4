//! luci on SQLite and on PostgreSQL: every function of the room `repo` does the same on both, the schemas have the same tables and
//! columns, and a console moves from one to the other by backup and restore.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::path::{Path, PathBuf};

use crate::fake::{Fake, PASSWORD};
use crate::postgres::Postgres;
use crate::support::TestApp;
use axum::http::StatusCode;
use luci::backup;
use luci::ids::{ClusterId, NodeRow, UserId};
use luci::language::Language;
use luci::repo::Repo;
use luci::repo::access::NewApiToken;
use luci::repo::audit::{AuditFilter, NewAudit};
use luci::repo::clusters::{ClusterState, StoredStatus};
use luci::repo::confs::{Origin as ConfOrigin, StoredConf};
use luci::repo::drafts::{Step as DraftStep, StepContent};
use luci::repo::events::EventFilter;
use luci::repo::fencing::{ProofCard, ProofVerdict, Rung, RungResult, RungVerdict};
use luci::repo::nodes::NewNode;
use luci::repo::once::StoredAnswer;
use luci::repo::requests::{RequestState, StoredRequest};
use luci::repo::sessions::Origin;
use luci::repo::tasks::{StepKind, StepState, Task, TaskKind, TaskState};
use luci::repo::users::{Preferences, Role, Theme};
use luci::settings::Store;
use shared::agents::metadata::{AgentClass, parse};
use shared::api::{AgentSummary, DaemonState, NodeReport};
use shared::ids::{BootId, ConfVersion, NodeName, RequestId, ServiceName};
use shared::status::{Command, FactKind, Subject};

/// What was answered, call by call. Times are elided: they differ from run to run. Ids are counted as they come up: PostgreSQL leaves
/// one out where a row was refused.
#[derive(Default)]
struct Transcript {
    lines: Vec<String>,
    ids: BTreeMap<String, usize>,
}

impl Transcript {
    fn say(&mut self, call: &str, answer: impl Debug) {
        let text = format!("{call}: {answer:?}");
        let mut plain = String::new();
        let mut digits = String::new();
        for letter in text.chars().chain(['\n']) {
            if letter.is_ascii_digit() {
                digits.push(letter);
                continue;
            }
            let id = ["UserId(", "ClusterId(", "NodeRow(", "TokenId("].into_iter().find(|id| plain.ends_with(id));
            match id.filter(|_| !digits.is_empty()) {
                Some(id) => {
                    let next = self.ids.len();
                    let number = *self.ids.entry(format!("{id}{digits}")).or_insert(next);
                    plain.push_str(&number.to_string());
                }
                // Milliseconds since 1970 have thirteen.
                None => plain.push_str(if digits.len() == 13 { "TIME" } else { &digits }),
            }
            digits.clear();
            plain.push(letter);
        }
        self.lines.push(plain.trim_end().to_owned());
    }
}

/// `said!(transcript, repo.call(…))`: the call with what it answered.
macro_rules! said {
    ($transcript:ident, $repo:ident.$call:ident($($argument:expr),* $(,)?)) => {{
        let answer = $repo.$call($($argument),*).await.unwrap_or_else(|error| panic!("{}: {}", stringify!($call), shared::chain(&error)));
        $transcript.say(stringify!($call), &answer);
        answer
    }};
}

async fn accounts(repo: &Repo, out: &mut Transcript) -> UserId {
    said!(out, repo.check_empty());
    assert!(!said!(out, repo.has_users()));
    said!(out, repo.set_setup_link("link"));
    assert!(said!(out, repo.is_setup_link("link")));
    said!(out, repo.can_write());
    assert!(said!(out, repo.use_setup_link("link", "Admin", "hash")));
    assert!(!said!(out, repo.use_setup_link("link", "Other", "hash")));
    assert!(said!(out, repo.add_user("bob", "hash", None)));
    // Names differ by more than the case of their letters.
    assert!(!said!(out, repo.add_user("BOB", "hash", None)));
    assert!(said!(out, repo.add_pam_user("Carol", Some(Role::Viewer))));
    let bob = said!(out, repo.user_by_name("Bob")).expect("whatever the case").id;
    said!(out, repo.rehash_password(bob, "better"));
    let preferences = Preferences { theme: Theme::Dark, language: Some(Language::Traditional), lines: 20 };
    said!(out, repo.set_preferences(bob, &preferences));
    assert!(said!(out, repo.set_password("carol", "own")));
    said!(out, repo.user(bob));
    let names: Vec<String> = said!(out, repo.users()).into_iter().map(|user| user.name).collect();
    assert_eq!(names, ["Admin", "bob", "Carol"]);
    let hashes = ["one".to_owned(), "two".to_owned()];
    let from = Origin { address: "::1", browser: "Browser/1.0" };
    said!(out, repo.open_session("kept", bob, "csrf", from));
    said!(out, repo.open_session("other", bob, "csrf", from));
    said!(out, repo.set_factor(bob, "SECRET", 7, &hashes, Some("kept")));
    assert!(repo.factor(bob).await.expect("factor").is_some_and(|factor| factor.totp_secret == "SECRET"));
    assert!(said!(out, repo.users_with_factor()).contains(&bob));
    assert!(!said!(out, repo.use_step(bob, 7)), "used at the enrolment");
    assert!(said!(out, repo.use_step(bob, 8)));
    assert_eq!(said!(out, repo.use_recovery_code(bob, "one")), Some(1));
    assert_eq!(said!(out, repo.use_recovery_code(bob, "one")), None);
    said!(out, repo.recovery_codes_left(bob));
    for from in [None, Some(Role::Operator), Some(Role::Viewer), None, Some(Role::Administrator)] {
        said!(out, repo.demand_factor(from));
        assert_eq!(said!(out, repo.factor_demanded_from()), from);
    }
    said!(out, repo.session("other", None));
    said!(out, repo.session("kept", Some("Browser/1.0")));
    said!(out, repo.session("kept", Some("Other/1.0")));
    said!(out, repo.set_flash("kept", "said"));
    said!(out, repo.take_flash("kept"));
    said!(out, repo.take_flash("kept"));
    let sessions = repo.sessions_of(bob).await.expect("sessions");
    assert_eq!(sessions.len(), 1);
    assert!(said!(out, repo.revoke_session(bob, sessions[0].id)));
    assert!(said!(out, repo.remove_factor(bob)));
    for token in ["first", "second"] {
        said!(out, repo.open_session(token, bob, "csrf", from));
    }
    said!(out, repo.close_session("first"));
    said!(out, repo.end_sessions_of(bob));
    said!(out, repo.end_all_sessions());
    said!(out, repo.remove_user("CAROL"));
    bob
}

async fn rights(repo: &Repo, out: &mut Transcript, bob: UserId, cluster: ClusterId) {
    said!(out, repo.set_roles(bob, Some(Role::Viewer), &BTreeMap::from([(cluster, Role::Operator)])));
    said!(out, repo.grants_of(bob));
    said!(out, repo.grants());
    for (name, cluster) in [("backup", None), ("Backup", Some(cluster))] {
        let token = NewApiToken { token_hash: name, user: bob, name, role: Role::Viewer, cluster };
        assert!(said!(out, repo.add_api_token(token)));
    }
    let again = NewApiToken { token_hash: "third", user: bob, name: "backup", role: Role::Viewer, cluster: None };
    assert!(!said!(out, repo.add_api_token(again)), "the name is taken");
    let token = said!(out, repo.api_token("backup")).expect("token");
    said!(out, repo.api_token("backup"));
    said!(out, repo.api_tokens_of(bob));
    said!(out, repo.revoke_api_token(bob, token.id));
    said!(out, repo.begin_once(bob, "key", "fingerprint"));
    said!(out, repo.begin_once(bob, "key", "fingerprint"));
    said!(out, repo.begin_once(bob, "key", "other"));
    let answer = StoredAnswer { status: 201, kind: "json".into(), location: None, body: "{}".into() };
    said!(out, repo.end_once(bob, "key", &answer));
    said!(out, repo.begin_once(bob, "key", "fingerprint"));
    said!(out, repo.forget_once(bob, "key"));
    said!(out, repo.begin_once(bob, "key", "other"));
}

async fn trail(repo: &Repo, out: &mut Transcript) {
    for (user, cluster) in [("Admin", None), ("bob", Some("alpha")), ("BOB", Some("beta"))] {
        let entry = NewAudit { user, address: "::1", cluster, action: "act", object: "x", detail: "", result: "done" };
        said!(out, repo.add_audit(entry));
    }
    let count = |filter: AuditFilter| async move { repo.audit(&filter, 10).await.expect("audit").len() };
    assert_eq!(count(AuditFilter::default()).await, 3);
    assert_eq!(count(AuditFilter { user: Some("Bob".into()), ..AuditFilter::default() }).await, 2);
    assert_eq!(count(AuditFilter { cluster: Some("beta".into()), ..AuditFilter::default() }).await, 1);
    assert_eq!(count(AuditFilter { before: Some(2), ..AuditFilter::default() }).await, 1);
    assert_eq!(count(AuditFilter { visible: Some(vec![]), ..AuditFilter::default() }).await, 0);
    let some = Some(vec!["alpha".to_owned(), "gamma".to_owned()]);
    assert_eq!(count(AuditFilter { visible: some, ..AuditFilter::default() }).await, 1);
    said!(out, repo.audit(&AuditFilter::default(), 2));
}

fn report() -> NodeReport {
    let daemon = DaemonState { installed: true, running: true, enabled_at_boot: true, version: None };
    NodeReport {
        hostname: "node1".into(),
        boot_id: BootId("boot".into()),
        ricci_version: "0.1.0".into(),
        uptime_s: 1,
        corosync: daemon.clone(),
        rgmanager: daemon,
        conf: None,
        has_corosync_key: true,
        secrets_missing: Vec::new(),
        operation: None,
        watches: Vec::new(),
        fence_key: None,
    }
}

async fn clusters(repo: &Repo, out: &mut Transcript) -> (ClusterId, NodeRow) {
    for name in ["beta", "Zeta", "alpha"] {
        assert!(said!(out, repo.add_cluster(name, ClusterState::Creating)).is_some());
    }
    assert!(said!(out, repo.add_cluster("alpha", ClusterState::Creating)).is_none());
    let names: Vec<String> = said!(out, repo.clusters()).into_iter().map(|cluster| cluster.name).collect();
    assert_eq!(names, ["Zeta", "alpha", "beta"], "by their bytes");
    let cluster = said!(out, repo.cluster_by_name("alpha")).expect("cluster").id;
    said!(out, repo.set_cluster_state(cluster, ClusterState::Managed));
    said!(out, repo.cluster(cluster));
    said!(out, repo.stored_status(cluster));
    let status = Fake::new().status("node1");
    said!(out, repo.store_status(cluster, &StoredStatus { status, at: 5, from: "node1".into() }));
    assert!(repo.stored_status(cluster).await.expect("status").is_some());
    let new = NewNode { name: "node1".into(), host: "10.0.0.1".into(), port: 60_000 };
    let node = said!(out, repo.add_node(None, &new)).expect("node");
    said!(out, repo.set_node_cluster(node, cluster, &NodeName::from("node1".to_owned())));
    assert!(said!(out, repo.add_node(Some(cluster), &new)).is_none(), "it has one of this name");
    said!(out, repo.set_fingerprint(node, "print"));
    said!(out, repo.set_paired(node, 5));
    said!(out, repo.store_report(node, &report(), 6));
    said!(out, repo.node(node));
    said!(out, repo.store_silence(node, 7, "no answer"));
    said!(out, repo.store_silence(node, 8, "still none"));
    said!(out, repo.nodes_of(cluster));
    said!(out, repo.node_counts());
    said!(out, repo.move_node(node, "10.0.0.2", 11_111));
    said!(out, repo.node(node));
    (cluster, node)
}

async fn history(repo: &Repo, out: &mut Transcript, cluster: ClusterId, bob: UserId) {
    let conf = |version, accepted| StoredConf {
        version: ConfVersion(version),
        digest: format!("digest{version}").into(),
        text: "<cluster/>".into(),
        author: Some("bob".into()),
        message: "changed".into(),
        origin: ConfOrigin::Luci,
        at: 5,
        accepted,
    };
    for (version, accepted) in [(1, true), (2, false), (3, false)] {
        said!(out, repo.store_conf(cluster, &conf(version, accepted)));
    }
    // Known already, and accepted: it stays so.
    said!(out, repo.store_conf(cluster, &conf(1, false)));
    said!(out, repo.newest_conf(cluster));
    said!(out, repo.accept_conf(cluster, &"digest2".to_owned().into()));
    assert_eq!(said!(out, repo.newest_digest(cluster)).expect("digest").as_str(), "digest2");
    said!(out, repo.drop_unaccepted_conf(cluster, &"digest2".to_owned().into()));
    said!(out, repo.drop_unaccepted_conf(cluster, &"digest3".to_owned().into()));
    said!(out, repo.conf(cluster, ConfVersion(1)));
    said!(out, repo.conf_by_digest(cluster, &"digest3".to_owned().into()));
    assert_eq!(said!(out, repo.confs(cluster)).len(), 2);
    said!(out, repo.begin_draft(cluster, bob, ConfVersion(2)));
    said!(out, repo.begin_draft(cluster, bob, ConfVersion(3)));
    let content = StepContent::Text("<cluster/>".into());
    let steps = [DraftStep { message: "text".into(), subjects: vec!["cluster".into()], content }];
    said!(out, repo.set_draft(cluster, bob, ConfVersion(2), &steps));
    said!(out, repo.draft(cluster, bob));
    assert_eq!(said!(out, repo.drafted(cluster)).len(), 1);
    said!(out, repo.remove_draft(cluster, bob));
    let fake = Fake::new();
    let facts = fake.change(|world| {
        world.fact(Subject::Cluster, FactKind::NodeLeft, "one left");
        world.fact(Subject::Service(ServiceName::parse("web")), FactKind::ServiceStarted, "web started");
        world.facts.clone()
    });
    assert_eq!(said!(out, repo.store_facts(cluster, &facts)), 2);
    assert_eq!(said!(out, repo.store_facts(cluster, &facts)), 0, "told by another member");
    let only = EventFilter { subject: Some(("service", facts[1].subject_name())), ..EventFilter::default() };
    assert_eq!(said!(out, repo.events(cluster, &only, 10)).len(), 1);
    let problems = EventFilter { problems_only: true, ..EventFilter::default() };
    assert_eq!(said!(out, repo.events(cluster, &problems, 10)).len(), 0);
    assert_eq!(said!(out, repo.events(cluster, &EventFilter::default(), 1)).len(), 1);
    let kinds = EventFilter { kinds: vec!["fenced".into(), "node-left".into()], ..EventFilter::default() };
    assert_eq!(said!(out, repo.events(cluster, &kinds, 10)).len(), 1);
    let before = EventFilter { before: Some(1), ..EventFilter::default() };
    said!(out, repo.events(cluster, &before, 10));
}

/// Whom a fact is about.
trait SubjectName {
    fn subject_name(&self) -> String;
}

impl SubjectName for shared::status::Fact {
    fn subject_name(&self) -> String {
        match &self.subject {
            Subject::Cluster => String::new(),
            Subject::Node(name) => name.to_string(),
            Subject::Service(name) => name.to_string(),
        }
    }
}

async fn work(repo: &Repo, out: &mut Transcript, cluster: ClusterId, node: NodeRow) {
    let request = StoredRequest {
        id: RequestId("request".into()),
        cluster,
        command: Command::Standby { node: "node1".to_owned().into() },
        user: "bob".into(),
        at: 5,
        state: RequestState::Sending,
        member: None,
        text: None,
        ended_at: None,
    };
    said!(out, repo.add_request(&request));
    said!(out, repo.open_requests());
    said!(out, repo.set_request(&request.id, RequestState::Accepted, Some(&"node1".to_owned().into()), None, None));
    said!(out, repo.set_request(&request.id, RequestState::Done, None, Some("done"), Some(9)));
    said!(out, repo.request(&request.id));
    said!(out, repo.recent_requests(cluster, 5));
    let task = |id: &str, state| Task {
        id: id.into(),
        kind: TaskKind::ProveFencing,
        cluster_id: None,
        input: "{}".into(),
        state,
        confirmed_at: None,
        user_name: "bob".into(),
        at: 5,
        ended_at: None,
    };
    said!(
        out,
        repo.add_task(
            &task("task", TaskState::Confirm),
            &[(1, node, StepKind::Drain), (0, NodeRow(0), StepKind::FenceTest)]
        )
    );
    said!(out, repo.add_task(&task("ended", TaskState::GivenUp), &[]));
    said!(out, repo.set_task_cluster("task", cluster));
    assert!(said!(out, repo.confirm_task("task")));
    assert!(!said!(out, repo.confirm_task("task")));
    said!(out, repo.set_step("task", 1, node, StepState::Running, "drains"));
    said!(out, repo.set_step("task", 1, node, StepState::Failed, "cannot"));
    said!(out, repo.set_task_state("task", TaskState::Failed));
    assert!(said!(out, repo.retry_task("task")));
    assert!(!said!(out, repo.retry_task("task")));
    said!(out, repo.steps("task"));
    said!(out, repo.running_tasks());
    said!(out, repo.open_tasks());
    said!(out, repo.recent_tasks(9));
    said!(out, repo.set_task_state("task", TaskState::Done));
    said!(out, repo.task("task"));
}

async fn devices(repo: &Repo, out: &mut Transcript, cluster: ClusterId, node: NodeRow) {
    let mut rung = RungResult {
        node: "node1".into(),
        tester: "node2".into(),
        method: "power".into(),
        device: "apc".into(),
        rung: Rung::WrongPlug,
        verdict: RungVerdict::Failed,
        code: None,
        output: String::new(),
        duration_ms: 3,
        at: 5,
        methods: "digest".into(),
    };
    said!(out, repo.store_rung(cluster, &rung));
    (rung.verdict, rung.code) = (RungVerdict::NotApplicable, Some(1));
    said!(out, repo.store_rung(cluster, &rung));
    assert_eq!(said!(out, repo.rungs(cluster, "node1")), [rung]);
    let mut card = ProofCard {
        task_id: "task".into(),
        cluster_id: cluster,
        node: "node1".into(),
        user_name: "bob".into(),
        methods: "digest".into(),
        standby: true,
        boot_before: "one".into(),
        fenced_before: None,
        asked_at: 5,
        lost_at: None,
        method: None,
        fencer: None,
        answer: String::new(),
        fenced_at: None,
        boot_after: None,
        back_at: None,
        verdict: ProofVerdict::UnderWay,
    };
    said!(out, repo.store_proof(&card));
    (card.standby, card.lost_at, card.verdict) = (false, Some(6), ProofVerdict::Proven);
    said!(out, repo.store_proof(&card));
    assert_eq!(said!(out, repo.proof("task")), Some(card.clone()));
    assert_eq!(said!(out, repo.newest_proofs(cluster)), [card]);
    let list = |digest: &str| {
        vec![AgentSummary {
            name: "fence_apc".into(),
            short: "a device".into(),
            version: None,
            digest: Some(digest.into()),
            problem: None,
        }]
    };
    said!(out, repo.store_agents(node, AgentClass::Fence, &list("one")));
    said!(out, repo.store_agents(node, AgentClass::Fence, &list("two")));
    said!(out, repo.agents(cluster, AgentClass::Fence));
    let schema =
        parse(AgentClass::Fence, "<resource-agent name=\"fence_apc\"><parameters/><actions/></resource-agent>");
    let schema = schema.expect("metadata");
    said!(out, repo.store_schema(cluster, AgentClass::Fence, "fence_apc", "one", &schema));
    said!(out, repo.store_schema(cluster, AgentClass::Fence, "fence_apc", "two", &schema));
    assert!(repo.schema(cluster, AgentClass::Fence, "fence_apc").await.expect("schema").is_some());
    assert_eq!(said!(out, repo.schema_digests(cluster, AgentClass::Fence))["fence_apc"], "two");
}

/// Everything that luci does with its database, once.
async fn exercise(repo: &Repo) -> Vec<String> {
    let mut transcript = Transcript::default();
    let out = &mut transcript;
    let bob = accounts(repo, out).await;
    let (cluster, node) = clusters(repo, out).await;
    rights(repo, out, bob, cluster).await;
    trail(repo, out).await;
    history(repo, out, cluster, bob).await;
    work(repo, out, cluster, node).await;
    devices(repo, out, cluster, node).await;
    transcript.lines
}

#[tokio::test]
async fn every_function_of_the_store_does_the_same_on_both_databases() {
    let server = Postgres::start();
    let folder = tempfile::tempdir().expect("folder");
    let sqlite = Repo::open(&folder.path().join("luci.db")).await.expect("SQLite");
    let url = server.database("same").await;
    let postgres = Repo::connect(&url).await.expect("PostgreSQL");
    let (left, right) = (exercise(&sqlite).await, exercise(&postgres).await);
    for (left, right) in left.iter().zip(&right) {
        assert_eq!(left, right);
    }
    assert_eq!(left.len(), right.len());

    assert_eq!(sqlite.tables().await.expect("tables"), postgres.tables().await.expect("tables"));
    for table in sqlite.tables().await.expect("tables") {
        let (left, mut right) =
            (sqlite.columns_of(&table).await.expect("columns"), postgres.columns_of(&table).await.expect("columns"));
        right.retain(|column| column != "rowid");
        assert_eq!(left, right, "columns of {table}");
    }

    // What is removed takes with it what is its own, and no trail.
    for repo in [&sqlite, &postgres] {
        let cluster = repo.cluster_by_name("alpha").await.expect("answer").expect("cluster");
        let nodes = repo.nodes_of(cluster.id).await.expect("nodes");
        repo.remove_node(nodes[0].id).await.expect("removed");
        repo.remove_cluster(cluster.id).await.expect("removed");
        assert!(repo.task("task").await.expect("answer").is_none());
        assert_eq!(repo.audit(&AuditFilter::default(), 10).await.expect("audit").len(), 3);
    }
    let mut connection = <sqlx::PgConnection as sqlx::Connection>::connect(&url).await.expect("connection");
    for statement in ["UPDATE audit SET result = 'other'", "DELETE FROM audit", "TRUNCATE audit"] {
        let refused = sqlx::query(statement).execute(&mut connection).await.expect_err(statement);
        assert!(refused.to_string().contains("the audit trail is kept"), "{refused}");
    }
    sqlite.close().await;
    postgres.close().await;
}

/// Files of a folder of the tree, without those of folders in it.
fn files(folder: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(folder);
    let entries = std::fs::read_dir(&folder).expect("a folder of the tree");
    entries.map(|entry| entry.expect("entry").path()).filter(|path| path.is_file()).collect()
}

#[test]
fn no_function_of_the_store_and_no_migration_is_forgotten_here() {
    let own = include_str!("databases.rs");
    // Used by the other test of this file, or by every test of luci.
    let mut missing = BTreeSet::new();
    for path in files("luci/src/repo") {
        let text = std::fs::read_to_string(&path).expect("source");
        for after in text.split("pub async fn ").skip(1) {
            let name = after.split('(').next().expect("a name");
            if !own.contains(&format!("repo.{name}("))
                && !own.contains(&format!(".{name}("))
                && !["copy_to", "take_over"].contains(&name)
            {
                missing.insert(name.to_owned());
            }
        }
    }
    missing.remove("open");
    missing.remove("connect");
    assert!(missing.is_empty(), "not exercised on both databases: {missing:?}");
    let names = |folder: &str| -> BTreeSet<String> {
        files(folder)
            .into_iter()
            .filter_map(|path| Some(path.file_name()?.to_str()?.to_owned()))
            .filter(|name| name.as_str() > "0008")
            .collect()
    };
    assert_eq!(names("migrations"), names("migrations/postgres"), "a migration stands in both folders");
}

#[tokio::test]
async fn a_console_moves_to_postgresql_and_back_by_backup_and_restore() {
    let server = Postgres::start();
    let fake = Fake::new();
    let node = fake.node("node1").await;
    let luci = TestApp::new().await;
    let mut admin = luci.login("admin", Role::Administrator).await;
    admin.create_cluster([(node.name.as_str(), node.address)], PASSWORD).await;
    let folder = tempfile::tempdir().expect("folder");
    let saved = folder.path().join("from-sqlite");
    backup::backup(&luci.state_dir(), &saved).await.expect("backup");
    luci.app.background.stop().await;
    luci.app.repo.close().await;

    let elsewhere = tempfile::tempdir().expect("folder");
    let url = server.database("moved").await;
    let store = Store { state_dir: elsewhere.path().to_owned(), database_url: Some(url) };
    backup::restore(store.clone(), &saved).await.expect("restored");
    assert!(!elsewhere.path().join("luci.db").exists(), "one database, not two");
    let full = backup::restore(store.clone(), &saved).await.expect_err("it holds a console already");
    assert!(format!("{full:#}").contains("the database holds accounts already"), "{full:?}");
    let moved = TestApp::on_store(elsewhere, store.clone()).await;
    let mut browser = moved.login_again("admin").await;
    browser.wait_for("/clusters/alpha", "Quorate").await;
    let page = "/clusters/alpha/add-service";
    let answer = browser.submit(page, page, &[("name", "web"), ("autostart", "on"), ("recovery", "relocate")]).await;
    assert_eq!(answer.status, StatusCode::SEE_OTHER, "{}", answer.text());
    // Numbers go on behind those that were copied.
    assert!(moved.app.repo.add_user("later", "hash", None).await.expect("added"));
    let before = everything(&moved.app.repo).await;
    let back = folder.path().join("from-postgresql");
    backup::backup(store, &back).await.expect("backup while it serves");
    moved.app.background.stop().await;
    moved.app.repo.close().await;

    let home = tempfile::tempdir().expect("folder");
    backup::restore(home.path(), &back).await.expect("restored");
    let restored = TestApp::on(home).await;
    assert_eq!(everything(&restored.app.repo).await, before);
    let mut browser = restored.login_again("admin").await;
    browser.wait_for("/clusters/alpha/services", "web").await;
}

/// What a console is about, in words.
async fn everything(repo: &Repo) -> String {
    let cluster = repo.cluster_by_name("alpha").await.expect("answer").expect("cluster");
    let audit = repo.audit(&AuditFilter::default(), 100).await.expect("audit");
    let users = repo.users().await.expect("users");
    let confs = repo.confs(cluster.id).await.expect("versions");
    let tasks = repo.recent_tasks(100).await.expect("tasks");
    assert!(!audit.is_empty() && !confs.is_empty() && !tasks.is_empty());
    // Logging in rehashes nothing, and events of the restart are not compared.
    format!("{cluster:?}\n{audit:?}\n{users:?}\n{confs:?}\n{tasks:?}")
}
