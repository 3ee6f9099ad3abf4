//! The refresh token grant with rotation and reuse detection (RFC 6749 section 6, RFC 9700 section 4.14.2).

use crate::domain::journal::Event;
use crate::domain::refresh::{Presented, Turn, turn};
use crate::domain::refusal::Refusal;
use crate::domain::scope::Scope;
use crate::error::Error;
use crate::flow::client_auth::AuthenticatedClient;
use crate::flow::tokens::{TokenSet, end_reused, issue};
use crate::host::App;
use crate::secret::token_hash;
use crate::store::Family;

/// Exchanges a refresh token for a new set, itself included. One that comes back later than a lost answer explains was stolen, from
/// whichever of the two sides: its whole family ends.
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
    // Of two at once the second sees that the first was here.
    tx.lock_family_of_refresh(&hash).await?;
    let found = tx.family_by_refresh(&hash, now).await?.filter(|f| f.client_key == client.key);
    let family = found.ok_or(Refusal::RefreshInvalid)?;
    if family.ended {
        return Err(Refusal::RefreshInvalid.into());
    }
    let Family { generation, used_at, used_generation, .. } = family;
    let turn = turn(Presented { generation, used_at, used_generation }, app.refresh_retry, now);
    // Reuse first: whatever else a stolen token's request says, the theft has to be noticed.
    if turn == Turn::Reuse {
        end_reused(app, tx, client, &family, |family| Event::RefreshTokenReused { family }).await?;
        return Err(Refusal::RefreshInvalid.into());
    }
    if turn == Turn::First && family.expires_at <= now {
        return Err(Refusal::RefreshInvalid.into());
    }
    let narrowed = scope.unwrap_or(&family.scope);
    if let Some(beyond) = narrowed.iter().find(|token| !family.scope.has(token)) {
        return Err(Refusal::ScopeNotGrantable(beyond.to_owned()).into());
    }
    if turn == Turn::First && !tx.use_refresh(&hash, &family, now).await? {
        return Err(Error::invariant("a family that is locked stays as it was read"));
    }
    let tokens = issue(app, &mut tx, client, &family, narrowed).await?;
    tx.commit().await?;
    tokens.sign().await
}
