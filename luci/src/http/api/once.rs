//! Idempotency keys: a script that repeats a request with the same `Idempotency-Key` gets the first answer again, and
//! nothing is done twice. Called by the door for every changing request of the API that carries a key.

use axum::body::{Body, Bytes, to_bytes};
use axum::extract::Request;
use axum::http::{HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::problem::ApiError;
use crate::app::{App, AppError, Who};
use crate::repo::once::{Known, StoredAnswer};
use crate::tokens;

/// The request's header.
const KEY: HeaderName = HeaderName::from_static("idempotency-key");
/// Says that an answer is the one of an earlier request.
const REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");
/// Longest key.
const KEY_MAX: usize = 255;
/// Longest body that is compared, and longest answer that is kept.
const BODY_MAX_BYTES: usize = 4 * 1024 * 1024;
/// Members of a body that are not part of what is remembered: a hash of a short secret could be guessed.
const SECRETS: [&str; 3] = ["password", "secret", "token"];

/// The key of a request that changes something.
pub(crate) fn key(request: &Request) -> Option<HeaderValue> {
    // The answer holds a secret, which is stored nowhere.
    if request.method() == Method::GET || request.uri().path() == super::own::TOKENS {
        return None;
    }
    request.headers().get(KEY).cloned()
}

fn blank(value: &mut serde_json::Value) {
    match value {
        serde_json::Value::Object(members) => {
            for (name, value) in members.iter_mut() {
                if SECRETS.contains(&name.as_str()) {
                    *value = serde_json::Value::Null;
                } else {
                    blank(value);
                }
            }
        }
        serde_json::Value::Array(values) => values.iter_mut().for_each(blank),
        _ => {}
    }
}

/// What makes two requests the same: method, address and content.
fn fingerprint(method: &Method, path: &str, body: &[u8]) -> String {
    let content = match serde_json::from_slice::<serde_json::Value>(body) {
        Ok(mut value) => {
            blank(&mut value);
            value.to_string()
        }
        Err(_) => tokens::hex(body),
    };
    tokens::hash(&format!("{method} {path}\n{content}"))
}

/// Carries a request out unless it was carried out before under this key.
pub(crate) async fn once(app: &App, who: &Who, key: HeaderValue, request: Request, next: Next) -> Response {
    match carry_out(app, who, &key, request, next).await {
        Ok(response) => response,
        Err(error) => ApiError::from(error).into_response(),
    }
}

async fn carry_out(
    app: &App,
    who: &Who,
    key: &HeaderValue,
    request: Request,
    next: Next,
) -> Result<Response, AppError> {
    let key = key.to_str().ok().filter(|key| !key.is_empty() && key.len() <= KEY_MAX);
    let key = key.ok_or_else(|| AppError::field("Idempotency-Key", "use 1 to 255 printable characters"))?;
    let (parts, body) = request.into_parts();
    let body = to_bytes(body, BODY_MAX_BYTES).await.map_err(|_| AppError::field("body", "the body is too large"))?;
    let path = parts.uri.path_and_query().map_or("/", |path| path.as_str());
    let fingerprint = fingerprint(&parts.method, path, &body);
    match app.repo.begin_once(who.id, key, &fingerprint).await? {
        Known::New => {}
        Known::Other => {
            return Err(AppError::Invalid {
                fields: vec![crate::app::FieldError::new(
                    "Idempotency-Key",
                    "this key was used for another request; take a new one for each request",
                )],
            });
        }
        Known::UnderWay => {
            return Err(AppError::Conflict("the first request with this key is still being carried out".into()));
        }
        Known::Answered(answer) => return Ok(replayed(answer)),
    }
    let response = next.run(Request::from_parts(parts, Body::from(body))).await;
    let (mut parts, body) = response.into_parts();
    let body = to_bytes(body, BODY_MAX_BYTES).await.unwrap_or_else(|_| Bytes::new());
    if parts.status.is_server_error() {
        // The same key may be tried again: whether anything was done is not known.
        app.repo.forget_once(who.id, key).await?;
    } else {
        let text = |name| parts.headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
        let answer = StoredAnswer {
            status: i64::from(parts.status.as_u16()),
            kind: text(header::CONTENT_TYPE).unwrap_or_default(),
            location: text(header::LOCATION),
            body: String::from_utf8_lossy(&body).into_owned(),
        };
        app.repo.end_once(who.id, key, &answer).await?;
    }
    parts.headers.remove(header::CONTENT_LENGTH);
    Ok(Response::from_parts(parts, Body::from(body)))
}

fn replayed(answer: StoredAnswer) -> Response {
    let status = u16::try_from(answer.status).ok().and_then(|status| StatusCode::from_u16(status).ok());
    let mut response = (status.unwrap_or(StatusCode::OK), answer.body).into_response();
    let headers = response.headers_mut();
    headers.remove(header::CONTENT_TYPE);
    let value = |text: &str| HeaderValue::from_str(text).ok();
    headers.extend(value(&answer.kind).map(|kind| (header::CONTENT_TYPE, kind)));
    headers.extend(answer.location.as_deref().and_then(value).map(|location| (header::LOCATION, location)));
    headers.insert(REPLAYED, HeaderValue::from_static("true"));
    response
}
