//! `avouch sandbox`.

use std::net::SocketAddr;

use tokio::net::TcpListener;
use tokio::sync::watch;

use super::{Failure, descriptors, log, serve, stop};
use crate::clock::Clock;
use crate::config::Log;
use crate::domain::ids::IssuerUrl;
use crate::http::serve::{Limits, serve_within};
use crate::lab::flaws::{self, Broken, Dialect, Others, Rule};
use crate::lab::sandbox::{self, Client, Options, Rate};
use crate::rng::Rng;
use crate::secret::Secret;

/// What `avouch sandbox` is told.
#[derive(clap::Args)]
pub(super) struct Arguments {
    /// Port; 0 picks a free one
    #[arg(long, default_value_t = 8000)]
    port: u16,
    /// Accept assertions of this issuer only (repeatable) [default: those of any issuer on this machine]
    #[arg(long, value_name = "ISSUER")]
    trust: Vec<String>,
    /// What to speak: auth.md in one of three shapes, or plain RFC 7523
    #[arg(long, value_enum, default_value_t = Speaks::V01)]
    dialect: Speaks,
    /// Break one rule (repeatable); `avouch flaws --kind sandbox` lists them
    #[arg(long, value_name = "NAME")]
    flaw: Vec<String>,
    /// A client and its secret, for RFC 7523 (repeatable) [default: sandbox-client:sandbox-secret]
    #[arg(long, value_name = "ID:SECRET")]
    client: Vec<String>,
    /// Let this user in under no circumstances, by `sub` or e-mail address (repeatable); nobody@lab.invalid unless others are named
    #[arg(long, value_name = "USER")]
    deny: Vec<String>,
    /// Its client_id at the issuer, for OpenID Connect's back-channel logout [default: its own address]
    #[arg(long, value_name = "CLIENT_ID")]
    relying_party: Option<String>,
    /// How often one address may register, such as 60/h, 5/m or 1/s [default: as often as it likes]
    #[arg(long, value_name = "N/UNIT")]
    rate_limit: Option<Rate>,
    /// How often one user may be registered, likewise
    #[arg(long, value_name = "N/UNIT")]
    user_rate_limit: Option<Rate>,
}

/// A dialect, as the command line names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Speaks {
    /// auth.md v0.1
    #[value(name = "v0.1")]
    V01,
    /// auth.md v0.2 to v0.7
    Flat,
    /// auth.md after v0.7
    Nested,
    /// A plain resource authorization server
    Rfc7523,
}

impl From<Speaks> for Dialect {
    fn from(speaks: Speaks) -> Self {
        match speaks {
            Speaks::V01 => Self::V01,
            Speaks::Flat => Self::Flat,
            Speaks::Nested => Self::Nested,
            Speaks::Rfc7523 => Self::Plain,
        }
    }
}

pub(super) async fn run(arguments: Arguments) -> Result<(), Failure> {
    log::start(Log::default());
    let Arguments { port, trust, dialect, flaw, client, deny, relying_party, rate_limit, user_rate_limit } = arguments;
    let issuer = |text: &String| IssuerUrl::parse(text).map_err(|e| Failure::Usage(format!("--trust {text}: {e}")));
    let trust: Vec<IssuerUrl> = trust.iter().map(issuer).collect::<Result<_, _>>()?;
    let broken = flaw.iter().map(|name| rule_named(name)).collect::<Result<Broken, _>>()?;
    let clients = if client.is_empty() { vec![USUAL_CLIENT.to_owned()] } else { client };
    let clients = clients.iter().map(|text| registered(text)).collect::<Result<Vec<_>, _>>()?;
    let (listener, origin) = bind(port)?;
    let stop = stop::on_signal()?;
    out!("{origin}");
    let trusted = if trust.is_empty() {
        "any issuer on loopback".to_owned()
    } else {
        trust.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
    };
    let dialect = Dialect::from(dialect);
    let kind = if flaw.is_empty() { "a strict service" } else { "a service that does not keep every rule" };
    say!("avouch sandbox is ready: {kind} of {} that trusts {trusted}", dialect.title());
    for name in &flaw {
        say!("  it does not keep   {name}");
    }
    if dialect == Dialect::Plain {
        say!("  clients            {}", clients.iter().map(|c| c.id.as_str()).collect::<Vec<_>>().join(", "));
    }
    say!("  what to ask it     curl -i {origin}/api/resource");
    say!("  what it is         {origin}/");
    // Whom a probe sends as the user whom nobody knows.
    let denied = if deny.is_empty() { vec![Others::default().email] } else { deny };
    let strict = Options::strict(Clock::System, Rng::Os);
    let options =
        Options { trust, dialect, broken, clients, denied, relying_party, rate_limit, user_rate_limit, ..strict };
    start(listener, &origin, options, stop)?.await.map_err(|e| Failure::Unable(format!("the sandbox ended: {e}")))
}

/// Who may come where nobody was named.
const USUAL_CLIENT: &str = "sandbox-client:sandbox-secret";

fn rule_named(name: &str) -> Result<Rule, Failure> {
    flaws::rule(name).map_err(|near| {
        let hint = near.map(|near| format!("; {near} was perhaps meant")).unwrap_or_default();
        Failure::Usage(format!("--flaw {name}: the sandbox has no such flaw{hint}"))
    })
}

fn registered(text: &str) -> Result<Client, Failure> {
    match text.split_once(':') {
        Some((id, secret)) if !id.is_empty() && !secret.is_empty() => {
            Ok(Client { id: id.to_owned(), secret: Secret::new(secret) })
        }
        _ => Err(Failure::Usage("--client is an id and a secret with a colon between them".into())),
    }
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
    options: Options,
    stop: watch::Receiver<bool>,
) -> Result<tokio::task::JoinHandle<()>, Failure> {
    let sandbox = sandbox::new(origin.to_owned(), options).map_err(|e| Failure::Unable(e.to_string()))?;
    let limits = Limits::within(descriptors::for_connections());
    let (ending, mut end) = (sandbox.clone(), stop.clone());
    tokio::spawn(async move {
        let _ = end.wait_for(|stop| *stop).await;
        ending.close();
    });
    Ok(tokio::spawn(serve_within(limits, listener, sandbox.router(), stop)))
}
