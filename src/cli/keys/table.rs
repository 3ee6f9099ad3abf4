//! Keys as they are shown: where each stands, how old it is, what comes next and when.

use serde_json::{Value, json};

use super::words::{span, when};
use super::{failed, fetchers};
use crate::cli::Failure;
use crate::cli::common::Common;
use crate::domain::ids::Kid;
use crate::domain::rotation::{KeyState, Step};
use crate::domain::time::Timestamp;
use crate::flow::reseal::{self, Standing};
use crate::flow::rotate::{self, Listed};
use crate::host::Host;

pub(super) async fn list(host: &Host, id: &str, with_fetchers: bool, common: &Common) -> Result<(), Failure> {
    let keys = rotate::list(host, id).await.map_err(failed)?;
    let sealing = reseal::standings(host).await.map_err(failed)?;
    if common.json {
        let mut document = json!({ "items": keys.iter().map(item).collect::<Vec<_>>(), "sealing_keys": sealing });
        if with_fetchers {
            document["fetchers"] = fetchers::items(host, id).await.map_err(failed)?;
        }
        out!("{document}");
        return Ok(());
    }
    out!("{:<43}  {:<5}  {:<8}  {:>6}  NEXT", "KID", "ALG", "STATE", "AGE");
    for listed in &keys {
        out!("{}", line(listed, host.now()));
    }
    for listed in keys.iter().filter(|listed| listed.key.state == KeyState::Pending) {
        out!("\n{}", fetchers::sentence(listed));
    }
    if sealing.len() > 1 {
        let each = sealing.iter().map(|Standing { id, state, keys }| format!("{keys} by {id} ({})", state.as_str()));
        let each = each.collect::<Vec<_>>().join(", ");
        out!("\nThe sealing key is being changed. Keys of all issuers are sealed: {each}");
        out!("If no `avouch keys reseal` runs, run it again: it goes on.");
    }
    if with_fetchers { fetchers::show(host, id).await.map_err(failed) } else { Ok(()) }
}

pub(super) async fn show(host: &Host, id: &str, kid: &Kid, common: &Common) -> Result<(), Failure> {
    let keys = rotate::list(host, id).await.map_err(failed)?;
    let Some(listed) = keys.iter().find(|listed| listed.key.kid == *kid) else { return Ok(()) };
    let text = if common.json { item(listed).to_string() } else { line(listed, host.now()) };
    out!("{text}");
    Ok(())
}

fn line(listed: &Listed, now: Timestamp) -> String {
    let key = &listed.key;
    let since = key.ended_at.or(key.retired_at).or(key.activated_at).unwrap_or(key.created_at);
    format!(
        "{:<43}  {:<5}  {:<8}  {:>6}  {}",
        key.kid.as_str(),
        key.alg.as_str(),
        key.state.as_str(),
        span(now - since),
        next(listed, now)
    )
}

/// What comes next, in words.
fn next(listed: &Listed, now: Timestamp) -> String {
    let key = &listed.key;
    let planned = listed.next.map(|(step, at)| {
        let what = match step {
            Step::Prepare => "its successor is published",
            Step::Activate => "its successor takes over",
            Step::Remove => "leaves the key set",
        };
        format!("{what} {}", when(at, now))
    });
    match key.state {
        KeyState::Pending => {
            let at = listed.allowed_at.unwrap_or(key.created_at);
            if at <= now { "may sign now".to_owned() } else { format!("may sign {}", when(at, now)) }
        }
        KeyState::Active => planned.unwrap_or_else(|| "signs until another is activated".to_owned()),
        KeyState::Retiring => planned.unwrap_or_default(),
        KeyState::Removed | KeyState::Revoked => key.reason.clone().unwrap_or_else(|| "-".to_owned()),
    }
}

fn item(listed: &Listed) -> Value {
    let key = &listed.key;
    json!({
        "kid": key.kid, "alg": key.alg, "state": key.state, "created_at": key.created_at.rfc3339(),
        "activated_at": key.activated_at.map(Timestamp::rfc3339), "retired_at": key.retired_at.map(Timestamp::rfc3339),
        "ended_at": key.ended_at.map(Timestamp::rfc3339), "reason": key.reason,
        "allowed_at": listed.allowed_at.map(Timestamp::rfc3339),
        "next": listed.next.map(|(step, _)| step), "next_at": listed.next.map(|(_, at)| at.rfc3339()),
        "seen_by": {"fetchers": listed.seen_by.0, "of": listed.seen_by.1},
    })
}
