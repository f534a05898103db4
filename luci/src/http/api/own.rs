//! The API's own account: what the page Preferences does. Preferences, sessions, password, tokens; the tokens and sessions of
//! others for administrators. A token can make no token that may more than itself.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Response;
use serde::{Deserialize, Serialize};

use super::{Answer, Body, LUCI, Route, delete, get, made, post, put, says, takes};
use crate::app::{App, AppError, Who};
use crate::http::door::Rule;
use crate::ids::{SessionId, TokenId};
use crate::language::Language;
use crate::repo::access::ApiToken;
use crate::repo::users::{Preferences, Role, Theme, User};

/// Where tokens are made. Its answers hold a secret, so they are not kept for a request that is sent again: that one is
/// refused, because the name is taken.
pub(super) const TOKENS: &str = "/api/v1/account/tokens";

pub(super) fn routes() -> Vec<Route> {
    let own = Rule::Account;
    vec![
        get("/api/v1/account", own, account).doc(says("The own account and its preferences", 200, "Account")),
        put("/api/v1/account/preferences", own, set_preferences).doc(takes(
            "Set the own preferences: what is left out stays",
            "Preferences",
            200,
            "Account",
        )),
        put("/api/v1/account/password", own, change_password).doc(takes(
            "Change the own password and end all own sessions",
            "OwnPassword",
            204,
            "None",
        )),
        get("/api/v1/account/sessions", own, sessions).doc(says("The own open sessions", 200, "Sessions")),
        delete("/api/v1/account/sessions/{session}", own, end_session).doc(says("End an own session", 204, "None")),
        get(TOKENS, own, tokens).doc(says("The own tokens, without their secrets", 200, "Tokens")),
        post(TOKENS, own, add_token).doc(takes(
            "Make a token; its secret is told once. A token makes none that may more than itself",
            "NewToken",
            201,
            "MadeToken",
        )),
        delete("/api/v1/account/tokens/{token}", own, revoke_token).doc(says("Revoke an own token", 204, "None")),
        get("/api/v1/users/{name}/sessions", LUCI, sessions_of).doc(says(
            "Open sessions of an account",
            200,
            "Sessions",
        )),
        delete("/api/v1/users/{name}/sessions/{session}", LUCI, end_session_of).doc(says(
            "End a session of an account",
            204,
            "None",
        )),
        get("/api/v1/users/{name}/tokens", LUCI, tokens_of).doc(says("Tokens of an account", 200, "Tokens")),
        delete("/api/v1/users/{name}/tokens/{token}", LUCI, revoke_token_of).doc(says(
            "Revoke a token of an account",
            204,
            "None",
        )),
    ]
}

#[derive(Serialize)]
struct AccountBody {
    name: String,
    everywhere: Option<Role>,
    clusters: BTreeMap<String, Role>,
    theme: &'static str,
    /// `None`: what the browser asks for.
    language: Option<Language>,
    lines: i64,
}

async fn account_body(app: &App, who: &Who) -> Answer<Json<AccountBody>> {
    let user = app.own_account(who).await?;
    let grants = app.repo.grants_of(user.id).await?;
    let clusters = app.repo.clusters().await?.into_iter();
    Ok(Json(AccountBody {
        clusters: clusters.filter_map(|cluster| Some((cluster.name, *grants.get(&cluster.id)?))).collect(),
        name: user.name,
        everywhere: user.everywhere,
        theme: user.preferences.theme.name(),
        language: user.preferences.language,
        lines: user.preferences.lines,
    }))
}

async fn account(State(app): State<App>, who: Who) -> Answer<Json<AccountBody>> {
    account_body(&app, &who).await
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PreferencesBody {
    theme: Option<String>,
    /// A tag, or `browser` for what the browser asks for.
    language: Option<String>,
    lines: Option<i64>,
}

async fn set_preferences(
    State(app): State<App>,
    who: Who,
    Body(wanted): Body<PreferencesBody>,
) -> Answer<Json<AccountBody>> {
    let before = app.own_account(&who).await?.preferences;
    let theme = match &wanted.theme {
        None => before.theme,
        Some(name) => Theme::parse(name).ok_or_else(|| AppError::field("theme", "choose auto, light or dark"))?,
    };
    let language = match wanted.language.as_deref() {
        None => before.language,
        Some("browser") => None,
        Some(tag) => {
            let known = Language::parse(tag);
            Some(known.ok_or_else(|| AppError::field("language", "choose browser, en, zh-Hans or zh-Hant"))?)
        }
    };
    let lines = wanted.lines.unwrap_or(before.lines);
    app.set_preferences(who.id, &Preferences { theme, language, lines }).await?;
    account_body(&app, &who).await
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct OwnPasswordBody {
    old: String,
    password: String,
}

async fn change_password(State(app): State<App>, who: Who, Body(new): Body<OwnPasswordBody>) -> Answer<StatusCode> {
    app.change_password(&who, new.old, new.password).await?;
    Ok(StatusCode::NO_CONTENT)
}

#[derive(Serialize)]
struct SessionBody {
    id: i64,
    created_at: i64,
    seen_at: i64,
    address: String,
    browser: String,
}

async fn session_bodies(app: &App, of: &User) -> Answer<Json<Vec<SessionBody>>> {
    let sessions = app.repo.sessions_of(of.id).await?.into_iter();
    let bodies = sessions.map(|session| SessionBody {
        id: session.id.0,
        created_at: session.created_at,
        seen_at: session.seen_at,
        address: session.address,
        browser: session.browser,
    });
    Ok(Json(bodies.collect()))
}

async fn sessions(State(app): State<App>, who: Who) -> Answer<Json<Vec<SessionBody>>> {
    session_bodies(&app, &app.own_account(&who).await?).await
}

async fn end_session(State(app): State<App>, who: Who, Path(session): Path<i64>) -> Answer<StatusCode> {
    let of = app.own_account(&who).await?;
    app.revoke_session(&who, &of, SessionId(session)).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn sessions_of(State(app): State<App>, Path(name): Path<String>) -> Answer<Json<Vec<SessionBody>>> {
    session_bodies(&app, &app.account(&name).await?).await
}

async fn end_session_of(
    State(app): State<App>,
    who: Who,
    Path((name, session)): Path<(String, i64)>,
) -> Answer<StatusCode> {
    let of = app.account(&name).await?;
    app.revoke_session(&who, &of, SessionId(session)).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// A token without its secret.
#[derive(Serialize)]
struct TokenBody {
    id: i64,
    name: String,
    role: Role,
    /// `None`: every cluster that the account sees.
    cluster: Option<String>,
    created_at: i64,
    used_at: Option<i64>,
}

async fn token_bodies(app: &App, of: &User) -> Answer<Vec<TokenBody>> {
    let clusters = app.repo.clusters().await?;
    let name = |token: &ApiToken| {
        let cluster = clusters.iter().find(|cluster| Some(cluster.id) == token.cluster_id)?;
        Some(cluster.name.clone())
    };
    let tokens = app.repo.api_tokens_of(of.id).await?.into_iter();
    let bodies = tokens.map(|token| TokenBody {
        id: token.id.0,
        cluster: name(&token),
        name: token.name,
        role: token.role,
        created_at: token.created_at,
        used_at: token.used_at,
    });
    Ok(bodies.collect())
}

async fn tokens(State(app): State<App>, who: Who) -> Answer<Json<Vec<TokenBody>>> {
    Ok(Json(token_bodies(&app, &app.own_account(&who).await?).await?))
}

async fn tokens_of(State(app): State<App>, Path(name): Path<String>) -> Answer<Json<Vec<TokenBody>>> {
    Ok(Json(token_bodies(&app, &app.account(&name).await?).await?))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewTokenBody {
    name: String,
    role: Role,
    #[serde(default)]
    cluster: Option<String>,
}

/// A token just made, with its secret.
#[derive(Serialize)]
struct MadeTokenBody {
    name: String,
    secret: String,
}

async fn add_token(State(app): State<App>, who: Who, Body(new): Body<NewTokenBody>) -> Answer<Response> {
    let secret = app.add_api_token(&who, &new.name, new.role, new.cluster.as_deref()).await?;
    Ok(made(StatusCode::CREATED, TOKENS.to_owned(), MadeTokenBody { name: new.name, secret }))
}

async fn revoke_token(State(app): State<App>, who: Who, Path(token): Path<i64>) -> Answer<StatusCode> {
    let of = app.own_account(&who).await?;
    app.revoke_api_token(&who, &of, TokenId(token)).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn revoke_token_of(
    State(app): State<App>,
    who: Who,
    Path((name, token)): Path<(String, i64)>,
) -> Answer<StatusCode> {
    let of = app.account(&name).await?;
    app.revoke_api_token(&who, &of, TokenId(token)).await?;
    Ok(StatusCode::NO_CONTENT)
}
