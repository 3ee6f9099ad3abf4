//! What happens at the sandbox, as `GET /sandbox/events` and its page show it.

use serde::Serialize;

use crate::domain::time::Timestamp;

/// Something that happened, in order. For tests and demonstrations; it never holds a token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Event {
    /// Which one, counted from 1.
    pub n: u64,
    /// When.
    #[serde(serialize_with = "rfc3339")]
    pub at: Timestamp,
    /// What it was.
    #[serde(flatten)]
    pub what: What,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "as serde calls it")]
fn rfc3339<S: serde::Serializer>(at: &Timestamp, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&at.rfc3339())
}

/// What happened (auth.md, "Recommended audit events", and what goes on beside).
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "event")]
pub enum What {
    /// An assertion was accepted and a credential given out.
    #[serde(rename = "registration.created")]
    Registered {
        /// The registration.
        registration_id: String,
        /// `access_token`, `api_key` or `identity_assertion`.
        credential_type: &'static str,
        /// Who vouched.
        iss: String,
        /// For whom.
        sub: String,
        /// On which platform, as the assertion says.
        #[serde(skip_serializing_if = "Option::is_none")]
        agent_platform: Option<String>,
        /// In which context, as the assertion says.
        #[serde(skip_serializing_if = "Option::is_none")]
        agent_context_id: Option<String>,
    },
    /// Somebody registered without an assertion, for a user to claim.
    #[serde(rename = "registration.created")]
    Begun {
        /// The registration.
        registration_id: String,
        /// `anonymous` or `email-verification`.
        registration_type: &'static str,
    },
    /// A user is asked whether the account is theirs.
    #[serde(rename = "claim.requested")]
    Asked {
        /// The registration.
        registration_id: String,
        /// Whose account.
        email: Option<String>,
    },
    /// A one-time code was made for them.
    #[serde(rename = "otp.generated")]
    CodeShown {
        /// The registration.
        registration_id: String,
    },
    /// The user said that it is not.
    #[serde(rename = "claim.denied")]
    Denied {
        /// The registration.
        registration_id: String,
    },
    /// Nobody claimed it in time.
    #[serde(rename = "registration.expired")]
    Expired {
        /// The registration.
        registration_id: String,
    },
    /// The user said that it is.
    #[serde(rename = "claim.confirmed")]
    Confirmed {
        /// The registration.
        registration_id: String,
        /// The account.
        claimed_by_user_id: String,
    },
    /// An access token was given out for the service's own assertion.
    #[serde(rename = "token.issued")]
    Issued {
        /// The registration.
        registration_id: String,
    },
    /// A notice was accepted.
    #[serde(rename = "registration.revoked")]
    Revoked {
        /// The registration.
        registration_id: String,
        /// Who said so.
        iss: String,
        /// Of whom.
        sub: String,
        /// In which format.
        format: &'static str,
        /// How many credentials it ended; may be none.
        credentials: usize,
    },
    /// A live credential was used at the resource.
    #[serde(rename = "resource.served")]
    Served {
        /// The registration.
        registration_id: String,
    },
    /// The resource was asked for without a live credential.
    #[serde(rename = "resource.refused")]
    Unauthorized,
    /// An assertion or notice was refused.
    #[serde(rename = "refused")]
    Refused {
        /// The path.
        endpoint: &'static str,
        /// The error code answered.
        code: &'static str,
        /// Why.
        why: String,
    },
}
