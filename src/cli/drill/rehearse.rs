//! A drill by a lab's issuer: who vouches, with whom it is rehearsed, and what is printed meanwhile.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::Value;
use url::Url;

use super::super::files::look;
use super::super::probe::examine::{POLITE, client, is_the_one_named, trust_entry, user};
use super::super::sandbox::Speaks;
use super::super::{Failure, descriptors, log, mint, serve, stop};
use super::reports::Reports;
use crate::clock::Clock;
use crate::config::Log;
use crate::domain::ids::{Audience, IssuerUrl};
use crate::domain::rotation::SigningAlg;
use crate::flow::discover::discover;
use crate::http::serve::{Limits, serve_within};
use crate::lab::drill::report::{Kind, Report, Schedule};
use crate::lab::drill::view::terminal;
use crate::lab::drill::{self, Named, Options, Patience, Progress, Tell, all, estimate};
use crate::lab::examine::found::Verdict;
use crate::lab::hosted::{Hosted, JWKS, MAX_AGE};
use crate::lab::issuer::LabKey;
use crate::lab::probe::Known;
use crate::net::{Documents, Method, Net, Policy, Request};
use crate::rng::Rng;

/// Who vouches where nobody is named, at the port where it listens.
const USUAL_PORT: u16 = 4500;
/// Seconds between two fetches of a key set by the same service: half a minute is usual.
const COOLDOWN: u64 = 31;
/// Seconds until a service's copy of a key set is too old: ten minutes at least (auth.md, "JWKS fetching").
const CACHE: u64 = 660;
/// Seconds that a credential may live on after a notice.
const KILL_WITHIN: u64 = 10;

/// Who vouches, and how services are talked to.
#[derive(clap::Args)]
#[group(id = "Rehearse", multiple = true)]
pub(super) struct Arguments {
    /// Who vouches: the service has to trust this issuer; of several, each one below it [default: http://localhost:4500/lab]
    #[arg(long, value_name = "URL")]
    pub(super) issuer: Option<String>,
    /// Where the issuer's keys and documents are served for the drill, as services reach them [default: 127.0.0.1:4500]
    #[arg(long, value_name = "ADDR", conflicts_with = "live")]
    listen: Option<SocketAddr>,
    /// A file with the lab's key, made when it is not there [default: a new key each time]
    #[arg(long, value_name = "FILE", conflicts_with = "live")]
    issuer_key: Option<PathBuf>,
    /// How they talk [default: as their metadata say]
    #[arg(long, value_enum, conflicts_with = "live")]
    dialect: Option<Speaks>,
    /// About whom: `sub`, and an address that is taken for verified
    #[arg(
        long,
        value_name = "SUB[,EMAIL]",
        default_value = "avouch-drill,avouch-drill@lab.invalid",
        conflicts_with = "live"
    )]
    user: String,
    /// Somebody else, whose credential is withdrawn
    #[arg(
        long,
        value_name = "SUB[,EMAIL]",
        default_value = "avouch-drill-other,avouch-drill-other@lab.invalid",
        conflicts_with = "live"
    )]
    other_user: String,
    /// Who presents the assertions, where clients are registered; a public client has no secret: once for all services, or for each in their order
    #[arg(long, value_name = "ID[:SECRET]", conflicts_with = "live")]
    client: Vec<String>,
    /// Scope of a good assertion, likewise [default: the first that the metadata name]
    #[arg(long, conflicts_with = "live")]
    scope: Vec<String>,
    /// Resource of a good assertion, likewise [default: the first that the metadata name]
    #[arg(long, value_name = "URL", conflicts_with = "live")]
    resource: Vec<String>,
    /// An address of the API that answers 401 to whoever has no credential and 200 to whoever has one, likewise [default: the resource]
    #[arg(long, value_name = "URL", conflicts_with = "live")]
    api: Vec<String>,
    /// Networks of your own that may be reached, as 10.0.0.0/8 (repeatable)
    #[arg(long, value_name = "CIDR", conflicts_with = "live")]
    network: Vec<String>,
    /// Requests a second to each service; 0 is as fast as it goes [default: 5; 0 for services on this machine]
    #[arg(long, value_name = "N", conflicts_with = "live")]
    rate: Option<u32>,
    /// Seconds that services rest between two fetches of a key set
    #[arg(long, value_name = "SECONDS", default_value_t = COOLDOWN, conflicts_with = "live")]
    cooldown: u64,
    /// Seconds after which a copy of the key set is too old to be used
    #[arg(long, value_name = "SECONDS", default_value_t = CACHE, conflicts_with = "live")]
    patience: u64,
    /// Seconds that a credential may live on after a notice
    #[arg(long, value_name = "SECONDS", default_value_t = KILL_WITHIN, conflicts_with = "live")]
    kill_within: u64,
    /// Leave out this step, by its name (repeatable)
    #[arg(long, value_name = "STEP", conflicts_with = "live")]
    skip: Vec<String>,
}

/// Rehearses.
pub(super) async fn run(
    kind: Kind,
    schedule: Schedule,
    services: Vec<String>,
    arguments: Arguments,
    reports: &mut Reports,
) -> Result<Report, Failure> {
    log::start(Log::default());
    skips(kind, &arguments.skip)?;
    let stop = stop::on_signal()?;
    let listener = serve::bind(arguments.listen.unwrap_or(SocketAddr::from(([127, 0, 0, 1], USUAL_PORT))))?;
    let port = listener.local_addr().map_or(USUAL_PORT, |at| at.port());
    let issuer = arguments.issuer.clone().unwrap_or_else(|| format!("http://localhost:{port}/lab"));
    let issuer = IssuerUrl::parse(&issuer).map_err(|e| Failure::Usage(format!("--issuer {issuer}: {e}")))?;
    let cooldown = Duration::from_secs(arguments.cooldown);
    let patience = Patience {
        cooldown,
        cache: Duration::from_secs(arguments.patience),
        document: Duration::from_secs(MAX_AGE + 1),
        kill: Duration::from_secs(arguments.kill_within),
    };
    let (services, net) = named(services, &issuer, &arguments)?;
    let reached = reached(reports, (kind, schedule), &issuer, &services)?;
    let hosted = Hosted::default();
    let limits = Limits::within(descriptors::for_connections());
    let serving = tokio::spawn(serve_within(limits, listener, hosted.router(), stop.clone()));
    let urls = std::iter::once(&issuer).chain(services.iter().map(|named| &named.issuer));
    for url in urls {
        is_nobodys(url).await?;
    }
    let (user, other_user) = (user("user", &arguments.user)?, user("other-user", &arguments.other_user)?);
    for named in &services {
        say!("{}", named.url);
        trust_entry(&named.issuer, &user, named.client.as_ref());
    }
    announce(kind, schedule, &patience, &arguments.skip);
    let local = services.iter().all(|named| Audience::parse(&named.url).is_ok_and(|url| url.is_loopback()));
    let rate = arguments.rate.unwrap_or(if local { 0 } else { POLITE });
    let options = Options {
        kind,
        schedule,
        patience,
        services,
        issuer,
        skip: arguments.skip,
        hosted,
        user,
        other_user,
        gap: Duration::from_secs(1).checked_div(rate).unwrap_or_default(),
        reached,
        net,
        clock: Clock::System,
        wait: Arc::new(|span| Box::pin(tokio::time::sleep(span))),
        rng: Rng::Os,
        stop,
        tell: teller(),
        keep: reports.keeper(),
    };
    let report = Box::pin(drill::run(options)).await.map_err(|e| Failure::Unable(e.to_string()));
    serving.abort();
    report
}

fn skips(kind: Kind, names: &[String]) -> Result<(), Failure> {
    let steps = all(kind);
    for name in names {
        if !steps.iter().any(|step| step.name == name) {
            let near = crate::domain::spelling::probable(name, steps.iter().map(|step| step.name));
            let hint = near.map(|near| format!("; {near} was perhaps meant")).unwrap_or_default();
            return Err(Failure::Usage(format!("--skip {name}: there is no such step{hint}")));
        }
    }
    Ok(())
}

/// What an earlier run of the same drill has reached.
fn reached(
    reports: &mut Reports,
    drill: (Kind, Schedule),
    issuer: &IssuerUrl,
    services: &[Named],
) -> Result<Option<Report>, Failure> {
    let Some(report) = reports.reached() else { return Ok(None) };
    let other = |what: &str, found: &str| {
        Err(Failure::Usage(format!(
            "--state: it is of another drill: its {what} is {found}; take another file, or the same options"
        )))
    };
    if (report.drill, report.schedule) != drill {
        return other("drill", &format!("{}, {}", report.drill.as_str(), report.schedule.as_str()));
    }
    if report.issuer != issuer.as_str() {
        return other("issuer", &report.issuer);
    }
    if !report.services.iter().map(|service| service.named.as_str()).eq(services.iter().map(|named| named.url.as_str()))
    {
        let named: Vec<&str> = report.services.iter().map(|service| service.named.as_str()).collect();
        return other("list of services", &named.join(", "));
    }
    Ok(Some(report))
}

/// Each service with what is known of it, and the way to all of them.
fn named(services: Vec<String>, issuer: &IssuerUrl, arguments: &Arguments) -> Result<(Vec<Named>, Net), Failure> {
    let wrong = |option: &str, text: &str, e: &dyn std::fmt::Display| Failure::Usage(format!("--{option} {text}: {e}"));
    let parsed = services.iter().map(|url| Audience::parse(url).map_err(|e| wrong("service", url, &e)));
    let parsed = parsed.collect::<Result<Vec<Audience>, _>>()?;
    let network = |text: &String| text.parse().map_err(|e| wrong("network", text, &e));
    let allowed_networks = arguments.network.iter().map(network).collect::<Result<Vec<_>, _>>()?;
    let policy = Policy { allow_private_addresses: parsed.iter().any(Audience::is_loopback), allowed_networks };
    let net = Net::new(policy).map_err(|e| Failure::Usage(e.to_string()))?;
    let key = match &arguments.issuer_key {
        Some(file) => mint::key_of(file, "issuer-key", None)?,
        None => LabKey::generate(SigningAlg::Es256, &Rng::Os).map_err(|e| Failure::Unable(e.to_string()))?,
    };
    let count = services.len();
    let lists = [
        ("client", &arguments.client),
        ("scope", &arguments.scope),
        ("resource", &arguments.resource),
        ("api", &arguments.api),
    ];
    for (option, list) in lists {
        if list.len() > 1 && list.len() != count {
            return Err(Failure::Usage(format!(
                "--{option} comes once for all services, or once for each of the {count}"
            )));
        }
    }
    let mut paths = BTreeMap::new();
    let mut made = Vec::new();
    for (n, (url, asked)) in services.into_iter().zip(parsed).enumerate() {
        let of = |list: &Vec<String>| list.get(n).or(list.first()).cloned();
        let api = of(&arguments.api).map(|text| Url::parse(&text).map_err(|e| wrong("api", &text, &e))).transpose()?;
        let known = Known {
            dialect: arguments.dialect.map(Into::into),
            api,
            resource: of(&arguments.resource),
            scope: of(&arguments.scope),
        };
        let issuer = if count == 1 { issuer.clone() } else { below(issuer, &url, &mut paths)? };
        let key = if count == 1 { key.derive("drill") } else { key.derive(issuer.as_str()) };
        let key = key.map_err(|e| Failure::Unable(e.to_string()))?;
        let net = net.clone();
        made.push(Named {
            url,
            understand: Box::new(move || {
                Box::pin(async move {
                    let found = discover(&Documents::new(net), &asked, Clock::System.now(), true).await;
                    is_the_one_named(&asked, &found.understood).map_err(|failure| failure.text().to_owned())?;
                    Ok(found.understood)
                })
            }),
            known,
            client: of(&arguments.client).as_deref().map(client).transpose()?,
            issuer,
            key,
        });
    }
    Ok((made, net))
}

/// An issuer for one service of several: what one is shown, no other sees.
fn below(issuer: &IssuerUrl, service: &str, paths: &mut BTreeMap<String, usize>) -> Result<IssuerUrl, Failure> {
    let rest = service.split_once("://").map_or(service, |(_, rest)| rest);
    let name: String =
        rest.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' }).collect();
    let name = name.trim_matches('-').to_owned();
    let count = paths.entry(name.clone()).or_default();
    *count += 1;
    let name = if *count == 1 { name } else { format!("{name}-{count}") };
    let url = issuer.at(&format!("/{name}"));
    IssuerUrl::parse(&url).map_err(|e| Failure::Usage(format!("--issuer {url}: {e}")))
}

/// Where somebody else publishes keys already, nothing of ours may stand beside it: it may be an issuer at work.
async fn is_nobodys(issuer: &IssuerUrl) -> Result<(), Failure> {
    let Ok(url) = Url::parse(&issuer.at(JWKS)) else { return Ok(()) };
    let policy = Policy { allow_private_addresses: issuer.is_loopback(), ..Policy::default() };
    let Ok(net) = Net::new(policy) else { return Ok(()) };
    let (method, headers, timeout) = (Method::Get, Vec::new(), Duration::from_secs(5));
    let request = Request { method, url, headers, body: Vec::new(), timeout, max_body: 256 * 1024 };
    let Ok(response) = net.send(request).await else { return Ok(()) };
    let body: Value = serde_json::from_slice(&response.body).unwrap_or_default();
    if response.status == 200 && body.get("keys").is_some() {
        return Err(Failure::Usage(format!(
            "--issuer {issuer}: somebody publishes keys there already; a drill is by an issuer of its own, or with --live"
        )));
    }
    Ok(())
}

fn announce(kind: Kind, schedule: Schedule, patience: &Patience, skip: &[String]) {
    let mut steps = all(kind);
    steps.retain(|step| !skip.iter().any(|name| name == step.name));
    let (count, lasts) = (steps.len(), estimate(&steps, schedule, patience));
    match schedule {
        Schedule::Fast => {
            say!(
                "The drill has {count} steps; those that need waiting are left out. With --schedule realistic all are taken: that waits about {}.",
                minutes(estimate(&steps, Schedule::Realistic, patience))
            );
        }
        Schedule::Realistic => {
            say!(
                "The drill has {count} steps and waits about {} altogether, all services at the same time. Ctrl-C ends it with a report of what was reached.",
                minutes(lasts)
            );
        }
    }
}

fn minutes(span: Duration) -> String {
    match span.as_secs() {
        s @ 0..120 => format!("{s} s"),
        s => format!("{} min", s.div_ceil(60)),
    }
}

/// A line for each verdict, and for each new wait with what is left.
fn teller() -> Tell {
    let last = Mutex::new(BTreeMap::<usize, String>::new());
    Arc::new(move |progress: &Progress<'_>| {
        let look = look(&std::io::stderr());
        if let Some(step) = progress.step {
            // Many at once, with few reasons, which the report puts together.
            if step.verdict == Verdict::Skipped {
                return;
            }
            say!("{:>3} of {}  {}", progress.done, progress.of, terminal::progress(progress.named, step, look));
            return;
        }
        let Ok(mut last) = last.lock() else { return };
        let told = last.insert(progress.service, progress.doing.to_owned());
        if progress.doing.starts_with("waiting") && told.as_deref() != Some(progress.doing) {
            say!("           {}  {}; about {} left", progress.named, progress.doing, minutes(progress.left));
        }
    })
}
