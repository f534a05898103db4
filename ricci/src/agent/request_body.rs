//! Bodies of requests: bounded, read within the route's deadline, parsed once at the door.
//!
//! A body that is too long is refused without being kept. What is still under way is then read and thrown away for a
//! short while, because a client of HTTP/1 that is reset while it sends would never see the refusal.

use std::time::Duration;

use axum::body::{Body, BodyDataStream};
use axum::extract::{FromRequest, Request};
use axum::http::{Version, header};
use futures_util::StreamExt as _;
use serde::de::DeserializeOwned;
use shared::api::ProblemCode;

use super::problem::ApiError;

/// How long and how much of a refused body is read and thrown away.
const DISCARD_WAIT: Duration = Duration::from_secs(5);
const DISCARD_MAX: usize = 32 * 1024 * 1024;

/// What the route allows; put into the request by the guard.
#[derive(Debug, Clone, Copy)]
pub(super) struct BodyMax(pub(super) usize);

/// A JSON body of type `T`.
pub(super) struct JsonBody<T>(pub(super) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for JsonBody<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, _state: &S) -> Result<Self, ApiError> {
        let max = request.extensions().get::<BodyMax>().map_or(0, |max| max.0);
        let bytes = collect(request.into_body(), max).await?;
        // An empty body stands for "nothing special" where every field has a default.
        let bytes: &[u8] = if bytes.is_empty() { b"{}" } else { &bytes };
        serde_json::from_slice(bytes)
            .map(Self)
            .map_err(|error| ApiError::bad_request(format!("the body is not what this path takes: {error}")))
    }
}

/// Refuses a body that says by itself that it is too long.
pub(super) async fn check_length(request: Request, max: usize) -> Result<Request, ApiError> {
    let header = request.headers().get(header::CONTENT_LENGTH);
    let length: Option<u64> = header.and_then(|length| length.to_str().ok()?.parse().ok());
    match length {
        Some(length) if length > max as u64 => {
            // HTTP/2 can refuse in the middle of a body, and a client that asks first sends nothing.
            if request.version() < Version::HTTP_2 && !request.headers().contains_key(header::EXPECT) {
                discard(request.into_body().into_data_stream()).await;
            }
            Err(too_large(max))
        }
        _ => Ok(request),
    }
}

async fn collect(body: Body, max: usize) -> Result<Vec<u8>, ApiError> {
    let mut bytes = Vec::new();
    let mut chunks = body.into_data_stream();
    while let Some(chunk) = chunks.next().await {
        let chunk = chunk.map_err(|error| ApiError::bad_request(format!("the body broke off: {error}")))?;
        if bytes.len() + chunk.len() > max {
            discard(chunks).await;
            return Err(too_large(max));
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes)
}

async fn discard(mut chunks: BodyDataStream) {
    let all = async {
        let mut discarded = 0;
        while let Some(Ok(chunk)) = chunks.next().await {
            discarded += chunk.len();
            if discarded > DISCARD_MAX {
                break;
            }
        }
    };
    // However it ends, the refusal follows.
    let _ = tokio::time::timeout(DISCARD_WAIT, all).await;
}

fn too_large(max: usize) -> ApiError {
    ApiError::new(
        ProblemCode::TooLarge,
        format!("the body is longer than the {max} bytes that this path takes; nothing was stored"),
    )
}
