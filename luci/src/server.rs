//! Starts luci: state folder, database, certificates, background work, HTTPS; and stops it without losing anything.

use std::io::Write as _;
use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::Context as _;
use axum_server::accept::NoDelayAcceptor;
use axum_server::tls_rustls::{RustlsAcceptor, RustlsConfig};

use crate::app::{App, auth};
use crate::backup::{self, StateLock};
use crate::http;
use crate::repo::Repo;
use crate::ricci_client::RicciClients;
use crate::settings::{Store, own_host_name};
use crate::tls::{self, Purpose};

/// Opens the state folder, making what is missing.
pub async fn open(store: impl Into<Store>, host_name: &str) -> anyhow::Result<App> {
    let store = store.into();
    backup::make_folder(&store.state_dir)?;
    let identity = tls::load_or_make(&store.state_dir, "client", host_name, Purpose::Client)?;
    let repo = open_repo(&store).await?;
    Ok(App::new(repo, RicciClients::new(identity)))
}

/// Opens the database alone, for the commands.
pub async fn open_repo(store: &Store) -> anyhow::Result<Repo> {
    if let Some(url) = &store.database_url {
        // The address may hold a password.
        return Repo::connect(url).await.context("connecting to the database that LUCI_DATABASE_URL names");
    }
    backup::make_folder(&store.state_dir)?;
    let path = store.state_dir.join(backup::DATABASE);
    Repo::open(&path).await.with_context(|| format!("opening {}", path.display()))
}

/// Serves until SIGTERM or SIGINT.
pub async fn serve(
    store: Store,
    listen: SocketAddr,
    host_name: Option<String>,
    pam_service: Option<String>,
) -> anyhow::Result<()> {
    let state_dir = store.state_dir.as_path();
    let host_name = host_name.unwrap_or_else(own_host_name);
    backup::make_folder(state_dir)?;
    let _lock = StateLock::take(state_dir)?;
    let mut app = open(store.clone(), &host_name).await?;
    // Set to nothing is not set.
    if let Some(service) = pam_service.filter(|service| !service.is_empty()) {
        app.log_in_by_pam(&service);
    }
    let identity = tls::load_or_make(state_dir, "server", &host_name, Purpose::Server)?;
    let config = RustlsConfig::from_config(Arc::new(tls::server_config(&identity)?));
    let listener = std::net::TcpListener::bind(listen).with_context(|| format!("listening on {listen}"))?;
    listener.set_nonblocking(true)?;
    let port = listener.local_addr()?.port();
    app.resume().await.context("taking up what was under way")?;
    tracing::info!(%listen, fingerprint = tls::fingerprint(&identity.certificate), "luci serves");
    announce(&app, &host_name, port).await?;

    let handle = axum_server::Handle::new();
    let stopping = handle.clone();
    let background = app.background.clone();
    let repo = app.repo.clone();
    tokio::spawn(async move {
        stop_signal().await;
        tracing::info!("luci stops");
        stopping.graceful_shutdown(Some(http::GRACE));
        // Ends the event streams of open pages, which would otherwise hold the connections to the last.
        background.stop().await;
    });
    let service = http::router(app).into_make_service_with_connect_info::<SocketAddr>();
    // Without it the second half of an answer waits for the browser's acknowledgement of the first, which takes its time (40 ms).
    let acceptor = RustlsAcceptor::new(config).acceptor(NoDelayAcceptor::new());
    axum_server::from_tcp(listener)?.acceptor(acceptor).handle(handle).serve(service).await.context("serving")?;
    repo.close().await;
    Ok(())
}

/// Prints the one-time link when nobody can log in yet. It also stands in the log.
async fn announce(app: &App, host_name: &str, port: u16) -> anyhow::Result<()> {
    let Some(token) = auth::setup_token(&app.repo).await? else { return Ok(()) };
    let link = format!("https://{host_name}:{port}/setup?token={token}");
    tracing::warn!(link, "nobody can log in yet; this link sets the administrator's password, once");
    let mut out = std::io::stdout().lock();
    writeln!(out, "Open this link to set the administrator's password (it works once):\n{link}")?;
    out.flush()?;
    Ok(())
}

async fn stop_signal() {
    use tokio::signal::unix::{SignalKind, signal};
    match (signal(SignalKind::terminate()), signal(SignalKind::interrupt())) {
        (Ok(mut terminate), Ok(mut interrupt)) => {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
        }
        _ => std::future::pending().await,
    }
}
