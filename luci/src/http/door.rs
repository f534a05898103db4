//! The door: every route stands in one table with the role it needs, and is entered here or not at all. A handler learns
//! who asks only from the door, so a route whose rule was forgotten answers nobody.

use std::net::SocketAddr;

use axum::Router;
use axum::extract::{ConnectInfo, FromRequestParts, RawPathParams, Request, State};
use axum::handler::Handler;
use axum::http::request::Parts;
use axum::http::{Method, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodFilter, MethodRouter, on};
use axum_extra::extract::CookieJar;

use super::api::{ApiError, once};
use super::error::PageError;
use super::session::SESSION_COOKIE;
use crate::app::access::{Scope, check_role};
use crate::app::{App, AppError, Who};
use crate::language::{self, Language};
use crate::repo::users::Role;
use crate::tokens;

/// Who may enter a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rule {
    /// Anybody, also before the login.
    Open,
    /// Every account, also one that must switch its second factor on before anything else.
    Entering,
    /// Every account; the handler shows each only what it may see.
    Account,
    /// This role on luci itself.
    Luci(Role),
    /// This role on the cluster that the path names as `{cluster}`.
    Cluster(Role),
    /// This role on the cluster of the task that the path names as `{task}`.
    Task(Role),
}

/// A route with its rule.
#[derive(Debug)]
pub struct Route {
    pub method: Method,
    pub path: &'static str,
    pub rule: Rule,
    /// What the API's document says of it; pages have none.
    pub doc: Option<Doc>,
    entry: MethodRouter<App>,
}

/// What the API's document says of a route.
#[derive(Debug, Clone, Copy)]
pub struct Doc {
    pub summary: &'static str,
    /// Name of the schema of the body that it takes.
    pub body: Option<&'static str>,
    /// Status when it was done.
    pub status: u16,
    /// Name of the schema of its answer; `None` for an empty one.
    pub answer: &'static str,
    /// What may follow the path.
    pub(super) query: &'static [Asked],
}

/// A parameter of the query.
#[derive(Debug, Clone, Copy)]
pub(super) struct Asked {
    pub(super) name: &'static str,
    /// As JSON Schema has it.
    pub(super) kind: &'static str,
    pub(super) says: &'static str,
    pub(super) required: bool,
}

impl Asked {
    /// One that may be left out.
    pub(super) const fn optional(name: &'static str, kind: &'static str, says: &'static str) -> Self {
        Self { name, kind, says, required: false }
    }

    /// One without which there is no answer.
    pub(super) const fn required(name: &'static str, kind: &'static str, says: &'static str) -> Self {
        Self { name, kind, says, required: true }
    }
}

impl Doc {
    /// With these parameters after the path.
    pub(super) const fn asking(self, query: &'static [Asked]) -> Self {
        Self { query, ..self }
    }
}

impl Route {
    /// Documents a route of the API.
    pub(super) fn doc(self, doc: Doc) -> Self {
        Self { doc: Some(doc), ..self }
    }
}

fn route<H, T>(method: Method, filter: MethodFilter, path: &'static str, rule: Rule, handler: H) -> Route
where
    H: Handler<T, App>,
    T: 'static,
{
    Route { method, path, rule, doc: None, entry: on(filter, handler) }
}

/// A route that changes nothing.
pub(super) fn get<H: Handler<T, App>, T: 'static>(path: &'static str, rule: Rule, handler: H) -> Route {
    route(Method::GET, MethodFilter::GET, path, rule, handler)
}

pub(super) fn post<H: Handler<T, App>, T: 'static>(path: &'static str, rule: Rule, handler: H) -> Route {
    route(Method::POST, MethodFilter::POST, path, rule, handler)
}

pub(super) fn put<H: Handler<T, App>, T: 'static>(path: &'static str, rule: Rule, handler: H) -> Route {
    route(Method::PUT, MethodFilter::PUT, path, rule, handler)
}

pub(super) fn delete<H: Handler<T, App>, T: 'static>(path: &'static str, rule: Rule, handler: H) -> Route {
    route(Method::DELETE, MethodFilter::DELETE, path, rule, handler)
}

/// The router of a table of routes, each behind its rule.
pub(super) fn behind_the_door(app: &App, routes: Vec<Route>) -> Router<App> {
    routes.into_iter().fold(Router::new(), |router, Route { path, rule, entry, .. }| {
        let door = Door { app: app.clone(), rule };
        router.route(path, entry.route_layer(middleware::from_fn_with_state(door, enter)))
    })
}

#[derive(Clone)]
struct Door {
    app: App,
    rule: Rule,
}

async fn enter(State(door): State<Door>, params: RawPathParams, mut request: Request, next: Next) -> Response {
    let api = request.uri().path().starts_with("/api/");
    let (parts, body) = request.into_parts();
    match admit(&door, &params, &parts, api).await {
        Ok(who) => {
            request = Request::from_parts(parts, body);
            let key = if api { once::key(&request) } else { None };
            if let Some(who) = who.clone() {
                request.extensions_mut().insert(who);
            }
            match (who, key) {
                (Some(who), Some(key)) => once::once(&door.app, &who, key, request, next).await,
                _ => next.run(request).await,
            }
        }
        Err(error) if api => ApiError::from(error).into_response(),
        Err(error) => error.into_response(),
    }
}

/// Lets pages speak the language that the browser asks for; the door changes to the account's own. The API speaks English,
/// because programs read it.
pub(super) async fn speak(request: Request, next: Next) -> Response {
    let accepted = request.headers().get(header::ACCEPT_LANGUAGE).and_then(|value| value.to_str().ok());
    let api = request.uri().path().starts_with("/api/");
    let language = accepted.filter(|_| !api).map_or(Language::English, Language::accepted);
    language::speak(language, next.run(request)).await
}

/// The one place that refuses for want of a login or of a role.
async fn admit(door: &Door, params: &RawPathParams, parts: &Parts, api: bool) -> Result<Option<Who>, PageError> {
    if door.rule == Rule::Open {
        return Ok(None);
    }
    let mut who = known(&door.app, parts, api).await?;
    if let (Some(own), false) = (who.preferences.language, api) {
        language::prefer(own);
    }
    if door.rule != Rule::Entering && door.app.lacks_factor(&who).await? {
        return Err(PageError::FactorFirst);
    }
    let param = |name: &str| params.iter().find(|(key, _)| *key == name).map_or("", |(_, value)| value);
    match door.rule {
        Rule::Open | Rule::Entering | Rule::Account => {}
        Rule::Luci(needs) => check_role(who.access.everywhere(), needs)?,
        Rule::Cluster(needs) => {
            let cluster = door.app.cluster(param("cluster")).await?;
            who.scope = Scope::Cluster(cluster.id);
            if who.role().is_none() {
                return Err(AppError::NoSuch { what: "cluster", name: cluster.name }.into());
            }
            check_role(who.role(), needs)?;
        }
        Rule::Task(needs) => {
            let id = param("task");
            let missing = || AppError::NoSuch { what: "task", name: id.to_owned() };
            let task = door.app.repo.task(id).await?.ok_or_else(missing)?;
            who.scope = task.cluster_id.map_or(Scope::Luci, Scope::Cluster);
            if who.role().is_none() {
                return Err(missing().into());
            }
            check_role(who.role(), needs)?;
        }
    }
    Ok(Some(who))
}

/// Who asks: by a session, or on the API also by a token.
async fn known(app: &App, parts: &Parts, api: bool) -> Result<Who, PageError> {
    let next = parts.uri.path_and_query().map_or("/", |path| path.as_str()).to_owned();
    let address = address(parts);
    let bearer = parts.headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    if let (true, Some(bearer)) = (api, bearer) {
        let token = bearer.strip_prefix("Bearer ").unwrap_or_default().trim();
        let who = app.who_by_token(&tokens::hash(token), &address).await?;
        return who.ok_or_else(|| {
            tracing::warn!(address, "an unknown or revoked token was refused");
            PageError::LoggedOut { next }
        });
    }
    let jar = CookieJar::from_headers(&parts.headers);
    let Some(token) = jar.get(SESSION_COOKIE) else { return Err(PageError::LoggedOut { next }) };
    let who = app.who_by_session(&tokens::hash(token.value()), Some(browser(parts)), &address).await?;
    who.ok_or(PageError::LoggedOut { next })
}

/// Where a request comes from.
pub(super) fn address(parts: &Parts) -> String {
    parts.extensions.get::<ConnectInfo<SocketAddr>>().map_or_else(|| "local".into(), |info| info.0.ip().to_string())
}

/// What the browser calls itself; empty if it says nothing.
pub(super) fn browser(parts: &Parts) -> &str {
    parts.headers.get(header::USER_AGENT).and_then(|value| value.to_str().ok()).unwrap_or_default()
}

impl FromRequestParts<App> for Who {
    type Rejection = PageError;

    async fn from_request_parts(parts: &mut Parts, _app: &App) -> Result<Self, PageError> {
        let missing = || PageError::LoggedOut { next: parts.uri.path().to_owned() };
        parts.extensions.get::<Self>().cloned().ok_or_else(missing)
    }
}
