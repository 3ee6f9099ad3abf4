//! `avouch delivery …`: notices, on the database of a server that may be running.

use clap::Subcommand;
use serde_json::{Value, json};

use super::Failure;
use super::common::Common;
use crate::domain::notice::{Attempt, Deliveries, Delivery, DeliveryState, Format};
use crate::domain::refusal::Refusal;
use crate::domain::time::Timestamp;
use crate::error::Error;
use crate::flow::deliveries::{self, Told};
use crate::flow::issuers;
use crate::host::App;

/// Rows that are read at a time.
const PAGE: i64 = 200;

#[derive(Subcommand)]
pub(super) enum Command {
    /// List notices, the oldest first
    #[command(after_help = super::help!("avouch delivery list --state refused"))]
    List {
        /// Only those that are queued, delivered, refused, given_up, unproven or cancelled
        #[arg(long, value_name = "STATE", value_parser = state)]
        state: Option<DeliveryState>,
        #[command(flatten)]
        common: Common,
    },
    /// Show a notice, and each attempt at it with what the service answered
    #[command(after_help = super::help!("avouch delivery show ID"))]
    Show {
        /// As `delivery list` shows it
        id: String,
        #[command(flatten)]
        common: Common,
    },
    /// Let a notice be tried now; one that was refused, given up or unproven begins anew
    #[command(after_help = super::help!("avouch delivery retry ID", "A server that runs sends it within a second, or a minute where the service did not answer in time before."))]
    Retry {
        /// As `delivery list` shows it
        id: String,
        #[command(flatten)]
        common: Common,
    },
}

fn state(text: &str) -> Result<DeliveryState, String> {
    DeliveryState::parse(text).ok_or_else(|| "it must be queued, delivered, refused, given_up or unproven".to_owned())
}

pub(super) async fn run(command: Command) -> Result<(), Failure> {
    match command {
        Command::List { state, common } => list(&connect(&common).await?, state, common.json).await,
        Command::Show { id, common } => {
            let app = connect(&common).await?;
            print(&deliveries::find(&app, &id).await.map_err(|e| failed(&id, e))?, common.json);
            Ok(())
        }
        Command::Retry { id, common } => {
            let app = connect(&common).await?;
            print(&deliveries::retry(&app, &id).await.map_err(|e| failed(&id, e))?, common.json);
            Ok(())
        }
    }
}

/// What a disabled issuer owes is sent as well.
async fn connect(common: &Common) -> Result<App, Failure> {
    let (host, id) = common.connect().await?;
    issuers::owing(&host, &id).await.map_err(|e| failed(&id, e))
}

fn failed(id: &str, error: Error) -> Failure {
    match error {
        Error::Refused(Refusal::NotFound) => Failure::Usage(format!("{id}: there is no such notice")),
        Error::Refused(refusal) => Failure::Usage(format!("{id}: {refusal}")),
        Error::Fault(fault) => Failure::Unable(fault.to_string()),
    }
}

async fn list(app: &App, state: Option<DeliveryState>, as_json: bool) -> Result<(), Failure> {
    let (mut after, mut items) = (String::new(), Vec::new());
    loop {
        let rows = deliveries::list(app, Deliveries { state, after: &after, limit: PAGE }).await;
        let rows = rows.map_err(|e| failed("list", e))?;
        let Some(last) = rows.last() else { break };
        after.clone_from(&last.id);
        for row in &rows {
            if as_json {
                items.push(item(row));
                continue;
            }
            let (state, round, last) = (row.state.as_str(), row.round.as_str(), last_answer(row));
            out!("{}  {state:<9} {round:<6} {:>3} {last:<28} {}", row.id, row.attempts, row.aud);
        }
    }
    if as_json {
        out!("{}", json!({ "items": items }));
    }
    Ok(())
}

fn last_answer(delivery: &Delivery) -> String {
    let status = delivery.last_status.map(|status| status.to_string());
    status.or_else(|| delivery.last_error.clone()).unwrap_or_else(|| "-".to_owned())
}

fn item(delivery: &Delivery) -> Value {
    json!({
        "id": delivery.id, "delegation_id": delivery.delegation_id, "sid": delivery.sid, "sub": delivery.sub, "aud": delivery.aud,
        "format": delivery.format, "round": delivery.round, "endpoint": delivery.endpoint, "state": delivery.state,
        "attempts": delivery.attempts, "created_at": delivery.created_at.rfc3339(), "due_at": delivery.due_at.rfc3339(),
        "ended_at": delivery.ended_at.map(Timestamp::rfc3339), "last_status": delivery.last_status,
        "last_error": delivery.last_error,
    })
}

fn print(Told { delivery, attempts }: &Told, as_json: bool) {
    if as_json {
        let tried = attempts.iter().map(|(at, attempt)| {
            json!({
                "at": at.rfc3339(), "number": attempt.number, "jti": attempt.jti, "kid": attempt.kid, "endpoint": attempt.endpoint,
                "status": attempt.status, "error": attempt.error, "latency_ms": attempt.latency, "answer": attempt.answer,
                "state": attempt.state, "held": attempt.held,
            })
        });
        let tried: Vec<Value> = tried.collect();
        let mut all = item(delivery);
        all["tried"] = json!(tried);
        out!("{all}");
        return;
    }
    out!("{}", delivery.id);
    out!("  {:<12} {}", "state", delivery.state.as_str());
    out!("  {:<12} {} of {}", "notice", delivery.format.as_str(), delivery.sub.as_str());
    let told = if delivery.format == Format::BackchannelLogout { "client" } else { "service" };
    out!("  {told:<12} {}", delivery.aud);
    out!("  {:<12} {}", "endpoint", delivery.endpoint);
    if delivery.state == DeliveryState::Queued {
        out!("  {:<12} {}", "due", delivery.due_at.rfc3339());
    } else {
        out!("  {:<12} {}", "ended", delivery.ended_at.map(Timestamp::rfc3339).unwrap_or_default());
    }
    for (at, attempt) in attempts {
        out!("  {} {}", at.rfc3339(), line(attempt));
        if !attempt.answer.is_empty() {
            out!("    {}", attempt.answer);
        }
    }
}

fn line(attempt: &Attempt) -> String {
    let status = attempt.status.map(|status| status.to_string());
    let what = status.or_else(|| attempt.error.clone()).unwrap_or_default();
    let away = if attempt.held { "" } else { ", which did not count: another worker tried too" };
    format!("{what} after {} ms at {}{away}", attempt.latency, attempt.endpoint)
}
