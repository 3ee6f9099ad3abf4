//! The examination itself: who vouches, who is examined, and what is printed meanwhile.

use std::io::Read as _;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Mutex;
use std::time::Duration;

use serde::Deserialize;
use tokio::net::TcpStream;
use tokio::sync::watch;
use url::Url;

use super::super::progress::Bar;
use super::super::sandbox::Speaks;
use super::super::{Failure, descriptors, log, mint, serve, stop};
use crate::clock::Clock;
use crate::config::Log;
use crate::domain::ids::{Audience, IssuerUrl, Subject};
use crate::domain::rotation::SigningAlg;
use crate::domain::understood::Understood;
use crate::flow::discover::discover;
use crate::http::serve::{Limits, serve_within};
use crate::lab::hosted::Hosted;
use crate::lab::issuer::LabKey;
use crate::lab::probe::report::Report;
use crate::lab::probe::{self, Client, Known, Options, Progress, Restart, Selection, User};
use crate::net::{Documents, Net, Policy};
use crate::rng::Rng;
use crate::secret::Secret;

/// Who vouches where nobody is named, at the port where it listens.
const USUAL_PORT: u16 = 4500;
/// Requests a second to a service elsewhere.
pub(in crate::cli) const POLITE: u32 = 5;
/// Seconds that a service may rest between two fetches of a key set: half a minute is usual.
const PATIENCE: u64 = 35;
/// Seconds that a credential may live on after a notice.
const KILL_WITHIN: u64 = 10;
/// How long a service may take to be there again.
const RESTART: Duration = Duration::from_mins(1);
/// Most bytes of a file of settings.
const MAX_FILE: u64 = 64 * 1024;

/// What is examined, and how.
#[derive(clap::Args, Default, Deserialize)]
#[group(id = "Examination", multiple = true)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Arguments {
    /// How it talks [default: as its metadata say]
    #[arg(long, value_enum)]
    #[serde(skip)]
    dialect: Option<Speaks>,
    /// Who vouches: the service has to trust this issuer [default: http://localhost:4500/lab]
    #[arg(long, value_name = "URL")]
    issuer: Option<String>,
    /// Where that issuer's keys and documents are served for the run, as the service reaches them [default: 127.0.0.1:4500]
    #[arg(long, value_name = "ADDR")]
    listen: Option<SocketAddr>,
    /// A file with the lab's key, made when it is not there [default: a new key each time]
    #[arg(long, value_name = "FILE")]
    issuer_key: Option<PathBuf>,
    /// About whom: `sub`, and an address that is taken for verified
    #[arg(long, value_name = "SUB[,EMAIL]")]
    user: Option<String>,
    /// Somebody else, whom nothing shall happen to
    #[arg(long, value_name = "SUB[,EMAIL]")]
    other_user: Option<String>,
    /// Who presents the assertions, where clients are registered; a public client has no secret [default: a client that is named by its document]
    #[arg(long, value_name = "ID[:SECRET]")]
    client: Option<String>,
    /// Another client that the service knows
    #[arg(long, value_name = "ID")]
    other_client: Option<String>,
    /// Scope of a good assertion [default: the first that the metadata name]
    #[arg(long)]
    scope: Option<String>,
    /// Resource of a good assertion [default: the first that the metadata name]
    #[arg(long, value_name = "URL")]
    resource: Option<String>,
    /// An address of the API that answers 401 to whoever has no credential, and 200 to whoever has one [default: the resource]
    #[arg(long, value_name = "URL")]
    api: Option<String>,
    /// A command that starts the service anew, for what has to hold over a restart
    #[arg(long, value_name = "COMMAND")]
    restart: Option<String>,
    /// Networks of your own that may be reached, as 10.0.0.0/8 (repeatable)
    #[arg(long, value_name = "CIDR")]
    network: Vec<String>,
    /// Requests a second; 0 is as fast as it goes [default: 5; 0 for a service on this machine]
    #[arg(long, value_name = "N")]
    rate: Option<u32>,
    /// Seconds to wait for a service that does not fetch a key set again at once [default: 35]
    #[arg(long, value_name = "SECONDS")]
    patience: Option<u64>,
    /// Seconds that a credential may live on after a notice [default: 10]
    #[arg(long, value_name = "SECONDS")]
    kill_within: Option<u64>,
    /// Only these checks: by id, by the beginning of one (rfc7515/5.2), or by name (repeatable)
    #[arg(long, value_name = "CHECK")]
    only: Vec<String>,
    /// All checks but these (repeatable)
    #[arg(long, value_name = "CHECK")]
    skip: Vec<String>,
    /// Read the metadata and send nothing
    #[arg(long)]
    #[serde(skip)]
    passive: bool,
    /// A TOML file with any of these settings by their names; what the command line says counts more
    #[arg(long, value_name = "FILE")]
    #[serde(skip)]
    settings: Option<PathBuf>,
}

impl Arguments {
    /// With what is in the file.
    fn whole(self) -> Result<Self, Failure> {
        let Some(path) = &self.settings else { return Ok(self) };
        let wrong = |e: &dyn std::fmt::Display| Failure::Usage(format!("--settings {}: {e}", path.display()));
        let mut text = String::new();
        let file = std::fs::File::open(path).map_err(|e| wrong(&e))?;
        file.take(MAX_FILE).read_to_string(&mut text).map_err(|e| wrong(&e))?;
        let file: Self = toml::from_str(&text).map_err(|e| wrong(&e))?;
        let list = |own: Vec<String>, other: Vec<String>| if own.is_empty() { other } else { own };
        Ok(Self {
            dialect: self.dialect,
            issuer: self.issuer.or(file.issuer),
            listen: self.listen.or(file.listen),
            issuer_key: self.issuer_key.or(file.issuer_key),
            user: self.user.or(file.user),
            other_user: self.other_user.or(file.other_user),
            client: self.client.or(file.client),
            other_client: self.other_client.or(file.other_client),
            scope: self.scope.or(file.scope),
            resource: self.resource.or(file.resource),
            api: self.api.or(file.api),
            restart: self.restart.or(file.restart),
            network: list(self.network, file.network),
            rate: self.rate.or(file.rate),
            patience: self.patience.or(file.patience),
            kill_within: self.kill_within.or(file.kill_within),
            only: list(self.only, file.only),
            skip: list(self.skip, file.skip),
            passive: self.passive,
            settings: self.settings,
        })
    }
}

/// Prints every check there is, and sends nothing.
pub(super) fn list() {
    for check in probe::all() {
        out!("{:<68} {:<6}  {}", check.id(), check.level().as_str(), check.meaning());
    }
}

/// Examines a service, or says what would be sent.
pub(super) async fn examine(url: &str, arguments: Arguments) -> Result<Report, Failure> {
    log::start(Log::default());
    let stop = stop::on_signal()?;
    let (options, listener) = prepare(url, arguments.whole()?, stop.clone()).await?;
    let serving = listener.map(|listener| {
        let limits = Limits::within(descriptors::for_connections());
        tokio::spawn(serve_within(limits, listener, options.hosted.router(), stop))
    });
    let report = Box::pin(probe::run(options)).await.map_err(|e| Failure::Unable(e.to_string()));
    if let Some(serving) = serving {
        serving.abort();
    }
    report
}

/// Says what would be sent.
pub(super) async fn outline(url: &str, arguments: Arguments) -> Result<(), Failure> {
    let (options, _) = prepare(url, arguments.whole()?, watch::channel(false).1).await?;
    for planned in probe::outline(options).await.map_err(Failure::Unable)? {
        out!("{}", planned.id);
        if !planned.differs_in.is_empty() {
            out!("    differs from a good one in {}", planned.differs_in.join(", "));
        }
        if let Some(curl) = planned.curl {
            out!("    {curl}");
        }
    }
    Ok(())
}

type Prepared = (Options, Option<tokio::net::TcpListener>);

async fn prepare(url: &str, arguments: Arguments, stop: watch::Receiver<bool>) -> Result<Prepared, Failure> {
    let asked = Audience::parse(url).map_err(|problem| Failure::Usage(format!("{url}: {problem}")))?;
    let selection = Selection::new(&arguments.only, &arguments.skip).map_err(Failure::Usage)?;
    let user = user("user", arguments.user.as_deref().unwrap_or("avouch-probe,avouch-probe@lab.invalid"))?;
    let other = arguments.other_user.as_deref().unwrap_or("avouch-probe-other,avouch-probe-other@lab.invalid");
    let other_user = self::user("other-user", other)?;
    let client = arguments.client.as_deref().map(client).transpose()?;
    let usual = SocketAddr::from(([127, 0, 0, 1], USUAL_PORT));
    let listener = if arguments.passive { None } else { Some(serve::bind(arguments.listen.unwrap_or(usual))?) };
    let port = listener.as_ref().and_then(|listener| listener.local_addr().ok()).map_or(USUAL_PORT, |at| at.port());
    let issuer = arguments.issuer.clone().unwrap_or_else(|| format!("http://localhost:{port}/lab"));
    let issuer = IssuerUrl::parse(&issuer).map_err(|e| Failure::Usage(format!("--issuer {issuer}: {e}")))?;
    let key = match &arguments.issuer_key {
        Some(file) => mint::key_of(file, "issuer-key", None)?,
        None => LabKey::generate(SigningAlg::Es256, &Rng::Os).map_err(|e| Failure::Unable(e.to_string()))?,
    };
    let local = asked.is_loopback();
    let network = |text: &String| text.parse().map_err(|e| Failure::Usage(format!("--network {text}: {e}")));
    let allowed_networks = arguments.network.iter().map(network).collect::<Result<Vec<_>, _>>()?;
    let policy = Policy { allow_private_addresses: local, allowed_networks };
    let net = Net::new(policy).map_err(|e| Failure::Usage(e.to_string()))?;
    let found = discover(&Documents::new(net.clone()), &asked, Clock::System.now(), true).await;
    is_the_one_named(&asked, &found.understood)?;
    if !arguments.passive {
        trust_entry(&issuer, &user, client.as_ref());
    }
    let rate = arguments.rate.unwrap_or(if local { 0 } else { POLITE });
    let api =
        arguments.api.as_deref().map(|text| Url::parse(text).map_err(|e| Failure::Usage(format!("--api {text}: {e}"))));
    let known = Known {
        dialect: arguments.dialect.map(Into::into),
        api: api.transpose()?,
        resource: arguments.resource,
        scope: arguments.scope,
    };
    let options = Options {
        named: url.to_owned(),
        understood: found.understood,
        known,
        issuer,
        key,
        hosted: Hosted::default(),
        user,
        other_user,
        client,
        other_client: arguments.other_client,
        selection,
        passive: arguments.passive,
        gap: Duration::from_secs(1).checked_div(rate).unwrap_or_default(),
        patience: Duration::from_secs(arguments.patience.unwrap_or(PATIENCE)),
        kill_within: Duration::from_secs(arguments.kill_within.unwrap_or(KILL_WITHIN)),
        restart: arguments.restart.map(|command| restart(command, url)).transpose()?,
        net,
        clock: Clock::System,
        rng: Rng::Os,
        stop,
        tell: teller(),
    };
    Ok((options, listener))
}

/// An API may name a server elsewhere that guards it; that one is examined when it is named itself.
pub(in crate::cli) fn is_the_one_named(asked: &Audience, understood: &Understood) -> Result<(), Failure> {
    is_guarded_from_there(asked, understood.guarded_by())
}

fn is_guarded_from_there(asked: &Audience, guard: Option<&str>) -> Result<(), Failure> {
    let host = |url: &str| Url::parse(url).ok().and_then(|url| url.host_str().map(str::to_owned));
    let asked = asked.as_str();
    let Some(guard) = guard.filter(|guard| host(guard) != host(asked)) else { return Ok(()) };
    Err(Failure::Usage(format!(
        "{asked} is guarded by {guard}, at another host: to examine that one, run avouch probe {guard}"
    )))
}

pub(in crate::cli) fn user(option: &str, text: &str) -> Result<User, Failure> {
    let (sub, email) = text.split_once(',').map_or((text, None), |(sub, email)| (sub, Some(email.to_owned())));
    Subject::parse(sub).map_err(|e| Failure::Usage(format!("--{option} {text}: {e}")))?;
    Ok(User { sub: sub.to_owned(), email })
}

pub(in crate::cli) fn client(text: &str) -> Result<Client, Failure> {
    // An id that is a URL has colons of its own before its path.
    let path = text.find("://").map_or(0, |at| text[at + 3..].find('/').map_or(text.len(), |slash| at + 3 + slash));
    let (id, secret) = match text[path..].split_once(':') {
        Some((rest, secret)) => (&text[..path + rest.len()], Some(secret)),
        None => (text, None),
    };
    if id.is_empty() || secret.is_some_and(str::is_empty) {
        let why = "--client is an id, and a secret after a colon unless the client is a public one";
        return Err(Failure::Usage(why.to_owned()));
    }
    Ok(Client { id: id.to_owned(), secret: secret.map(Secret::new) })
}

/// What the service has to be told first, in every form that services ask for it.
pub(in crate::cli) fn trust_entry(issuer: &IssuerUrl, user: &User, client: Option<&Client>) {
    let by = client.map_or_else(|| issuer.at("/client.json"), |client| client.id.clone());
    say!("The service has to trust this issuer while it is examined; take the entry out again afterwards.");
    say!("  issuer              {issuer}");
    say!("  its keys            {}", issuer.at("/.well-known/jwks.json"));
    say!("  its metadata        {}", issuer.at("/.well-known/openid-configuration"));
    say!("  client (auth.md)    {}", issuer.at("/agent-auth.json"));
    say!("  client (RFC 7523)   {by}");
    say!(
        "  user                {}{}",
        user.sub,
        user.email.as_ref().map(|email| format!(", {email}")).unwrap_or_default()
    );
    say!(
        "  as JSON             {{\"issuer\": \"{issuer}\", \"jwks_uri\": \"{}\"}}",
        issuer.at("/.well-known/jwks.json")
    );
    say!("  of a sandbox        avouch sandbox --trust {issuer}");
}

/// On a terminal a bar, else a line now and then.
fn teller() -> Box<dyn Fn(&Progress<'_>) + Send + Sync> {
    let bar = Mutex::new(Bar::new("checks"));
    Box::new(move |progress| {
        let Ok(mut bar) = bar.lock() else { return };
        let count = |n: usize| u64::try_from(n).unwrap_or(u64::MAX);
        if let Some(span) = progress.waits {
            bar.end();
            say!("{}: waiting for {} s", progress.doing, span.as_secs() + 1);
        }
        bar.show(count(progress.done), count(progress.of));
        if progress.done == progress.of {
            bar.end();
        }
    })
}

/// Runs a command, and waits until the service takes connections.
fn restart(command: String, url: &str) -> Result<Restart, Failure> {
    let url = Url::parse(url).map_err(|e| Failure::Usage(format!("{url}: {e}")))?;
    let at = url.host_str().map(str::to_owned).zip(url.port_or_known_default());
    let (host, port) = at.ok_or_else(|| Failure::Usage(format!("{url} names no host")))?;
    let host = host.trim_matches(['[', ']']).to_owned();
    Ok(Box::new(move || {
        let (command, host) = (command.clone(), host.clone());
        Box::pin(async move {
            let run = move || std::process::Command::new("sh").arg("-c").arg(&command).status();
            let status = tokio::task::spawn_blocking(run).await.map_err(|e| e.to_string())?;
            let status = status.map_err(|e| format!("--restart cannot be run: {e}"))?;
            if !status.success() {
                return Err(format!("--restart ended with {status}"));
            }
            let there = async {
                while TcpStream::connect((host.as_str(), port)).await.is_err() {
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            };
            let waited = tokio::time::timeout(RESTART, there).await;
            waited.map_err(|_| format!("it does not take connections {} s after --restart", RESTART.as_secs()))
        })
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_api_is_examined_with_who_guards_it_at_the_same_host() {
        let asked = Audience::parse("https://notes.example/mcp").unwrap();
        for there in [None, Some("https://notes.example/"), Some("https://notes.example:8443/auth")] {
            assert!(is_guarded_from_there(&asked, there).is_ok(), "{there:?}");
        }
        let elsewhere = is_guarded_from_there(&asked, Some("https://login.example/"));
        assert!(elsewhere.is_err_and(|failure| failure.text().contains("run avouch probe https://login.example/")));
    }

    #[test]
    fn a_client_has_a_secret_or_is_a_public_one() {
        let read = |text: &str| client(text).ok().map(|c| (c.id, c.secret.map(|secret| secret.expose().to_owned())));
        let known = |id: &str, secret: Option<&str>| Some((id.to_owned(), secret.map(str::to_owned)));
        assert_eq!(read("desk:s:e:c"), known("desk", Some("s:e:c")));
        assert_eq!(read("desk"), known("desk", None));
        assert_eq!(read("https://desk.example:8443/c.json"), known("https://desk.example:8443/c.json", None));
        assert_eq!(read("https://desk.example/c:sec/ret"), known("https://desk.example/c", Some("sec/ret")));
        for wrong in ["", ":", "desk:", ":secret"] {
            assert_eq!(read(wrong), None, "{wrong}");
        }
    }
}
