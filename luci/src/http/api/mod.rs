//! `/api/v1`: the same copy and the same rules as the pages, as JSON. The routes carry their documentation, of which the
//! OpenAPI document is made, so that it cannot name an address that is not there.

mod accounts;
mod clusters;
mod config;
mod nodes;
pub(super) mod once;
pub(super) mod openapi;
mod own;
pub(super) mod problem;
mod resources;
mod tasks;

use axum::Json;
use axum::extract::{FromRequest, Request, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::door::{Doc, Route, Rule, delete, get, post, put};
use super::error::PageError;
use crate::app::App;
use crate::repo::users::Role;
pub(super) use problem::ApiError;

const VIEWER: Rule = Rule::Cluster(Role::Viewer);
const OPERATOR: Rule = Rule::Cluster(Role::Operator);
const ADMINISTRATOR: Rule = Rule::Cluster(Role::Administrator);
const LUCI: Rule = Rule::Luci(Role::Administrator);

/// What a handler of the API returns.
type Answer<T> = Result<T, ApiError>;

/// The document of a route that takes no body.
const fn says(summary: &'static str, status: u16, answer: &'static str) -> Doc {
    Doc { summary, body: None, status, answer, query: &[] }
}

/// The document of a route that takes a body.
const fn takes(summary: &'static str, body: &'static str, status: u16, answer: &'static str) -> Doc {
    Doc { summary, body: Some(body), status, answer, query: &[] }
}

pub(super) fn routes() -> Vec<Route> {
    let mut routes = vec![
        get("/api/v1/health", Rule::Open, health).doc(says("Whether luci lives", 200, "Health")),
        get("/api/v1/ready", Rule::Open, ready).doc(says(
            "Whether luci can work: its database answers and can be written",
            200,
            "Health",
        )),
        get("/api/v1/openapi.json", Rule::Open, openapi::document).doc(says("This document", 200, "Any")),
        get("/api/v1/audit", Rule::Account, accounts::audit)
            .doc(says("Who changed what, newest first", 200, "Audit").asking(accounts::ENTRIES)),
        get("/api/v1/users", LUCI, accounts::users).doc(says("Accounts", 200, "Users")),
        post("/api/v1/users", LUCI, accounts::add).doc(takes("Add an account", "NewUser", 201, "User")),
        put("/api/v1/users/{name}/roles", LUCI, accounts::set_roles).doc(takes(
            "Replace the roles of an account",
            "Roles",
            200,
            "User",
        )),
        put("/api/v1/users/{name}/password", LUCI, accounts::reset_password).doc(takes(
            "Set the password of an account and end its sessions",
            "Password",
            200,
            "User",
        )),
        get("/api/v1/second-factor", LUCI, accounts::demand).doc(says(
            "Of whom a second factor is demanded, and who has none",
            200,
            "SecondFactor",
        )),
        put("/api/v1/second-factor", LUCI, accounts::set_demand).doc(takes(
            "Demand a second factor of every account with a role, or of nobody",
            "NewSecondFactor",
            200,
            "SecondFactor",
        )),
        delete("/api/v1/users/{name}/second-factor", LUCI, accounts::remove_factor).doc(says(
            "Take the second factor of an account away and end its sessions",
            204,
            "None",
        )),
        delete("/api/v1/users/{name}", LUCI, accounts::remove).doc(says(
            "Remove an account with its sessions and tokens",
            204,
            "None",
        )),
    ];
    routes.extend(own::routes());
    routes.extend(clusters::routes());
    routes.extend(nodes::routes());
    routes.extend(config::routes());
    routes.extend(resources::routes());
    routes.extend(tasks::routes());
    routes
}

/// A JSON body; one that cannot be read is told as a problem.
struct Body<T>(T);

impl<T: DeserializeOwned> FromRequest<App> for Body<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, app: &App) -> Result<Self, ApiError> {
        match Json::<T>::from_request(request, app).await {
            Ok(Json(body)) => Ok(Self(body)),
            Err(rejection) => Err(PageError::Unreadable(rejection.body_text()).into()),
        }
    }
}

/// Something new, and where it is.
fn made(status: StatusCode, location: String, body: impl Serialize) -> Response {
    (status, [(header::LOCATION, location)], Json(body)).into_response()
}

#[derive(Serialize)]
struct Health {
    status: &'static str,
    version: &'static str,
}

const OK: Health = Health { status: "ok", version: env!("CARGO_PKG_VERSION") };

async fn health() -> Json<Health> {
    Json(OK)
}

async fn ready(State(app): State<App>) -> Answer<Json<Health>> {
    app.repo.can_write().await?;
    Ok(Json(OK))
}
