//! Who says what to a flaw, and how much it matters.

use serde::{Deserialize, Serialize};

/// What has the flaw.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// An ID-JAG, or how it is presented.
    Assertion,
    /// A logout token or a security event token, or how it is sent.
    Notice,
    /// An issuer's key set.
    Jwks,
    /// A Client ID Metadata Document.
    Cimd,
    /// The sandbox itself: a rule that it does not keep.
    Sandbox,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Assertion, Self::Notice, Self::Jwks, Self::Cimd, Self::Sandbox];

    /// As a command line names it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Assertion => "assertion",
            Self::Notice => "notice",
            Self::Jwks => "jwks",
            Self::Cimd => "cimd",
            Self::Sandbox => "sandbox",
        }
    }
}

/// How much a specification demands that it is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Level {
    /// Whoever takes it breaks a rule.
    #[serde(rename = "MUST")]
    Must,
    /// Whoever takes it had better not.
    #[serde(rename = "SHOULD")]
    Should,
    /// Each service decides: told in a report, never counted.
    #[serde(rename = "policy")]
    Policy,
}

impl Level {
    /// As it is printed.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Must => "MUST",
            Self::Should => "SHOULD",
            Self::Policy => "policy",
        }
    }
}

/// How a service talks: each has error codes of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub enum Dialect {
    /// auth.md v0.1: a credential at once, `logout+jwt`.
    #[serde(rename = "auth_md_v0_1")]
    V01,
    /// auth.md v0.2 to v0.7: the service's own assertion, flat members; notices as of v0.3.
    #[serde(rename = "auth_md_flat")]
    Flat,
    /// auth.md after v0.7: the same in nested members.
    #[serde(rename = "auth_md_nested")]
    Nested,
    /// A plain resource authorization server: RFC 7523 and MCP Enterprise-Managed Authorization.
    #[serde(rename = "rfc7523")]
    Plain,
}

impl Dialect {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::V01, Self::Flat, Self::Nested, Self::Plain];

    /// As a person would call it.
    #[must_use]
    pub fn title(self) -> &'static str {
        match self {
            Self::V01 => "auth.md v0.1",
            Self::Flat => "auth.md v0.2 to v0.7",
            Self::Nested => "auth.md nested",
            Self::Plain => "RFC 7523",
        }
    }

    /// What JSON names, as a person would call it.
    #[must_use]
    pub fn title_of(name: &str) -> &str {
        let known = Self::ALL.into_iter().find(|dialect| dialect.as_str() == name);
        if let Some(known) = known { known.title() } else { name }
    }

    /// As JSON names it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::V01 => "auth_md_v0_1",
            Self::Flat => "auth_md_flat",
            Self::Nested => "auth_md_nested",
            Self::Plain => "rfc7523",
        }
    }
}

/// What a service should say.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "verdict", rename_all = "lowercase")]
pub enum Answer {
    /// No, with this status and the first of these codes; the others are seen at good services too.
    Refuse {
        /// HTTP status.
        status: u16,
        /// `error`, or `err` where a security event token was sent.
        codes: &'static [&'static str],
    },
    /// Yes, and with no other effect than that of one that has no flaw, or with none at all where the meaning says so.
    Accept {
        /// HTTP status.
        status: u16,
    },
    /// The dialect has no rule for it.
    Open,
}

/// How much of a token somebody has to understand in order to see the flaw.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Sight {
    /// A library for JWTs sees it that was told which issuer, audience, type and algorithms to expect, and given the key set as it comes.
    Library,
    /// Whoever knows the claims of this kind of token.
    Profile,
    /// Whoever remembers what came before, or looks at the request as a whole.
    Service,
}
