//! The API's accounts and the audit trail. Tokens are made in the console only: a token must not make a greater one.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::Response;
use serde::{Deserialize, Serialize};

use super::{Answer, Body, made};
use crate::app::accounts::Roles;
use crate::app::{App, Who};
use crate::repo::audit::{AuditEntry, AuditFilter};
use crate::repo::users::{Role, User};

/// Entries in one answer.
const LINES: i64 = 100;

#[derive(Deserialize)]
pub(super) struct Entries {
    #[serde(default)]
    before: Option<i64>,
    #[serde(default)]
    cluster: Option<String>,
    #[serde(default)]
    user: Option<String>,
}

pub(super) async fn audit(
    State(app): State<App>,
    who: Who,
    Query(which): Query<Entries>,
) -> Answer<Json<Vec<AuditEntry>>> {
    let clusters = app.repo.clusters().await?.into_iter();
    let seen = clusters.filter(|cluster| who.access.on(cluster.id).is_some()).map(|cluster| cluster.name);
    let whole = who.access.everywhere() == Some(Role::Administrator);
    let filter = AuditFilter {
        cluster: which.cluster,
        user: which.user,
        before: which.before,
        visible: (!whole).then(|| seen.collect()),
    };
    Ok(Json(app.repo.audit(&filter, LINES).await?))
}

#[derive(Serialize)]
struct UserBody {
    name: String,
    everywhere: Option<Role>,
    clusters: BTreeMap<String, Role>,
    created_at: i64,
}

async fn user_body(app: &App, user: User) -> Answer<UserBody> {
    let grants = app.repo.grants_of(user.id).await?;
    let clusters = app.repo.clusters().await?.into_iter();
    Ok(UserBody {
        clusters: clusters.filter_map(|cluster| Some((cluster.name, *grants.get(&cluster.id)?))).collect(),
        name: user.name,
        everywhere: user.everywhere,
        created_at: user.created_at,
    })
}

pub(super) async fn users(State(app): State<App>) -> Answer<Response> {
    let mut bodies = Vec::new();
    for user in app.repo.users().await? {
        bodies.push(user_body(&app, user).await?);
    }
    Ok(axum::response::IntoResponse::into_response(Json(bodies)))
}

/// Roles as a body: everywhere, and on single clusters.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RolesBody {
    #[serde(default)]
    everywhere: Option<Role>,
    #[serde(default)]
    clusters: BTreeMap<String, Role>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NewUserBody {
    name: String,
    password: String,
    #[serde(default)]
    everywhere: Option<Role>,
    #[serde(default)]
    clusters: BTreeMap<String, Role>,
}

pub(super) async fn add(State(app): State<App>, who: Who, Body(new): Body<NewUserBody>) -> Answer<Response> {
    let roles = Roles { everywhere: new.everywhere, clusters: new.clusters };
    app.add_user(&who, &new.name, new.password, &roles).await?;
    let user = app.account(&new.name).await?;
    let location = format!("/api/v1/users/{}", user.name);
    Ok(made(StatusCode::CREATED, location, user_body(&app, user).await?))
}

pub(super) async fn set_roles(
    State(app): State<App>,
    who: Who,
    Path(name): Path<String>,
    Body(roles): Body<RolesBody>,
) -> Answer<Response> {
    app.set_roles(&who, &name, &Roles { everywhere: roles.everywhere, clusters: roles.clusters }).await?;
    let user = app.account(&name).await?;
    Ok(axum::response::IntoResponse::into_response(Json(user_body(&app, user).await?)))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PasswordBody {
    password: String,
}

pub(super) async fn reset_password(
    State(app): State<App>,
    who: Who,
    Path(name): Path<String>,
    Body(new): Body<PasswordBody>,
) -> Answer<Response> {
    app.reset_password(&who, &name, new.password).await?;
    let user = app.account(&name).await?;
    Ok(axum::response::IntoResponse::into_response(Json(user_body(&app, user).await?)))
}

pub(super) async fn remove(State(app): State<App>, who: Who, Path(name): Path<String>) -> Answer<StatusCode> {
    app.remove_user(&who, &name).await?;
    Ok(StatusCode::NO_CONTENT)
}
