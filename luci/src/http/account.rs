//! Preferences: what everyone sets for themselves. Password, looks, own sessions, own tokens of the API.

use axum::extract::{Path, State};
use axum::response::Redirect;

use super::error::PageError;
use super::pages::{Page, draw, draw_refused, form_errors, go, shell};
use super::session::Posted;
use crate::app::accounts::{LINES_MAX, LINES_MIN};
use crate::app::{App, AppError, Who};
use crate::ids::{SessionId, TokenId};
use crate::language::Language;
use crate::repo::users::{LoginBy, Preferences, Role, Theme};
use crate::views::accounts::{AccountPage, SessionLine, TokenRow};
use crate::views::manage::FormErrors;

const HERE: &str = "/account";

async fn account_page(
    app: &App,
    who: Who,
    secret: Option<String>,
    errors: FormErrors,
) -> Result<AccountPage, PageError> {
    let sessions = app.repo.sessions_of(who.id).await?;
    let tokens = app.repo.api_tokens_of(who.id).await?;
    let clusters = app.repo.clusters().await?;
    let own_session = who.session().map(str::to_owned);
    Ok(AccountPage {
        sessions: sessions.iter().map(|session| SessionLine::new(session, own_session.as_deref())).collect(),
        tokens: tokens.iter().map(|token| TokenRow::new(token, &clusters)).collect(),
        clusters: clusters
            .iter()
            .filter(|cluster| who.access.on(cluster.id).is_some())
            .map(|cluster| cluster.name.clone())
            .collect(),
        pam: app.own_account(&who).await?.login == LoginBy::Pam,
        has_factor: app.repo.factor(who.id).await?.is_some(),
        lines: (LINES_MIN, who.preferences.lines, LINES_MAX),
        secret,
        errors,
        shell: shell(app, who, "Preferences", "account").await?,
    })
}

pub(super) async fn account(State(app): State<App>, who: Who) -> Page {
    draw(&account_page(&app, who, None, FormErrors::default()).await?)
}

async fn refused(app: &App, who: Who, error: AppError) -> Page {
    draw_refused(&account_page(app, who, None, form_errors(error)?).await?)
}

pub(super) async fn change_password(State(app): State<App>, Posted { who, fields }: Posted) -> Page {
    let (old, new) = (fields.raw("old").to_owned(), fields.raw("password").to_owned());
    match app.change_password(&who, old, new).await {
        // All sessions have ended, this one, too.
        Ok(()) => Ok(axum::response::IntoResponse::into_response(Redirect::to("/login"))),
        Err(error) => refused(&app, who, error).await,
    }
}

pub(super) async fn set_preferences(State(app): State<App>, Posted { who, fields }: Posted) -> Page {
    let result = async {
        let lines = fields.number("lines", "the number of lines")?.unwrap_or(who.preferences.lines);
        let theme = Theme::parse(fields.text("theme")).unwrap_or(who.preferences.theme);
        let language = Language::parse(fields.text("language"));
        app.set_preferences(who.id, &Preferences { theme, language, lines }).await
    };
    match result.await {
        // The page that says it speaks the new language already.
        Ok(()) => go(&app, &who, HERE, "ok", "preferences stored").await,
        Err(error) => refused(&app, who, error).await,
    }
}

pub(super) async fn end_session(State(app): State<App>, Path(session): Path<i64>, Posted { who, .. }: Posted) -> Page {
    let user = app.own_account(&who).await?;
    match app.revoke_session(&who, &user, SessionId(session)).await {
        Ok(()) => go(&app, &who, HERE, "ok", "the session has ended").await,
        Err(error) => refused(&app, who, error).await,
    }
}

/// Answers with the page itself, not with a redirect: the secret is shown here and never again.
pub(super) async fn add_token(State(app): State<App>, Posted { who, fields }: Posted) -> Page {
    let role = Role::parse(fields.text("token-role")).unwrap_or(Role::Viewer);
    let cluster = fields.optional("token-cluster");
    match app.add_api_token(&who, fields.text("token-name"), role, cluster.as_deref()).await {
        Ok(secret) => draw(&account_page(&app, who, Some(secret), FormErrors::default()).await?),
        Err(error) => refused(&app, who, error).await,
    }
}

pub(super) async fn revoke_token(State(app): State<App>, Path(token): Path<i64>, Posted { who, .. }: Posted) -> Page {
    let user = app.own_account(&who).await?;
    match app.revoke_api_token(&who, &user, TokenId(token)).await {
        Ok(()) => go(&app, &who, HERE, "ok", "the token is revoked").await,
        Err(error) => refused(&app, who, error).await,
    }
}
