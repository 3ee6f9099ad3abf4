//! The protected resource: it says whom the credential stands for.

use axum::extract::{Request, State as Shared};
use axum::http::header::{AUTHORIZATION, HeaderValue, WWW_AUTHENTICATE};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use serde_json::json;

use super::Sandbox;
use super::checks::Checks;
use super::event::What;
use super::examine::Presenter;
use super::possession::{Wanted, proof};
use super::reply;
use super::state::{Credential, Registration};
use crate::lab::flaws::Rule;
use crate::secret::token_hash;

pub(super) async fn serve(Shared(sandbox): Shared<Sandbox>, request: Request) -> Response {
    let now = sandbox.0.clock.now();
    let (parts, _) = request.into_parts();
    let sent = credential(&parts.headers);
    let who = match sent {
        Some(sent) => sandbox.whose(sent, &parts).await,
        None => None,
    };
    let Some(who) = who else {
        sandbox.state().note(now, What::Unauthorized);
        return sandbox.unauthorized(sent.is_some());
    };
    tracing::info!(registration_id = who.id, "served");
    sandbox.state().note(now, What::Served { registration_id: who.id.clone() });
    // Whoever registered without an assertion has no issuer, and before they were claimed no account.
    let said = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
    let body = json!({
        "iss": said(&who.iss),
        "sub": said(&who.sub),
        "email": who.person.email,
        "phone_number": who.person.phone_number,
        "scopes": who.scopes.iter().collect::<Vec<_>>(),
        "registration_id": who.id,
        "user_id": said(&who.account),
    });
    reply::json(StatusCode::OK, &body)
}

/// The one credential in the one header; two are none.
fn credential(headers: &HeaderMap) -> Option<(&str, &str)> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let (Some(value), None) = (values.next(), values.next()) else { return None };
    let (scheme, credential) = value.to_str().ok()?.split_once(' ')?;
    let known = ["bearer", "dpop"].into_iter().find(|known| scheme.eq_ignore_ascii_case(known))?;
    Some((known, credential.trim_start()))
}

impl Sandbox {
    /// Whom a credential stands for, while it lives. One that is bound to a key comes with a proof of that (RFC 9449 section 7).
    async fn whose(&self, (scheme, credential): (&str, &str), request: &Parts) -> Option<Registration> {
        let now = self.0.clock.now();
        let found = self.state().find(&token_hash(credential), now).cloned();
        let Some(given) = found.filter(|given| given.what != Credential::Assertion) else {
            if !self.0.broken.lacks(Rule::AcceptAssertionAsCredential) {
                return None;
            }
            let examined =
                self.examine(credential, Presenter::Api, &mut Checks::of_assertion(self.0.dialect)).await.ok()?;
            return Some(self.registration(&mut self.state(), &examined).ok()?.0);
        };
        let url = format!("{}{}", self.0.origin, request.uri.path());
        let wanted = Wanted { method: &request.method, url: &url, access_token: Some(credential), now };
        let proven = match scheme {
            "dpop" => proof(&request.headers, &wanted, self.0.broken).ok()?,
            _ => None,
        };
        if given.jkt.as_deref() != proven.as_ref().map(|proof| proof.jkt.as_str()) {
            return None;
        }
        if let Some(proof) = proven {
            let mut state = self.state();
            if state.is_used(&proof.mark, now) {
                return None;
            }
            let most = state.most;
            state.spend(proof.mark, most, now).ok()?;
        }
        Some(given.registration)
    }

    /// 401 with the hint where to begin (RFC 9728 section 5.1). The error only where a credential was sent (RFC 6750 section 3.1).
    fn unauthorized(&self, sent: bool) -> Response {
        let (code, message) = if sent {
            ("invalid_token", "the credential is unknown, expired or revoked")
        } else {
            ("unauthorized", "a credential is needed: begin at the resource metadata")
        };
        let mut hint = format!("Bearer resource_metadata=\"{}/.well-known/oauth-protected-resource\"", self.0.origin);
        if sent {
            hint.push_str(", error=\"invalid_token\"");
        }
        tracing::info!(code, "unauthorized");
        let mut response = reply::error(StatusCode::UNAUTHORIZED, code, message);
        let hint = HeaderValue::try_from(hint).expect("an origin that parsed as an issuer is visible ASCII");
        response.headers_mut().insert(WWW_AUTHENTICATE, hint);
        response
    }
}
