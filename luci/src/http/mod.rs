//! The web side: routes, sessions, forms, error pages. Handlers are thin: parse, one call of `app`, a view or a redirect.
//! No GET changes anything; every POST carries the session's form token.

mod api;
mod assets;
mod configure;
mod error;
mod events;
mod fences;
mod forms;
mod live;
mod login;
mod manage;
mod nodes;
mod overview;
mod pages;
mod resources;
mod services;
mod session;
mod users;

use std::time::Duration;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::http::{HeaderName, HeaderValue, header};
use axum::middleware;
use axum::routing::{get, post};
use tower_http::csrf::CsrfLayer;
use tower_http::set_header::SetResponseHeaderLayer;
use tower_http::trace::TraceLayer;

use crate::app::App;

pub use error::PageError;
pub use session::{Posted, SESSION_COOKIE};

/// Longest body of a form: a cluster.conf of 1 MiB, every byte escaped.
const BODY_MAX_BYTES: usize = 4 * 1024 * 1024;

/// Nothing from elsewhere, nothing in line.
const CSP: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
                   font-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'";

/// All routes.
pub fn router(app: App) -> Router {
    let pages = Router::new()
        .merge(entrance())
        .merge(cluster_pages())
        .merge(configuration_pages())
        .merge(api::routes())
        .fallback(error::not_found)
        .with_state(app);
    let header = |name: HeaderName, value: &'static str| {
        SetResponseHeaderLayer::if_not_present(name, HeaderValue::from_static(value))
    };
    pages
        .layer(DefaultBodyLimit::max(BODY_MAX_BYTES))
        .layer(CsrfLayer::new())
        .layer(middleware::from_fn(error::as_page))
        .layer(header(header::CONTENT_SECURITY_POLICY, CSP))
        .layer(header(header::X_CONTENT_TYPE_OPTIONS, "nosniff"))
        .layer(header(header::X_FRAME_OPTIONS, "DENY"))
        .layer(header(header::REFERRER_POLICY, "same-origin"))
        .layer(header(header::CACHE_CONTROL, "no-store"))
        .layer(header(HeaderName::from_static("cross-origin-opener-policy"), "same-origin"))
        .layer(header(HeaderName::from_static("permissions-policy"), "camera=(), microphone=(), geolocation=()"))
        .layer(TraceLayer::new_for_http())
}

/// How long open pages may take to end when luci stops.
pub const GRACE: Duration = Duration::from_secs(5);

fn entrance() -> Router<App> {
    Router::new()
        .route("/static/{*path}", get(assets::asset))
        .route("/favicon.ico", get(assets::favicon))
        .route("/login", get(login::login_form).post(login::login))
        .route("/logout", post(login::logout))
        .route("/setup", get(login::setup_form).post(login::setup))
        .route("/", get(manage::home))
        .route("/clusters", get(manage::clusters))
        .route("/create-cluster", get(manage::create_form).post(manage::create))
        .route("/add-cluster", get(manage::add_form).post(manage::add))
        .route("/events-stream", get(live::home_stream))
        .route("/tasks", get(manage::task_list))
        .route("/tasks/{task}", get(manage::task))
        .route("/tasks/{task}/confirm", post(manage::confirm_task))
        .route("/tasks/{task}/retry", post(manage::retry_task))
        .route("/tasks/{task}/give-up", post(manage::give_up_task))
        .route("/tasks/{task}/events-stream", get(live::task_stream))
        .route("/audit", get(events::audit))
        .route("/users", get(users::users).post(users::add_user))
        .route("/users/{name}/remove", post(users::remove_user))
        .route("/account", get(users::account).post(users::change_password))
}

fn cluster_pages() -> Router<App> {
    Router::new()
        .route("/clusters/{cluster}", get(overview::overview))
        .route("/clusters/{cluster}/events-stream", get(live::cluster_stream))
        .route("/clusters/{cluster}/remove", get(manage::remove_form).post(manage::remove))
        .route("/clusters/{cluster}/lock", post(services::lock))
        .route("/clusters/{cluster}/events", get(events::events))
        .route("/clusters/{cluster}/nodes", get(nodes::nodes))
        .route("/clusters/{cluster}/add-node", get(nodes::add_form).post(nodes::add))
        .route("/clusters/{cluster}/nodes/{node}", get(nodes::node))
        .route("/clusters/{cluster}/nodes/{node}/properties", post(nodes::properties))
        .route("/clusters/{cluster}/nodes/{node}/pair", get(nodes::pair_form).post(nodes::pair))
        .route("/clusters/{cluster}/nodes/{node}/fence-methods", post(nodes::edit_methods))
        .route("/clusters/{cluster}/nodes/{node}/{order}", get(nodes::order_form).post(nodes::order))
        .route("/clusters/{cluster}/services", get(services::services))
        .route("/clusters/{cluster}/add-service", get(services::create_form).post(services::create))
        .route("/clusters/{cluster}/services/{service}", get(services::service))
        .route("/clusters/{cluster}/services/{service}/request", post(services::request))
        .route("/clusters/{cluster}/services/{service}/edit", post(services::edit))
        .route("/clusters/{cluster}/services/{service}/delete", get(services::delete_form).post(services::delete))
        .route(
            "/clusters/{cluster}/services/{service}/add-resource",
            get(services::add_resource_form).post(services::add_resource),
        )
        .route(
            "/clusters/{cluster}/services/{service}/resources/{place}",
            get(services::resource_form).post(services::edit_resource),
        )
        .route("/clusters/{cluster}/services/{service}/resources/{place}/move", post(services::move_resource))
        .route("/clusters/{cluster}/services/{service}/resources/{place}/remove", post(services::remove_resource))
}

fn configuration_pages() -> Router<App> {
    Router::new()
        .route("/clusters/{cluster}/fence-devices", get(fences::list))
        .route("/clusters/{cluster}/add-fence-device", get(fences::create_form).post(fences::create))
        .route("/clusters/{cluster}/fence-devices/{name}", get(fences::show_device).post(fences::edit))
        .route("/clusters/{cluster}/fence-devices/{name}/delete", post(fences::delete))
        .route("/clusters/{cluster}/failover-domains", get(fences::domains))
        .route("/clusters/{cluster}/add-failover-domain", get(fences::new_domain_form).post(fences::create_domain))
        .route("/clusters/{cluster}/failover-domains/{name}", get(fences::domain).post(fences::edit_domain))
        .route("/clusters/{cluster}/failover-domains/{name}/delete", post(fences::delete_domain))
        .route("/clusters/{cluster}/resources", get(resources::list))
        .route("/clusters/{cluster}/add-resource", get(resources::create_form).post(resources::create))
        .route("/clusters/{cluster}/resources/{kind}/{name}", get(resources::resource).post(resources::edit))
        .route("/clusters/{cluster}/resources/{kind}/{name}/delete", post(resources::delete))
        .route("/clusters/{cluster}/configure", get(configure::configure).post(configure::properties))
        .route("/clusters/{cluster}/configure/versions/{version}", get(configure::version))
        .route("/clusters/{cluster}/configure/versions/{version}/bring-back", post(configure::bring_back))
        .route("/clusters/{cluster}/configure/compare", get(configure::compare))
        .route("/clusters/{cluster}/configure/text", get(configure::text_form).post(configure::text))
}
