//! The API's accounts and the audit trail; the own account is in `own`.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::Response;
use serde::{Deserialize, Serialize};

use super::{Answer, Body, made};
use crate::app::accounts::{Listed, Roles};
use crate::app::{App, Who};
use crate::http::door::Asked;
use crate::repo::audit::{AuditEntry, AuditFilter};
use crate::repo::clusters::Cluster;
use crate::repo::users::{LoginBy, Role, User};

/// Entries in one answer.
const LINES: i64 = 100;

/// The fields of [`Entries`].
pub(super) const ENTRIES: &[Asked] = &[
    Asked::optional("before", "integer", "Only entries with a smaller id"),
    Asked::optional("cluster", "string", "Only entries about this cluster"),
    Asked::optional("user", "string", "Only what this account did"),
];

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
    login: LoginBy,
    second_factor: bool,
    created_at: i64,
}

impl UserBody {
    fn new(account: Listed, clusters: &[Cluster]) -> Self {
        let Listed { user, grants, has_factor: second_factor } = account;
        let clusters = clusters.iter().filter_map(|cluster| Some((cluster.name.clone(), *grants.get(&cluster.id)?)));
        Self {
            clusters: clusters.collect(),
            second_factor,
            name: user.name,
            everywhere: user.everywhere,
            login: user.login,
            created_at: user.created_at,
        }
    }
}

async fn user_body(app: &App, user: User) -> Answer<UserBody> {
    let grants = app.repo.grants_of(user.id).await?;
    let has_factor = app.repo.factor(user.id).await?.is_some();
    Ok(UserBody::new(Listed { user, grants, has_factor }, &app.repo.clusters().await?))
}

pub(super) async fn users(State(app): State<App>) -> Answer<Response> {
    let clusters = app.repo.clusters().await?;
    let bodies: Vec<UserBody> =
        app.accounts().await?.into_iter().map(|account| UserBody::new(account, &clusters)).collect();
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
    #[serde(default = "by_password")]
    login: LoginBy,
    /// Not for an account that logs in by PAM.
    #[serde(default)]
    password: String,
    #[serde(default)]
    everywhere: Option<Role>,
    #[serde(default)]
    clusters: BTreeMap<String, Role>,
}

fn by_password() -> LoginBy {
    LoginBy::Password
}

pub(super) async fn add(State(app): State<App>, who: Who, Body(new): Body<NewUserBody>) -> Answer<Response> {
    let roles = Roles { everywhere: new.everywhere, clusters: new.clusters };
    match new.login {
        LoginBy::Password => app.add_user(&who, &new.name, new.password, &roles).await?,
        LoginBy::Pam => app.add_pam_user(&who, &new.name, &roles).await?,
    }
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

pub(super) async fn remove_factor(State(app): State<App>, who: Who, Path(name): Path<String>) -> Answer<StatusCode> {
    app.remove_factor(&who, &name).await?;
    Ok(StatusCode::NO_CONTENT)
}

#[derive(Serialize)]
pub(super) struct DemandBody {
    demanded_from: Option<Role>,
    /// Accounts that must switch theirs on before they can do anything else in a browser.
    lacking: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NewDemandBody {
    /// `null`: of nobody. It must be said: an empty body lifts nothing.
    #[serde(deserialize_with = "Option::deserialize")]
    demanded_from: Option<Role>,
}

/// Of whom a second factor is demanded.
pub(super) async fn demand(State(app): State<App>) -> Answer<Json<DemandBody>> {
    let demanded_from = app.repo.factor_demanded_from().await?;
    Ok(Json(DemandBody { demanded_from, lacking: app.without_demanded_factor().await? }))
}

pub(super) async fn set_demand(
    State(app): State<App>,
    who: Who,
    Body(new): Body<NewDemandBody>,
) -> Answer<Json<DemandBody>> {
    app.demand_factor(&who, new.demanded_from).await?;
    demand(State(app)).await
}
