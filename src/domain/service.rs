//! Relying services: what is known of one, and what it is told.

use std::collections::BTreeMap;

use super::ids::Audience;

/// The protocol a service speaks with us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// auth.md v0.1: posts of ID-JAGs to its own endpoint, `logout+jwt` at its `revocation_uri`.
    AuthMd,
    /// A plain resource authorization server of the ID-JAG draft; nothing can be pushed to it.
    IdJag,
}

impl Dialect {
    /// The stored name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::AuthMd => "auth.md",
            Self::IdJag => "id-jag",
        }
    }
}

/// A claim that may leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Claim {
    /// `email`
    Email,
    /// `email_verified`
    EmailVerified,
    /// `name`
    Name,
    /// `phone_number`
    PhoneNumber,
    /// `phone_number_verified`
    PhoneNumberVerified,
    /// `amr`
    Amr,
}

impl Claim {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::Email, Self::EmailVerified, Self::Name, Self::PhoneNumber, Self::PhoneNumberVerified, Self::Amr];

    /// The claim's registered name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Email => "email",
            Self::EmailVerified => "email_verified",
            Self::Name => "name",
            Self::PhoneNumber => "phone_number",
            Self::PhoneNumberVerified => "phone_number_verified",
            Self::Amr => "amr",
        }
    }

    /// Reads a name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|c| c.as_str() == name)
    }
}

/// What is known of a service.
#[derive(Clone, Debug)]
pub struct Service {
    /// Our own key; `None` for a service nobody configured.
    pub id: Option<String>,
    /// Its issuer identifier.
    pub audience: Audience,
    /// The name to show.
    pub name: Option<String>,
    /// What it speaks.
    pub dialect: Dialect,
    /// Resources that belong to it; empty: not known.
    pub resources: Vec<String>,
    /// Scopes it has; empty: not known.
    pub scopes: Vec<String>,
    /// A client's id at that service, by its id here.
    pub client_ids: BTreeMap<String, String>,
    /// What leaves.
    pub claims: Vec<Claim>,
    /// Where notices go.
    pub revocation_uri: Option<String>,
    /// Seconds.
    pub max_auth_age: Option<i64>,
    /// Grows with every change.
    pub version: i64,
}

impl Service {
    /// What is assumed of a service nobody configured: nothing but the smallest set of claims.
    #[must_use]
    pub fn unknown(audience: Audience) -> Self {
        Self {
            id: None,
            audience,
            name: None,
            dialect: Dialect::IdJag,
            resources: Vec::new(),
            scopes: Vec::new(),
            client_ids: BTreeMap::new(),
            claims: Self::usual_claims(Dialect::IdJag),
            revocation_uri: None,
            max_auth_age: None,
            version: 0,
        }
    }

    /// The claims a dialect needs (auth.md, "ID-JAG claims"; ID-JAG draft section 3.1).
    #[must_use]
    pub fn usual_claims(dialect: Dialect) -> Vec<Claim> {
        match dialect {
            Dialect::AuthMd => Claim::ALL.into_iter().filter(|c| *c != Claim::Amr).collect(),
            Dialect::IdJag => vec![Claim::Email, Claim::EmailVerified],
        }
    }

    /// The name to show, or the host.
    #[must_use]
    pub fn title(&self) -> String {
        self.name.clone().unwrap_or_else(|| self.audience.host())
    }
}
