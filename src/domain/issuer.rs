//! Issuers beside the default one: what they may be called, and what their looks are made of.

use serde::Serialize;

use super::ids::{IdError, IssuerUrl};
use super::time::Timestamp;

/// First path segments that are, or by the contract will be, pages and endpoints of the default issuer; and its own id.
/// Those with a dot or an underscore cannot be written as an id anyway.
pub const RESERVED: [&str; 19] = [
    "admin",
    "api",
    "assets",
    "authorize",
    "connections",
    "consent",
    "default",
    "device",
    "healthz",
    "introspect",
    "login",
    "logout",
    "metrics",
    "par",
    "readyz",
    "register",
    "revoke",
    "token",
    "userinfo",
];

/// The id of a further issuer: the first path segment under which it lives, so what stands in URLs, cookie names and rows. It is compared
/// as it stands on the wire: nothing that could be written in two ways (capitals, percent-encoding, dots) is an id.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
pub struct IssuerId(String);

impl IssuerId {
    /// Parses an id: `[a-z0-9][a-z0-9-]{1,62}`, and no reserved word.
    ///
    /// # Errors
    /// The rule that is broken.
    pub fn parse(text: &str) -> Result<Self, IdError> {
        let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        if !(2..=63).contains(&text.len()) || !text.bytes().all(allowed) {
            return Err(IdError("an issuer's id is 2 to 63 of a-z, 0-9 and -"));
        }
        if text.starts_with('-') {
            return Err(IdError("an issuer's id begins with a letter or a digit"));
        }
        if RESERVED.contains(&text) {
            return Err(IdError("this word is reserved: the default issuer's own pages and endpoints have it"));
        }
        Ok(Self(text.to_owned()))
    }

    /// The identifier of the issuer of this id on a server.
    ///
    /// # Panics
    /// Never: an id holds nothing that an identifier's path may not.
    #[must_use]
    pub fn under(&self, root: &IssuerUrl) -> IssuerUrl {
        IssuerUrl::parse(&root.at(&format!("/{self}"))).expect("an id can stand in an identifier")
    }

    /// The id as it stands in a path.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Display for IssuerId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// A colour as `#` and six hex digits. Nothing else of CSS: it is written into a page's style.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Colour(String);

impl Colour {
    /// Parses a colour; it is kept in lower case.
    ///
    /// # Errors
    /// When it is written in any other way.
    pub fn parse(text: &str) -> Result<Self, IdError> {
        let digits = text.strip_prefix('#').unwrap_or_default();
        if digits.len() != 6 || !digits.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Err(IdError("a colour is # and six hex digits, such as #0a7d5c"));
        }
        Ok(Self(text.to_ascii_lowercase()))
    }

    /// The colour as it stands in a style.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

vocabulary! {
    /// Who had the last word on an issuer.
    pub enum Origin {
        /// The configuration declares it.
        Config = "config",
        /// An administrator added, disabled or enabled it.
        Admin = "admin",
    }
}

/// An issuer as it is on record.
#[derive(Clone, Debug)]
pub struct IssuerRecord {
    /// Our key of it.
    pub id: String,
    /// Its identifier.
    pub url: String,
    /// What it calls itself.
    pub name: String,
    /// The colour of its pages.
    pub colour: Option<Colour>,
    /// SHA-256 of its logo.
    pub logo_hash: Option<String>,
    /// JSON: what its Client ID Metadata Document says beside what follows from the URL.
    pub cimd: String,
    /// SHA-256 of its administrator's token.
    pub admin_token_hash: String,
    /// Who had the last word on it.
    pub origin: Origin,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was disabled.
    pub disabled_at: Option<Timestamp>,
}

impl IssuerRecord {
    /// Whether the configuration declares it.
    pub fn is_declared(&self) -> bool {
        self.origin == Origin::Config
    }
}

/// A logo as it is stored and served: a PNG that was made here from somebody's picture, so nothing but pixels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Logo {
    base64: String,
    hash: String,
}

impl Logo {
    /// Longest base64 of a logo, in bytes.
    pub const MAX_BASE64: usize = 400_000;

    /// A picture by its base64 and its hash; `None` when it is too large.
    #[must_use]
    pub fn stored(base64: &str, hash: String) -> Option<Self> {
        (base64.len() <= Self::MAX_BASE64).then(|| Self { base64: base64.to_owned(), hash })
    }

    /// The PNG in base64.
    #[must_use]
    pub fn base64(&self) -> &str {
        &self.base64
    }

    /// SHA-256 of the PNG: its validator.
    #[must_use]
    pub fn hash(&self) -> &str {
        &self.hash
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids() {
        let longest = "a".repeat(63);
        for good in ["acme", "a1", "0-0", "acme-north-2", "x-", "tokens", &longest] {
            assert_eq!(IssuerId::parse(good).map(|id| id.to_string()).as_deref(), Ok(good));
        }
        let too_long = "a".repeat(64);
        for (case, bad) in [
            ("empty", ""),
            ("one character", "a"),
            ("too long", &too_long),
            ("capitals", "Acme"),
            ("percent-encoded", "%61cme"),
            ("dot segment", ".."),
            ("dot segment, encoded", "%2e%2e"),
            ("dot inside", "a.b"),
            ("slash", "a/b"),
            ("doubled slash", "a//"),
            ("underscore", "a_b"),
            ("space", "a b"),
            ("line break at the end", "acme\n"),
            ("another script", "аcme"),
            ("leading dash", "-acme"),
        ] {
            assert!(IssuerId::parse(bad).is_err(), "{case}: {bad}");
        }
        for word in RESERVED {
            assert!(IssuerId::parse(word).is_err_and(|e| e.0.contains("reserved")), "{word}");
        }
    }

    #[test]
    fn where_an_issuer_is() {
        let root = IssuerUrl::parse("https://id.example").unwrap();
        assert_eq!(IssuerId::parse("acme").unwrap().under(&root).as_str(), "https://id.example/acme");
    }

    #[test]
    fn colours() {
        assert_eq!(Colour::parse("#0A7d5C").unwrap().as_str(), "#0a7d5c");
        for bad in ["", "#", "0a7d5c", "#0a7d5", "#0a7d5c0", "#0a7d5g", "#fff", "red", "#0a7d5c;", "##a7d5c", "#0a7d5é"]
        {
            assert!(Colour::parse(bad).is_err(), "{bad}");
        }
    }
}
