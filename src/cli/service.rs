//! `avouch service …`: what is understood of relying services.

use std::path::PathBuf;

use clap::Subcommand;
use serde_json::{Value, json};

use super::Failure;
use super::common::{self, Common};
use super::config::load;
use crate::clock::Clock;
use crate::domain::administered::{AdministeredService, Standing};
use crate::domain::ids::Audience;
use crate::domain::time::Timestamp;
use crate::domain::understood::Understood;
use crate::error::Error;
use crate::flow::discover::discover;
use crate::flow::services::{self, Record};
use crate::flow::{register, start};
use crate::net::{Documents, Net, Policy};

#[derive(Subcommand)]
pub(super) enum Command {
    /// Fetch what a service publishes, and say what is understood of it, field by field, and why. Needs no server and stores nothing
    #[command(after_help = super::help!("avouch service discover https://auth.service.example", "URL is the service's issuer identifier, or a resource of it.\nExit code 1: no document proves whose it is.\nA service on this machine may be looked at while the issuer is on this machine too."))]
    Discover {
        /// The service's issuer identifier, or one of its resources
        url: String,
        /// Print JSON
        #[arg(long)]
        json: bool,
        /// Configuration file [default: avouch.toml if there is one]
        #[arg(long, value_name = "FILE")]
        config: Option<PathBuf>,
    },
    /// Add a service, as the configuration would declare it: whatever it says of itself changes nothing from then on
    #[command(after_help = super::help!("avouch service add https://auth.service.example --notice logout+jwt=https://auth.service.example/revoke", "One that takes logout+jwt or secevent+jwt speaks auth.md. What was added here stays whatever the configuration declares."))]
    Add {
        /// Its issuer identifier, byte for byte
        audience: String,
        /// The name that users see
        #[arg(long, value_name = "NAME")]
        name: Option<String>,
        /// A resource of it; more than once for more than one [default: those at its own origin]
        #[arg(long, value_name = "URI")]
        resource: Vec<String>,
        /// A scope that it has
        #[arg(long, value_name = "SCOPE")]
        scope: Vec<String>,
        /// A claim that may leave for it [default: what it needs]
        #[arg(long, value_name = "CLAIM")]
        claim: Vec<String>,
        /// Where it is told of withdrawals, and how
        #[arg(long, value_name = "FORMAT=URL")]
        notice: Vec<String>,
        /// Seconds: an older sign-in is refused
        #[arg(long, value_name = "SECONDS")]
        max_auth_age: Option<i64>,
        /// What assertions and notices for it are signed with [default: ES256]
        #[arg(long, value_name = "ALG")]
        signing_alg: Option<String>,
        #[command(flatten)]
        common: Common,
    },
    /// List the services that are declared, and those that agents have named
    #[command(after_help = super::help!("avouch service list --issuer acme --json"))]
    List {
        #[command(flatten)]
        common: Common,
    },
    /// Show what is known of a service, and why
    #[command(after_help = super::help!("avouch service show https://auth.service.example"))]
    Show {
        /// As `service list` shows it
        audience: String,
        #[command(flatten)]
        common: Common,
    },
    /// Answer for a service as it was discovered: from then on nothing that it says of itself changes anything
    #[command(after_help = super::help!("avouch service pin https://auth.service.example", "What nobody discovered, or was understood wrongly, is declared in [[services]]."))]
    Pin {
        /// As `service list` shows it
        audience: String,
        /// Let it speak for itself again
        #[arg(long)]
        undo: bool,
        #[command(flatten)]
        common: Common,
    },
    /// Disable a service: nobody is vouched for there, and what users agreed to there is withdrawn
    #[command(after_help = super::help!("avouch service disable https://auth.service.example", "That holds until it is enabled again, whatever the configuration declares. The withdrawal is done by a running server, or by the next."))]
    Disable {
        /// As `service list` shows it
        audience: String,
        #[command(flatten)]
        common: Common,
    },
    /// Enable a disabled service again: users are asked anew
    #[command(after_help = super::help!("avouch service enable https://auth.service.example"))]
    Enable {
        /// As `service list` shows it
        audience: String,
        #[command(flatten)]
        common: Common,
    },
    /// Look at a service again, now, and let it be what it says
    #[command(after_help = super::help!("avouch service refresh https://auth.service.example", "Where users were shown something else, they are asked again. A server looks by itself each hour at most."))]
    Refresh {
        /// As `service list` shows it
        audience: String,
        #[command(flatten)]
        common: Common,
    },
}

/// Rows that are read at a time.
const PAGE: i64 = 200;

pub(super) async fn run(command: Command) -> Result<(), Failure> {
    match command {
        Command::Discover { url, json, config } => look(&url, json, config.as_deref()).await,
        Command::Add { audience, name, resource, scope, claim, notice, max_auth_age, signing_alg, common } => {
            let many = |list: Vec<String>| if list.is_empty() { Value::Null } else { json!(list) };
            let notices = notice.iter().map(|text| {
                let parts = text.split_once('=').ok_or_else(|| Failure::Usage(format!("--notice {text}: FORMAT=URL")));
                parts.map(|(format, endpoint)| json!({ "format": format, "endpoint": endpoint }))
            });
            let notices = notices.collect::<Result<Vec<_>, Failure>>()?;
            let members = json!({
                "audience": audience, "name": name, "resources": many(resource), "scopes": many(scope), "claims": many(claim),
                "notices": if notices.is_empty() { Value::Null } else { json!(notices) }, "max_auth_age": max_auth_age,
                "signing_alg": signing_alg,
            });
            let (app, parsed) = (common.app().await?, parsed(&audience)?);
            show(register::add_service(&app, common::given(members)).await, &parsed, &common)
        }
        Command::List { common } => list(&common).await,
        Command::Show { audience, common } => {
            let (app, audience) = (common.app().await?, parsed(&audience)?);
            show(services::find(&app, &audience).await, &audience, &common)
        }
        Command::Pin { audience, undo, common } => {
            let (app, audience) = (common.app().await?, parsed(&audience)?);
            let pinned =
                if undo { services::unpin(&app, &audience).await } else { services::pin(&app, &audience).await };
            show(pinned, &audience, &common)
        }
        Command::Disable { audience, common } => turn(&audience, true, &common).await,
        Command::Enable { audience, common } => turn(&audience, false, &common).await,
        Command::Refresh { audience, common } => {
            let (app, audience) = (common.app().await?, parsed(&audience)?);
            show(services::refresh(&app, &audience).await, &audience, &common)
        }
    }
}

async fn turn(audience: &str, disabled: bool, common: &Common) -> Result<(), Failure> {
    let (app, audience) = (common.app().await?, parsed(audience)?);
    let change = common::given(json!({ "disabled": disabled }));
    show(register::change_service(&app, &audience, change).await, &audience, common)
}

fn parsed(url: &str) -> Result<Audience, Failure> {
    Audience::parse(url).map_err(|problem| Failure::Usage(format!("{url}: {problem}")))
}

fn failed(what: &str, error: &Error) -> Failure {
    common::failed(what, "service", error)
}

async fn list(common: &Common) -> Result<(), Failure> {
    let app = common.app().await?;
    let (mut after, mut items) = (None::<String>, Vec::new());
    loop {
        let rows = services::list(&app, after.as_deref(), PAGE).await.map_err(|e| failed("list", &e))?;
        let Some(last) = rows.last() else { break };
        after.clone_from(&last.service.id);
        for row in &rows {
            if common.json {
                items.push(item(row));
            } else {
                let service = &row.service;
                let told = service.policy.notices.first().map_or("-", |notice| notice.endpoint.as_str());
                let standing = row.state.standing();
                let status = if standing == Standing::Active { service.source.name() } else { standing.as_str() };
                out!("{status:<11} {:<48} {told}", service.audience.as_str());
            }
        }
    }
    if common.json {
        out!("{}", json!({ "items": items }));
    }
    Ok(())
}

fn item(row: &AdministeredService) -> Value {
    let AdministeredService { service, state } = row;
    let item = json!({
        "id": service.id, "audience": service.audience, "source": service.source.name(), "name": service.policy.name,
        "takes_id_jags": service.policy.takes_id_jag, "claims": service.policy.claims, "resources": service.policy.resources,
        "scopes": service.policy.scopes, "notices": service.policy.notices,
    });
    common::state(item, state)
}

fn show(record: Result<Record, Error>, audience: &Audience, common: &Common) -> Result<(), Failure> {
    let Record { known, look } = record.map_err(|e| failed(audience.as_str(), &e))?;
    if common.json {
        let mut all = item(&known);
        let time = |at: Option<Timestamp>| json!(at.map(Timestamp::rfc3339));
        all["looked_at"] = time(look.as_ref().map(|look| look.looked_at));
        all["fresh_until"] = time(look.as_ref().map(|look| look.fresh_until));
        all["missed_at"] = time(look.as_ref().and_then(|look| look.missed_at));
        all["understood"] = json!(look.map(|look| look.understood));
        out!("{all}");
        return Ok(());
    }
    let AdministeredService { service, state } = &known;
    let policy = &service.policy;
    out!("{}", service.audience.as_str());
    out!("  {:<18} {}", "source", service.source.name());
    out!("  {:<18} {}", "status", common::stands(state));
    let claims: Vec<_> = policy.claims.iter().map(|claim| claim.as_str()).collect();
    out!("  {:<18} {}", "claims", if claims.is_empty() { "-".to_owned() } else { claims.join(", ") });
    for notice in &policy.notices {
        let called = notice.event.as_ref().map(|event| format!(", called {event}")).unwrap_or_default();
        let proves = if notice.unproven { ", whose 200 proves nothing" } else { "" };
        out!("  {:<18} {} ({}{called}{proves})", "told at", notice.endpoint, notice.format.as_str());
    }
    if policy.notices.is_empty() {
        out!("  {:<18} nowhere", "told at");
    }
    if let Some(look) = look {
        out!("  {:<18} {}", "looked at", look.looked_at.rfc3339());
        if let Some(missed) = look.missed_at {
            out!("  {:<18} {}; what was understood before stands", "proves nothing since", missed.rfc3339());
        }
        out!("Understood, of what it publishes");
        print(&look.understood);
    }
    Ok(())
}

async fn look(url: &str, json: bool, config: Option<&std::path::Path>) -> Result<(), Failure> {
    let asked = parsed(url)?;
    let config = load(config)?;
    let unable = |e: &dyn std::fmt::Display| Failure::Unable(format!("there is no way out: {e}"));
    // Whoever types an address of this machine means it; on a machine that serves the world nothing of it is opened.
    let net = if asked.is_loopback() && config.issuer.is_loopback() {
        let allowed_networks = config.network.allowed_networks.clone();
        Net::new(Policy { allow_private_addresses: true, allowed_networks }).map_err(|e| unable(&e))?
    } else {
        start::net(&config).map_err(|e| unable(&e))?
    };
    let found = discover(&Documents::new(net), &asked, Clock::System.now(), true).await;
    if json {
        out!("{}", serde_json::json!(found.understood));
    } else {
        print(&found.understood);
    }
    match found.understood.issuer {
        Some(_) => Ok(()),
        None => Err(Failure::Short(format!("{url}: no document proves whose it is"))),
    }
}

/// Each field with its source, then the documents, then what was passed over.
pub(super) fn print(understood: &Understood) {
    out!("{}", understood.issuer.as_deref().unwrap_or(&understood.asked));
    if let Some(issuer) = &understood.issuer
        && *issuer != understood.asked
    {
        out!("  {:<18} {}", "asked for", understood.asked);
    }
    for field in understood.fields() {
        let (name, value) = &field.value;
        out!("  {name:<18} {value}");
        let source = match (&field.member, &field.document) {
            (Some(member), Some(document)) => format!("{member} of {document}: "),
            _ => String::new(),
        };
        out!("  {:<18}   {source}{}", "", field.why);
    }
    if let Some(instead) = &understood.takes_instead {
        out!("  {:<18} {instead}", "takes instead");
    }
    out!("Documents");
    for reading in &understood.documents {
        out!("  {} {}", reading.verdict.as_str(), reading.document);
        out!("    {}", reading.why);
    }
    if !understood.remarks.is_empty() {
        out!("Passed over, or odd");
        for remark in &understood.remarks {
            out!("  {}: {}", remark.member, remark.why);
        }
    }
}
