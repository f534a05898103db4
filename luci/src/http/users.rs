//! Admin: accounts, what each may where, their sessions and tokens.

use axum::extract::{Path, State};

use super::error::PageError;
use super::forms::Fields;
use super::pages::{Page, draw, draw_refused, form_errors, go, part, shell};
use super::session::Posted;
use crate::app::accounts::{Listed, Roles};
use crate::app::{App, Who};
use crate::ids::{SessionId, TokenId};
use crate::repo::users::{LoginBy, Role};
use crate::views::accounts::{ClusterRole, SessionLine, TokenRow, UserLine, UserPage, UsersPage};
use crate::views::manage::FormErrors;

pub(super) async fn users_page(app: &App, who: Who, name: String, errors: FormErrors) -> Result<UsersPage, PageError> {
    let clusters = app.repo.clusters().await?;
    let line = |account: &Listed| UserLine::new(&account.user, &account.grants, &clusters, account.has_factor);
    let users = app.accounts().await?.iter().map(line).collect();
    Ok(UsersPage {
        demanded_from: app.repo.factor_demanded_from().await?,
        lacking: app.without_demanded_factor().await?,
        shell: shell(app, who, "Users", "users").await?,
        users,
        name,
        pam: app.has_pam(),
        errors,
    })
}

pub(super) async fn users(State(app): State<App>, who: Who) -> Page {
    draw(&users_page(&app, who, String::new(), FormErrors::default()).await?)
}

pub(super) async fn add_user(State(app): State<App>, Posted { who, fields }: Posted) -> Page {
    let name = fields.text("name").to_owned();
    let roles = Roles { everywhere: Role::parse(fields.text("everywhere")), ..Roles::default() };
    let added = if fields.text("login") == "pam" {
        app.add_pam_user(&who, &name, &roles).await
    } else {
        app.add_user(&who, &name, fields.raw("password").to_owned(), &roles).await
    };
    match added {
        Ok(()) => {
            let to = format!("/users/{}", part(&name));
            go(&app, &who, &to, "ok", format!("{name} was added; here are its roles on single clusters")).await
        }
        Err(error) => draw_refused(&users_page(&app, who, name, form_errors(error)?).await?),
    }
}

async fn user_page(app: &App, who: Who, name: &str, errors: FormErrors) -> Result<UserPage, PageError> {
    let user = app.account(name).await?;
    let clusters = app.repo.clusters().await?;
    let grants = app.repo.grants_of(user.id).await?;
    let own_session = who.session().map(str::to_owned);
    let sessions = app.repo.sessions_of(user.id).await?;
    let tokens = app.repo.api_tokens_of(user.id).await?;
    Ok(UserPage {
        own: user.id == who.id,
        pam: user.login == LoginBy::Pam,
        factor_since: app.repo.factor(user.id).await?.map(|factor| crate::views::time(factor.totp_since)),
        everywhere: user.everywhere,
        roles: clusters
            .iter()
            .map(|cluster| ClusterRole { name: cluster.name.clone(), role: grants.get(&cluster.id).copied() })
            .collect(),
        sessions: sessions.iter().map(|session| SessionLine::new(session, own_session.as_deref())).collect(),
        tokens: tokens.iter().map(|token| TokenRow::new(token, &clusters)).collect(),
        shell: shell(app, who, &user.name, "users").await?,
        name: user.name,
        errors,
    })
}

pub(super) async fn user(State(app): State<App>, who: Who, Path(name): Path<String>) -> Page {
    draw(&user_page(&app, who, &name, FormErrors::default()).await?)
}

/// Roles from the form: `everywhere`, and `role-CLUSTER` for each cluster.
fn sent_roles(fields: &Fields) -> Roles {
    let clusters = fields.prefixed("role-").into_iter();
    Roles {
        everywhere: Role::parse(fields.text("everywhere")),
        clusters: clusters.filter_map(|(cluster, role)| Some((cluster, Role::parse(&role)?))).collect(),
    }
}

/// Goes back to the account's page, with the message or the mistakes.
async fn done(app: &App, who: Who, name: &str, result: Result<(), crate::app::AppError>, text: String) -> Page {
    match result {
        Ok(()) => go(app, &who, &format!("/users/{}", part(name)), "ok", text).await,
        Err(error) => draw_refused(&user_page(app, who, name, form_errors(error)?).await?),
    }
}

pub(super) async fn set_roles(
    State(app): State<App>,
    Path(name): Path<String>,
    Posted { who, fields }: Posted,
) -> Page {
    let result = app.set_roles(&who, &name, &sent_roles(&fields)).await;
    done(&app, who, &name, result, format!("the roles of {name} are set")).await
}

pub(super) async fn reset_password(
    State(app): State<App>,
    Path(name): Path<String>,
    Posted { who, fields }: Posted,
) -> Page {
    let result = app.reset_password(&who, &name, fields.raw("password").to_owned()).await;
    done(&app, who, &name, result, format!("the password of {name} is set, and its sessions have ended")).await
}

pub(super) async fn end_session(
    State(app): State<App>,
    Path((name, session)): Path<(String, i64)>,
    Posted { who, .. }: Posted,
) -> Page {
    let user = app.account(&name).await?;
    let result = app.revoke_session(&who, &user, SessionId(session)).await;
    done(&app, who, &name, result, format!("the session of {name} has ended")).await
}

pub(super) async fn revoke_token(
    State(app): State<App>,
    Path((name, token)): Path<(String, i64)>,
    Posted { who, .. }: Posted,
) -> Page {
    let user = app.account(&name).await?;
    let result = app.revoke_api_token(&who, &user, TokenId(token)).await;
    done(&app, who, &name, result, format!("the token of {name} is revoked")).await
}

pub(super) async fn remove_user(State(app): State<App>, Path(name): Path<String>, Posted { who, .. }: Posted) -> Page {
    app.remove_user(&who, &name).await?;
    go(&app, &who, "/users", "ok", format!("{name} was removed")).await
}
