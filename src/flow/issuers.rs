//! Issuers: loaded on first use, kept while they are used, and loaded anew when a process has changed them.

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use crate::domain::cimd;
use crate::domain::ids::{ClientId, IssuerUrl};
use crate::domain::issuer::IssuerRecord;
use crate::domain::refusal::Refusal;
use crate::domain::rotation::Key;
use crate::domain::time::Timestamp;
use crate::error::Error;
use crate::flow::{keyring, sealing};
use crate::host::{App, Host, Issuer};
use crate::jose::Keyring;
use crate::store::Tx;

/// Most changed issuers that are forgotten one by one; where there are more, all are.
const MAX_CHANGED: i64 = 1000;

/// An enabled issuer at work, by our key of it; `None` where there is none.
///
/// # Errors
/// Faults.
pub async fn app(host: &Host, id: &str) -> Result<Option<App>, Error> {
    if let Some(issuer) = host.issuers.get(id) {
        return Ok(Some(host.app(issuer)));
    }
    load(host, id).await
}

/// The same issuer as the rows say now.
///
/// # Errors
/// [`Refusal::NotFound`] when it is no longer there; faults.
pub async fn reload(app: &App) -> Result<App, Error> {
    app.issuers.remove(&app.issuer.id);
    load(&app.host, &app.issuer.id).await?.ok_or(Refusal::NotFound.into())
}

/// An issuer at work for what it still owes, disabled or not.
///
/// # Errors
/// Faults, among them that there is none.
pub async fn owing(host: &Host, id: &str) -> Result<App, Error> {
    if let Some(app) = app(host, id).await? {
        return Ok(app);
    }
    let mut tx = host.database.of(id.into()).read().await?;
    let row = tx.issuer().await?.ok_or(Error::invariant("an issuer is never deleted"))?;
    let keys = Keys::load(host, &mut tx, id).await?;
    Ok(host.app(Arc::new(issuer(row, tx.has_public_client().await?, keys)?)))
}

async fn load(host: &Host, id: &str) -> Result<Option<App>, Error> {
    let before = host.revision.seen();
    let store = host.database.of(id.into());
    let mut tx = store.read().await?;
    let Some(row) = tx.issuer().await?.filter(|row| row.disabled_at.is_none()) else { return Ok(None) };
    let keys = Keys::load(host, &mut tx, id).await?;
    let has_public_client = tx.has_public_client().await?;
    drop(tx);
    let issuer = Arc::new(issuer(row, has_public_client, keys)?);
    host.issuers.put(id.to_owned(), issuer.clone());
    // Read before a change and kept after everyone has heard of it, it would stay for good.
    if host.revision.seen() != before {
        host.issuers.remove(id);
    }
    Ok(Some(host.app(issuer)))
}

/// The keys of an issuer, and what of their past and future is told to those who keep them.
struct Keys {
    ring: Keyring,
    next_change: Option<Timestamp>,
    revoked_at: Option<Timestamp>,
}

impl Keys {
    async fn load(host: &Host, tx: &mut Tx, id: &str) -> Result<Self, Error> {
        let rows = tx.published_keys().await?;
        let ring = keyring::load(host, id, &rows).await?;
        let keys: Vec<Key> = rows.into_iter().map(|row| row.key).collect();
        Ok(Self { ring, next_change: host.rotation.next_change(&keys), revoked_at: tx.last_revocation().await? })
    }
}

fn issuer(row: IssuerRecord, has_public_client: bool, keys: Keys) -> Result<Issuer, Error> {
    let url = IssuerUrl::parse(&row.url).map_err(|_| Error::invariant("a stored issuer is an issuer identifier"))?;
    let members = serde_json::from_str(&row.cimd).map_err(|_| Error::invariant("a stored document is JSON"))?;
    let document = own_document(&url, &row.name, row.logo_hash.is_some(), &members)
        .map_err(|_| Error::invariant("a stored document was judged before it was stored"))?;
    Ok(Issuer {
        id: row.id.into(),
        client_id: own_client_id(&url).map_err(|_| Error::invariant("an issuer has room for its document"))?,
        cimd: document.to_string().into(),
        url,
        name: row.name,
        colour: row.colour,
        logo_hash: row.logo_hash,
        admin_token_hash: row.admin_token_hash,
        has_public_client,
        ring: keys.ring,
        next_key_change: keys.next_change,
        key_revoked_at: keys.revoked_at,
    })
}

/// The URL of an issuer's own Client ID Metadata Document.
fn own_client_id(url: &IssuerUrl) -> Result<ClientId, String> {
    url.at("/agent-auth.json").try_into()
}

/// Where an issuer's logo is, under its identifier.
pub const LOGO_PATH: &str = "/logo.png";

/// An issuer's own Client ID Metadata Document, put through the rules that judge everybody's. `members` are added to what follows from
/// its identifier, its name, and whether it has a logo.
///
/// # Errors
/// Which rule it breaks.
pub fn own_document(url: &IssuerUrl, name: &str, has_logo: bool, members: &Value) -> Result<Value, String> {
    let text = include_str!("../../cimd/agent-auth.json").replace("{{issuer}}", url.as_str());
    let mut document: Value = serde_json::from_str(&text).map_err(|e| e.to_string())?;
    document["client_name"] = name.into();
    if has_logo {
        document["logo_uri"] = url.at(LOGO_PATH).into();
    }
    for (member, value) in members.as_object().into_iter().flatten() {
        document[member] = value.clone();
    }
    cimd::judge(own_client_id(url)?.as_str(), &document, url.is_loopback()).map_err(|e| e.to_string())?;
    Ok(document)
}

/// Forgets issuers as soon as any server says that it has changed one, where servers can. Runs until it is dropped.
pub async fn listen(host: &Host) {
    const AGAIN: Duration = Duration::from_secs(1);
    loop {
        let heard: Result<(), Error> = async {
            let mut changes = host.database.changes().await?;
            loop {
                changes.next().await?;
                refresh(host).await?;
                sealing::follow(host).await?;
            }
        }
        .await;
        // The worker looks each second all the same.
        if let Err(error) = heard {
            tracing::debug!(error = &error as &dyn std::error::Error, "changes of other servers are not heard");
        }
        tokio::time::sleep(AGAIN).await;
    }
}

/// Forgets the issuers that any process has changed since the last look.
///
/// # Errors
/// Faults.
pub async fn refresh(host: &Host) -> Result<(), Error> {
    let seen = host.revision.seen();
    let mut tx = host.database.read().await?;
    if tx.issuer_revision().await? == seen {
        return Ok(());
    }
    let changed = tx.issuers_changed_since(seen, MAX_CHANGED).await?;
    drop(tx);
    let Some((_, last)) = changed.last() else { return Ok(()) };
    // Before they are forgotten: whoever loads one at this moment looks at this number after keeping it.
    host.revision.advance(*last);
    if i64::try_from(changed.len()).is_ok_and(|n| n < MAX_CHANGED) {
        for (id, _) in &changed {
            host.issuers.remove(id);
        }
    } else {
        host.issuers.clear();
    }
    Ok(())
}
