//! The one table of routes: path, who may call, how long it may take, how much it takes in, what it is for. The router,
//! the guard before every handler and the OpenAPI document are made from it.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{Extension, Request, State};
use axum::handler::Handler;
use axum::http::Method;
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodFilter, MethodRouter, on};
use shared::api::{ProblemCode, path};
use tokio::time::timeout;

use super::app::App;
use super::fingerprint::Fingerprint;
use super::handlers;
use super::pins::Pin;
use super::problem::ApiError;
use super::request_body::{BodyMax, check_length};

/// The other end of the connection; put into every request by the server.
#[derive(Debug, Clone)]
pub(super) struct Caller {
    pub(super) address: SocketAddr,
    pub(super) certificate: Option<Fingerprint>,
}

/// A paired caller; put into requests for pinned paths by the guard.
#[derive(Debug, Clone)]
pub(super) struct Manager(pub(super) Pin);

impl fmt::Display for Manager {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.0.label, self.0.fingerprint.short())
    }
}

/// Who may call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Access {
    Anyone,
    Paired,
}

/// What is known of a route beside its handler.
#[derive(Debug, Clone, Copy)]
pub(super) struct Spec {
    pub(super) method: Verb,
    pub(super) path: &'static str,
    pub(super) access: Access,
    /// Longest body.
    pub(super) body_max: usize,
    /// After this the answer is 504, whatever hangs.
    pub(super) deadline_s: u64,
    pub(super) summary: &'static str,
    /// Name of the schema of the body, if it takes one.
    pub(super) takes: Option<&'static str>,
    /// Success status, name of the schema of the answer.
    pub(super) gives: (u16, Option<&'static str>),
}

/// The methods in use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verb {
    Get,
    Put,
    Post,
    Delete,
}

impl Verb {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Get => "get",
            Self::Put => "put",
            Self::Post => "post",
            Self::Delete => "delete",
        }
    }

    fn filter(self) -> MethodFilter {
        match self {
            Self::Get => MethodFilter::GET,
            Self::Put => MethodFilter::PUT,
            Self::Post => MethodFilter::POST,
            Self::Delete => MethodFilter::DELETE,
        }
    }
}

/// A route: spec and handler.
pub(super) struct Route {
    pub(super) spec: Spec,
    handler: MethodRouter<Arc<App>>,
}

const SMALL: usize = 64 * 1024;
/// A cluster.conf of 1 MiB whose quotes and line breaks are escaped.
const CONF: usize = 4 * 1024 * 1024;

/// A route for paired callers with a small body and a short deadline; the builders below say what differs.
fn route<H, T>(method: Verb, path: &'static str, summary: &'static str, handler: H) -> Route
where
    H: Handler<T, Arc<App>>,
    T: 'static,
{
    let spec = Spec {
        method,
        path,
        access: Access::Paired,
        body_max: SMALL,
        deadline_s: 10,
        summary,
        takes: None,
        gives: (200, None),
    };
    Route { spec, handler: on(method.filter(), handler) }
}

impl Route {
    fn open(mut self) -> Self {
        self.spec.access = Access::Anyone;
        self
    }

    fn within(mut self, seconds: u64) -> Self {
        self.spec.deadline_s = seconds;
        self
    }

    fn takes(mut self, schema: &'static str) -> Self {
        self.spec.takes = Some(schema);
        self
    }

    fn up_to(mut self, bytes: usize) -> Self {
        self.spec.body_max = bytes;
        self
    }

    fn gives(mut self, status: u16, schema: &'static str) -> Self {
        self.spec.gives = (status, Some(schema));
        self
    }

    fn gives_nothing(mut self, status: u16) -> Self {
        self.spec.gives = (status, None);
        self
    }
}

/// Every path of `shared::api`.
pub(super) fn table() -> Vec<Route> {
    use Verb::{Delete, Get, Post, Put};
    vec![
        route(Get, path::ALIVE, "That ricci lives.", handlers::alive).open().gives(200, "Alive"),
        route(Post, path::PAIR, "Pin the client certificate of this connection.", handlers::pair)
            .open()
            .within(20)
            .takes("PairRequest")
            .gives(200, "Paired"),
        route(Delete, path::PAIR, "Forget the caller's certificate.", handlers::unpair).gives_nothing(204),
        route(Get, path::NODE, "This node by itself.", handlers::node).gives(200, "NodeReport"),
        route(Get, path::STATUS, "The cluster as this member sees it.", handlers::status).gives(200, "ClusterStatus"),
        route(
            Get,
            path::STATUS_STREAM,
            "Lines of JSON, one per change; `stream` and `sequence` resume.",
            handlers::stream_status,
        )
        .within(15)
        .gives(200, "StreamItem"),
        route(Post, path::REQUESTS, "Ask for something to be done.", handlers::request)
            .takes("Request")
            .gives(202, "Answer"),
        route(Get, path::REQUEST, "What became of a request; 204 while it is not known.", handlers::outcome)
            .within(25)
            .gives(200, "Outcome"),
        route(Get, path::CONF, "cluster.conf.", handlers::conf).gives(200, "ConfDocument"),
        route(Put, path::CONF, "A new cluster.conf.", handlers::put_conf)
            .up_to(CONF)
            .within(40)
            .takes("PutConf")
            .gives(202, "ConfAccepted"),
        route(Post, path::CONF_CHECK, "What is to be said of a cluster.conf.", handlers::check_conf)
            .up_to(CONF)
            .within(20)
            .takes("CheckConf")
            .gives(200, "Checked"),
        route(Post, path::CONF_PREVIEW, "What a cluster.conf would change for services.", handlers::preview_conf)
            .up_to(CONF)
            .within(20)
            .takes("CheckConf")
            .gives(200, "ConfPreview"),
        route(Get, path::WHY, "Why a service is where and as it is, test by test.", handlers::explain)
            .gives(200, "Explanation"),
        route(Get, path::NODE_WHY, "Why each service may or may not run on a node.", handlers::explain_node)
            .gives(200, "Explanations"),
        route(Post, path::PREDICT, "What would come of something; nothing is done.", handlers::predict)
            .up_to(CONF)
            .takes("Assumption")
            .gives(200, "Prediction"),
        route(Delete, path::CLUSTER, "This node leaves its cluster for good.", handlers::leave_cluster)
            .within(30)
            .gives_nothing(204),
        route(Get, path::FENCE_KEY, "The key of fence_xvm.", handlers::fence_key).gives(200, "FenceKey"),
        route(Put, path::FENCE_KEY, "Store the key of fence_xvm.", handlers::put_fence_key)
            .takes("FenceKey")
            .gives_nothing(204),
        route(Post, path::FENCE_KEY, "Make a key of fence_xvm.", handlers::make_fence_key)
            .takes("MakeFenceKey")
            .gives(200, "FenceKey"),
        route(Get, path::SECRETS, "Names of the secrets here.", handlers::secret_names).gives(200, "SecretNames"),
        route(Get, path::SECRET, "A secret, to be handed on to another node.", handlers::secret).gives(200, "Secret"),
        route(Put, path::SECRET, "Store a secret that cluster.conf refers to.", handlers::put_secret)
            .takes("Secret")
            .gives_nothing(204),
        route(Delete, path::SECRET, "Forget a secret that nothing refers to.", handlers::remove_secret)
            .gives_nothing(204),
        route(Get, path::COROSYNC_KEY, "The corosync key.", handlers::corosync_key).gives(200, "CorosyncKey"),
        route(Put, path::COROSYNC_KEY, "Store the corosync key.", handlers::put_corosync_key)
            .takes("CorosyncKey")
            .gives_nothing(204),
        route(Post, path::COROSYNC_KEY, "Make a corosync key if there is none.", handlers::make_corosync_key)
            .gives(200, "CorosyncKey"),
        route(Post, path::CLUSTER_START, "Start the cluster here.", handlers::start_cluster)
            .takes("StartCluster")
            .gives_nothing(202),
        route(Post, path::CLUSTER_STOP, "Stop the cluster here.", handlers::stop_cluster)
            .takes("StopCluster")
            .gives_nothing(202),
        route(Post, path::REBOOT, "Reboot this node.", handlers::reboot).gives_nothing(202),
        route(Post, path::FENCE_TEST, "Run a harmless action of a fence agent.", handlers::test_fence)
            .within(70)
            .takes("FenceTest")
            .gives(200, "FenceTested"),
        route(Get, path::RESOURCE_AGENTS, "Resource agents installed here.", handlers::resource_agents)
            .within(25)
            .gives(200, "AgentSummaries"),
        route(Get, path::FENCE_AGENTS, "Fence agents installed here.", handlers::fence_agents)
            .within(25)
            .gives(200, "AgentSummaries"),
        route(Get, path::RESOURCE_AGENT_METADATA, "The metadata of one agent.", handlers::resource_agent_metadata)
            .within(25)
            .gives(200, "AgentMetadata"),
        route(Get, path::FENCE_AGENT_METADATA, "The metadata of one agent.", handlers::fence_agent_metadata)
            .within(25)
            .gives(200, "AgentMetadata"),
        route(
            Get,
            path::RESOURCE_AGENT_SCHEMA,
            "Parameters and actions of one agent.",
            handlers::resource_agent_schema,
        )
        .within(25)
        .gives(200, "AgentSchema"),
        route(Get, path::FENCE_AGENT_SCHEMA, "Parameters and actions of one agent.", handlers::fence_agent_schema)
            .within(25)
            .gives(200, "AgentSchema"),
        route(
            Post,
            path::RESOURCE_AGENT_VALIDATE,
            "Parameters against the schema, and the agent's own word.",
            handlers::validate_resource_agent,
        )
        .up_to(CONF)
        .within(40)
        .takes("ValidateAgent")
        .gives(200, "Validated"),
        route(Get, path::LOG, "The last lines of our programs' logs; `lines` says how many.", handlers::log)
            .gives(200, "LogLines"),
        route(Get, path::OPENAPI, "This document.", handlers::openapi).gives_nothing(200),
    ]
}

/// The router with a guard before every handler.
pub(super) fn router(app: &Arc<App>) -> Router {
    let routes = table().into_iter().fold(Router::new(), |router, Route { spec, handler }| {
        router.route(spec.path, handler.layer(from_fn_with_state((Arc::clone(app), spec), guard)))
    });
    routes.fallback(no_such_path).method_not_allowed_fallback(no_such_method).with_state(Arc::clone(app))
}

/// Before every handler: is the caller allowed, does the body fit; then the handler, within its deadline.
async fn guard(
    State((app, spec)): State<(Arc<App>, Spec)>,
    Extension(caller): Extension<Caller>,
    mut request: Request,
    next: Next,
) -> Response {
    if spec.access == Access::Paired {
        match check_paired(&app, &caller) {
            Ok(manager) => request.extensions_mut().insert(manager),
            Err(refused) => return refused.into_response(),
        };
    }
    request.extensions_mut().insert(BodyMax(spec.body_max));
    let deadline = Duration::from_secs(spec.deadline_s);
    let answer = async {
        match check_length(request, spec.body_max).await {
            Ok(request) => next.run(request).await,
            Err(refused) => refused.into_response(),
        }
    };
    timeout(deadline, answer).await.unwrap_or_else(|_| {
        tracing::warn!(path = spec.path, seconds = spec.deadline_s, "no answer within the deadline");
        let text =
            format!("this took longer than {} seconds and was given up; the node's log may say why", spec.deadline_s);
        ApiError::new(ProblemCode::Timeout, text).into_response()
    })
}

fn check_paired(app: &App, caller: &Caller) -> Result<Manager, ApiError> {
    let refused = |text: String| Err(ApiError::new(ProblemCode::NotPaired, text));
    let Some(certificate) = &caller.certificate else {
        return refused(format!(
            "{} answers only to paired managers, and this connection has no client certificate",
            app.hostname
        ));
    };
    match app.pins.find(certificate) {
        Some(pin) => Ok(Manager(pin)),
        None => {
            tracing::warn!(address = %caller.address, certificate = certificate.short(), "refused: not paired");
            refused(format!(
                "the client certificate {} is not paired with {}; pair it with the password of the user ricci or with a token from `ricci token`",
                certificate.short(),
                app.hostname,
            ))
        }
    }
}

async fn no_such_path(State(app): State<Arc<App>>, Extension(caller): Extension<Caller>, request: Request) -> ApiError {
    match check_paired(&app, &caller) {
        Err(refused) => refused,
        Ok(_) => ApiError::new(
            ProblemCode::NotFound,
            format!("{}{}; {} lists all", path::NONE, request.uri().path(), path::OPENAPI),
        ),
    }
}

async fn no_such_method(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<Caller>,
    method: Method,
    request: Request,
) -> ApiError {
    match check_paired(&app, &caller) {
        Err(refused) => refused,
        Ok(_) => ApiError::new(
            ProblemCode::BadRequest,
            format!("{} does not take {method}; {} lists what it takes", request.uri().path(), path::OPENAPI),
        ),
    }
}
