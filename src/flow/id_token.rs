//! ID tokens that come back.

use crate::domain::claims::IdToken;
use crate::domain::ids::Kid;
use crate::host::App;
use crate::jose::Unverified;

/// What an ID token of this issuer says, and the key that signed it. Whether it has expired, for whom it is, and whether the key was revoked
/// by another server a moment ago, is for the caller to judge.
///
/// # Errors
/// What is wrong with it.
pub fn verify(app: &App, token: &str) -> Result<(IdToken, Kid), &'static str> {
    let unverified = Unverified::received(token).map_err(|e| e.0)?;
    let key = app.issuer.ring.published.iter().find(|(kid, _)| Some(kid) == unverified.kid());
    let (kid, key) = key.ok_or("it is not signed by a key of this issuer")?;
    let claims: IdToken = unverified.verify(key, None).map_err(|e| e.0)?;
    if claims.iss == app.issuer.url.as_str() {
        Ok((claims, kid.clone()))
    } else {
        Err("it is not an ID token of this issuer")
    }
}
