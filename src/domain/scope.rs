//! Scopes: a set of tokens (RFC 6749 section 3.3).

use std::collections::BTreeSet;

use super::refusal::Refusal;

/// What our own authorization endpoint knows; anything else is `invalid_scope`.
pub const SIGN_IN: [&str; 7] =
    ["openid", "email", "profile", "phone", OFFLINE_ACCESS, DELEGATIONS, "delegations:write"];

/// Lets a first-party client read and withdraw its user's delegations.
pub const DELEGATIONS: &str = "delegations";

/// Lets a client stay signed in for its user while they are away (OpenID Connect Core section 11): what it gets outlives the session.
pub const OFFLINE_ACCESS: &str = "offline_access";

/// Most scope tokens in one request.
const MAX_TOKENS: usize = 64;

/// Whether a text is one scope token.
#[must_use]
pub fn is_token(text: &str) -> bool {
    (1..=128).contains(&text.len()) && text.bytes().all(|b| matches!(b, 0x21 | 0x23..=0x5b | 0x5d..=0x7e))
}

/// A set of scope tokens; its text form is sorted, so equal sets have equal texts.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Scope(BTreeSet<String>);

impl Scope {
    /// Parses a space-separated list.
    ///
    /// # Errors
    /// [`Refusal::ScopeMalformed`] for a character outside RFC 6749's `scope-token`, or more tokens than are ever needed.
    pub fn parse(text: &str) -> Result<Self, Refusal> {
        let set: BTreeSet<String> = text.split(' ').filter(|t| !t.is_empty()).map(str::to_owned).collect();
        if set.len() > MAX_TOKENS || !set.iter().all(|token| is_token(token)) {
            return Err(Refusal::ScopeMalformed);
        }
        Ok(Self(set))
    }

    /// A scope that comes from our own rows, where it was written by [`std::fmt::Display`].
    #[must_use]
    pub fn stored(text: &str) -> Self {
        Self(text.split(' ').filter(|t| !t.is_empty()).map(str::to_owned).collect())
    }

    /// Whether it names nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether it contains a token.
    #[must_use]
    pub fn has(&self, token: &str) -> bool {
        self.0.contains(token)
    }

    /// Whether every token of it is in `other`.
    #[must_use]
    pub fn within(&self, other: &Self) -> bool {
        self.0.is_subset(&other.0)
    }

    /// What both contain.
    #[must_use]
    pub fn and(&self, other: &Self) -> Self {
        Self(self.0.intersection(&other.0).cloned().collect())
    }

    /// What either contains.
    #[must_use]
    pub fn or(&self, other: &Self) -> Self {
        Self(self.0.union(&other.0).cloned().collect())
    }

    /// The tokens in order.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(String::as_str)
    }
}

impl std::fmt::Display for Scope {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (n, token) in self.iter().enumerate() {
            if n > 0 {
                f.write_str(" ")?;
            }
            f.write_str(token)?;
        }
        Ok(())
    }
}

impl<'a> FromIterator<&'a str> for Scope {
    fn from_iter<I: IntoIterator<Item = &'a str>>(tokens: I) -> Self {
        Self(tokens.into_iter().map(str::to_owned).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets() {
        let ab = Scope::parse("b  a b").unwrap();
        assert_eq!(ab.to_string(), "a b");
        assert!(Scope::parse("a").unwrap().within(&ab));
        assert!(!ab.within(&Scope::parse("a").unwrap()));
        for bad in ["a\"", "a\\b", "a\tb", "ü", &"x".repeat(129)] {
            assert!(Scope::parse(bad).is_err(), "{bad}");
        }
    }
}
