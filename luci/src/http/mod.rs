//! The web side: routes, sessions, forms, error pages. Handlers are thin: parse, one call of `app`, a view or a redirect.
//! No GET changes anything; every form carries the session's token. All routes stand in one table with the role they need
//! (`routes`); `door` lets in by it.

mod account;
mod api;
mod assets;
mod bulk;
mod configure;
mod door;
mod drafts;
mod error;
mod events;
mod factors;
mod fence_instance;
mod fence_key;
mod fence_test;
mod fences;
mod foresight;
mod forms;
mod guide;
mod live;
mod login;
mod manage;
mod nodes;
mod overview;
mod pages;
mod resource_page;
mod resources;
mod services;
mod session;
mod settings;
mod side;
mod tree;
mod users;

use std::time::Duration;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::http::{HeaderName, HeaderValue, header};
use axum::middleware;
use tower_http::csrf::CsrfLayer;
use tower_http::set_header::SetResponseHeaderLayer;
use tower_http::trace::TraceLayer;

use crate::app::App;
use crate::repo::users::Role;

use door::{get, post};

pub use door::{Route, Rule};
pub use error::PageError;
pub use session::{Posted, SESSION_COOKIE};

/// Longest body of a form: a cluster.conf of 1 MiB, every byte escaped.
const BODY_MAX_BYTES: usize = 4 * 1024 * 1024;

/// Nothing from elsewhere, nothing in line.
const CSP: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
                   font-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'";

/// Every route with its rule. The only list: the router, the tests of roles and the API's document are made from it.
pub fn routes() -> Vec<Route> {
    let mut routes = entrance();
    routes.extend(cluster_pages());
    routes.extend(configuration_pages());
    routes.extend(api::routes());
    routes
}

/// The server's router.
pub fn router(app: App) -> Router {
    let sides = axum::Extension(side::Sides::default());
    let pages = door::behind_the_door(&app, routes()).fallback(error::not_found).layer(sides).with_state(app);
    let header = |name: HeaderName, value: &'static str| {
        SetResponseHeaderLayer::if_not_present(name, HeaderValue::from_static(value))
    };
    pages
        .layer(DefaultBodyLimit::max(BODY_MAX_BYTES))
        .layer(CsrfLayer::new())
        .layer(middleware::from_fn(error::as_page))
        .layer(middleware::from_fn(door::speak))
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

const VIEWER: Role = Role::Viewer;
const OPERATOR: Role = Role::Operator;
const ADMINISTRATOR: Role = Role::Administrator;

fn entrance() -> Vec<Route> {
    vec![
        get("/static/{*path}", Rule::Open, assets::asset),
        get("/favicon.ico", Rule::Open, assets::favicon),
        get("/login", Rule::Open, login::login_form),
        post("/login", Rule::Open, login::login),
        post("/login/code", Rule::Open, login::login_code),
        post("/logout", Rule::Entering, login::logout),
        get("/setup", Rule::Open, login::setup_form),
        post("/setup", Rule::Open, login::setup),
        get("/", Rule::Account, manage::home),
        get("/clusters", Rule::Account, manage::clusters),
        post("/clusters-order", Rule::Account, bulk::order_clusters),
        get("/create-cluster", Rule::Luci(ADMINISTRATOR), manage::create_form),
        post("/create-cluster", Rule::Luci(ADMINISTRATOR), manage::create),
        get("/add-cluster", Rule::Luci(ADMINISTRATOR), manage::add_form),
        post("/add-cluster", Rule::Luci(ADMINISTRATOR), manage::add),
        get("/events-stream", Rule::Account, live::home_stream),
        get("/tasks", Rule::Account, manage::task_list),
        get("/tasks/{task}", Rule::Task(VIEWER), manage::task),
        post("/tasks/{task}/confirm", Rule::Task(ADMINISTRATOR), manage::confirm_task),
        post("/tasks/{task}/retry", Rule::Task(ADMINISTRATOR), manage::retry_task),
        post("/tasks/{task}/give-up", Rule::Task(ADMINISTRATOR), manage::give_up_task),
        get("/tasks/{task}/events-stream", Rule::Task(VIEWER), live::task_stream),
        get("/audit", Rule::Account, events::audit),
        get("/users", Rule::Luci(ADMINISTRATOR), users::users),
        post("/users", Rule::Luci(ADMINISTRATOR), users::add_user),
        post("/users-second-factor", Rule::Luci(ADMINISTRATOR), factors::demand),
        get("/users/{name}", Rule::Luci(ADMINISTRATOR), users::user),
        post("/users/{name}/roles", Rule::Luci(ADMINISTRATOR), users::set_roles),
        post("/users/{name}/password", Rule::Luci(ADMINISTRATOR), users::reset_password),
        post("/users/{name}/second-factor/remove", Rule::Luci(ADMINISTRATOR), factors::remove_of),
        post("/users/{name}/sessions/{session}/end", Rule::Luci(ADMINISTRATOR), users::end_session),
        post("/users/{name}/tokens/{token}/revoke", Rule::Luci(ADMINISTRATOR), users::revoke_token),
        post("/users/{name}/remove", Rule::Luci(ADMINISTRATOR), users::remove_user),
        get("/account", Rule::Account, account::account),
        post("/account/password", Rule::Account, account::change_password),
        post("/account/preferences", Rule::Account, account::set_preferences),
        get("/account/second-factor", Rule::Entering, factors::factor),
        post("/account/second-factor/begin", Rule::Entering, factors::begin),
        post("/account/second-factor/confirm", Rule::Entering, factors::confirm),
        post("/account/second-factor/remove", Rule::Account, factors::remove),
        post("/account/sessions/{session}/end", Rule::Account, account::end_session),
        post("/account/tokens", Rule::Account, account::add_token),
        post("/account/tokens/{token}/revoke", Rule::Account, account::revoke_token),
    ]
}

fn cluster_pages() -> Vec<Route> {
    vec![
        get("/clusters/{cluster}", Rule::Cluster(VIEWER), overview::overview),
        get("/clusters/{cluster}/events-stream", Rule::Cluster(VIEWER), live::cluster_stream),
        get("/clusters/{cluster}/remove", Rule::Cluster(ADMINISTRATOR), manage::remove_form),
        post("/clusters/{cluster}/remove", Rule::Cluster(ADMINISTRATOR), manage::remove),
        post("/clusters/{cluster}/lock", Rule::Cluster(OPERATOR), services::lock),
        get("/clusters/{cluster}/events", Rule::Cluster(VIEWER), events::events),
        get("/clusters/{cluster}/events/file", Rule::Cluster(VIEWER), events::events_file),
        get("/clusters/{cluster}/set-up", Rule::Cluster(VIEWER), guide::guide),
        get("/clusters/{cluster}/what-if", Rule::Cluster(VIEWER), foresight::what_if),
        get("/clusters/{cluster}/services/{service}/why", Rule::Cluster(VIEWER), foresight::service_why),
        get("/clusters/{cluster}/nodes/{node}/why", Rule::Cluster(VIEWER), foresight::node_why),
        get("/clusters/{cluster}/nodes", Rule::Cluster(VIEWER), nodes::nodes),
        post("/clusters/{cluster}/nodes-order", Rule::Cluster(OPERATOR), bulk::order_nodes),
        post("/clusters/{cluster}/services-request", Rule::Cluster(OPERATOR), bulk::request_services),
        get("/clusters/{cluster}/add-node", Rule::Cluster(ADMINISTRATOR), nodes::add_form),
        post("/clusters/{cluster}/add-node", Rule::Cluster(ADMINISTRATOR), nodes::add),
        get("/clusters/{cluster}/nodes/{node}", Rule::Cluster(VIEWER), nodes::node),
        post("/clusters/{cluster}/nodes/{node}/properties", Rule::Cluster(ADMINISTRATOR), nodes::properties),
        get("/clusters/{cluster}/nodes/{node}/pair", Rule::Cluster(ADMINISTRATOR), nodes::pair_form),
        post("/clusters/{cluster}/nodes/{node}/pair", Rule::Cluster(ADMINISTRATOR), nodes::pair),
        post("/clusters/{cluster}/nodes/{node}/fence-methods", Rule::Cluster(ADMINISTRATOR), nodes::edit_methods),
        get("/clusters/{cluster}/nodes/{node}/fence-instance", Rule::Cluster(VIEWER), fence_instance::fence_instance),
        post(
            "/clusters/{cluster}/nodes/{node}/fence-instance",
            Rule::Cluster(ADMINISTRATOR),
            fence_instance::edit_fence_instance,
        ),
        get("/clusters/{cluster}/nodes/{node}/fence-test", Rule::Cluster(VIEWER), fence_test::fence_test),
        post("/clusters/{cluster}/nodes/{node}/fence-test", Rule::Cluster(OPERATOR), fence_test::run_fence_test),
        get("/clusters/{cluster}/nodes/{node}/delete", Rule::Cluster(ADMINISTRATOR), nodes::delete_form),
        post("/clusters/{cluster}/nodes/{node}/delete", Rule::Cluster(ADMINISTRATOR), nodes::delete),
        get("/clusters/{cluster}/nodes/{node}/{order}", Rule::Cluster(OPERATOR), nodes::order_form),
        post("/clusters/{cluster}/nodes/{node}/{order}", Rule::Cluster(OPERATOR), nodes::order),
        get("/clusters/{cluster}/services", Rule::Cluster(VIEWER), services::services),
        get("/clusters/{cluster}/add-service", Rule::Cluster(ADMINISTRATOR), services::create_form),
        post("/clusters/{cluster}/add-service", Rule::Cluster(ADMINISTRATOR), services::create),
        get("/clusters/{cluster}/services/{service}", Rule::Cluster(VIEWER), services::service),
        post("/clusters/{cluster}/services/{service}/request", Rule::Cluster(OPERATOR), services::request),
        post("/clusters/{cluster}/services/{service}/edit", Rule::Cluster(ADMINISTRATOR), services::edit),
        get("/clusters/{cluster}/services/{service}/delete", Rule::Cluster(ADMINISTRATOR), services::delete_form),
        post("/clusters/{cluster}/services/{service}/delete", Rule::Cluster(ADMINISTRATOR), services::delete),
        get(
            "/clusters/{cluster}/services/{service}/add-resource",
            Rule::Cluster(ADMINISTRATOR),
            tree::add_resource_form,
        ),
        post("/clusters/{cluster}/services/{service}/add-resource", Rule::Cluster(ADMINISTRATOR), tree::add_resource),
        get("/clusters/{cluster}/services/{service}/resources/{place}", Rule::Cluster(VIEWER), tree::resource_form),
        post(
            "/clusters/{cluster}/services/{service}/resources/{place}",
            Rule::Cluster(ADMINISTRATOR),
            tree::edit_resource,
        ),
        post(
            "/clusters/{cluster}/services/{service}/resources/{place}/move",
            Rule::Cluster(ADMINISTRATOR),
            tree::move_resource,
        ),
        get(
            "/clusters/{cluster}/services/{service}/resources/{place}/remove",
            Rule::Cluster(ADMINISTRATOR),
            tree::remove_form,
        ),
        post(
            "/clusters/{cluster}/services/{service}/resources/{place}/remove",
            Rule::Cluster(ADMINISTRATOR),
            tree::remove_resource,
        ),
    ]
}

fn configuration_pages() -> Vec<Route> {
    vec![
        get("/clusters/{cluster}/fence-devices", Rule::Cluster(VIEWER), fences::list),
        get("/clusters/{cluster}/add-fence-device", Rule::Cluster(ADMINISTRATOR), fences::create_form),
        post("/clusters/{cluster}/add-fence-device", Rule::Cluster(ADMINISTRATOR), fences::create),
        get("/clusters/{cluster}/fence-devices/{name}", Rule::Cluster(VIEWER), fences::show_device),
        post("/clusters/{cluster}/fence-devices/{name}", Rule::Cluster(ADMINISTRATOR), fences::edit),
        post("/clusters/{cluster}/fence-devices/{name}/delete", Rule::Cluster(ADMINISTRATOR), fences::delete),
        post("/clusters/{cluster}/fence-key", Rule::Cluster(ADMINISTRATOR), fence_key::send_fence_key),
        post("/clusters/{cluster}/fence-key/file", Rule::Cluster(ADMINISTRATOR), fence_key::download_fence_key),
        post("/clusters/{cluster}/move-secrets", Rule::Cluster(ADMINISTRATOR), fences::move_secrets),
        get("/clusters/{cluster}/failover-domains", Rule::Cluster(VIEWER), fences::domains),
        get("/clusters/{cluster}/add-failover-domain", Rule::Cluster(ADMINISTRATOR), fences::new_domain_form),
        post("/clusters/{cluster}/add-failover-domain", Rule::Cluster(ADMINISTRATOR), fences::create_domain),
        get("/clusters/{cluster}/failover-domains/{name}", Rule::Cluster(VIEWER), fences::domain),
        post("/clusters/{cluster}/failover-domains/{name}", Rule::Cluster(ADMINISTRATOR), fences::edit_domain),
        post("/clusters/{cluster}/failover-domains/{name}/delete", Rule::Cluster(ADMINISTRATOR), fences::delete_domain),
        get("/clusters/{cluster}/resources", Rule::Cluster(VIEWER), resources::list),
        get("/clusters/{cluster}/add-resource", Rule::Cluster(ADMINISTRATOR), resources::create_form),
        post("/clusters/{cluster}/add-resource", Rule::Cluster(ADMINISTRATOR), resources::create),
        get("/clusters/{cluster}/resources/{kind}/{name}", Rule::Cluster(VIEWER), resources::resource),
        post("/clusters/{cluster}/resources/{kind}/{name}", Rule::Cluster(ADMINISTRATOR), resources::edit),
        post("/clusters/{cluster}/resources/{kind}/{name}/delete", Rule::Cluster(ADMINISTRATOR), resources::delete),
        get("/clusters/{cluster}/configure", Rule::Cluster(VIEWER), configure::configure),
        get("/clusters/{cluster}/configure/quorum", Rule::Cluster(VIEWER), settings::quorum),
        post("/clusters/{cluster}/configure/quorum", Rule::Cluster(ADMINISTRATOR), settings::set_quorum),
        get("/clusters/{cluster}/configure/network", Rule::Cluster(VIEWER), settings::network),
        post("/clusters/{cluster}/configure/network", Rule::Cluster(ADMINISTRATOR), settings::set_network),
        get("/clusters/{cluster}/configure/logging", Rule::Cluster(VIEWER), settings::log_settings),
        post("/clusters/{cluster}/configure/logging", Rule::Cluster(ADMINISTRATOR), settings::set_logging),
        get("/clusters/{cluster}/configure/fence-daemon", Rule::Cluster(VIEWER), settings::fence_daemon),
        post("/clusters/{cluster}/configure/fence-daemon", Rule::Cluster(ADMINISTRATOR), settings::set_fence_daemon),
        get("/clusters/{cluster}/configure/rgmanager", Rule::Cluster(VIEWER), settings::rgmanager),
        post("/clusters/{cluster}/configure/rgmanager", Rule::Cluster(ADMINISTRATOR), settings::set_rgmanager),
        get("/clusters/{cluster}/configure/versions/{version}", Rule::Cluster(VIEWER), configure::version),
        post(
            "/clusters/{cluster}/configure/versions/{version}/bring-back",
            Rule::Cluster(ADMINISTRATOR),
            configure::bring_back,
        ),
        get("/clusters/{cluster}/configure/compare", Rule::Cluster(VIEWER), configure::compare),
        get("/clusters/{cluster}/draft", Rule::Cluster(ADMINISTRATOR), drafts::review),
        post("/clusters/{cluster}/draft/begin", Rule::Cluster(ADMINISTRATOR), drafts::begin),
        post("/clusters/{cluster}/draft/undo", Rule::Cluster(ADMINISTRATOR), drafts::undo),
        post("/clusters/{cluster}/draft/move", Rule::Cluster(ADMINISTRATOR), drafts::move_on),
        post("/clusters/{cluster}/draft/apply", Rule::Cluster(ADMINISTRATOR), drafts::apply),
        post("/clusters/{cluster}/draft/discard", Rule::Cluster(ADMINISTRATOR), drafts::discard),
        get("/clusters/{cluster}/configure/text", Rule::Cluster(ADMINISTRATOR), configure::text_form),
        post("/clusters/{cluster}/configure/text", Rule::Cluster(ADMINISTRATOR), configure::text),
    ]
}
