//! The authorization request (OpenID Connect Core section 3.1.2.1, RFC 6749 section 4.1.1, RFC 7636, RFC 9700).

use super::client::Client;
use super::client_metadata::{AUTHORIZATION_CODE, REFRESH_TOKEN};
use super::refusal::Refusal;
use super::scope::{self, Scope};
use super::session::{self, Session};
use super::time::{Seconds, Timestamp};

/// Seconds an authorization code is valid.
pub const CODE_LIFETIME: Seconds = Seconds(60);
/// Seconds an access token is valid.
pub const ACCESS_LIFETIME: Seconds = Seconds(3600);
/// Seconds an unused refresh token is valid.
pub const REFRESH_LIFETIME: Seconds = Seconds(30 * 24 * 3600);

/// Longest `state` and `nonce` that are carried along.
const MAX_OPAQUE: usize = 8 * 1024;
/// Longest request as it stands in the address of the sign-in page, where it is encoded once more: a URL has no more than 64 KiB.
pub const MAX_REQUEST: usize = 60 * 1024;

/// A request whose client and redirect URI are trusted; from here on a refusal may be sent there.
#[derive(Clone, Debug)]
pub struct Request {
    /// Where the answer goes.
    pub redirect_uri: String,
    /// Echoed.
    pub state: Option<String>,
    /// What is asked for.
    pub scope: Scope,
    /// Echoed in the ID token.
    pub nonce: Option<String>,
    /// S256 of the verifier; none where the nonce has to do.
    pub code_challenge: Option<String>,
    /// Who is meant, as an ID token; unverified.
    pub id_token_hint: Option<String>,
    /// What to do about the user.
    pub prompt: Prompt,
    /// Seconds since the last sign-in at most.
    pub max_age: Option<Seconds>,
    /// Prefills the sign-in page.
    pub login_hint: Option<String>,
}

/// `prompt` (OpenID Connect Core section 3.1.2.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Prompt {
    /// Show nothing.
    pub none: bool,
    /// Sign in again.
    pub login: bool,
    /// Ask again.
    pub consent: bool,
}

/// One value of a parameter; `Err` when it came twice.
pub type Lookup<'a> = &'a dyn Fn(&'static str) -> Result<Option<String>, Refusal>;

/// Finds out where an answer may be sent. Until this has succeeded nothing is redirected anywhere (RFC 9700 section 4.11).
///
/// # Errors
/// [`Refusal::Missing`] or [`Refusal::RedirectUriUnknown`], for a page.
pub fn redirect_uri(client: &Client, param: Lookup<'_>) -> Result<String, Refusal> {
    let uri = param("redirect_uri")?.ok_or(Refusal::Missing("redirect_uri"))?;
    if client.redirects_to(&uri) { Ok(uri) } else { Err(Refusal::RedirectUriUnknown) }
}

/// Judges the rest of the request.
///
/// # Errors
/// The first rule that is broken; the answer goes to the redirect URI.
pub fn parse(client: &Client, redirect_uri: String, param: Lookup<'_>) -> Result<Request, Refusal> {
    if param("request")?.is_some() {
        return Err(Refusal::RequestNotSupported);
    }
    if param("request_uri")?.is_some() {
        return Err(Refusal::RequestUriNotSupported);
    }
    // Ignored, they would give a code that is worth more than its client believes (RFC 9449 section 10, RFC 9396 section 5).
    for unsupported in ["dpop_jkt", "authorization_details"] {
        if param(unsupported)?.is_some() {
            return Err(Refusal::NotSupported(unsupported));
        }
    }
    match param("response_type")?.as_deref() {
        None => return Err(Refusal::Missing("response_type")),
        Some("code") => {}
        Some(_) => return Err(Refusal::ResponseTypeUnsupported),
    }
    if !client.may_use(AUTHORIZATION_CODE) {
        return Err(Refusal::GrantTypeNotAllowed);
    }
    if param("response_mode")?.is_some_and(|mode| mode != "query") {
        return Err(Refusal::Malformed("response_mode", "must be query"));
    }
    let scope = granted(client, &Scope::parse(&param("scope")?.unwrap_or_default())?)?;
    let nonce = bounded("nonce", param("nonce")?, in_json)?;
    let code_challenge = code_challenge(client, param)?;
    // Only the nonce in the ID token then tells the client that the code is not somebody else's (RFC 9700 section 2.1.1).
    if code_challenge.is_none() && !scope.has("openid") {
        return Err(Refusal::Malformed("scope", "must have openid where there is no code_challenge"));
    }
    if code_challenge.is_none() && nonce.is_none() {
        return Err(Refusal::Malformed("nonce", "must be given where there is no code_challenge"));
    }
    let max_age = match param("max_age")? {
        None => None,
        Some(text) => match text.parse::<i64>() {
            Ok(seconds) if seconds >= 0 => Some(Seconds(seconds)),
            _ => return Err(Refusal::Malformed("max_age", "must be a number of seconds")),
        },
    };
    let mut prompt = prompt(param("prompt")?.as_deref())?;
    // "Equivalent to prompt=login" (OpenID Connect Core section 3.1.2.1). As an age it would ask again whenever the way back from the
    // sign-in page takes a second.
    prompt.login |= max_age == Some(Seconds(0));
    Ok(Request {
        redirect_uri,
        state: bounded("state", param("state")?, str::len)?,
        scope,
        nonce,
        code_challenge,
        id_token_hint: param("id_token_hint")?,
        prompt,
        max_age: max_age.filter(|seconds| *seconds > Seconds(0)),
        login_hint: param("login_hint")?.filter(|hint| hint.len() <= 254),
    })
}

fn bounded(name: &'static str, value: Option<String>, length: fn(&str) -> usize) -> Result<Option<String>, Refusal> {
    match value {
        Some(v) if length(&v) > MAX_OPAQUE => Err(Refusal::Malformed(name, "is longer than 8192 bytes")),
        v => Ok(v),
    }
}

/// A nonce comes back in an ID token, which has to stay short enough to be taken: counted as it stands there.
fn in_json(text: &str) -> usize {
    serde_json::json!(text).to_string().len() - 2
}

fn code_challenge(client: &Client, param: Lookup<'_>) -> Result<Option<String>, Refusal> {
    let method = param("code_challenge_method")?;
    let Some(challenge) = param("code_challenge")? else {
        let optional = !client.policy.require_pkce && method.is_none();
        return if optional { Ok(None) } else { Err(Refusal::Missing("code_challenge")) };
    };
    if method.as_deref() != Some("S256") {
        return Err(Refusal::Malformed("code_challenge_method", "must be S256"));
    }
    let b64url = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
    if challenge.len() != 43 || !challenge.bytes().all(b64url) {
        return Err(Refusal::Malformed("code_challenge", "must be 43 characters of base64url"));
    }
    Ok(Some(challenge))
}

/// What is not understood, or not for this client, is left out (OpenID Connect Core sections 3.1.2.1 and 11); the answer says what was
/// granted.
fn granted(client: &Client, asked: &Scope) -> Result<Scope, Refusal> {
    let granted: Scope = asked.iter().filter(|token| grantable(client, token)).collect();
    match asked.iter().next() {
        Some(first) if granted.is_empty() => Err(Refusal::ScopeNotOfSignIn(first.to_owned())),
        _ => Ok(granted),
    }
}

fn grantable(client: &Client, token: &str) -> bool {
    match token {
        scope::DELEGATIONS => client.policy.first_party,
        // Recording consent by API is not built yet, so no token may carry its scope.
        "delegations:write" => false,
        "offline_access" => client.may_use(REFRESH_TOKEN),
        other => scope::SIGN_IN.contains(&other),
    }
}

fn prompt(text: Option<&str>) -> Result<Prompt, Refusal> {
    let mut prompt = Prompt::default();
    for word in text.unwrap_or_default().split(' ').filter(|w| !w.is_empty()) {
        match word {
            "none" => prompt.none = true,
            "login" | "select_account" => prompt.login = true,
            "consent" => prompt.consent = true,
            _ => return Err(Refusal::Malformed("prompt", "must be none, login, consent or select_account")),
        }
    }
    if prompt.none && (prompt.login || prompt.consent) {
        return Err(Refusal::Malformed("prompt", "none cannot be combined"));
    }
    Ok(prompt)
}

impl Request {
    /// Whether a session is fresh enough for it. The way back from the sign-in page no longer says `prompt=login` or `max_age=0`,
    /// which would otherwise ask for ever.
    #[must_use]
    pub fn accepts(&self, session: &Session, now: Timestamp) -> bool {
        !self.prompt.login
            && !session::is_ahead(session.auth_time, now)
            && self.max_age.is_none_or(|max| now - session.auth_time <= max)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::domain::client::ClientPolicy;
    use crate::domain::ids::ClientId;

    fn client() -> Client {
        let metadata = json!({"token_endpoint_auth_method": "none", "redirect_uris": ["https://a.example/cb"]});
        Client {
            key: "k".into(),
            client_id: ClientId::parse("c").unwrap(),
            metadata: serde_json::from_value(metadata).unwrap(),
            policy: ClientPolicy::default(),
            secret_hash: None,
            version: 1,
        }
    }

    fn with(changes: &[(&str, &str)]) -> Result<Request, Refusal> {
        ask(&client(), changes)
    }

    fn ask(client: &Client, changes: &[(&str, &str)]) -> Result<Request, Refusal> {
        let challenge = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";
        let mut all = vec![
            ("response_type", "code"),
            ("scope", "openid"),
            ("code_challenge", challenge),
            ("code_challenge_method", "S256"),
        ];
        all.retain(|(n, _)| !changes.iter().any(|(c, _)| c == n));
        all.extend(changes.iter().filter(|(_, v)| !v.is_empty()));
        let lookup = |name: &'static str| Ok(all.iter().find(|(n, _)| *n == name).map(|(_, v)| (*v).to_owned()));
        parse(client, "https://a.example/cb".into(), &lookup)
    }

    #[test]
    fn what_is_not_understood_is_left_out() {
        for (asked, expected) in [
            ("openid address groups email", "email openid"),
            ("openid offline_access", "openid"),
            ("openid delegations delegations:write api.read", "openid"),
            ("", ""),
        ] {
            assert_eq!(with(&[("scope", asked)]).map(|r| r.scope.to_string()).as_deref(), Ok(expected), "{asked}");
        }
    }

    #[test]
    fn a_nonce_in_place_of_pkce() {
        let mut lax = client();
        lax.policy.require_pkce = false;
        let without = |more: &[(&str, &str)]| {
            let none = [("code_challenge", ""), ("code_challenge_method", "")];
            ask(&lax, &[&none[..], more].concat()).map(|request| request.code_challenge)
        };
        assert_eq!(without(&[("nonce", "n")]), Ok(None));
        let missing = Refusal::Malformed("nonce", "must be given where there is no code_challenge");
        assert_eq!(without(&[]), Err(missing));
        let no_id_token = Refusal::Malformed("scope", "must have openid where there is no code_challenge");
        assert_eq!(without(&[("nonce", "n"), ("scope", "email")]), Err(no_id_token));
        let half = ask(&lax, &[("code_challenge", ""), ("nonce", "n")]).map(|_| ());
        assert_eq!(half, Err(Refusal::Missing("code_challenge")), "whoever names a method means to have one");
        let plain = ask(&lax, &[("code_challenge_method", "plain"), ("nonce", "n")]).map(|_| ());
        assert_eq!(plain, Err(Refusal::Malformed("code_challenge_method", "must be S256")));
        assert!(ask(&lax, &[]).is_ok_and(|request| request.code_challenge.is_some()));
    }

    type Case<'a> = (&'a str, &'a [(&'a str, &'a str)], Refusal);

    #[test]
    fn rules() {
        assert!(with(&[]).is_ok());
        let (long, quotes) = ("x".repeat(8193), "\"".repeat(4097));
        let longest = "x".repeat(8192);
        assert!(with(&[("state", &longest), ("nonce", &longest)]).is_ok());
        let cases: &[Case<'_>] = &[
            ("no response_type", &[("response_type", "")], Refusal::Missing("response_type")),
            ("implicit", &[("response_type", "token")], Refusal::ResponseTypeUnsupported),
            ("no PKCE", &[("code_challenge", "")], Refusal::Missing("code_challenge")),
            (
                "plain",
                &[("code_challenge_method", "plain")],
                Refusal::Malformed("code_challenge_method", "must be S256"),
            ),
            (
                "plain by default",
                &[("code_challenge_method", "")],
                Refusal::Malformed("code_challenge_method", "must be S256"),
            ),
            (
                "short challenge",
                &[("code_challenge", "abc")],
                Refusal::Malformed("code_challenge", "must be 43 characters of base64url"),
            ),
            ("only strange scopes", &[("scope", "groups api")], Refusal::ScopeNotOfSignIn("api".into())),
            (
                "delegations for others' clients",
                &[("scope", "delegations")],
                Refusal::ScopeNotOfSignIn("delegations".into()),
            ),
            (
                "offline without the grant",
                &[("scope", "offline_access")],
                Refusal::ScopeNotOfSignIn("offline_access".into()),
            ),
            ("request object", &[("request", "x")], Refusal::RequestNotSupported),
            ("request_uri", &[("request_uri", "x")], Refusal::RequestUriNotSupported),
            ("bound code", &[("dpop_jkt", "x")], Refusal::NotSupported("dpop_jkt")),
            ("none with login", &[("prompt", "none login")], Refusal::Malformed("prompt", "none cannot be combined")),
            ("max_age", &[("max_age", "-1")], Refusal::Malformed("max_age", "must be a number of seconds")),
            ("long state", &[("state", &long)], Refusal::Malformed("state", "is longer than 8192 bytes")),
            ("long nonce", &[("nonce", &long)], Refusal::Malformed("nonce", "is longer than 8192 bytes")),
            ("long once it is JSON", &[("nonce", &quotes)], Refusal::Malformed("nonce", "is longer than 8192 bytes")),
            ("fragment", &[("response_mode", "fragment")], Refusal::Malformed("response_mode", "must be query")),
        ];
        for (name, changes, expected) in cases {
            assert_eq!(with(changes).map(|_| ()), Err(expected.clone()), "{name}");
        }
    }

    #[test]
    fn freshness() {
        let session = Session {
            id: String::new(),
            account_id: "a".into(),
            auth_time: Timestamp(100),
            expires_at: Timestamp(999),
        };
        let max = with(&[("max_age", "10")]).unwrap();
        assert!(max.accepts(&session, Timestamp(110)));
        assert!(!max.accepts(&session, Timestamp(111)));
        assert!(!with(&[("max_age", "0")]).unwrap().accepts(&session, Timestamp(100)));
        assert!(!with(&[("max_age", "0"), ("prompt", "none")]).unwrap().accepts(&session, Timestamp(100)));
        assert!(!with(&[("prompt", "login")]).unwrap().accepts(&session, Timestamp(100)));
        assert!(with(&[]).unwrap().accepts(&session, Timestamp(9_999)));
        assert!(with(&[]).unwrap().accepts(&session, Timestamp(40)), "another server's clock may be a little ahead");
        assert!(!with(&[]).unwrap().accepts(&session, Timestamp(39)), "or somebody's was wrong");
    }
}
