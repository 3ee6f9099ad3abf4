//! A notice as it goes over the wire, in its format.

use url::form_urlencoded::Serializer;

use crate::domain::ids::Jti;
use crate::domain::notice::{Delivery, Format};
use crate::domain::notice_claims::{BackchannelToken, LogoutToken, RevocationToken, subject};
use crate::error::Error;
use crate::host::App;
use crate::jose::SigningKey;

/// What is posted.
pub struct Message {
    /// Its headers.
    pub headers: Vec<(&'static str, String)>,
    /// Its body.
    pub body: Vec<u8>,
}

/// Signs a notice and puts it into its format: for an endpoint, and with what that calls the event.
///
/// # Errors
/// Where the key does not sign.
pub async fn sign(
    app: &App,
    key: &SigningKey,
    delivery: &Delivery,
    (endpoint, event): (&str, Option<&str>),
    jti: Jti,
) -> Result<Message, Error> {
    let (now, format) = (app.now(), delivery.format);
    let mut headers =
        vec![("content-type", format.content_type().to_owned()), ("accept", "application/json".to_owned())];
    let body = match format {
        Format::LogoutJwt | Format::SecEvent => {
            key.sign(format.typ(), &LogoutToken::revoked(delivery, event, jti, now)).await?
        }
        Format::GlobalRevocation => {
            let claims = RevocationToken::new(delivery, &app.issuer.client_id, endpoint, jti, now);
            headers.push(("authorization", format!("Bearer {}", key.sign(format.typ(), &claims).await?)));
            subject(delivery).to_string()
        }
        Format::BackchannelLogout => {
            headers.push(("cache-control", "no-store".to_owned()));
            let token = key.sign(format.typ(), &BackchannelToken::new(delivery, jti, now)).await?;
            Serializer::new(String::new()).append_pair("logout_token", &token).finish()
        }
    };
    Ok(Message { headers, body: body.into_bytes() })
}
