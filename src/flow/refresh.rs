//! The refresh token grant with rotation and reuse detection (RFC 6749 section 6, RFC 9700 section 4.14.2).

use crate::domain::journal::Event;
use crate::domain::refusal::Refusal;
use crate::domain::scope::Scope;
use crate::error::Error;
use crate::flow::client_auth::AuthenticatedClient;
use crate::flow::tokens::{TokenSet, issue};
use crate::host::App;
use crate::secret::token_hash;
use crate::store::Entry;

/// Exchanges a refresh token for a new set, itself included. One that comes back a second time was stolen, from whichever of the two
/// sides: its whole family ends.
///
/// # Errors
/// [`Refusal::RefreshInvalid`], [`Refusal::ScopeNotGrantable`] for more than was granted.
pub async fn run(
    app: &App,
    client: &AuthenticatedClient,
    token: &str,
    scope: Option<&Scope>,
) -> Result<TokenSet, Error> {
    let now = app.now();
    let hash = token_hash(token);
    let mut tx = app.store.begin().await?;
    let found = tx.family_by_refresh(&hash, now).await?.filter(|f| f.client_key == client.key);
    let family = found.ok_or(Refusal::RefreshInvalid)?;
    if family.ended || (family.expires_at <= now && !family.used) {
        return Err(Refusal::RefreshInvalid.into());
    }
    let narrowed = scope.unwrap_or(&family.scope);
    let beyond = narrowed.iter().find(|token| !family.scope.has(token));
    // Reuse first: whatever else a stolen token's request says, the theft has to be noticed.
    if let Some(beyond) = beyond.filter(|_| !family.used) {
        return Err(Refusal::ScopeNotGrantable(beyond.to_owned()).into());
    }
    if family.used || !tx.use_refresh(&hash, now).await? {
        if tx.end_family(&family.id, now).await? {
            let event = Event::RefreshTokenReused { family: family.id.clone() };
            let entry = Entry {
                account_id: Some(&family.account.id),
                client: Some(&client.key),
                ..Entry::new(app.id(), now, event)
            };
            tx.record(entry).await?;
        }
        tx.commit().await?;
        return Err(Refusal::RefreshInvalid.into());
    }
    let tokens = issue(app, &mut tx, client, &family, narrowed).await?;
    tx.commit().await?;
    Ok(tokens)
}
