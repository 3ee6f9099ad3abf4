//! The checks on claims, one function for each rule and none with I/O. What is read here was signed by a trusted issuer.
//!
//! Sections are those of auth.md v0.1, "For apps": "Implementation steps" and "Verifying ID-JAGs", if not said otherwise.

use std::borrow::Cow;

use serde_json::Value;

use super::members::Members;
use super::reply::{Code, Refusal};
use crate::domain::cimd;
use crate::domain::claims::REVOKED_EVENT;
use crate::domain::scope::Scope;
use crate::domain::time::{Seconds, Timestamp};

/// Seconds by which two clocks may differ ("Clock skew").
pub(super) const LEEWAY: Seconds = Seconds(60);

/// Most seconds between `iat` and `exp`: the five minutes of an assertion, and the leeway.
const LIFETIME: Seconds = Seconds(300 + LEEWAY.0);

/// The age of the oldest notice that is taken. One without `exp` would else be good for ever.
const NOTICE_AGE: Seconds = Seconds(600);

/// Seconds a `jti` is remembered beyond the last moment at which its token could come in: a check that began in time may have
/// to wait for a fetch.
const MARGIN: Seconds = Seconds(60);

/// Most bytes of a subject (OpenID Connect Core section 2).
const MAX_SUB: usize = 255;

/// Most bytes of an address: it is kept.
const MAX_ADDRESS: usize = 320;

/// What this service offers; an assertion without `scope` gets the first.
pub(super) const SCOPES: [&str; 2] = ["api.read", "api.write"];

fn request(message: impl Into<Cow<'static, str>>) -> Refusal {
    Refusal::new(Code::InvalidRequest, message)
}

/// A time in whole seconds; no fraction and no text (RFC 7519 section 2 would allow a fraction, nobody here needs one).
fn time(claims: &Members, name: &'static str) -> Result<Option<Timestamp>, Refusal> {
    let Some(value) = claims.get(name) else { return Ok(None) };
    let seconds = value.as_i64().filter(|seconds| (0..=i64::from(u32::MAX)).contains(seconds));
    seconds
        .map(|seconds| Some(Timestamp(seconds)))
        .ok_or_else(|| request(format!("{name} must be an integer of seconds")))
}

fn missing(name: &str) -> Refusal {
    request(format!("{name} is missing or not a text"))
}

/// `aud` is this service and nobody else: its issuer byte for byte, alone or alone in an array.
pub(super) fn audience(claims: &Members, origin: &str) -> Result<(), Refusal> {
    let aud = match claims.get("aud") {
        Some(Value::Array(list)) if list.len() == 1 => list[0].as_str(),
        Some(value) => value.as_str(),
        None => None,
    };
    if aud == Some(origin) {
        return Ok(());
    }
    Refusal::because(Code::InvalidAudience, "aud is not this service's issuer identifier, byte for byte")
}

/// The times of an assertion; the answer is until when its `jti` must be remembered ("Replay protection").
pub(super) fn times(claims: &Members, now: Timestamp) -> Result<Timestamp, Refusal> {
    let exp = time(claims, "exp")?.ok_or_else(|| request("exp is missing"))?;
    if exp + LEEWAY <= now {
        return Refusal::because(Code::Expired, "the assertion has expired");
    }
    let iat = issued(claims, now)?;
    if !(Seconds(1)..=LIFETIME).contains(&(exp - iat)) {
        return Err(request("exp must follow iat by at most 300 seconds"));
    }
    if time(claims, "nbf")?.is_some_and(|nbf| nbf > now + LEEWAY) {
        return Err(request("nbf is in the future"));
    }
    Ok(exp + LEEWAY + MARGIN)
}

fn issued(claims: &Members, now: Timestamp) -> Result<Timestamp, Refusal> {
    let iat = time(claims, "iat")?.ok_or_else(|| request("iat is missing"))?;
    if iat > now + LEEWAY { Err(request("iat is in the future")) } else { Ok(iat) }
}

/// The token's own name.
pub(super) fn jti(claims: &Members) -> Result<&str, Refusal> {
    claims.text("jti").ok_or_else(|| missing("jti"))
}

/// Whom it is about.
pub(super) fn subject(claims: &Members) -> Result<&str, Refusal> {
    let sub = claims.text("sub").ok_or_else(|| missing("sub"))?;
    if sub.len() > MAX_SUB { Err(request("sub is longer than 255 bytes")) } else { Ok(sub) }
}

/// The document of a client names the very keys that signed ("CIMD resolution"). `body` was fetched from `client_id`.
pub(super) fn client_document(client_id: &str, body: &Value, jwks_uri: &str, loopback: bool) -> Result<(), Refusal> {
    let document = cimd::judge(client_id, body, loopback);
    let document = document.map_err(|error| Refusal::new(Code::InvalidClientId, error.to_string()))?;
    // The text is compared and not the parsed URL: two spellings are two identifiers.
    if document.jwks_uri.as_deref() == Some(jwks_uri) {
        return Ok(());
    }
    Refusal::because(Code::InvalidClientId, "the client's jwks_uri is not the key set that verified the signature")
}

/// How the user can be reached; only what the issuer verified.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Person {
    pub(super) email: Option<String>,
    pub(super) phone_number: Option<String>,
}

/// At least one verified way to reach the user ("User matching"); `"true"` and `1` are not `true`.
pub(super) fn person(claims: &Members) -> Result<Person, Refusal> {
    let verified = |name: &str, proof: &str| {
        let address = claims.text(name).filter(|text| text.len() <= MAX_ADDRESS);
        address.filter(|_| claims.get(proof) == Some(&Value::Bool(true))).map(str::to_owned)
    };
    let person = Person {
        email: verified("email", "email_verified"),
        phone_number: verified("phone_number", "phone_number_verified"),
    };
    if person.email.is_none() && person.phone_number.is_none() {
        return Refusal::because(Code::MissingVerifiedEmail, "neither a verified e-mail nor a verified phone number");
    }
    Ok(person)
}

/// `auth_time`, where there is one, is a time and has been.
pub(super) fn auth_time(claims: &Members, now: Timestamp) -> Result<(), Refusal> {
    match time(claims, "auth_time") {
        Ok(None) => Ok(()),
        Ok(Some(at)) if at <= now + LEEWAY => Ok(()),
        _ => Refusal::because(
            Code::InsufficientUserAuthentication,
            "auth_time must be an integer of seconds that is not in the future",
        ),
    }
}

/// `resource`, where there is one, is this service's (RFC 8707 section 2): `base` itself or below it; `base` ends with a slash.
pub(super) fn resource(claims: &Members, base: &str) -> Result<(), Refusal> {
    let ours = |value: &Value| value.as_str().is_some_and(|text| text.starts_with(base));
    let fits = match claims.get("resource") {
        None => true,
        Some(Value::Array(list)) => !list.is_empty() && list.iter().all(ours),
        Some(value) => ours(value),
    };
    if fits { Ok(()) } else { Err(request("resource is not one of this service's")) }
}

/// What is granted: what the assertion names and this service has.
pub(super) fn scopes(claims: &Members) -> Result<Scope, Refusal> {
    let Some(value) = claims.get("scope") else { return Ok(Scope::from_iter([SCOPES[0]])) };
    let asked = value.as_str().and_then(|text| Scope::parse(text).ok());
    let granted = asked.ok_or_else(|| request("scope is not a list of scope tokens"))?.and(&Scope::from_iter(SCOPES));
    if granted.is_empty() { Err(request("scope names nothing this service has")) } else { Ok(granted) }
}

/// All of a logout token but its `jti` and `sub` ("Revocation"); the answer is until when the `jti` must be remembered.
/// Its codes are those of v0.1 for notices, which know no audience and no expiry.
pub(super) fn notice(claims: &Members, origin: &str, now: Timestamp) -> Result<Timestamp, Refusal> {
    audience(claims, origin).map_err(|refusal| request(refusal.message))?;
    let iat = issued(claims, now)?;
    if now - iat > NOTICE_AGE {
        return Err(request("iat is more than ten minutes ago"));
    }
    if time(claims, "exp")?.is_some_and(|exp| exp + LEEWAY <= now) {
        return Err(request("the notice has expired"));
    }
    // OpenID Connect Back-Channel Logout section 2.4: so that it can never pass for an ID token.
    if claims.get("nonce").is_some() {
        return Err(request("nonce is prohibited in a logout token"));
    }
    if !claims.get("events").and_then(|events| events.get(REVOKED_EVENT)).is_some_and(Value::is_object) {
        return Err(request("events must be an object with the revoked event, whose value is an object"));
    }
    Ok(iat + NOTICE_AGE + MARGIN)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const NOW: Timestamp = Timestamp(1_800_000_000);
    const ORIGIN: &str = "http://localhost:8000";
    const BASE: &str = "http://localhost:8000/api/";

    fn members(value: &Value) -> Members {
        serde_json::from_str(&value.to_string()).unwrap()
    }

    /// `base` with other members; a text "absent" takes one away.
    fn with(base: &Value, changes: &Value) -> Members {
        let mut object = base.clone();
        for (name, value) in changes.as_object().unwrap() {
            if value == "absent" {
                object.as_object_mut().unwrap().remove(name);
            } else {
                object[name] = value.clone();
            }
        }
        members(&object)
    }

    fn code<T>(outcome: Result<T, Refusal>) -> Option<Code> {
        outcome.err().map(|refusal| refusal.code)
    }

    #[test]
    fn the_audience_is_this_service_alone() {
        for (aud, fits) in [
            (json!(ORIGIN), true),
            (json!([ORIGIN]), true),
            (json!([ORIGIN, ORIGIN]), false),
            (json!([ORIGIN, "https://other.example"]), false),
            (json!([]), false),
            (json!([[ORIGIN]]), false),
            (json!(format!("{ORIGIN}/")), false),
            (json!(BASE), false),
            (json!("http://LOCALHOST:8000"), false),
            (Value::Null, false),
            (json!("absent"), false),
        ] {
            let expected = (!fits).then_some(Code::InvalidAudience);
            assert_eq!(code(audience(&with(&json!({}), &json!({"aud": aud})), ORIGIN)), expected, "{aud}");
        }
    }

    #[test]
    fn the_times_of_an_assertion() {
        let base = json!({"iat": NOW, "exp": NOW + Seconds(300)});
        let (request, expired) = (Some(Code::InvalidRequest), Some(Code::Expired));
        for (changes, expected) in [
            (json!({}), None),
            (json!({"exp": NOW + Seconds(360)}), None),
            (json!({"exp": NOW + Seconds(361)}), request),
            (json!({"iat": NOW - Seconds(300), "exp": NOW - Seconds(59)}), None),
            (json!({"iat": NOW - Seconds(300), "exp": NOW - Seconds(60)}), expired),
            (json!({"iat": NOW + Seconds(60), "exp": NOW + Seconds(300)}), None),
            (json!({"iat": NOW + Seconds(61), "exp": NOW + Seconds(300)}), request),
            (json!({"exp": NOW}), request),
            (json!({"exp": "absent"}), request),
            (json!({"iat": "absent"}), request),
            (json!({"exp": null}), request),
            (json!({"exp": (NOW + Seconds(300)).to_string()}), request),
            (json!({"exp": 1_800_000_300.5}), request),
            (json!({"iat": 1_800_000_000.0}), request),
            (json!({"iat": -1}), request),
            (json!({"exp": i64::MAX}), request),
            (json!({"nbf": NOW + Seconds(60)}), None),
            (json!({"nbf": NOW + Seconds(61)}), request),
        ] {
            assert_eq!(code(times(&with(&base, &changes), NOW)), expected, "{changes}");
        }
        assert_eq!(times(&members(&base), NOW).unwrap(), NOW + Seconds(300) + LEEWAY + MARGIN);
    }

    #[test]
    fn names_are_texts_that_say_something() {
        for value in [json!("absent"), json!(""), json!(7), Value::Null] {
            let claims = with(&json!({}), &json!({"jti": value, "sub": value}));
            assert_eq!(code(jti(&claims)), Some(Code::InvalidRequest), "{value}");
            assert_eq!(code(subject(&claims)), Some(Code::InvalidRequest), "{value}");
        }
        assert_eq!(subject(&members(&json!({"sub": "u".repeat(255)}))).unwrap().len(), 255);
        assert_eq!(code(subject(&members(&json!({"sub": "u".repeat(256)})))), Some(Code::InvalidRequest));
    }

    #[test]
    fn a_person_can_be_reached() {
        let refused = Some(Code::MissingVerifiedEmail);
        for (claims, expected) in [
            (json!({"email": "a@b.example", "email_verified": true}), None),
            (json!({"phone_number": "+15550100", "phone_number_verified": true}), None),
            (json!({"email": "a@b.example", "email_verified": false}), refused),
            (json!({"email": "a@b.example", "email_verified": "true"}), refused),
            (json!({"email": "a@b.example", "email_verified": 1}), refused),
            (json!({"email": "a@b.example"}), refused),
            (json!({"email_verified": true}), refused),
            (json!({"email": "", "email_verified": true}), refused),
            (json!({"email": "a".repeat(321), "email_verified": true}), refused),
            (json!({"email": "a@b.example", "phone_number_verified": true}), refused),
            (json!({}), refused),
        ] {
            assert_eq!(code(person(&members(&claims))), expected, "{claims}");
        }
        let both = json!({"email": "a@b.example", "email_verified": false, "phone_number": "+15550100",
            "phone_number_verified": true});
        let only_the_verified = Person { email: None, phone_number: Some("+15550100".into()) };
        assert_eq!(person(&members(&both)).unwrap(), only_the_verified);
    }

    #[test]
    fn a_sign_in_has_been() {
        let refused = Some(Code::InsufficientUserAuthentication);
        for (value, expected) in [
            (json!("absent"), None),
            (json!(NOW), None),
            (json!(NOW + Seconds(60)), None),
            (json!(NOW + Seconds(61)), refused),
            (json!(NOW.to_string()), refused),
            (Value::Null, refused),
        ] {
            assert_eq!(code(auth_time(&with(&json!({}), &json!({"auth_time": value})), NOW)), expected, "{value}");
        }
    }

    #[test]
    fn resources_are_ours() {
        let refused = Some(Code::InvalidRequest);
        for (value, expected) in [
            (json!("absent"), None),
            (json!(BASE), None),
            (json!(format!("{BASE}resource")), None),
            (json!([BASE, format!("{BASE}resource")]), None),
            (json!([BASE, "https://other.example/"]), refused),
            (json!([]), refused),
            (json!(ORIGIN), refused),
            (json!("http://localhost:8000/api"), refused),
            (json!("http://localhost:8000/apis/"), refused),
            (Value::Null, refused),
        ] {
            assert_eq!(code(resource(&with(&json!({}), &json!({"resource": value})), BASE)), expected, "{value}");
        }
    }

    #[test]
    fn scopes_are_narrowed_to_what_there_is() {
        for (value, expected) in [
            (json!("absent"), Some("api.read")),
            (json!("api.write"), Some("api.write")),
            (json!("api.write api.read"), Some("api.read api.write")),
            (json!("openid api.write"), Some("api.write")),
            (json!("openid"), None),
            (json!(""), None),
            (json!("api.read\""), None),
            (json!(["api.read"]), None),
            (Value::Null, None),
        ] {
            let granted = scopes(&with(&json!({}), &json!({"scope": value})));
            assert_eq!(granted.ok().map(|scope| scope.to_string()).as_deref(), expected, "{value}");
        }
    }

    #[test]
    fn a_client_leads_to_the_keys_that_signed() {
        const ID: &str = "http://127.0.0.1:4000/agent.json";
        const KEYS: &str = "http://127.0.0.1:4000/.well-known/jwks.json";
        let base = json!({"client_id": ID, "token_endpoint_auth_method": "private_key_jwt", "jwks_uri": KEYS});
        let refused = Some(Code::InvalidClientId);
        for (name, changes, expected) in [
            ("good", json!({}), None),
            ("another document", json!({"client_id": "http://127.0.0.1:4000/other.json"}), refused),
            ("other keys", json!({"jwks_uri": "http://127.0.0.1:4001/.well-known/jwks.json"}), refused),
            ("another spelling", json!({"jwks_uri": "http://127.0.0.1:4000/./.well-known/jwks.json"}), refused),
            ("no keys", json!({"jwks_uri": null, "token_endpoint_auth_method": "none"}), refused),
            ("a shared secret", json!({"token_endpoint_auth_method": "client_secret_basic"}), refused),
        ] {
            let document = with(&base, &changes).into_value();
            assert_eq!(code(client_document(ID, &document, KEYS, true)), expected, "{name}");
        }
        assert_eq!(code(client_document(ID, &base, KEYS, false)), refused, "http, where only https will do");
    }

    #[test]
    fn a_notice_is_complete_recent_and_ours() {
        let base = json!({"aud": ORIGIN, "iat": NOW, "events": {REVOKED_EVENT: {}}});
        let refused = Some(Code::InvalidRequest);
        for (changes, expected) in [
            (json!({}), None),
            (json!({"aud": "https://other.example"}), refused),
            (json!({"aud": "absent"}), refused),
            (json!({"iat": NOW + Seconds(60)}), None),
            (json!({"iat": NOW + Seconds(61)}), refused),
            (json!({"iat": NOW - Seconds(600)}), None),
            (json!({"iat": NOW - Seconds(601)}), refused),
            (json!({"iat": "absent"}), refused),
            (json!({"exp": NOW - Seconds(59)}), None),
            (json!({"exp": NOW - Seconds(60)}), refused),
            (json!({"exp": "soon"}), refused),
            (json!({"nonce": null}), refused),
            (json!({"events": "absent"}), refused),
            (json!({"events": [REVOKED_EVENT]}), refused),
            (json!({"events": {}}), refused),
            (json!({"events": {"https://other.example/event": {}}}), refused),
            (json!({"events": {REVOKED_EVENT: null}}), refused),
            (json!({"events": {REVOKED_EVENT: {}, "https://other.example/event": {}}}), None),
        ] {
            assert_eq!(code(notice(&with(&base, &changes), ORIGIN, NOW)), expected, "{changes}");
        }
        assert_eq!(notice(&members(&base), ORIGIN, NOW).unwrap(), NOW + NOTICE_AGE + MARGIN);
    }
}
