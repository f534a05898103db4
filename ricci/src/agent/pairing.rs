//! Pairing: whoever knows the password of the user `ricci` or a one-time token gets the certificate of its connection
//! pinned. Guessing is slowed down before anything is checked. Says the same to a wrong password and a wrong token.

use std::net::IpAddr;
use std::time::Instant;

use shared::api::{PairRequest, ProblemCode};

use super::app::App;
use super::clock::now_ms;
use super::files;
use super::fingerprint::Fingerprint;
use super::pam::{self, Verdict};
use super::problem::ApiError;

/// Longest name a manager may give itself.
const LABEL_MAX: usize = 100;

/// Pins `fingerprint` if the request proves the right to.
pub(super) async fn pair(
    app: &App,
    address: IpAddr,
    fingerprint: Fingerprint,
    request: PairRequest,
) -> Result<(), ApiError> {
    let label = match &request {
        PairRequest::Password { label, .. } | PairRequest::Token { label, .. } => parse_label(label)?,
    };
    if let Err(wait) = app.attempts.begin(address, Instant::now()) {
        tracing::warn!(%address, wait_s = wait.as_secs() + 1, "pairing attempt turned away: too many failures");
        return Err(ApiError::too_many_attempts(wait.as_secs() + 1));
    }
    let means = match &request {
        PairRequest::Password { .. } => "password",
        PairRequest::Token { .. } => "one-time token",
    };
    if let Err(why) = prove(app, request).await? {
        tracing::warn!(%address, label, certificate = fingerprint.short(), means, why, "pairing refused");
        return Err(ApiError::new(
            ProblemCode::PairingRefused,
            format!("pairing with this node was refused: {why}; the {means} was not accepted"),
        ));
    }
    app.attempts.forgive(address);
    app.pins.add(fingerprint.clone(), label.clone()).await?;
    tracing::info!(%address, label, certificate = fingerprint.short(), means, "paired");
    Ok(())
}

/// The inner error is why the proof does not hold.
async fn prove(app: &App, request: PairRequest) -> Result<Result<(), String>, ApiError> {
    match request {
        PairRequest::Password { password, .. } => Ok(match pam::check(&app.passwords, password).await {
            Verdict::Right => Ok(()),
            Verdict::Wrong => Err("that is not the password of the user ricci there".into()),
            Verdict::NoUser => Err("there is no user ricci on this node".into()),
            Verdict::Unknown(why) => Err(why),
        }),
        PairRequest::Token { token, .. } => {
            let tokens = std::sync::Arc::clone(&app.tokens);
            let taken = files::off_loop(move || tokens.take(&token, now_ms())).await?;
            Ok(if taken {
                Ok(())
            } else {
                Err("the token is unknown, used or older than 15 minutes (`ricci token` on the node makes a new one)"
                    .into())
            })
        }
    }
}

/// Labels reach logs and terminals.
fn parse_label(label: &str) -> Result<String, ApiError> {
    let label = label.trim();
    let fits = !label.is_empty() && label.chars().count() <= LABEL_MAX && !label.chars().any(char::is_control);
    if fits {
        Ok(label.to_owned())
    } else {
        Err(ApiError::bad_request(format!(
            "the label of a manager must have 1 to {LABEL_MAX} characters and no control characters"
        )))
    }
}
