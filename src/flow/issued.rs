//! What tokens that were issued are worth, and giving them back (OpenID Connect Core section 5.3, RFC 7662, RFC 7009).

use crate::domain::claims::UserInfo;
use crate::domain::ids::Subject;
use crate::domain::journal::Event;
use crate::domain::refresh::{Presented, Turn, turn};
use crate::domain::refusal::Refusal;
use crate::domain::scope::Scope;
use crate::domain::time::{Seconds, Timestamp};
use crate::error::Error;
use crate::flow::client_auth::AuthenticatedClient;
use crate::host::App;
use crate::secret::token_hash;
use crate::store::{Entry, Family};

/// What an access token lets its client know of its user.
///
/// # Errors
/// [`Refusal::BearerInvalid`], [`Refusal::BearerScope`].
pub async fn user_info(app: &App, access_token: &str) -> Result<UserInfo, Error> {
    let hash = token_hash(access_token);
    let subject = app.store.read().await?.subject_by_access_token(&hash, app.now()).await?;
    let subject = subject.ok_or(Refusal::BearerInvalid)?;
    if !subject.scope.has("openid") {
        return Err(Refusal::BearerScope("openid").into());
    }
    Ok(UserInfo::of(&subject.account, &subject.scope))
}

/// A token that is good at this moment.
#[derive(Debug)]
pub struct Active {
    /// What it may do.
    pub scope: Scope,
    /// For whom.
    pub sub: Subject,
    /// When it was issued, for an access token.
    pub issued_at: Option<Timestamp>,
    /// When it expires.
    pub expires_at: Timestamp,
    /// Whether it is an access token.
    pub is_access_token: bool,
}

/// What a token is worth to the client that asks; `None` also for one that is somebody else's.
///
/// # Errors
/// Faults.
pub async fn introspect(app: &App, client: &AuthenticatedClient, token: &str) -> Result<Option<Active>, Error> {
    let now = app.now();
    let hash = token_hash(token);
    let mut tx = app.store.read().await?;
    if let Some(subject) = tx.subject_by_access_token(&hash, now).await? {
        return Ok((subject.client_key == client.key).then_some(Active {
            scope: subject.scope,
            sub: subject.account.sub,
            issued_at: Some(subject.issued_at),
            expires_at: subject.expires_at,
            is_access_token: true,
        }));
    }
    let family = tx.family_by_refresh(&hash, now).await?;
    Ok(family.filter(|family| family.client_key == client.key && is_good(family, now)).map(|family| Active {
        scope: family.scope,
        sub: family.account.sub,
        issued_at: None,
        expires_at: family.expires_at,
        is_access_token: false,
    }))
}

/// Whether a refresh token has its use before it; that it may be sent again after it is nobody's business.
fn is_good(family: &Family, now: Timestamp) -> bool {
    let Family { generation, used_at, used_generation, .. } = *family;
    let turn = turn(Presented { generation, used_at, used_generation }, Seconds(0), now);
    !family.ended && family.expires_at > now && turn == Turn::First
}

/// Ends a token: a refresh token with everything of its sign-in (RFC 7009 section 2.1), an access token alone. One that nobody knows is as
/// good as ended.
///
/// # Errors
/// [`Refusal::TokenOfAnotherClient`].
pub async fn revoke(app: &App, client: &AuthenticatedClient, token: &str) -> Result<(), Error> {
    let now = app.now();
    let hash = token_hash(token);
    let mut tx = app.store.begin().await?;
    tx.lock_family_of_refresh(&hash).await?;
    let family =
        tx.family_by_refresh(&hash, now).await?.map(|family| (family.account.id, family.client_key, Some(family.id)));
    let found = match family {
        Some(family) => Some(family),
        None => tx.access_token_owner(&hash).await?.map(|(account_id, client)| (account_id, client, None)),
    };
    let Some((account_id, owner, family)) = found else { return Ok(()) };
    if owner != client.key {
        return Err(Refusal::TokenOfAnotherClient.into());
    }
    let ended = match &family {
        Some(family) => tx.end_family(family, now).await?,
        None => tx.delete_access_token(&hash).await?,
    };
    if ended {
        let event = match family {
            Some(family) => Event::RefreshTokenRevoked { family },
            None => Event::AccessTokenRevoked {},
        };
        let entry = Entry::new(app.id(), now, event);
        tx.record(Entry { account_id: Some(&account_id), client: Some(&owner), ..entry }).await?;
        tx.commit().await?;
    }
    Ok(())
}
