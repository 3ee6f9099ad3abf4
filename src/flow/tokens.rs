//! The tokens of a sign-in: ID token, access token, refresh token.

use std::sync::Arc;

use crate::domain::authorize::{ACCESS_LIFETIME, REFRESH_LIFETIME};
use crate::domain::claims::{ID_TOKEN, ID_TOKEN_LIFETIME, IdToken, UserInfo};
use crate::domain::client::Client;
use crate::domain::client_metadata::REFRESH_TOKEN;
use crate::domain::journal::Event;
use crate::domain::scope::Scope;
use crate::domain::time::Seconds;
use crate::error::Error;
use crate::flow::keyring;
use crate::host::App;
use crate::jose::SigningKey;
use crate::secret::{Secret, token_hash};
use crate::store::{Entry, Family, Tx};

/// What the token endpoint answers with (RFC 6749 section 5.1, OpenID Connect Core section 3.1.3.3).
#[derive(Debug)]
pub struct TokenSet {
    /// Opaque.
    pub access_token: Secret,
    /// Seconds.
    pub expires_in: Seconds,
    /// For clients registered for the grant.
    pub refresh_token: Option<Secret>,
    /// With the scope `openid`.
    pub id_token: Option<Secret>,
    /// What was granted.
    pub scope: Scope,
}

/// Tokens whose rows are written, and whose ID token waits for its signature: no transaction waits for a signer.
#[derive(Debug)]
pub struct Unsigned {
    tokens: TokenSet,
    id_token: Option<(Arc<SigningKey>, IdToken)>,
}

impl Unsigned {
    /// What the client gets; to be called once the rows are durable.
    ///
    /// # Errors
    /// Faults.
    pub async fn sign(self) -> Result<TokenSet, Error> {
        let Self { mut tokens, id_token } = self;
        if let Some((key, claims)) = id_token {
            tokens.id_token = Some(Secret::new(key.sign(ID_TOKEN, &claims).await?));
        }
        Ok(tokens)
    }
}

/// Makes the tokens of a family and writes their hashes.
///
/// # Errors
/// Faults.
pub async fn issue(app: &App, tx: &mut Tx, client: &Client, family: &Family, scope: &Scope) -> Result<Unsigned, Error> {
    let now = app.now();
    let access_token = app.rng.token();
    tx.add_access_token(&token_hash(&access_token), &family.id, scope, now, now + ACCESS_LIFETIME).await?;
    let mut refresh_token = None;
    let mut expires_at = now + ACCESS_LIFETIME;
    if client.may_use(REFRESH_TOKEN) {
        let token = app.rng.token();
        let generation = family.generation + 1;
        expires_at = now + REFRESH_LIFETIME;
        tx.add_refresh_token(&token_hash(&token), &family.id, generation, now, expires_at).await?;
        refresh_token = Some(Secret::new(token));
    }
    tx.extend_family(&family.id, expires_at).await?;
    let mut id_token = None;
    if scope.has("openid") {
        let key = keyring::signer(app, tx, client.metadata.id_token_signed_response_alg).await?;
        id_token = Some((key, claims(app, client, family, scope)));
    }
    let access_token = Secret::new(access_token);
    let tokens =
        TokenSet { access_token, expires_in: ACCESS_LIFETIME, refresh_token, id_token: None, scope: scope.clone() };
    Ok(Unsigned { tokens, id_token })
}

fn claims(app: &App, client: &Client, family: &Family, scope: &Scope) -> IdToken {
    let now = app.now();
    let UserInfo { sub, email, email_verified, name, phone_number, phone_number_verified } =
        UserInfo::of(&family.account, scope);
    IdToken {
        iss: app.issuer.url.as_str().to_owned(),
        sub,
        aud: client.client_id.clone(),
        exp: now + ID_TOKEN_LIFETIME,
        iat: now,
        // Another server's clock may be a little ahead.
        auth_time: family.session.auth_time.min(now),
        sid: family.session.id.clone(),
        nonce: family.nonce.clone(),
        amr: vec!["pwd".to_owned()],
        email,
        email_verified,
        name,
        phone_number,
        phone_number_verified,
    }
}

/// Ends the family of a code or refresh token that came back, once: whoever has it should not.
///
/// # Errors
/// Faults.
pub(super) async fn end_reused(
    app: &App,
    mut tx: Tx,
    client: &Client,
    family: &Family,
    event: fn(String) -> Event,
) -> Result<(), Error> {
    let now = app.now();
    if tx.end_family(&family.id, now).await? {
        let entry = Entry::new(app.id(), now, event(family.id.clone()));
        tx.record(Entry { account_id: Some(&family.account.id), client: Some(&client.key), ..entry }).await?;
        tx.commit().await?;
    }
    Ok(())
}
