//! The authorization code grant (RFC 6749 section 4.1.3, RFC 7636 section 4.6, RFC 9700 section 2.1.1).

use crate::domain::journal::Event;
use crate::domain::refusal::Refusal;
use crate::error::Error;
use crate::flow::client_auth::AuthenticatedClient;
use crate::flow::tokens::{TokenSet, end_reused, issue};
use crate::host::App;
use crate::secret::{Secret, same, sha256, token_hash};

/// What the client sends.
#[derive(Debug)]
pub struct Request {
    /// `code`
    pub code: Secret,
    /// `redirect_uri`
    pub redirect_uri: String,
    /// `code_verifier`
    pub code_verifier: Option<Secret>,
}

/// Exchanges a code for tokens. A code that comes back a second time ends everything it ever gave (RFC 6749 section 4.1.2).
///
/// # Errors
/// [`Refusal::CodeInvalid`], [`Refusal::CodeRedirectMismatch`], [`Refusal::CodeVerifierWrong`].
pub async fn run(app: &App, client: &AuthenticatedClient, request: &Request) -> Result<TokenSet, Error> {
    let now = app.now();
    let hash = token_hash(request.code.expose());
    let mut tx = app.store.begin().await?;
    let family =
        tx.family_by_code(&hash, now).await?.filter(|f| f.client_key == client.key).ok_or(Refusal::CodeInvalid)?;
    if family.used_at.is_some() {
        end_reused(app, tx, client, &family, |family| Event::CodeReused { family }).await?;
        return Err(Refusal::CodeInvalid.into());
    }
    if family.expires_at <= now || family.ended {
        return Err(Refusal::CodeInvalid.into());
    }
    if family.redirect_uri != request.redirect_uri {
        return Err(Refusal::CodeRedirectMismatch.into());
    }
    check_verifier(request.code_verifier.as_ref(), family.code_challenge.as_deref())?;
    // Somebody was quicker, between the look above and this: a second use like any other.
    if !tx.use_code(&hash, now).await? {
        end_reused(app, tx, client, &family, |family| Event::CodeReused { family }).await?;
        return Err(Refusal::CodeInvalid.into());
    }
    let scope = family.scope.clone();
    let tokens = issue(app, &mut tx, client, &family, &scope).await?;
    tx.commit().await?;
    tokens.sign().await
}

/// A verifier where there was no challenge is refused as well: somebody may have taken the challenge out (RFC 9700 section 4.8.2).
fn check_verifier(verifier: Option<&Secret>, challenge: Option<&str>) -> Result<(), Refusal> {
    match (verifier.map(Secret::expose), challenge) {
        (None, None) => Ok(()),
        (None, Some(_)) => Err(Refusal::Missing("code_verifier")),
        (Some(verifier), Some(challenge)) if is_verifier(verifier) && same(&sha256(verifier.as_bytes()), challenge) => {
            Ok(())
        }
        _ => Err(Refusal::CodeVerifierWrong),
    }
}

fn is_verifier(text: &str) -> bool {
    (43..=128).contains(&text.len())
}
