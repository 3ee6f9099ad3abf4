//! ID tokens that come back.

use crate::domain::claims::IdToken;
use crate::host::App;
use crate::jose::Unverified;

/// What an ID token of this issuer says. Whether it has expired, and for whom it is, is for the caller to judge.
///
/// # Errors
/// What is wrong with it.
pub fn verify(app: &App, token: &str) -> Result<IdToken, &'static str> {
    let unverified = Unverified::parse(token).map_err(|e| e.0)?;
    let key = app.issuer.ring.published.iter().find(|(kid, _)| Some(kid) == unverified.kid());
    let (_, key) = key.ok_or("it is not signed by a key of this issuer")?;
    let claims: IdToken = unverified.verify(key, None).map_err(|e| e.0)?;
    if claims.iss == app.issuer.url.as_str() { Ok(claims) } else { Err("it is not an ID token of this issuer") }
}
