//! luci in one process with the test: the true router, database and certificates in a folder of its own, and a browser
//! that keeps cookies and reads form tokens.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{Request, StatusCode, header};
use axum::response::Response;
use luci::app::{App, auth};
use luci::repo::users::Role;
use luci::{http, server};
use tempfile::TempDir;
use tower::ServiceExt as _;

/// Longest wait for anything that must happen.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

/// luci with its state folder.
pub(crate) struct TestApp {
    pub(crate) app: App,
    pub(crate) dir: TempDir,
    /// Built once, because it takes longer than most answers.
    router: Router,
}

/// A page as the browser got it.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) location: Option<String>,
    pub(crate) headers: axum::http::HeaderMap,
    pub(crate) body: String,
}

impl Answer {
    /// The value of the first hidden field of this name.
    pub(crate) fn hidden(&self, name: &str) -> Option<String> {
        let after = self.body.split_once(&format!("name=\"{name}\" value=\""))?.1;
        Some(after.split('"').next()?.to_owned())
    }

    /// The text of the page without its marks.
    pub(crate) fn text(&self) -> String {
        let mut text = String::new();
        let mut inside = false;
        for c in self.body.chars() {
            match c {
                '<' => inside = true,
                '>' => inside = false,
                c if !inside => text.push(c),
                _ => {}
            }
        }
        text.split_whitespace().collect::<Vec<_>>().join(" ")
    }
}

impl TestApp {
    pub(crate) async fn new() -> Self {
        let dir = tempfile::tempdir().expect("folder");
        Self::open(dir).await
    }

    /// On a state folder that is there already.
    pub(crate) async fn on(dir: TempDir) -> Self {
        Self::open(dir).await
    }

    /// On a state folder with a database elsewhere.
    pub(crate) async fn on_store(dir: TempDir, store: luci::settings::Store) -> Self {
        let app = server::open(store, "luci.test").await.expect("luci opens");
        app.resume().await.expect("luci resumes");
        Self::of(app, dir)
    }

    fn of(app: App, dir: TempDir) -> Self {
        let router = http::router(app.clone());
        Self { app, dir, router }
    }

    /// Lets accounts log in by this service of PAM; for browsers made from now on.
    pub(crate) fn log_in_by_pam(&mut self, service: &str) {
        self.app.log_in_by_pam(service);
        self.router = http::router(self.app.clone());
    }

    /// The cookies of another browser, sent to this luci.
    pub(crate) fn browser_with(&self, other: &Browser) -> Browser {
        Browser { app: self.app.clone(), router: self.router.clone(), cookies: other.cookies.clone() }
    }

    async fn open(dir: TempDir) -> Self {
        let app = server::open(dir.path(), "luci.test").await.expect("luci opens");
        app.resume().await.expect("luci resumes");
        Self::of(app, dir)
    }

    /// Ends luci as `kill -9` would, and starts it anew on the same state.
    pub(crate) async fn restart(self) -> Self {
        self.app.background.stop().await;
        self.app.repo.close().await;
        Self::open(self.dir).await
    }

    pub(crate) fn state_dir(&self) -> PathBuf {
        self.dir.path().to_owned()
    }

    /// A browser with nobody logged in.
    pub(crate) fn browser(&self) -> Browser {
        Browser { app: self.app.clone(), router: self.router.clone(), cookies: BTreeMap::new() }
    }

    /// A browser in which an account with this role is logged in.
    pub(crate) async fn login(&self, name: &str, role: Role) -> Browser {
        self.login_with(name, Some(role)).await
    }

    /// The same; without a role everywhere.
    pub(crate) async fn login_with(&self, name: &str, everywhere: Option<Role>) -> Browser {
        let hash = auth::hash_password("correct horse".into()).await.expect("hash");
        self.app.repo.add_user(name, &hash, everywhere).await.expect("user");
        self.login_again(name).await
    }

    /// A browser in which an account that exists is logged in.
    pub(crate) async fn login_again(&self, name: &str) -> Browser {
        let mut browser = self.browser();
        let form = browser.get("/login").await;
        let token = form.hidden("csrf").expect("token");
        let answer = browser.post("/login", &[("csrf", &token), ("name", name), ("password", "correct horse")]).await;
        assert_eq!(answer.status, StatusCode::SEE_OTHER, "{}", answer.text());
        browser
    }
}

impl TestApp {
    /// Tries a statement on the database, as a bug in luci might; the database's words if it refuses.
    pub(crate) async fn execute(&self, statement: &'static str) -> Result<(), String> {
        let path = self.dir.path().join("luci.db");
        let pool = sqlx::SqlitePool::connect(&format!("sqlite://{}", path.display())).await.expect("database");
        let done = sqlx::query(statement).execute(&pool).await;
        pool.close().await;
        done.map(|_| ()).map_err(|error| error.to_string())
    }
}

/// A browser.
#[derive(Clone)]
pub(crate) struct Browser {
    app: App,
    router: Router,
    cookies: BTreeMap<String, String>,
}

impl Browser {
    fn request(&self, method: &str, path: &str) -> axum::http::request::Builder {
        let cookies: Vec<String> = self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
        Request::builder()
            .method(method)
            .uri(path)
            .header(header::HOST, "luci.test")
            .header(header::COOKIE, cookies.join("; "))
    }

    async fn send(&mut self, request: Request<Body>) -> Answer {
        let response = self.raw(request).await;
        let (parts, body) = response.into_parts();
        for cookie in parts.headers.get_all(header::SET_COOKIE) {
            let text = cookie.to_str().expect("text");
            let (name, value) = text.split(';').next().and_then(|pair| pair.split_once('=')).expect("cookie");
            if text.contains("Max-Age=0") {
                self.cookies.remove(name);
            } else {
                self.cookies.insert(name.to_owned(), value.to_owned());
            }
        }
        let body = to_bytes(body, 16 * 1024 * 1024).await.expect("body");
        Answer {
            status: parts.status,
            location: parts.headers.get(header::LOCATION).map(|to| to.to_str().expect("text").to_owned()),
            headers: parts.headers,
            body: String::from_utf8_lossy(&body).into_owned(),
        }
    }

    async fn raw(&self, request: Request<Body>) -> Response {
        self.router.clone().oneshot(request).await.expect("answer")
    }

    pub(crate) async fn get(&mut self, path: &str) -> Answer {
        let request = self.request("GET", path).body(Body::empty()).expect("request");
        self.send(request).await
    }

    /// The same with another browser's name.
    pub(crate) async fn get_as(&mut self, path: &str, agent: &str) -> Answer {
        let request = self.request("GET", path).header(header::USER_AGENT, agent);
        self.send(request.body(Body::empty()).expect("request")).await
    }

    /// Whether nobody is logged in.
    pub(crate) fn is_stranger(&self) -> bool {
        !self.cookies.contains_key(http::SESSION_COOKIE)
    }

    /// The first part of an answer, and its head: an event stream has no end.
    async fn begin(&mut self, request: Request<Body>) -> Answer {
        let stream = self.raw(request).await;
        let kind = stream.headers().get(header::CONTENT_TYPE);
        let endless = kind.is_some_and(|kind| kind.as_bytes().starts_with(b"text/event-stream"));
        let (parts, body) = stream.into_parts();
        let body = if endless { Body::empty() } else { body };
        let body = to_bytes(body, 16 * 1024 * 1024).await.expect("body");
        Answer {
            status: parts.status,
            location: parts.headers.get(header::LOCATION).map(|to| to.to_str().expect("text").to_owned()),
            headers: parts.headers,
            body: String::from_utf8_lossy(&body).into_owned(),
        }
    }

    /// Opens a page or a stream, without following what it sets.
    pub(crate) async fn head(&mut self, path: &str) -> Answer {
        let request = self.request("GET", path).body(Body::empty()).expect("request");
        self.begin(request).await
    }

    /// Sends nothing to an address that expects something. On the API the request carries a key that is refused behind
    /// the door, so that nothing is carried out.
    pub(crate) async fn send_empty(&mut self, method: &str, path: &str) -> Answer {
        let kind = if path.starts_with("/api/") { "application/json" } else { "application/x-www-form-urlencoded" };
        let request = self.request(method, path).header(header::ORIGIN, "https://luci.test");
        let request = request.header("idempotency-key", "x".repeat(300));
        let request = request.header(header::CONTENT_TYPE, kind).body(Body::empty()).expect("request");
        self.begin(request).await
    }

    /// The same, by a script with a token.
    pub(crate) async fn head_with_token(&mut self, method: &str, path: &str, token: &str) -> Answer {
        let kind = if path.starts_with("/api/") { "application/json" } else { "application/x-www-form-urlencoded" };
        let request = self.request(method, path).header(header::AUTHORIZATION, format!("Bearer {token}"));
        let request = request.header("idempotency-key", "x".repeat(300));
        let request = request.header(header::CONTENT_TYPE, kind).body(Body::empty()).expect("request");
        self.begin(request).await
    }

    /// Reads with a token.
    pub(crate) async fn get_with_token(&mut self, path: &str, token: &str) -> Answer {
        self.head_with_token("GET", path, token).await
    }

    /// Sends JSON with a token, and headers of one's own.
    pub(crate) async fn json(
        &mut self,
        method: &str,
        path: &str,
        token: &str,
        headers: &[(&str, &str)],
        body: &serde_json::Value,
    ) -> Answer {
        let mut request = self.request(method, path).header(header::AUTHORIZATION, format!("Bearer {token}"));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.header(header::CONTENT_TYPE, "application/json");
        self.begin(request.body(Body::from(body.to_string())).expect("request")).await
    }

    /// Opens a stream with a token.
    pub(crate) async fn stream_with_token(&self, path: &str, token: &str) -> Response {
        let request = self.request("GET", path).header(header::AUTHORIZATION, format!("Bearer {token}"));
        self.raw(request.body(Body::empty()).expect("request")).await
    }

    /// Opens a stream of updates.
    pub(crate) async fn stream(&self, path: &str) -> Response {
        self.raw(self.request("GET", path).body(Body::empty()).expect("request")).await
    }

    /// Opens a stream as a browser does that has lost it after this event.
    pub(crate) async fn stream_after(&self, path: &str, last: &str) -> Response {
        let request = self.request("GET", path).header("last-event-id", last);
        self.raw(request.body(Body::empty()).expect("request")).await
    }

    /// Sends a form as it is.
    pub(crate) async fn post(&mut self, path: &str, fields: &[(&str, &str)]) -> Answer {
        self.post_from(path, fields, "https://luci.test").await
    }

    /// The same with another browser's name.
    pub(crate) async fn post_as(&mut self, path: &str, fields: &[(&str, &str)], agent: &str) -> Answer {
        let request = self.request("POST", path).header(header::USER_AGENT, agent);
        let request = request.header(header::ORIGIN, "https://luci.test");
        let request = request.header(header::CONTENT_TYPE, "application/x-www-form-urlencoded");
        self.send(request.body(form(fields)).expect("request")).await
    }

    pub(crate) async fn post_from(&mut self, path: &str, fields: &[(&str, &str)], origin: &str) -> Answer {
        let request = self
            .request("POST", path)
            .header(header::ORIGIN, origin)
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(form(fields))
            .expect("request");
        self.send(request).await
    }

    /// Makes the cluster `alpha` of these nodes by luci's forms, fingerprints confirmed, and waits until it is done; the task's page.
    pub(crate) async fn create_cluster<'a>(
        &mut self,
        nodes: impl IntoIterator<Item = (&'a str, SocketAddr)>,
        password: &str,
    ) -> (String, Answer) {
        let mut fields = vec![("name".to_owned(), "alpha".to_owned())];
        for (row, (name, address)) in nodes.into_iter().enumerate() {
            let field = |of: &str, value: String| (format!("node-{row}-{of}"), value);
            fields.push(field("name", name.to_owned()));
            fields.push(field("host", address.ip().to_string()));
            fields.push(field("port", address.port().to_string()));
            fields.push(field("secret", password.to_owned()));
        }
        let fields: Vec<(&str, &str)> = fields.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let task = self.submit("/create-cluster", "/create-cluster", &fields).await.location.expect("task");
        self.wait_for(&task, "confirm-pairing").await;
        self.submit(&task, &format!("{task}/confirm"), &[]).await;
        let done = self.wait_for(&task, "task-done").await;
        (task, done)
    }

    /// Opens a page, and sends its form with the token and base version that the page has.
    pub(crate) async fn submit(&mut self, page: &str, to: &str, fields: &[(&str, &str)]) -> Answer {
        let form = self.get(page).await;
        assert_eq!(form.status, StatusCode::OK, "{page}: {}", form.text());
        let token = form.hidden("csrf").expect("form token");
        let base = form.hidden("base");
        let mut all: Vec<(&str, &str)> = fields.to_vec();
        all.push(("csrf", &token));
        if let Some(base) = &base {
            all.push(("base", base));
        }
        self.post(to, &all).await
    }

    /// Waits until a page says something.
    pub(crate) async fn wait_for(&mut self, page: &str, wish: &str) -> Answer {
        let mut changes = self.app.watchers.subscribe_any();
        let wait = async {
            loop {
                changes.mark_unchanged();
                let answer = self.get(page).await;
                if answer.body.contains(wish) {
                    return answer;
                }
                // The end of a task is written before it is told.
                let _ = tokio::time::timeout(Duration::from_millis(500), changes.changed()).await;
            }
        };
        match tokio::time::timeout(PATIENCE, wait).await {
            Ok(answer) => answer,
            Err(_) => panic!("{page} never said {wish:?}: {}", self.get(page).await.text()),
        }
    }
}

fn form(fields: &[(&str, &str)]) -> Body {
    let pairs: Vec<String> = fields.iter().map(|(name, value)| format!("{}={}", encode(name), encode(value))).collect();
    Body::from(pairs.join("&"))
}

fn encode(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' => char::from(byte).to_string(),
            other => format!("%{other:02X}"),
        })
        .collect()
}
