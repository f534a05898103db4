//! The API over a cluster of fake nodes: a script does what a person does in the console, and every answer is as the
//! OpenAPI document says.

use std::collections::BTreeSet;

use crate::fake::{Fake, FakeNode, PASSWORD};
use crate::support::{Answer, Browser, PATIENCE, TestApp};
use axum::http::{Method, StatusCode};
use futures_util::StreamExt as _;
use luci::http::routes;
use luci::repo::access::NewApiToken;
use luci::repo::users::Role;
use luci::tokens;
use serde_json::{Value, json};

/// A script with a token of its own.
struct Script {
    browser: Browser,
    token: String,
    document: Value,
}

impl Script {
    async fn new(luci: &TestApp, role: Role) -> Self {
        let name = format!("script-{}", role.name());
        let mut browser = luci.login_with(&name, Some(role)).await;
        let token = tokens::random();
        let user = luci.app.account(&name).await.expect("account").id;
        let new = NewApiToken { token_hash: &tokens::hash(&token), user, name: "test", role, cluster: None };
        assert!(luci.app.repo.add_api_token(new).await.expect("token"));
        let document = browser.get("/api/v1/openapi.json").await;
        let document = serde_json::from_str(&document.body).expect("the document is JSON");
        Self { browser: luci.browser(), token, document }
    }

    /// Sends a request; the answer is checked against the document.
    async fn ask(&mut self, method: &str, path: &str, body: Value) -> (StatusCode, Value) {
        let answer = self.browser.json(method, path, &self.token, &[], &body).await;
        let parsed = self.checked(method, path, &answer);
        (answer.status, parsed)
    }

    async fn get(&mut self, path: &str) -> Value {
        let (status, body) = self.ask("GET", path, Value::Null).await;
        assert_eq!(status, StatusCode::OK, "{path}: {body}");
        body
    }

    /// Checks an answer against what the document says of this address.
    fn checked(&self, method: &str, path: &str, answer: &Answer) -> Value {
        let (path, query) = path.split_once('?').unwrap_or((path, ""));
        let (_, operations) = self.document["paths"]
            .as_object()
            .expect("paths")
            .iter()
            .find(|(pattern, operations)| matches(pattern, path) && !operations[method.to_lowercase()].is_null())
            .unwrap_or_else(|| panic!("the document does not know {method} {path}"));
        let parameters = operations[method.to_lowercase()]["parameters"].as_array().expect("parameters");
        for name in query.split('&').filter_map(|part| part.split_once('=')).map(|(name, _)| name) {
            let known = parameters.iter().any(|known| known["in"] == "query" && known["name"] == name);
            assert!(known, "the document does not know {name} of {method} {path}");
        }
        let responses = &operations[method.to_lowercase()]["responses"];
        let kind = answer.headers.get("content-type").map_or("", |kind| kind.to_str().expect("text"));
        if answer.status == StatusCode::NO_CONTENT {
            assert!(responses["204"]["content"].is_null(), "{method} {path} answers nothing");
            return Value::Null;
        }
        let body: Value = serde_json::from_str(&answer.body)
            .unwrap_or_else(|error| panic!("{method} {path}: {error}: {}", answer.body));
        let schema = if answer.status.is_success() {
            let response = &responses[answer.status.as_str()];
            assert!(!response.is_null(), "{method} {path} answers {}, which is not in the document", answer.status);
            &response["content"]["application/json"]["schema"]
        } else {
            assert_eq!(kind, "application/problem+json", "{method} {path}: {body}");
            assert_eq!(body["status"], answer.status.as_u16());
            &responses["default"]["content"]["application/problem+json"]["schema"]
        };
        let mut wrong = Vec::new();
        self.validate(schema, &body, "", &mut wrong);
        assert!(wrong.is_empty(), "{method} {path} is not as documented: {wrong:?}\n{body}");
        body
    }

    /// As much of JSON Schema as the document uses.
    fn validate(&self, schema: &Value, value: &Value, at: &str, wrong: &mut Vec<String>) {
        if let Some(reference) = schema["$ref"].as_str() {
            let name = reference.rsplit('/').next().expect("name");
            let found = &self.document["components"]["schemas"][name];
            assert!(!found.is_null(), "there is no schema {name}");
            return self.validate(found, value, at, wrong);
        }
        let types: Vec<&str> = match &schema["type"] {
            Value::String(one) => vec![one],
            Value::Array(several) => several.iter().filter_map(Value::as_str).collect(),
            _ => panic!("a schema without a type at {at:?}: {schema}"),
        };
        let is = match value {
            Value::Null => "null",
            Value::Bool(_) => "boolean",
            Value::Number(_) => "integer",
            Value::String(_) => "string",
            Value::Array(_) => "array",
            Value::Object(_) => "object",
        };
        if !types.contains(&is) {
            wrong.push(format!("{at}: {is} instead of {types:?}"));
            return;
        }
        if let Some(allowed) = schema["enum"].as_array()
            && !allowed.contains(value)
        {
            wrong.push(format!("{at}: {value} is none of {allowed:?}"));
        }
        for (index, item) in value.as_array().into_iter().flatten().enumerate() {
            self.validate(&schema["items"], item, &format!("{at}/{index}"), wrong);
        }
        let Some(members) = value.as_object() else { return };
        for name in schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str) {
            if !members.contains_key(name) {
                wrong.push(format!("{at}: {name} is missing"));
            }
        }
        for (name, member) in members {
            let place = format!("{at}/{name}");
            match (&schema["properties"][name], &schema["additionalProperties"]) {
                (Value::Null, Value::Bool(false)) => wrong.push(format!("{place} is not documented")),
                (Value::Null, other @ Value::Object(_)) => self.validate(other, member, &place, wrong),
                (Value::Null, _) => {}
                (schema, _) => self.validate(schema, member, &place, wrong),
            }
        }
    }

    /// Waits until an address tells this.
    async fn wait_for(&mut self, luci: &TestApp, path: &str, wish: impl Fn(&Value) -> bool) -> Value {
        let mut changes = luci.app.watchers.subscribe_any();
        let wait = async {
            loop {
                changes.mark_unchanged();
                let body = self.get(path).await;
                if wish(&body) {
                    return body;
                }
                let _ = tokio::time::timeout(std::time::Duration::from_millis(500), changes.changed()).await;
            }
        };
        tokio::time::timeout(PATIENCE, wait).await.unwrap_or_else(|_| panic!("{path} never told it"))
    }

    /// Creates the cluster alpha of two nodes.
    async fn create(&mut self, luci: &TestApp, nodes: &[FakeNode]) {
        let nodes: Vec<Value> = nodes
            .iter()
            .map(|node| {
                json!({ "name": node.name, "host": "127.0.0.1", "port": node.address.port(), "password": PASSWORD })
            })
            .collect();
        let (status, task) = self.ask("POST", "/api/v1/clusters", json!({ "name": "alpha", "nodes": nodes })).await;
        assert_eq!(status, StatusCode::ACCEPTED, "{task}");
        let task = format!("/api/v1/tasks/{}", task["id"].as_str().expect("id"));
        let waiting = self.wait_for(luci, &task, |task| task["state"] == "confirm").await;
        assert!(waiting["steps"][0]["fingerprint"].is_string(), "{waiting}");
        let (status, _) = self.ask("POST", &format!("{task}/confirm"), Value::Null).await;
        assert_eq!(status, StatusCode::ACCEPTED);
        self.wait_for(luci, &task, |task| task["state"] == "done").await;
        self.wait_for(luci, "/api/v1/clusters/alpha", |cluster| cluster["known"] == "live").await;
    }
}

/// Whether a path fits a pattern of the document.
fn matches(pattern: &str, path: &str) -> bool {
    let (pattern, path): (Vec<_>, Vec<_>) = (pattern.split('/').collect(), path.split('/').collect());
    pattern.len() == path.len() && pattern.iter().zip(&path).all(|(part, given)| part.starts_with('{') || part == given)
}

async fn stage() -> (TestApp, Fake, Vec<FakeNode>, Script) {
    let fake = Fake::new();
    let nodes = vec![fake.node("node1").await, fake.node("node2").await];
    let luci = TestApp::new().await;
    let mut script = Script::new(&luci, Role::Administrator).await;
    script.create(&luci, &nodes).await;
    (luci, fake, nodes, script)
}

fn add_web() -> Value {
    json!({
        "edit": "add-service",
        "service": { "name": "service:web", "attributes": { "recovery": "relocate" }, "resources": [] },
    })
}

#[tokio::test]
async fn the_document_names_every_route_of_the_api_and_no_other() {
    let luci = TestApp::new().await;
    let script = Script::new(&luci, Role::Viewer).await;
    let mut documented = BTreeSet::new();
    for (path, operations) in script.document["paths"].as_object().expect("paths") {
        for (method, operation) in operations.as_object().expect("operations") {
            documented.insert((method.to_uppercase(), path.clone()));
            let mut schemas = vec![&operation["requestBody"]["content"]];
            schemas.extend(operation["responses"].as_object().expect("responses").values().map(|one| &one["content"]));
            for reference in schemas.iter().filter_map(|content| content.as_object()).flat_map(|kinds| kinds.values()) {
                let name = reference["schema"]["$ref"].as_str().expect("reference").rsplit('/').next().expect("name");
                assert!(!script.document["components"]["schemas"][name].is_null(), "no schema {name}");
            }
        }
    }
    let served: BTreeSet<_> = routes()
        .iter()
        .filter(|route| route.path.starts_with("/api/"))
        .map(|route| (route.method.to_string(), route.path.to_owned()))
        .collect();
    assert_eq!(documented, served);
    let reading =
        routes().iter().filter(|route| route.method == Method::GET && route.path.starts_with("/api/")).count();
    assert!(reading >= 15, "{reading}");
}

#[tokio::test]
async fn a_script_creates_a_cluster_adds_a_service_and_moves_it() {
    let (luci, fake, _nodes, mut script) = stage().await;
    let (status, done) = script
        .ask(
            "POST",
            "/api/v1/clusters/alpha/config/edits",
            json!({ "base": 1, "message": "web added", "edits": [add_web()] }),
        )
        .await;
    assert_eq!((status, &done["version"]), (StatusCode::CREATED, &json!(2)), "{done}");
    let services = "/api/v1/clusters/alpha/services";
    script.wait_for(&luci, services, |services| services[0]["name"] == "service:web").await;
    let (status, request) =
        script.ask("POST", &format!("{services}/service:web/actions/relocate"), json!({ "node": "node2" })).await;
    assert_eq!(status, StatusCode::ACCEPTED, "{request}");
    let path = format!("/api/v1/clusters/alpha/requests/{}", request["id"].as_str().expect("id"));
    script.wait_for(&luci, &path, |request| request["state"] == "done").await;
    let moved = script.get(&format!("{services}/service:web")).await;
    assert_eq!(moved["owner"], "node2", "{moved}");
    assert!(fake.change(|world| !world.requests.is_empty()));

    script.get("/api/v1/clusters/alpha/services/service:web/why").await;
    let lost = json!({ "if": "node-lost", "node": "node2" });
    let (status, foreseen) = script.ask("POST", "/api/v1/clusters/alpha/predictions", lost).await;
    assert_eq!(status, StatusCode::OK, "{foreseen}");

    // Everything that can be read is as documented.
    for path in ["", "/nodes", "/nodes/node1", "/services", "/requests", "/events", "/config", "/config/versions"] {
        script.get(&format!("/api/v1/clusters/alpha{path}")).await;
    }
    for path in ["clusters", "tasks", "audit", "users", "health", "ready"] {
        script.get(&format!("/api/v1/{path}")).await;
    }
    let difference = script.get("/api/v1/clusters/alpha/config/diff?from=1&to=2").await;
    assert_eq!(difference["words"][0]["subject"], "service web", "{difference}");
    let back = "/api/v1/clusters/alpha/config/versions/1/bring-back";
    let (status, done) = script.ask("POST", back, json!({ "base": 2 })).await;
    assert_eq!((status, &done["version"]), (StatusCode::CREATED, &json!(3)), "{done}");
}

/// An agent as its package has it, with a parameter that is required and one that is secret.
const WIDGET: &str = r#"<resource-agent name="widget"><shortdesc lang="en">Spins</shortdesc><parameters>
<parameter name="speed" required="1"><content type="integer" min="1" max="9"/></parameter>
<parameter name="password"><content type="string"/></parameter></parameters>
<actions><action name="start" timeout="20s"/><action name="stop" timeout="20s"/><action name="monitor" timeout="20s" interval="10s"/>
<action name="validate-all" timeout="5s"/></actions></resource-agent>"#;

#[tokio::test]
async fn a_script_learns_the_agents_and_builds_the_tree_of_a_service() {
    let fake = Fake::new();
    fake.change(|world| world.resource_agents.insert("ocf:acme:widget".into(), WIDGET.into()));
    let nodes = vec![fake.node("node1").await, fake.node("node2").await];
    // Nodes of today keep secrets.
    fake.change(|world| world.nodes.values_mut().for_each(|node| node.secrets = Some(Default::default())));
    let luci = TestApp::new().await;
    let mut script = Script::new(&luci, Role::Administrator).await;
    script.create(&luci, &nodes).await;
    let alpha = "/api/v1/clusters/alpha";
    let agents = format!("{alpha}/agents/resource");
    script.wait_for(&luci, &agents, |agents| agents[0]["name"] == "ocf:acme:widget").await;
    let schema = script.get(&format!("{agents}/ocf:acme:widget")).await;
    assert_eq!(schema["parameters"][0]["name"], "speed", "{schema}");
    let (status, problem) = script.ask("GET", &format!("{alpha}/agents/other"), Value::Null).await;
    assert_eq!((status, &problem["code"]), (StatusCode::NOT_FOUND, &json!("not-found")), "{problem}");

    let ip = json!({ "edit": "add-resource", "kind": "ip", "attributes": { "address": "10.0.0.8" } });
    let body = json!({ "base": 1, "message": "web added", "edits": [add_web(), ip] });
    let (status, done) = script.ask("POST", &format!("{alpha}/config/edits"), body).await;
    assert_eq!(status, StatusCode::CREATED, "{done}");

    let tree = format!("{alpha}/services/service:web/resources");
    let widget = |speed: &str| json!({ "kind": "ocf", "attributes": { "provider": "acme", "type": "widget", "name": "w", "speed": speed, "password": "geheim" } });
    let add = |speed: &str| json!([{ "change": "add", "resource": { "kind": "ip", "ref": "10.0.0.8" } }, { "change": "add", "parent": "0", "resource": widget(speed) }]);
    // Held against the agent's description, at the change that is wrong.
    let (status, problem) = script.ask("POST", &tree, json!({ "base": 2, "changes": add("11") })).await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "{problem}");
    assert!(problem.to_string().contains("changes/1/speed"), "{problem}");
    let (status, done) = script.ask("POST", &tree, json!({ "base": 2, "changes": add("3") })).await;
    assert_eq!((status, &done["version"]), (StatusCode::CREATED, &json!(3)), "{done}");

    let read = script.get(&tree).await;
    assert_eq!(read["version"], 3);
    assert_eq!(read["resources"][0]["ref"], "10.0.0.8", "{read}");
    assert_eq!(read["resources"][0]["children"][0]["place"], "0.0", "{read}");
    assert!(!read.to_string().contains("geheim"), "{read}");
    let shared = script.get(&format!("{alpha}/resources")).await;
    assert_eq!(shared[0]["used_by"], json!(["service:web"]), "{shared}");

    // What is not named stays: also the secret, which is not told.
    let set = json!([{ "change": "set", "place": "0.0", "attributes": { "speed": "4" } }, { "change": "move", "place": "0.0", "to": "out" }]);
    let (status, moved) = script.ask("POST", &tree, json!({ "base": 2, "changes": set })).await;
    assert_eq!((status, &moved["code"]), (StatusCode::CONFLICT, &json!("conflict")), "a page of before: {moved}");
    let (status, done) = script.ask("POST", &tree, json!({ "base": 3, "changes": set })).await;
    assert_eq!(status, StatusCode::CREATED, "{done}");
    let conf = fake.change(|world| world.nodes["node1"].conf.clone().expect("conf"));
    assert!(conf.contains("speed=\"4\"") && conf.contains("password=\"secret:") && !conf.contains("geheim"), "{conf}");
    let masked = json!([{ "change": "set", "place": "1", "attributes": { "password": "(secret)" } }]);
    let (status, problem) = script.ask("POST", &tree, json!({ "base": 4, "changes": masked })).await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "the mask is no password: {problem}");

    fake.change(|world| world.agent_words.insert("ocf:acme:widget".into(), (6, "no spindle".into())));
    let ask = json!({ "resource": widget("3"), "node": "node2" });
    let (status, word) = script.ask("POST", &format!("{alpha}/resources/check"), ask).await;
    assert_eq!((status, &word["said"]["code"]), (StatusCode::OK, &json!(6)), "{word}");
    assert_eq!((&word["node"], &word["said"]["output"]), (&json!("node2"), &json!("no spindle")), "{word}");
}

#[tokio::test]
async fn a_script_makes_the_key_of_fence_xvm_and_fetches_it_for_the_host() {
    let (luci, _fake, _nodes, mut script) = stage().await;
    let key = "/api/v1/clusters/alpha/fence-key";
    let (status, problem) = script.ask("GET", &format!("{key}/file"), Value::Null).await;
    assert_eq!((status, &problem["code"]), (StatusCode::CONFLICT, &json!("conflict")), "{problem}");
    let (status, sent) = script.ask("POST", key, json!({})).await;
    assert_eq!(status, StatusCode::OK, "{sent}");
    assert!(sent.as_array().expect("nodes").iter().all(|one| one["problem"].is_null()), "{sent}");
    let told = script.wait_for(&luci, key, |told| told["agree"] == true).await;
    let made = script.get(&format!("{key}/file")).await["key_base64"].as_str().expect("a key").to_owned();
    assert_eq!(told["nodes"][0]["sha256"], format!("fingerprint-of-{made}"));
    assert!(!told.to_string().contains(&format!("\"{made}\"")), "the key itself is told by its own address only");
}

#[tokio::test]
async fn what_is_refused_says_so_with_a_stable_code() {
    let (luci, _fake, _nodes, mut script) = stage().await;
    let edits = "/api/v1/clusters/alpha/config/edits";
    let unknown = json!({ "edit": "add-service", "service": { "name": "service:db", "attributes": { "domain": "nowhere" }, "resources": [] } });
    let cases = [
        ("POST", edits, json!({ "base": 7, "message": "", "edits": [add_web()] }), 409, "conflict"),
        ("POST", edits, json!({ "base": 1, "message": "", "edits": [unknown] }), 422, "findings"),
        ("POST", edits, json!({ "base": 1, "message": "", "edits": [{ "edit": "explode" }] }), 400, "unreadable"),
        (
            "POST",
            edits,
            json!({ "base": 1, "message": "", "edits": [{ "edit": "set-version", "version": 9 }] }),
            422,
            "invalid",
        ),
        ("GET", "/api/v1/clusters/alpha/services/service:none", Value::Null, 404, "not-found"),
        ("GET", "/api/v1/clusters/nowhere", Value::Null, 404, "not-found"),
        ("POST", "/api/v1/clusters/alpha/services/service:none/actions/dance", json!({}), 404, "not-found"),
        ("POST", "/api/v1/clusters", json!({ "name": "with blank", "nodes": [] }), 422, "invalid"),
        ("DELETE", "/api/v1/users/nobody", Value::Null, 404, "not-found"),
    ];
    for (method, path, body, status, code) in cases {
        let (answered, problem) = script.ask(method, path, body.clone()).await;
        assert_eq!((answered.as_u16(), problem["code"].as_str()), (status, Some(code)), "{path} {body}: {problem}");
        assert!(problem["detail"].as_str().is_some_and(|detail| !detail.is_empty()));
        assert!(problem["next"].as_str().is_some_and(|next| !next.is_empty()));
    }
    let versions = script.get("/api/v1/clusters/alpha/config/versions").await;
    assert_eq!(versions.as_array().map(Vec::len), Some(1), "nothing was written: {versions}");

    let mut viewer = Script::new(&luci, Role::Viewer).await;
    let (status, problem) = viewer.ask("POST", edits, json!({ "base": 1, "message": "", "edits": [] })).await;
    assert_eq!((status, problem["code"].as_str()), (StatusCode::FORBIDDEN, Some("not-allowed")));
    let mut stranger = luci.browser();
    let answer = stranger.json("GET", "/api/v1/clusters", "wrong", &[], &Value::Null).await;
    assert_eq!(script.checked("GET", "/api/v1/clusters", &answer)["code"], "not-authenticated");
    for (method, path, status) in [("GET", "/api/v1/nowhere", 404), ("PATCH", "/api/v1/clusters", 405)] {
        let answer = stranger.json(method, path, &script.token, &[], &Value::Null).await;
        assert_eq!(answer.status.as_u16(), status, "{}", answer.body);
        assert_eq!(answer.headers["content-type"], "application/problem+json");
    }
}

#[tokio::test]
async fn a_request_repeated_with_its_key_is_carried_out_once() {
    let (luci, _fake, _nodes, mut script) = stage().await;
    let edits = "/api/v1/clusters/alpha/config/edits";
    let body = json!({ "base": 1, "message": "web added", "edits": [add_web()] });
    let key = [("idempotency-key", "deploy-42")];
    let (token, mut browser) = (script.token.clone(), script.browser.clone());
    let first = browser.json("POST", edits, &token, &key, &body).await;
    assert_eq!(first.status, StatusCode::CREATED, "{}", first.body);
    let again = browser.json("POST", edits, &token, &key, &body).await;
    assert_eq!((again.status, &again.body), (first.status, &first.body));
    assert_eq!(again.headers["idempotency-replayed"], "true");
    assert_eq!(again.location, first.location);
    let versions = script.get("/api/v1/clusters/alpha/config/versions").await;
    assert_eq!(versions.as_array().map(Vec::len), Some(2), "{versions}");

    let other = json!({ "base": 2, "message": "other", "edits": [add_web()] });
    let refused = browser.json("POST", edits, &token, &key, &other).await;
    assert_eq!(script.checked("POST", edits, &refused)["code"], "invalid");
    // Without the key, the same request is a new one, and comes too late.
    let (status, problem) = script.ask("POST", edits, body).await;
    assert_eq!((status, problem["code"].as_str()), (StatusCode::CONFLICT, Some("conflict")));
    // Keys belong to their account.
    let second = Script::new(&luci, Role::Viewer).await;
    let answer = browser.json("POST", edits, &second.token, &key, &json!({})).await;
    assert_eq!(answer.status, StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn secrets_are_not_told_and_come_back_with_a_text_that_was_read() {
    let (_luci, fake, _nodes, mut script) = stage().await;
    let device = json!({
        "edit": "add-fence-device", "name": "bmc", "agent": "fence_ipmilan",
        "attributes": { "ipaddr": "10.0.0.1", "login": "admin", "passwd": "hunter2" },
    });
    let body = json!({ "base": 1, "message": "bmc added", "edits": [device] });
    let (status, done) = script.ask("POST", "/api/v1/clusters/alpha/config/edits", body).await;
    assert_eq!(status, StatusCode::CREATED, "{done}");
    let read = script.get("/api/v1/clusters/alpha/config").await;
    let text = read["text"].as_str().expect("text");
    assert!(!text.contains("hunter2") && text.contains("bmc"), "{text}");
    let text = text.replace("10.0.0.1", "10.0.0.2");
    let body = json!({ "base": 2, "message": "moved", "text": text });
    let (status, done) = script.ask("PUT", "/api/v1/clusters/alpha/config", body).await;
    assert_eq!(status, StatusCode::CREATED, "{done}");
    fake.change(|world| {
        let conf = world.nodes["node1"].conf.as_ref().expect("conf");
        assert!(conf.contains("hunter2") && conf.contains("10.0.0.2"), "{conf}");
    });
}

#[tokio::test]
async fn the_stream_tells_the_state_at_once_and_every_change() {
    let (luci, fake, _nodes, mut script) = stage().await;
    let response = script.browser.stream_with_token("/api/v1/clusters/alpha/stream", &script.token).await;
    assert_eq!(response.status(), StatusCode::OK);
    let mut parts = response.into_body().into_data_stream();
    let mut next = async || {
        loop {
            let part =
                tokio::time::timeout(PATIENCE, parts.next()).await.expect("in time").expect("open").expect("part");
            let text = String::from_utf8(part.to_vec()).expect("text");
            if let Some(data) = text.split_once("data: ") {
                return serde_json::from_str::<Value>(data.1.trim()).expect("JSON");
            }
        }
    };
    assert_eq!(next().await["status"]["locked"], false);
    let (status, request) = script.ask("POST", "/api/v1/clusters/alpha/actions/lock", Value::Null).await;
    assert_eq!(status, StatusCode::ACCEPTED, "{request}");
    assert!(fake.change(|world| world.locked));
    while next().await["status"]["locked"] == false {}
    drop(luci);
}

#[tokio::test]
async fn preferences_and_tokens_are_set_by_a_script_and_a_token_makes_no_greater_one() {
    let luci = TestApp::new().await;
    let mut script = Script::new(&luci, Role::Operator).await;
    let before = script.get("/api/v1/account").await;
    assert_eq!((&before["theme"], &before["language"]), (&json!("auto"), &Value::Null));
    let wanted = json!({"theme": "dark", "language": "zh-Hant"});
    let (status, after) = script.ask("PUT", "/api/v1/account/preferences", wanted).await;
    assert_eq!(status, StatusCode::OK, "{after}");
    assert_eq!(
        (&after["theme"], &after["language"], &after["lines"]),
        (&json!("dark"), &json!("zh-Hant"), &before["lines"])
    );
    let (status, _) = script.ask("PUT", "/api/v1/account/preferences", json!({"language": "de"})).await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);

    let new = |role: &str| json!({"name": format!("by-script-{role}"), "role": role});
    let (status, told) = script.ask("POST", "/api/v1/account/tokens", new("administrator")).await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "{told}");
    let (status, made) = script.ask("POST", "/api/v1/account/tokens", new("viewer")).await;
    assert_eq!(status, StatusCode::CREATED, "{made}");
    let (status, _) = script.ask("POST", "/api/v1/account/tokens", new("viewer")).await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "the name is taken");
    let secret = made["secret"].as_str().expect("the secret is told once").to_owned();
    assert_eq!(script.browser.get_with_token("/api/v1/account", &secret).await.status, StatusCode::OK);

    let tokens = script.get("/api/v1/account/tokens").await;
    let listed = tokens.as_array().expect("a list").iter().find(|token| token["name"] == "by-script-viewer");
    let listed = listed.expect("the token is listed");
    assert!(!tokens.to_string().contains(&secret), "a secret is told again");
    let own = format!("/api/v1/account/tokens/{}", listed["id"]);
    assert_eq!(script.ask("DELETE", &own, Value::Null).await.0, StatusCode::NO_CONTENT);
    assert_eq!(script.browser.get_with_token("/api/v1/account", &secret).await.status, StatusCode::UNAUTHORIZED);
}
