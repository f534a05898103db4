//! Errors as pages: status, what happened, what to do next, and always a way on. Inner details stay in the log.

use askama::Template;
use axum::extract::Request;
use axum::http::{StatusCode, Uri, header};
use axum::middleware::Next;
use axum::response::{Html, IntoResponse, Redirect, Response};

use super::api::{ApiError, problem};
use crate::app::{AppError, errors_of};
use crate::repo::RepoError;
use crate::ricci_client::RicciError;
use crate::views::error::ErrorPage;

/// Why a request was not answered as asked.
#[derive(Debug, thiserror::Error)]
pub enum PageError {
    #[error("logged out")]
    LoggedOut { next: String },
    /// The account must switch a second factor on before it may do anything else.
    #[error("no second factor")]
    FactorFirst,
    #[error("wrong form token")]
    WrongToken,
    #[error("unreadable: {0}")]
    Unreadable(String),
    #[error("no such page")]
    NoSuchPage,
    #[error(transparent)]
    App(#[from] AppError),
    #[error("drawing a page")]
    Draw(#[from] askama::Error),
}

impl From<RepoError> for PageError {
    fn from(error: RepoError) -> Self {
        Self::App(error.into())
    }
}

pub(super) async fn not_found(uri: Uri) -> Response {
    tracing::debug!(%uri, "no such page");
    if is_api(&uri) {
        ApiError::from(PageError::NoSuchPage).into_response()
    } else {
        PageError::NoSuchPage.into_response()
    }
}

fn is_api(uri: &Uri) -> bool {
    uri.path().starts_with("/api/")
}

/// Status and texts of an error.
#[derive(Debug)]
pub(super) struct Told {
    pub(super) status: StatusCode,
    pub(super) title: &'static str,
    pub(super) text: String,
    pub(super) next: &'static str,
}

fn told(status: StatusCode, title: &'static str, text: impl Into<String>, next: &'static str) -> Told {
    Told { status, title, text: text.into(), next }
}

/// What is said to a person about an error of the application.
pub(super) fn tell(error: &AppError) -> Told {
    let text = error.to_string();
    match error {
        AppError::NotAllowed { .. } => told(
            StatusCode::FORBIDDEN,
            "Your account may not do this",
            format!("Not done: {text}."),
            "Ask an administrator of luci for the role, or log in with another account.",
        ),
        AppError::NoSuch { .. } => told(
            StatusCode::NOT_FOUND,
            "Not found",
            format!("Here {text}."),
            "It may have been removed or renamed; the list shows what there is.",
        ),
        AppError::Invalid { .. } => told(
            StatusCode::UNPROCESSABLE_ENTITY,
            "Not done: please correct",
            text,
            "Go back, correct it and send it again.",
        ),
        AppError::Findings(findings) => told(
            StatusCode::UNPROCESSABLE_ENTITY,
            "Not done: the configuration would not be valid",
            errors_of(findings).map(|f| format!("{} — {}", f.text, f.hint)).collect::<Vec<_>>().join("\n"),
            "Nothing was written. Go back, correct it and send it again.",
        ),
        AppError::Conflict(_) => {
            told(StatusCode::CONFLICT, "Not done", text, "Reload the page to see the present state.")
        }
        AppError::TooMany(_) => told(StatusCode::TOO_MANY_REQUESTS, "Too many attempts", text, "Wait, then try again."),
        AppError::Unreachable(_) => told(
            StatusCode::GATEWAY_TIMEOUT,
            "No answer",
            text,
            "Look at the Nodes page: it shows which node has not answered since when.",
        ),
        AppError::Ricci(RicciError::Problem { .. }) => {
            told(StatusCode::CONFLICT, "The node refused", text, "Nothing else was changed.")
        }
        AppError::Ricci(RicciError::Silent { .. }) => told(
            StatusCode::GATEWAY_TIMEOUT,
            "The node does not answer",
            text,
            "Check that ricci runs there and that the network lets luci through, then try again.",
        ),
        AppError::Ricci(RicciError::NotPaired { .. } | RicciError::OtherCertificate { .. }) => {
            told(StatusCode::CONFLICT, "The node is not trusted", text, "Pair the node on its page.")
        }
        AppError::Ricci(RicciError::Older { .. }) => told(
            StatusCode::CONFLICT,
            "The node's ricci is too old",
            text,
            "Nothing else was changed. The node's page says which version it has.",
        ),
        AppError::Ricci(RicciError::Strange { .. }) => told(
            StatusCode::BAD_GATEWAY,
            "The node answered wrongly",
            text,
            "Its ricci may be of another release; the log of luci says more.",
        ),
        AppError::Ricci(RicciError::Tls(_)) | AppError::Repo(_) | AppError::Internal(_) => internal(error),
    }
}

fn internal(error: &(dyn std::error::Error + 'static)) -> Told {
    let number = uuid::Uuid::new_v4().to_string();
    let number = &number[..8];
    tracing::error!(number, error = shared::chain(error), "internal error");
    told(
        StatusCode::INTERNAL_SERVER_ERROR,
        "luci itself failed",
        format!("Nothing is known to have been changed. The log of luci says more under the number {number}."),
        "Try again; if it happens again, read the log.",
    )
}

impl IntoResponse for PageError {
    fn into_response(self) -> Response {
        let told = match &self {
            Self::LoggedOut { next } => {
                // Only local addresses come here: the path of the request itself.
                let target = if next == "/" { "/login".to_owned() } else { format!("/login?next={}", encode(next)) };
                return Redirect::to(&target).into_response();
            }
            Self::FactorFirst => return Redirect::to("/account/second-factor").into_response(),
            Self::WrongToken => told(
                StatusCode::FORBIDDEN,
                "This form is not valid",
                "The form was not made by this session of luci, so nothing was done.",
                "Open the page again and repeat what you did.",
            ),
            Self::Unreadable(_) => {
                told(StatusCode::BAD_REQUEST, "This form cannot be read", "Nothing was done.", "Open the page again.")
            }
            Self::NoSuchPage => told(
                StatusCode::NOT_FOUND,
                "No such page",
                "There is nothing at this address.",
                "Start from the list of clusters.",
            ),
            Self::App(error) => tell(error),
            Self::Draw(error) => internal(error),
        };
        let page = ErrorPage { title: told.title, text: &told.text, next: told.next, code: told.status.as_u16() };
        let body = page.render().unwrap_or_else(|_| told.title.to_owned());
        (told.status, Html(body)).into_response()
    }
}

/// Turns what the layers below refuse in their own words (wrong method, too large, foreign origin, unreadable address) into
/// pages like all others, and on the API into problems like all others.
pub(super) async fn as_page(request: Request, next: Next) -> Response {
    let api = is_api(request.uri());
    let response = next.run(request).await;
    let status = response.status();
    let is_told =
        response.headers().get(header::CONTENT_TYPE).is_some_and(|kind| !kind.as_bytes().starts_with(b"text/plain"));
    if is_told || !(status.is_client_error() || status.is_server_error()) {
        return response;
    }
    if api {
        return problem::of_status(status);
    }
    let (title, text) = match status {
        StatusCode::FORBIDDEN => {
            ("This request was refused", "It did not come from a page of this luci, so nothing was done.")
        }
        StatusCode::PAYLOAD_TOO_LARGE => ("Too large", "What was sent is larger than luci takes; nothing was done."),
        StatusCode::NOT_FOUND => ("Not found", "There is nothing at this address."),
        StatusCode::METHOD_NOT_ALLOWED => {
            ("Not possible here", "This address cannot be used in this way; nothing was done.")
        }
        _ => ("This request cannot be read", "The address or the form is not complete; nothing was done."),
    };
    let page = ErrorPage {
        title,
        text,
        next: "Open the page again, or start from the list of clusters.",
        code: status.as_u16(),
    };
    let body = page.render().unwrap_or_else(|_| title.to_owned());
    (status, Html(body)).into_response()
}

/// A text as a part of an address's query.
pub(super) fn encode(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' | b'/' => char::from(byte).to_string(),
            other => format!("%{other:02X}"),
        })
        .collect()
}
