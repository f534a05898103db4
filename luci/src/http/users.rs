//! Accounts: the list for administrators, and everyone's own password.

use axum::extract::{Path, State};

use super::pages::{Page, draw, draw_refused, form_errors, go, shell};
use super::session::Posted;
use crate::app::{App, Who};
use crate::repo::users::Role;
use crate::views::manage::{AccountPage, FormErrors, UsersPage};

pub(super) async fn users(State(app): State<App>, who: Who) -> Page {
    who.require(Role::Administrator)?;
    let users = app.repo.users().await?;
    let shell = shell(&app, who, "Users", "users").await?;
    draw(&UsersPage { shell, users, name: String::new(), errors: FormErrors::default() })
}

pub(super) async fn add_user(State(app): State<App>, Posted { who, fields }: Posted) -> Page {
    let name = fields.text("name").to_owned();
    let role = Role::parse(fields.text("role")).unwrap_or(Role::Viewer);
    match app.add_user(&who, &name, fields.raw("password").to_owned(), role).await {
        Ok(()) => go(&app, &who, "/users", "ok", format!("{name} was added as {}", role.name())).await,
        Err(error) => {
            let errors = form_errors(error)?;
            let users = app.repo.users().await?;
            let shell = shell(&app, who, "Users", "users").await?;
            draw_refused(&UsersPage { shell, users, name, errors })
        }
    }
}

pub(super) async fn remove_user(State(app): State<App>, Path(name): Path<String>, Posted { who, .. }: Posted) -> Page {
    app.remove_user(&who, &name).await?;
    go(&app, &who, "/users", "ok", format!("{name} was removed")).await
}

pub(super) async fn account(State(app): State<App>, who: Who) -> Page {
    let shell = shell(&app, who, "Account", "account").await?;
    draw(&AccountPage { shell, errors: FormErrors::default() })
}

pub(super) async fn change_password(State(app): State<App>, Posted { who, fields }: Posted) -> Page {
    let (old, new) = (fields.raw("old").to_owned(), fields.raw("password").to_owned());
    match app.change_password(&who, old, new).await {
        Ok(()) => go(&app, &who, "/login", "ok", "password changed").await,
        Err(error) => {
            let errors = form_errors(error)?;
            let shell = shell(&app, who, "Account", "account").await?;
            draw_refused(&AccountPage { shell, errors })
        }
    }
}
