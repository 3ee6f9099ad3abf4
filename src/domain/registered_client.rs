//! The rulebook for a client that an operator registers, by whichever door: the configuration, or administration.

use serde_json::{Map, Value};

use super::client::ClientPolicy;
use super::client_metadata::{AuthMethod, ClientMetadata, Door};
use super::ids::{ClientId, IssuerUrl};
use super::members::{self, MemberError, quote};

/// What a secret that was published as an example begins with.
const EXAMPLE: &str = "example-only";
/// How it authenticates.
const METHOD: &str = "token_endpoint_auth_method";

/// A URL as client id is a document to fetch, so a registered one must not look like it (CIMD -02 section 7.1).
///
/// # Errors
/// What is wrong with it.
pub fn id(given: Option<String>) -> Result<ClientId, MemberError> {
    let wrong = |problem: String| MemberError::new("client_id", problem);
    let id = given.ok_or_else(|| wrong("every client needs one".into()))?;
    if !is_visible(&id, 255) {
        return Err(wrong(format!("{} must be 1 to 255 visible ASCII characters", quote(&id))));
    }
    let lower = id.to_ascii_lowercase();
    if lower.starts_with("https://") || lower.starts_with("http://") {
        let why = "must not begin like a URL: a client named by one brings its own document";
        return Err(wrong(format!("{} {why}", quote(&id))));
    }
    id.try_into().map_err(wrong)
}

/// Reads what it says of itself. How it authenticates follows from what is given, unless it is said.
///
/// # Errors
/// The first member that breaks a rule.
pub fn metadata(mut members: Map<String, Value>, has_secret: bool) -> Result<ClientMetadata, MemberError> {
    members.retain(|_, value| !value.is_null());
    if let Some(jwks) = members.remove("jwks") {
        members.insert("jwks".into(), key_set(jwks).map_err(|problem| MemberError::new("jwks", problem))?);
    }
    let default = match (has_secret, members.contains_key("jwks")) {
        (true, _) => AuthMethod::SecretBasic,
        (false, true) => AuthMethod::PrivateKeyJwt,
        (false, false) => AuthMethod::None,
    };
    members.entry(METHOD).or_insert_with(|| default.as_str().into());
    let metadata = ClientMetadata::read(members, Door::Configuration)?;
    let method = metadata.token_endpoint_auth_method;
    let problem = match (method.is_shared_secret(), has_secret) {
        (true, false) => format!("\"{}\" needs a client_secret and no jwks", method.as_str()),
        (false, true) => format!("\"{}\" takes no client_secret", method.as_str()),
        _ => return Ok(metadata),
    };
    Err(MemberError::new(METHOD, problem))
}

/// Reads what it is allowed at an issuer.
///
/// # Errors
/// The first member that breaks a rule.
pub fn policy(
    members: Map<String, Value>,
    metadata: &ClientMetadata,
    issuer: &IssuerUrl,
) -> Result<ClientPolicy, MemberError> {
    let policy: ClientPolicy = members::read(members)?;
    policy.validate(issuer)?;
    policy.suits(metadata)?;
    Ok(policy)
}

/// Only its hash is stored, without a salt, so a secret must be random: 32 bytes are 43 characters of base64url, 64 of hex.
///
/// # Errors
/// What is wrong with it, and never what it is.
pub fn secret(secret: &str, issuer: &IssuerUrl) -> Result<(), MemberError> {
    const HOW: &str = "make one with: openssl rand -base64 32";
    let wrong = |problem: String| Err(MemberError::new("client_secret", problem));
    let hex = secret.bytes().all(|b| b.is_ascii_hexdigit());
    if !is_visible(secret, 1024) {
        return wrong("it must be visible ASCII without spaces, at most 1024 characters".to_owned());
    }
    if secret.len() < if hex { 64 } else { 43 } {
        return wrong(format!("it is shorter than 32 random bytes (43 characters, 64 in hex); {HOW}"));
    }
    let mut distinct: Vec<u8> = secret.bytes().collect();
    distinct.sort_unstable();
    distinct.dedup();
    // 64 random hex digits have fewer than 12 different ones less than once in a million.
    let repeats =
        (1..=secret.len() / 2).any(|period| secret.as_bytes()[period..] == secret.as_bytes()[..secret.len() - period]);
    if distinct.len() < 12 || repeats {
        return wrong(format!("it repeats itself and is not random; {HOW}"));
    }
    if secret.starts_with(EXAMPLE) && !issuer.is_loopback() {
        return wrong(format!("it is a published example, known to everybody; {HOW}"));
    }
    Ok(())
}

/// The hash of a secret, as it is stored: SHA-256 in base64url.
///
/// # Errors
/// When it is none.
pub fn secret_hash(hash: &str) -> Result<(), MemberError> {
    if hash.len() == 43 && hash.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_') {
        return Ok(());
    }
    let problem = "it must be the SHA-256 of the secret in base64url: 43 characters";
    Err(MemberError::new("client_secret_hash", problem))
}

fn is_visible(text: &str, max: usize) -> bool {
    (1..=max).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic())
}

/// A JWK Set as a table, or as JSON in a text.
fn key_set(given: Value) -> Result<Value, &'static str> {
    match given {
        Value::String(text) => serde_json::from_str(&text)
            .map_err(|_| "expected a JWK Set: an object with `keys`, as a table or as JSON in a text"),
        set => Ok(set),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "Xo3rW9vKq27LhYtZ5bNfUeMd8JcGpAsQ1iTzRk4wBmE";

    #[test]
    fn secrets() {
        let (here, public) =
            (IssuerUrl::parse("http://localhost:1").unwrap(), IssuerUrl::parse("https://id.example").unwrap());
        let hex = "00f1e2d3c4b5a69788796a5b4c3d2e1f0f1e2d3c4b5a69788796a5b4c3d2e1f7";
        let example = format!("{EXAMPLE}-Xo3rW9vKq27LhYtZ5bNfUeMd8JcGpAs");
        for (secret, issuer) in [(SECRET, &public), (hex, &public), (&example, &here)] {
            assert_eq!(super::secret(secret, issuer), Ok(()), "{secret}");
        }
        for (secret, expected) in [
            (&SECRET[..42], "shorter than 32 random bytes"),
            (&hex[..63], "shorter than 32 random bytes"),
            ("ababababababababababababababababababababababab-", "repeats itself"),
            ("abcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyz", "repeats itself"),
            ("Xo3rW9vKq27LhYtZ5bNfUeMd8JcGpAsQ1iTzRk4wBm E", "visible ASCII"),
            (&example, "published example"),
        ] {
            let problem = super::secret(secret, &public).unwrap_err().to_string();
            assert!(problem.contains(expected) && !problem.contains(secret), "{secret}: {problem}");
        }
    }

    #[test]
    fn hashes_of_secrets() {
        assert_eq!(secret_hash(SECRET), Ok(()), "it has the form of one");
        for wrong in ["", &SECRET[1..], "Xo3rW9vKq27LhYtZ5bNfUeMd8JcGpAsQ1iTzRk4wBm="] {
            assert!(!secret_hash(wrong).unwrap_err().to_string().contains("Xo3r"));
        }
    }
}
