//! `avouch serve`.

use std::net::SocketAddr;
use std::path::PathBuf;

use tokio::net::{TcpListener, TcpSocket};
use tokio::sync::watch;

use super::config::{cannot_start, load};
use super::reload::{self, Running};
use super::{Failure, descriptors, log, stop};
use crate::clock::Clock;
use crate::config::Config;
use crate::flow::start::{self, Accepted, Claim, StartReport};
use crate::flow::{declare, look};
use crate::host::Host;
use crate::http::serve::{Limits, serve_within};
use crate::rng::Rng;
use crate::secret::Secret;
use crate::{delivery, http};

pub(super) async fn run(file: Option<PathBuf>, port: Option<u16>, accepted: Accepted) -> Result<(), Failure> {
    let hangup = reload::on_hangup()?;
    let mut config = load(file.as_deref())?;
    log::start(config.log);
    for warning in &config.warnings {
        tracing::warn!("{warning}");
    }
    if let Some(port) = port {
        config.listen.set_port(port);
    }
    let listener = bind(config.listen)?;
    let address =
        listener.local_addr().map_err(|e| Failure::Unable(format!("the listening socket has no address: {e}")))?;
    config.set_default_issuer(address.port());
    let stop = stop::on_signal()?;
    let provider = Provider::start(&config, accepted, listener, stop).await?;
    announce(&config, address, &provider.report);
    if accepted.new && !provider.report.first_start {
        tracing::warn!("--new was not needed; left in place, it would let an emptied database start as a new one");
    }
    let running = Running { file, port, bound: address.port(), config };
    tokio::spawn(reload::run(hangup, provider.host.clone(), running));
    provider.finish().await;
    Ok(())
}

/// Listens. What a peer may leave unread with the system is bounded: by default it is megabytes for each connection.
pub(super) fn bind(address: SocketAddr) -> Result<TcpListener, Failure> {
    const BUFFER: u32 = 64 * 1024;
    const BACKLOG: u32 = 1024;
    let listen = || {
        let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
        socket.set_reuseaddr(true)?;
        socket.set_send_buffer_size(BUFFER)?;
        socket.set_recv_buffer_size(BUFFER)?;
        socket.bind(address)?;
        socket.listen(BACKLOG)
    };
    listen().map_err(|e: std::io::Error| Failure::Unable(format!("cannot listen on {address}: {e}")))
}

/// A provider at work: server, delivery worker and password hashing.
pub(super) struct Provider {
    pub(super) report: StartReport,
    host: Host,
    server: tokio::task::JoinHandle<()>,
    worker: tokio::task::JoinHandle<()>,
    claim: Claim,
}

impl Provider {
    /// Opens everything and begins to answer on `listener`, until `stop` turns true.
    pub(super) async fn start(
        config: &Config,
        accepted: Accepted,
        listener: TcpListener,
        stop: watch::Receiver<bool>,
    ) -> Result<Self, Failure> {
        let opened = start::open_alone(config, accepted, Clock::System, Rng::Os).await;
        let (host, report, claim) = opened.map_err(|e| cannot_start(&e))?;
        let limits = Limits::within(descriptors::for_connections()).behind(config.trusted_proxies.clone());
        let server = tokio::spawn(serve_within(limits, listener, http::router(host.clone()), stop.clone()));
        tokio::spawn(look::run(host.clone(), stop.clone()));
        let worker = tokio::spawn(delivery::run(host.clone(), stop));
        tokio::spawn(declare::hash_passwords(host.clone(), config.users.clone()));
        Ok(Self { report, host, server, worker, claim })
    }

    /// Waits for the end: requests and deliveries in flight are finished, the database is closed.
    pub(super) async fn finish(self) {
        let _ = self.server.await;
        let _ = self.worker.await;
        self.host.database.close().await;
        drop(self.claim);
    }
}

fn announce(config: &Config, address: SocketAddr, report: &StartReport) {
    out!("{}", config.issuer);
    say!("avouch {} is ready: issuer {}, listening on {address}", super::VERSION, config.issuer);
    for (path, what) in &report.files {
        say!("  made {}: {what}", path.display());
    }
    if report.users == 0 || report.clients == 0 {
        say!(
            "  There is no {} yet. Declare both in avouch.toml and start again:",
            if report.users == 0 { "user" } else { "client" }
        );
        say!("");
        for line in first_steps(&Secret::new(Rng::Os.token())).lines() {
            say!("    {line}");
        }
        say!("");
        say!("  examples/avouch.toml explains every key; `avouch demo` plays the whole loop.");
    }
    say!("  metadata     {}", config.issuer.at("/.well-known/oauth-authorization-server"));
    say!("  connections  {}", config.issuer.at("/connections"));
}

/// What to paste to get from nothing to an assertion that `avouch sandbox` accepts; `secret` is new each time.
fn first_steps(secret: &Secret) -> String {
    format!(
        r#"[network]
allow_private_addresses = true     # to tell the sandbox on this machine of withdrawals; only with a loopback issuer

[[users]]
email = "you@example.com"
email_verified = true
password = "correct horse"         # only with a loopback issuer; else password_hash

[[clients]]
client_id = "desk-agent"
client_name = "Desk Agent"
client_secret = "{}"
redirect_uris = ["http://127.0.0.1:8765/callback"]
grant_types = ["authorization_code", "refresh_token", "urn:ietf:params:oauth:grant-type:token-exchange"]
audiences = ["http://localhost:8000"]

[[services]]                       # `avouch sandbox`
audience = "http://localhost:8000"
name = "Sandbox"
revocation_uri = "http://localhost:8000/agent/auth/revoke""#,
        secret.expose()
    )
}
