//! Secrets that cluster.conf refers to: stored for a manager, handed on to it for another node, never logged. Who may ask
//! is decided in `routes`: a paired manager, as for corosync's key.

use std::collections::BTreeSet;

use shared::api::{ProblemCode, Secret, SecretNames};
use shared::conf::Document;
use shared::conf::sealed::{self, referred};

use super::app::App;
use super::conf;
use super::files::off_loop;
use super::problem::ApiError;
use crate::secrets::SecretError;

/// More would be a mistake or an attack on the disk.
const SECRETS_MAX: usize = 2000;

impl From<SecretError> for ApiError {
    fn from(error: SecretError) -> Self {
        match &error {
            SecretError::Missing { .. } => Self::new(ProblemCode::NotFound, error.to_string()),
            SecretError::NoValue { .. } | SecretError::Name { .. } => Self::bad_request(error.to_string()),
            SecretError::Other { .. } => Self::refused(error.to_string()),
            SecretError::File { .. } => Self::internal(&error),
        }
    }
}

/// Names only.
pub(super) async fn names(app: &App) -> Result<SecretNames, ApiError> {
    let missing = missing(app).await?;
    let secrets = app.secrets.clone();
    Ok(SecretNames { present: off_loop(move || secrets.names()).await, missing })
}

/// What the cluster.conf on disk refers to and this node does not have.
pub(super) async fn missing(app: &App) -> Result<Vec<String>, ApiError> {
    let Some((_, text)) = conf::read(app).await? else { return Ok(Vec::new()) };
    let secrets = app.secrets.clone();
    Ok(off_loop(move || {
        let (document, _) = Document::parse(&text);
        let names: BTreeSet<String> =
            secrets.missing(&document).iter().filter_map(|found| referred(&found.value)).map(str::to_owned).collect();
        names.into_iter().collect()
    })
    .await)
}

pub(super) async fn read(app: &App, who: &str, name: &str) -> Result<Secret, ApiError> {
    let (secrets, wanted) = (app.secrets.clone(), name.to_owned());
    let value = off_loop(move || secrets.read(&wanted)).await?;
    tracing::info!(who, name, "secret handed to a manager, for another node");
    Ok(Secret { value })
}

pub(super) async fn put(app: &App, who: &str, name: &str, secret: Secret) -> Result<(), ApiError> {
    let _one_at_a_time = app.changing_files.lock().await;
    let (secrets, wanted) = (app.secrets.clone(), name.to_owned());
    let is_new = off_loop(move || {
        if secrets.names().len() >= SECRETS_MAX && !secrets.has(&wanted) {
            return Err(ApiError::refused(format!(
                "this node keeps {SECRETS_MAX} secrets already; remove those that no version needs"
            )));
        }
        Ok(secrets.write(&wanted, &secret.value)?)
    })
    .await?;
    if is_new {
        tracing::info!(who, name, "secret stored");
    }
    Ok(())
}

pub(super) async fn remove(app: &App, who: &str, name: &str) -> Result<(), ApiError> {
    let _one_at_a_time = app.changing_files.lock().await;
    if let Some((_, text)) = conf::read(app).await? {
        let (document, _) = Document::parse(&text);
        if sealed::references(&document).iter().any(|found| referred(&found.value) == Some(name)) {
            return Err(ApiError::refused(format!("cluster.conf on this node refers to the secret {name}; it stays")));
        }
    }
    let (secrets, wanted) = (app.secrets.clone(), name.to_owned());
    if !off_loop(move || secrets.remove(&wanted)).await? {
        return Err(ApiError::new(ProblemCode::NotFound, format!("this node has no secret {name}")));
    }
    tracing::info!(who, name, "secret removed");
    Ok(())
}
