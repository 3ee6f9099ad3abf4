//! Who has fetched the keys, as it is shown.

use serde_json::{Value, json};

use super::words::span;
use crate::domain::fetcher::{Fetcher, Seen};
use crate::error::Error;
use crate::flow::fetches;
use crate::flow::rotate::Listed;
use crate::host::Host;

/// How far a pending key has got.
pub(super) fn sentence(listed: &Listed) -> String {
    let kid = &listed.key.kid;
    match listed.seen_by {
        (_, 0) => format!("Nobody has fetched the key set this week, and so not the pending key {kid}."),
        (1, 1) => format!("The only fetcher of this week has seen the pending key {kid}."),
        (seen, of) => format!("{seen} of {of} fetchers of this week have seen the pending key {kid}."),
    }
}

pub(super) async fn show(host: &Host, id: &str) -> Result<(), Error> {
    let fetchers = fetches::lately(host, id).await?;
    let services = fetches::services(host, id, &fetchers).await?;
    out!("\n{:<24}  {:>8}  {:>6}  WHO, AND WHAT", "ADDRESS", "FETCHES", "LAST");
    for (fetcher, seen) in &fetchers.0 {
        let last = span(host.now() - seen.last_at);
        let who = services.get(fetcher).map(|services| format!("{} ", services.join(", "))).unwrap_or_default();
        out!(
            "{:<24}  {:>8}  {:>6}  {who}\"{}\": {}",
            fetcher.address,
            seen.count,
            last,
            fetcher.user_agent,
            what(seen)
        );
    }
    Ok(())
}

fn what(seen: &Seen) -> String {
    let keys = seen.kids.iter().map(|kid| kid.as_str().to_owned());
    let document = seen.client_document.then(|| "the client metadata document".to_owned());
    keys.chain(document).collect::<Vec<_>>().join(", ")
}

pub(super) async fn items(host: &Host, id: &str) -> Result<Value, Error> {
    let fetchers = fetches::lately(host, id).await?;
    let services = fetches::services(host, id, &fetchers).await?;
    let item = |(fetcher, seen): (&Fetcher, &Seen)| {
        json!({
            "address": fetcher.address, "user_agent": fetcher.user_agent,
            "services": services.get(fetcher).cloned().unwrap_or_default(), "fetches": seen.count,
            "last_at": seen.last_at.rfc3339(), "kids": seen.kids, "client_document": seen.client_document,
        })
    };
    Ok(fetchers.0.iter().map(item).collect())
}
