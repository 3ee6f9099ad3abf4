//! The client's credential in a request, unverified (RFC 6749 section 2.3.1, RFC 7521 section 4.2).

use axum::http::{HeaderMap, header};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::form::Pairs;
use crate::domain::ids::ClientId;
use crate::domain::refusal::Refusal;
use crate::flow::client_auth::Credential;
use crate::secret::Secret;

const JWT_BEARER: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// Finds the one credential. Two ways in one request are refused, since one of them would be ignored.
pub(super) fn find(headers: &HeaderMap, form: &Pairs) -> Result<Credential, Refusal> {
    // What no client can be called is some unknown client's name.
    let named = |text: String| ClientId::try_from(text).map_err(|_| Refusal::ClientAuthenticationFailed);
    let client_id = form.single("client_id")?.map(named).transpose()?;
    let client_secret = form.single("client_secret")?.map(Secret::new);
    let assertion = form.single("client_assertion")?;
    let assertion_type = form.single("client_assertion_type")?;
    let basic = basic(headers)?;
    let ways = usize::from(basic.is_some()) + usize::from(client_secret.is_some()) + usize::from(assertion.is_some());
    if ways > 1 {
        return Err(Refusal::ClientAuthenticationTwice);
    }
    if let Some((id, secret)) = basic {
        let id = named(id)?;
        if client_id.is_some_and(|other| other != id) {
            return Err(Refusal::ClientAuthenticationTwice);
        }
        return Ok(Credential::Secret { client_id: id, secret });
    }
    if let Some(assertion) = assertion {
        return match assertion_type.as_deref() {
            Some(JWT_BEARER) => Ok(Credential::Assertion { client_id, assertion: Secret::new(assertion) }),
            Some(_) => Err(Refusal::Malformed("client_assertion_type", "is not supported")),
            None => Err(Refusal::Missing("client_assertion_type")),
        };
    }
    match (client_id, client_secret) {
        (Some(client_id), Some(secret)) => Ok(Credential::Secret { client_id, secret }),
        (Some(client_id), None) => Ok(Credential::Public { client_id }),
        (None, _) => Err(Refusal::ClientUnauthenticated),
    }
}

/// Both halves are form-encoded before they are joined (RFC 6749 section 2.3.1).
fn basic(headers: &HeaderMap) -> Result<Option<(String, Secret)>, Refusal> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(Refusal::ClientAuthenticationTwice);
    }
    let text = value.to_str().map_err(|_| Refusal::ClientAuthenticationFailed)?;
    let (scheme, rest) = text.split_once(' ').ok_or(Refusal::ClientAuthenticationFailed)?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return Err(Refusal::ClientAuthenticationFailed);
    }
    let decoded = STANDARD.decode(rest.trim()).ok().and_then(|bytes| String::from_utf8(bytes).ok());
    let decoded = decoded.ok_or(Refusal::ClientAuthenticationFailed)?;
    let (id, secret) = decoded.split_once(':').ok_or(Refusal::ClientAuthenticationFailed)?;
    Ok(Some((unescape(id), Secret::new(unescape(secret)))))
}

fn unescape(text: &str) -> String {
    // As the name of a pair without value: `&` and `=` cannot stand in an encoded text, so nothing is lost for whoever encodes.
    if text.contains(['&', '=']) {
        return text.to_owned();
    }
    url::form_urlencoded::parse(text.as_bytes()).next().map(|(name, _)| name.into_owned()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(authorization: &[&str]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for value in authorization {
            map.append(header::AUTHORIZATION, value.parse().unwrap());
        }
        map
    }

    type Case = (&'static str, Vec<String>, String, Result<String, Refusal>);

    #[test]
    fn one_credential() {
        let b64 = |t: &str| format!("Basic {}", STANDARD.encode(t));
        let id = |c: Result<Credential, Refusal>| match c {
            Ok(Credential::Secret { client_id, secret }) => Ok(format!("secret {client_id} {}", secret.expose())),
            Ok(Credential::Public { client_id }) => Ok(format!("none {client_id}")),
            Ok(Credential::Assertion { client_id, .. }) => Ok(format!("jwt {client_id:?}")),
            Err(refusal) => Err(refusal),
        };
        let type_ = format!("client_assertion_type={JWT_BEARER}");
        let cases: Vec<Case> = vec![
            ("basic", vec![b64("a:s")], String::new(), Ok("secret a s".into())),
            ("basic, escaped", vec![b64("a%3Ab:s%2B+t")], String::new(), Ok("secret a:b s+ t".into())),
            ("post", vec![], "client_id=a&client_secret=s".into(), Ok("secret a s".into())),
            ("public", vec![], "client_id=a".into(), Ok("none a".into())),
            ("jwt", vec![], format!("client_assertion=x&{type_}"), Ok("jwt None".into())),
            ("nothing", vec![], String::new(), Err(Refusal::ClientUnauthenticated)),
            ("basic and post", vec![b64("a:s")], "client_secret=s".into(), Err(Refusal::ClientAuthenticationTwice)),
            (
                "post and jwt",
                vec![],
                format!("client_id=a&client_secret=s&client_assertion=x&{type_}"),
                Err(Refusal::ClientAuthenticationTwice),
            ),
            ("two headers", vec![b64("a:s"), b64("a:s")], String::new(), Err(Refusal::ClientAuthenticationTwice)),
            ("another client", vec![b64("a:s")], "client_id=b".into(), Err(Refusal::ClientAuthenticationTwice)),
            ("bearer", vec!["Bearer x".into()], String::new(), Err(Refusal::ClientAuthenticationFailed)),
            ("no colon", vec![b64("a")], String::new(), Err(Refusal::ClientAuthenticationFailed)),
            ("jwt without type", vec![], "client_assertion=x".into(), Err(Refusal::Missing("client_assertion_type"))),
            ("id twice", vec![], "client_id=a&client_id=b".into(), Err(Refusal::Twice("client_id".into()))),
        ];
        for (name, authorization, form, expected) in cases {
            let authorization: Vec<&str> = authorization.iter().map(String::as_str).collect();
            assert_eq!(id(find(&headers(&authorization), &Pairs::parse(form.as_bytes()))), expected, "{name}");
        }
    }
}
