//! Errors of the API: `application/problem+json` (RFC 9457) with a stable code, what happened, and what to do next.

use axum::Json;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use shared::conf::Finding;

use crate::app::{AppError, FieldError};
use crate::http::error::{PageError, tell};
use crate::ricci_client::RicciError;

/// An error as `application/problem+json`.
#[derive(Debug)]
pub(crate) struct ApiError(PageError);

impl<E: Into<PageError>> From<E> for ApiError {
    fn from(error: E) -> Self {
        Self(error.into())
    }
}

/// The body of an error.
#[derive(Debug, Serialize)]
struct ProblemBody {
    /// `urn:luci:problem:` and the code.
    r#type: String,
    /// Stable: scripts may compare it.
    code: &'static str,
    title: &'static str,
    status: u16,
    detail: String,
    next: &'static str,
    /// What is wrong with single fields.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    fields: Vec<ProblemField>,
    /// What checking the configuration found.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    findings: Vec<Finding>,
}

#[derive(Debug, Serialize)]
struct ProblemField {
    field: String,
    text: String,
}

/// The stable code of an error of the application. Every code stands in the API's document.
fn code(error: &AppError) -> &'static str {
    match error {
        AppError::NotAllowed { .. } => "not-allowed",
        AppError::NoSuch { .. } => "not-found",
        AppError::Invalid { .. } => "invalid",
        AppError::Findings(_) => "findings",
        AppError::Conflict(_) => "conflict",
        AppError::TooMany(_) => "too-many",
        AppError::Unreachable(_) => "unreachable",
        AppError::Ricci(RicciError::Problem { .. }) => "node-refused",
        AppError::Ricci(RicciError::Silent { .. }) => "node-silent",
        AppError::Ricci(RicciError::NotPaired { .. } | RicciError::OtherCertificate { .. }) => "node-not-trusted",
        AppError::Ricci(RicciError::Older { .. }) => "node-too-old",
        AppError::Ricci(RicciError::Strange { .. }) => "node-strange",
        AppError::Ricci(RicciError::Tls(_)) | AppError::Repo(_) | AppError::Internal(_) => "internal",
    }
}

fn field(error: &FieldError) -> ProblemField {
    ProblemField { field: error.field.clone(), text: error.text.clone() }
}

fn plain(
    code: &'static str,
    status: StatusCode,
    title: &'static str,
    detail: String,
    next: &'static str,
) -> ProblemBody {
    ProblemBody {
        r#type: format!("urn:luci:problem:{code}"),
        code,
        title,
        status: status.as_u16(),
        detail,
        next,
        fields: Vec::new(),
        findings: Vec::new(),
    }
}

fn body(error: &PageError) -> ProblemBody {
    match error {
        PageError::LoggedOut { .. } => plain(
            "not-authenticated",
            StatusCode::UNAUTHORIZED,
            "Not logged in",
            "the request carries no valid token and no session".into(),
            "Send a token (Authorization: Bearer …), made under Preferences.",
        ),
        PageError::FactorFirst => plain(
            "not-allowed",
            StatusCode::FORBIDDEN,
            "A second factor is demanded",
            "this account must have a second factor and has none; switch it on in the browser, under Preferences"
                .into(),
            "Scripts send a token, for which no second factor is asked.",
        ),
        PageError::Unreadable(why) => plain(
            "unreadable",
            StatusCode::BAD_REQUEST,
            "The request cannot be read",
            why.clone(),
            "Compare it with /api/v1/openapi.json.",
        ),
        PageError::NoSuchPage => plain(
            "not-found",
            StatusCode::NOT_FOUND,
            "No such address",
            "there is nothing at this address".into(),
            "The addresses stand in /api/v1/openapi.json.",
        ),
        PageError::App(error) => {
            let told = tell(error);
            let mut body = plain(code(error), told.status, told.title, told.text, told.next);
            match error {
                AppError::Invalid { fields } => body.fields = fields.iter().map(field).collect(),
                AppError::Findings(findings) => body.findings.clone_from(findings),
                _ => {}
            }
            body
        }
        PageError::WrongToken | PageError::Draw(_) => plain(
            "internal",
            StatusCode::INTERNAL_SERVER_ERROR,
            "luci itself failed",
            error.to_string(),
            "Read the log of luci.",
        ),
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let body = body(&self.0);
        let status = StatusCode::from_u16(body.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        (status, [(header::CONTENT_TYPE, "application/problem+json")], Json(body)).into_response()
    }
}

/// What the layers below refuse in their own words (wrong method, too large, foreign origin), as a problem.
pub(crate) fn of_status(status: StatusCode) -> Response {
    let (code, title, detail) = match status {
        StatusCode::FORBIDDEN => ("not-allowed", "Refused", "the request comes from a page of another site"),
        StatusCode::PAYLOAD_TOO_LARGE => ("too-large", "Too large", "the body is larger than luci takes"),
        StatusCode::METHOD_NOT_ALLOWED => {
            ("method-not-allowed", "Not possible here", "this address does not know this method")
        }
        StatusCode::NOT_FOUND => ("not-found", "Not found", "there is nothing at this address"),
        _ => ("unreadable", "The request cannot be read", "the address or the body is not as the document says"),
    };
    let body = plain(code, status, title, detail.into(), "Compare it with /api/v1/openapi.json.");
    (status, [(header::CONTENT_TYPE, "application/problem+json")], Json(body)).into_response()
}
