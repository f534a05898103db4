//! Logging in and out, and the first administrator's password by the one-time link.

use axum::extract::{Query, State};
use axum::response::{IntoResponse, Redirect, Response};
use axum_extra::extract::CookieJar;
use serde::Deserialize;

use super::error::PageError;
use super::pages::{draw, draw_refused, form_errors};
use super::session::{Entry, EntryPosted, Posted, SESSION_COOKIE, STEP_COOKIE, cookie, gone};
use crate::app::auth::{Login, NewSession};
use crate::app::{App, AppError};
use crate::repo::sessions::Origin;
use crate::tokens;
use crate::views::manage::{LoginCodePage, LoginPage, SetupPage};

#[derive(Debug, Deserialize)]
pub(super) struct Next {
    #[serde(default)]
    next: String,
}

/// Only addresses on this server, so that a link cannot lead elsewhere after the login.
fn local(next: &str) -> &str {
    let ok = next.starts_with('/') && !next.starts_with("//") && !next.contains(['\\', '\n', '\r']);
    if ok { next } else { "/" }
}

pub(super) async fn login_form(
    State(app): State<App>,
    entry: Entry,
    Query(next): Query<Next>,
) -> Result<Response, PageError> {
    let page = LoginPage {
        csrf: entry.token,
        next: local(&next.next).to_owned(),
        name: String::new(),
        error: None,
        fresh: !app.repo.has_users().await?,
    };
    Ok((entry.jar, draw(&page)?).into_response())
}

pub(super) async fn login(State(app): State<App>, posted: EntryPosted) -> Result<Response, PageError> {
    let EntryPosted { fields, address, browser, token } = posted;
    let from = Origin { address: &address, browser: &browser };
    let name = fields.text("name").to_owned();
    let next = local(fields.text("next")).to_owned();
    match app.login(&name, fields.raw("password").to_owned(), from).await {
        Ok(Login::Open(session)) => Ok(enter(session, &next)),
        Ok(Login::Code { token: step }) => {
            let jar = CookieJar::new().add(cookie(STEP_COOKIE, step));
            Ok((jar, draw(&LoginCodePage { csrf: token, next, error: None })?).into_response())
        }
        Err(AppError::Invalid { fields }) => {
            let error = fields.into_iter().next().map(|field| field.text);
            draw_refused(&LoginPage { csrf: token, next, name, error, fresh: false })
        }
        // The system could not be asked for the password; nobody is logged in yet who could look elsewhere.
        Err(AppError::Unreachable(text)) => {
            draw_refused(&LoginPage { csrf: token, next, name, error: Some(text), fresh: false })
        }
        Err(error) => Err(error.into()),
    }
}

/// The second step of a login: the cookie tells which password was right.
pub(super) async fn login_code(
    State(app): State<App>,
    jar: CookieJar,
    posted: EntryPosted,
) -> Result<Response, PageError> {
    let EntryPosted { fields, address, browser, token } = posted;
    let from = Origin { address: &address, browser: &browser };
    let next = local(fields.text("next")).to_owned();
    let step = jar.get(STEP_COOKIE).map(|cookie| cookie.value().to_owned()).unwrap_or_default();
    match app.login_with_code(&step, fields.text("code"), from).await {
        Ok(session) => Ok((CookieJar::new().add(gone(STEP_COOKIE)), enter(session, &next)).into_response()),
        Err(AppError::Invalid { fields }) => {
            let error = fields.into_iter().next().map(|field| field.text);
            draw_refused(&LoginCodePage { csrf: token, next, error })
        }
        Err(AppError::Conflict(text)) => {
            let page = LoginPage { csrf: token, next, name: String::new(), error: Some(text), fresh: false };
            draw_refused(&page)
        }
        Err(error) => Err(error.into()),
    }
}

fn enter(session: NewSession, next: &str) -> Response {
    let jar = CookieJar::new().add(cookie(SESSION_COOKIE, session.token));
    (jar, Redirect::to(next)).into_response()
}

pub(super) async fn logout(State(app): State<App>, posted: Posted) -> Result<Response, PageError> {
    app.logout(&posted.who).await?;
    let jar = CookieJar::new().add(gone(SESSION_COOKIE));
    Ok((jar, Redirect::to("/login")).into_response())
}

#[derive(Debug, Deserialize)]
pub(super) struct SetupLink {
    #[serde(default)]
    token: String,
}

pub(super) async fn setup_form(
    State(app): State<App>,
    entry: Entry,
    Query(link): Query<SetupLink>,
) -> Result<Response, PageError> {
    if !app.repo.is_setup_link(&tokens::hash(&link.token)).await? {
        let text = "this link is not valid any more; log in, or restart luci for a new one if nobody can";
        return Err(AppError::Conflict(text.into()).into());
    }
    let page = SetupPage { csrf: entry.token, token: link.token, name: "admin".into(), error: None };
    Ok((entry.jar, draw(&page)?).into_response())
}

pub(super) async fn setup(State(app): State<App>, posted: EntryPosted) -> Result<Response, PageError> {
    let EntryPosted { fields, address, browser, token: csrf } = posted;
    let from = Origin { address: &address, browser: &browser };
    let token = fields.text("token").to_owned();
    let name = fields.text("name").to_owned();
    let password = fields.raw("password").to_owned();
    let refused = |error: String| {
        draw_refused(&SetupPage { csrf: csrf.clone(), token: token.clone(), name: name.clone(), error: Some(error) })
    };
    if password != fields.raw("again") {
        return refused("the two passwords differ".into());
    }
    match app.set_up(&token, &name, password, from).await {
        Ok(session) => Ok(enter(session, "/")),
        Err(error @ AppError::Invalid { .. }) => {
            let errors = form_errors(error)?;
            refused(errors.0.into_iter().map(|(_, text)| text).collect::<Vec<_>>().join("; "))
        }
        Err(error) => Err(error.into()),
    }
}
