//! `avouch sandbox`.

use std::net::SocketAddr;

use tokio::net::TcpListener;
use tokio::sync::watch;

use super::{Failure, descriptors, log, serve, stop};
use crate::clock::Clock;
use crate::config::Log;
use crate::domain::ids::IssuerUrl;
use crate::http::serve::{Limits, serve_within};
use crate::lab::sandbox::{self, Options};
use crate::rng::Rng;

pub(super) async fn run(port: u16, trust: &[String]) -> Result<(), Failure> {
    log::start(Log::default());
    let issuer = |text: &String| IssuerUrl::parse(text).map_err(|e| Failure::Usage(format!("--trust {text}: {e}")));
    let trust: Vec<IssuerUrl> = trust.iter().map(issuer).collect::<Result<_, _>>()?;
    let (listener, origin) = bind(port)?;
    let stop = stop::on_signal()?;
    out!("{origin}");
    let trusted = if trust.is_empty() {
        "any issuer on loopback".to_owned()
    } else {
        trust.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
    };
    say!("avouch sandbox is ready: a strict service of auth.md v0.1 that trusts {trusted}");
    say!("  what to ask it     curl -i {origin}/api/resource");
    say!("  what it is         {origin}/");
    start(listener, &origin, trust, stop)?.await.map_err(|e| Failure::Unable(format!("the sandbox ended: {e}")))
}

/// Listens on loopback; the address as a browser would type it is the service's issuer.
pub(super) fn bind(port: u16) -> Result<(TcpListener, String), Failure> {
    let listener = serve::bind(SocketAddr::from(([127, 0, 0, 1], port)))?;
    let address = listener.local_addr();
    let address = address.map_err(|e| Failure::Unable(format!("the listening socket has no address: {e}")))?;
    Ok((listener, format!("http://localhost:{}", address.port())))
}

/// Answers on `listener` until `stop` turns true.
pub(super) fn start(
    listener: TcpListener,
    origin: &str,
    trust: Vec<IssuerUrl>,
    stop: watch::Receiver<bool>,
) -> Result<tokio::task::JoinHandle<()>, Failure> {
    let options = Options { trust, clock: Clock::System, rng: Rng::Os };
    let sandbox = sandbox::new(origin.to_owned(), options).map_err(|e| Failure::Unable(e.to_string()))?;
    let limits = Limits::within(descriptors::for_connections());
    Ok(tokio::spawn(serve_within(limits, listener, sandbox.router(), stop)))
}
