//! From what went wrong to the answer: HTTP status and `Problem` body. The only place that maps one to the other.
//! Handlers return `ApiError`; it is logged here if it is our fault, and nowhere else.

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use shared::api::{Problem, ProblemCode};
use shared::conf::finding::Finding;
use shared::status::Refusal;

use super::files::FileError;
use super::pins::PinError;
use super::process::ProcessError;
use super::socket::SocketError;

/// An error answer.
#[derive(Debug)]
pub(super) struct ApiError {
    problem: Box<Problem>,
    retry_after_s: Option<u64>,
}

impl ApiError {
    pub(super) fn new(code: ProblemCode, text: impl Into<String>) -> Self {
        let problem = Problem { code, text: text.into(), refusal: None, findings: Vec::new(), node: None };
        Self { problem: Box::new(problem), retry_after_s: None }
    }

    pub(super) fn bad_request(text: impl Into<String>) -> Self {
        Self::new(ProblemCode::BadRequest, text)
    }

    pub(super) fn refused(text: impl Into<String>) -> Self {
        Self::new(ProblemCode::Refused, text)
    }

    /// A request that the cluster refuses.
    pub(super) fn refusal(refusal: Refusal) -> Self {
        let text = if refusal.text.is_empty() {
            refusal.code.text().to_owned()
        } else {
            format!("{}: {}", refusal.code.text(), refusal.text)
        };
        let mut error = Self::refused(text);
        error.problem.refusal = Some(refusal);
        error
    }

    /// A cluster.conf with errors in it.
    pub(super) fn findings(findings: Vec<Finding>) -> Self {
        let mut error = Self::new(
            ProblemCode::Findings,
            "the configuration has errors and was not stored; correct what the findings name and send it again",
        );
        error.problem.findings = findings;
        error
    }

    pub(super) fn code(&self) -> ProblemCode {
        self.problem.code
    }

    /// All of it as one line of text, for a protocol that has no place for more.
    pub(super) fn told(&self) -> String {
        let findings = self.problem.findings.iter().map(|each| format!("; line {}: {}", each.place.line, each.text));
        format!("{}{}", self.problem.text, findings.collect::<String>())
    }

    /// Guessing is slowed down.
    pub(super) fn too_many_attempts(wait_s: u64) -> Self {
        let mut error = Self::new(
            ProblemCode::TooManyAttempts,
            format!("pairing failed too often; wait {wait_s} seconds and try again"),
        );
        error.retry_after_s = Some(wait_s);
        error
    }

    /// Something on this node does not work: told in the log with its chain, and to the caller.
    pub(super) fn internal(error: &dyn std::error::Error) -> Self {
        let text = shared::chain(error);
        tracing::error!(error = %text, "a request failed on this node");
        Self::new(ProblemCode::Internal, format!("this node could not do it: {text}"))
    }
}

/// The status that goes with a code.
fn status(code: ProblemCode) -> StatusCode {
    match code {
        ProblemCode::BadRequest => StatusCode::BAD_REQUEST,
        ProblemCode::NotPaired => StatusCode::UNAUTHORIZED,
        ProblemCode::PairingRefused => StatusCode::FORBIDDEN,
        ProblemCode::TooManyAttempts => StatusCode::TOO_MANY_REQUESTS,
        ProblemCode::NotFound => StatusCode::NOT_FOUND,
        ProblemCode::Refused | ProblemCode::ClusterRunning => StatusCode::CONFLICT,
        ProblemCode::Findings => StatusCode::UNPROCESSABLE_ENTITY,
        ProblemCode::ClusterNotRunning => StatusCode::SERVICE_UNAVAILABLE,
        ProblemCode::Timeout => StatusCode::GATEWAY_TIMEOUT,
        ProblemCode::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        ProblemCode::Internal => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let mut response = (status(self.problem.code), Json(self.problem)).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if let Some(seconds) = self.retry_after_s {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}

impl From<FileError> for ApiError {
    fn from(error: FileError) -> Self {
        Self::internal(&error)
    }
}

impl From<ProcessError> for ApiError {
    fn from(error: ProcessError) -> Self {
        match &error {
            ProcessError::TooSlow { .. } => Self::new(ProblemCode::Timeout, error.to_string()),
            ProcessError::Start { .. } | ProcessError::Wait { .. } => Self::internal(&error),
        }
    }
}

impl From<PinError> for ApiError {
    fn from(error: PinError) -> Self {
        match &error {
            PinError::Full => Self::refused(error.to_string()),
            PinError::File(_) | PinError::Damaged { .. } => Self::internal(&error),
        }
    }
}

impl From<SocketError> for ApiError {
    fn from(error: SocketError) -> Self {
        match &error {
            SocketError::NotRunning { .. } => Self::new(
                ProblemCode::ClusterNotRunning,
                "the cluster does not run on this node (rgmanager does not listen); start it here, or ask another node",
            ),
            SocketError::TooSlow { .. } => Self::new(ProblemCode::Timeout, error.to_string()),
            SocketError::Told(text) => Self::refused(text.clone()),
            SocketError::Denied | SocketError::Broken(_) | SocketError::Closed | SocketError::Unexpected(_) => {
                Self::internal(&error)
            }
        }
    }
}
