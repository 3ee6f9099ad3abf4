//! What kind of refusal a flaw should get, and how each dialect spells it. A probe judges the class first and the code second: good services
//! differ in their codes.

use serde::Serialize;

use super::answer::{Answer, Dialect, Kind};
use Dialect::{Flat, Nested, Plain, V01};

/// What a refusal is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Class {
    /// It cannot be read, or a member has no value that it may have.
    Malformed,
    /// Another kind of token.
    Type,
    /// No key of the issuer made this signature.
    Signature,
    /// Nobody who is trusted.
    Issuer,
    /// Meant for somebody else.
    Audience,
    /// Too old, or not yet.
    Expiry,
    /// It was there before.
    Replay,
    /// The client that it names.
    Client,
    /// The client did not prove who it is.
    ClientAuthentication,
    /// No way to reach the user that the issuer has verified.
    Contact,
    /// The user's sign-in.
    Authentication,
    /// The user has to confirm first that the account is theirs.
    Interaction,
    /// Proof of possession.
    Possession,
    /// The resource that it is for.
    Target,
    /// The scope.
    Scope,
    /// The user may not.
    Access,
    /// No credential for an API.
    Bearer,
    /// A document without which nothing can be decided cannot be had.
    Unavailable,
    /// None: it is to be taken, for what it is.
    Tolerated,
}

const fn no(status: u16, codes: &'static [&'static str]) -> Answer {
    Answer::Refuse { status, codes }
}

const GRANT: Answer = no(400, &["invalid_grant"]);
const REQUEST: Answer = no(400, &["invalid_request"]);

impl Class {
    /// What a service of a dialect says to a flaw of this class.
    #[must_use]
    pub fn answer(self, kind: Kind, dialect: Dialect) -> Answer {
        match kind {
            Kind::Notice => self.of_notice(dialect),
            Kind::Assertion | Kind::Jwks | Kind::Cimd | Kind::Sandbox => self.of_assertion(dialect),
        }
    }

    /// auth.md, "Errors"; RFC 6749 section 5.2. The newest text of auth.md gives some of its codes in one document and folds them into
    /// `invalid_request` in another.
    fn of_assertion(self, dialect: Dialect) -> Answer {
        match (self, dialect) {
            (Self::Tolerated, _) => Answer::Accept { status: 200 },
            (Self::Bearer, _) => no(401, &["invalid_token"]),
            (Self::Unavailable, V01 | Flat | Nested) => no(503, &["temporarily_unavailable", "invalid_signature"]),
            (Self::Unavailable, Plain) => no(503, &["temporarily_unavailable", "invalid_grant"]),
            (Self::ClientAuthentication, Plain) => no(401, &["invalid_client"]),
            (Self::ClientAuthentication, _) | (Self::Contact | Self::Authentication | Self::Interaction, Plain) => {
                Answer::Open
            }
            (Self::Target, Plain) => no(400, &["invalid_grant", "invalid_target"]),
            (Self::Scope, Plain) => no(400, &["invalid_scope", "invalid_grant"]),
            (Self::Access, Plain) => no(400, &["access_denied", "invalid_grant"]),
            // auth.md makes an account for whoever has none.
            (Self::Access, _) | (Self::Interaction, V01) => Answer::Open,
            (_, Plain) => GRANT,
            (Self::Malformed | Self::Type | Self::Target | Self::Scope | Self::Possession, _) => REQUEST,
            (Self::Signature, Nested) => no(400, &["invalid_signature", "invalid_request"]),
            (Self::Signature, _) => no(400, &["invalid_signature"]),
            (Self::Issuer, _) => no(400, &["invalid_issuer", "issuer_not_enabled"]),
            (Self::Audience, Nested) => no(400, &["invalid_audience", "invalid_request"]),
            (Self::Audience, _) => no(400, &["invalid_audience", "audience_mismatch"]),
            (Self::Expiry, Nested) => no(400, &["expired", "invalid_request"]),
            (Self::Expiry, _) => no(400, &["expired", "credential_expired"]),
            (Self::Replay, Nested) => no(400, &["replay_detected", "invalid_request"]),
            (Self::Replay, _) => no(400, &["replay_detected"]),
            (Self::Client, _) => no(400, &["invalid_client_id"]),
            (Self::Contact, _) => no(400, &["missing_verified_email"]),
            (Self::Authentication, V01) => no(400, &["insufficient_user_authentication"]),
            (Self::Authentication, _) => no(401, &["login_required"]),
            (Self::Interaction, _) => no(401, &["interaction_required"]),
        }
    }

    /// auth.md v0.1, "Revocation"; RFC 8935 section 2.4. A service of RFC 7523 alone is sent none.
    fn of_notice(self, dialect: Dialect) -> Answer {
        match (self, dialect) {
            (_, Plain) => Answer::Open,
            (Self::Tolerated, V01) => Answer::Accept { status: 200 },
            (Self::Tolerated, _) => Answer::Accept { status: 202 },
            (Self::Unavailable, _) => no(503, &["temporarily_unavailable"]),
            (Self::Issuer, _) => no(400, &["invalid_issuer"]),
            (Self::Signature, V01) => no(400, &["invalid_signature"]),
            (Self::Signature, _) => no(400, &["invalid_key", "authentication_failed", "invalid_request"]),
            (Self::Audience, V01) => no(400, &["invalid_request", "invalid_audience"]),
            (Self::Audience, _) => no(400, &["invalid_audience"]),
            (Self::Replay, V01) => no(400, &["replay_detected"]),
            (_, _) => REQUEST,
        }
    }
}
