//! SIGHUP: the configuration is read again and applied.

use std::path::PathBuf;

use tokio::signal::unix::{Signal, SignalKind, signal};

use super::Failure;
use super::config::{cannot_start, load};
use crate::config::Config;
use crate::flow::{declare, reload};
use crate::host::Host;

/// From here on the signal ends nobody; what comes before there is a server waits for it.
pub(super) fn on_hangup() -> Result<Signal, Failure> {
    signal(SignalKind::hangup()).map_err(|e| Failure::Unable(format!("signals cannot be received: {e}")))
}

/// What a server was started with.
pub(super) struct Running {
    pub(super) file: Option<PathBuf>,
    pub(super) port: Option<u16>,
    /// Where it listens in fact.
    pub(super) bound: u16,
    pub(super) config: Config,
}

/// Reads and applies the configuration at each signal, for as long as the process lives.
pub(super) async fn run(mut hangup: Signal, host: Host, running: Running) {
    while hangup.recv().await.is_some() {
        if let Err(failure) = once(&host, &running).await {
            tracing::error!("the configuration was read again and is not applied: {}", failure.text());
        }
    }
}

async fn once(host: &Host, running: &Running) -> Result<(), Failure> {
    let mut read = load(running.file.as_deref())?;
    for warning in &read.warnings {
        tracing::warn!("{warning}");
    }
    if let Some(port) = running.port {
        read.listen.set_port(port);
    }
    read.set_default_issuer(running.bound);
    let applied = host.while_database_answers(Box::pin(reload::apply(host, &running.config, &mut read))).await;
    let applied = applied.map_err(|e| Failure::Unable(e.to_string()))?;
    let (report, fixed) = applied.map_err(|e| cannot_start(&e))?;
    for (path, what) in &report.files {
        tracing::info!("made {}: {what}", path.display());
    }
    if !fixed.is_empty() {
        tracing::warn!("changed, but only a restart applies it: {}", fixed.join(", "));
    }
    let (users, clients, services) = (read.users.len(), read.clients.len(), read.services.len());
    tracing::info!(users, clients, services, "the configuration was read again and applied");
    declare::hash_passwords(host.clone(), read.users).await;
    Ok(())
}
