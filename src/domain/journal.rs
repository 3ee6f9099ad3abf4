//! The journal: everything that happens, on one page. A variant is a row's kind, its fields are the row's body; who, by which client and
//! under which record stands in columns beside them. Never a secret, never a token.

use serde::{Deserialize, Serialize};

use super::claims::OneOrMany;
use super::consent::Mode;
use super::ids::{ClientKey, Kid, SealingKeyId, Subject};
use super::issuer::Origin;
use super::notice::{Attempt, DeliveryState, Round};
use super::rotation::{Early, SigningAlg};
use super::time::Timestamp;

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", content = "body")]
pub enum Event {
    /// A user signed in.
    #[serde(rename = "session.opened")]
    SessionOpened {
        /// The session.
        sid: String,
    },
    /// A user showed the password again.
    #[serde(rename = "session.renewed")]
    SessionRenewed {
        /// The session.
        sid: String,
    },
    /// A user signed out, or somebody else signed in with the same browser.
    #[serde(rename = "session.ended")]
    SessionEnded {
        /// The session.
        sid: String,
    },
    /// A user let a client sign them in.
    #[serde(rename = "signin_consent.given")]
    SigninConsentGiven {
        /// What the client may know.
        scope: String,
    },
    /// A user ended a client's sign-in: what they agreed to, and all tokens of it.
    #[serde(rename = "sign_in.ended")]
    SignInEnded {},
    /// A code came back a second time: everything it gave has ended.
    #[serde(rename = "code.reused")]
    CodeReused {
        /// The tokens that ended.
        family: String,
    },
    /// A refresh token came back a second time: its family has ended.
    #[serde(rename = "refresh_token.reused")]
    RefreshTokenReused {
        /// The tokens that ended.
        family: String,
    },
    /// A client gave a refresh token back: everything of its sign-in has ended.
    #[serde(rename = "refresh_token.revoked")]
    RefreshTokenRevoked {
        /// The tokens that ended.
        family: String,
    },
    /// A client gave an access token back.
    #[serde(rename = "access_token.revoked")]
    AccessTokenRevoked {},
    /// A user agreed.
    #[serde(rename = "consent.given")]
    ConsentGiven(Decision),
    /// A user said no.
    #[serde(rename = "consent.denied")]
    ConsentDenied(Decision),
    /// A user took a denial back.
    #[serde(rename = "consent.revised")]
    ConsentRevised {},
    /// An assertion was minted.
    #[serde(rename = "assertion")]
    Assertion(Assertion),
    /// A delegation, or one client's part of it, ended.
    #[serde(rename = "withdrawal")]
    Withdrawal(Withdrawal),
    /// A service was told of a withdrawal, or a client of a sign-out, or not.
    #[serde(rename = "delivery.attempt")]
    DeliveryAttempt(Attempt),
    /// A client is to be told that its sign-in of a user is over.
    #[serde(rename = "logout.owed")]
    LogoutOwed {
        /// The notice.
        delivery_id: String,
        /// The session.
        sid: String,
    },
    /// An operator lets a notice be tried now.
    #[serde(rename = "delivery.retried")]
    DeliveryRetried {
        /// Which.
        delivery_id: String,
        /// Where it stood.
        was: DeliveryState,
    },
    /// A user may no longer sign in.
    #[serde(rename = "account.disabled")]
    AccountDisabled(Disabled),
    /// A user may sign in again.
    #[serde(rename = "account.enabled")]
    AccountEnabled(Disabled),
    /// A user's password is another one: whoever was signed in by the old one no longer is.
    #[serde(rename = "account.password_changed")]
    PasswordChanged {},
    /// A client may no longer ask.
    #[serde(rename = "client.disabled")]
    ClientDisabled(Disabled),
    /// A client may ask again.
    #[serde(rename = "client.enabled")]
    ClientEnabled(Disabled),
    /// An administrator added a user.
    #[serde(rename = "account.added")]
    AccountAdded(Named),
    /// An administrator changed what is known of a user.
    #[serde(rename = "account.edited")]
    AccountEdited(Named),
    /// An administrator added a client.
    #[serde(rename = "client.added")]
    ClientAdded(Named),
    /// An administrator changed a client.
    #[serde(rename = "client.edited")]
    ClientEdited(Named),
    /// An administrator added a service.
    #[serde(rename = "service.added")]
    ServiceAdded(Named),
    /// An administrator changed what is known of a service.
    #[serde(rename = "service.edited")]
    ServiceEdited(Named),
    /// Nobody declared a service, and its own metadata said what it is.
    #[serde(rename = "service.discovered")]
    ServiceDiscovered {
        /// Which.
        aud: String,
        /// What users are shown of it.
        shown: String,
    },
    /// A service that nobody declared says something else of itself.
    #[serde(rename = "service.changed")]
    ServiceChanged {
        /// Which.
        aud: String,
        /// What users were shown of it.
        before: String,
        /// What they are shown from now on; where it is another text, they are asked again.
        after: String,
        /// What it says differently.
        fields: Vec<String>,
    },
    /// An operator answers for a service as it was discovered: what it says of itself changes nothing any more.
    #[serde(rename = "service.pinned")]
    ServicePinned {
        /// Which.
        aud: String,
    },
    /// A service speaks for itself again.
    #[serde(rename = "service.unpinned")]
    ServiceUnpinned {
        /// Which.
        aud: String,
    },
    /// A service is no longer vouched at.
    #[serde(rename = "service.disabled")]
    ServiceDisabled(Disabled),
    /// A service is vouched at again.
    #[serde(rename = "service.enabled")]
    ServiceEnabled(Disabled),
    /// There is a new issuer.
    #[serde(rename = "issuer.created")]
    IssuerCreated {
        /// Whose word that was.
        by: Origin,
    },
    /// An issuer's name or looks are others.
    #[serde(rename = "issuer.described")]
    IssuerDescribed {
        /// Whose word that was.
        by: Origin,
    },
    /// Nothing answers under an issuer any more.
    #[serde(rename = "issuer.disabled")]
    IssuerDisabled {
        /// Whose word that was.
        by: Origin,
    },
    /// An issuer has another admin token; the one before is worth nothing any more.
    #[serde(rename = "admin_token.rotated")]
    AdminTokenRotated {},
    /// A key is published; it does not sign yet.
    #[serde(rename = "key.prepared")]
    KeyPrepared {
        /// Which.
        kid: Kid,
        /// What it will sign with.
        alg: SigningAlg,
    },
    /// A key signs.
    #[serde(rename = "key.activated")]
    KeyActivated {
        /// Which.
        kid: Kid,
        /// The one that signed until then, if there was one.
        #[serde(skip_serializing_if = "Option::is_none")]
        after: Option<Kid>,
        /// Why it was not published for as long as keys are otherwise.
        #[serde(skip_serializing_if = "Option::is_none")]
        early: Option<Early>,
        /// Why, in the words of whoever said so.
        #[serde(skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
    },
    /// A key is published no more: nothing that it signed can be valid.
    #[serde(rename = "key.removed")]
    KeyRemoved {
        /// Which.
        kid: Kid,
        /// Why that was done before its time, in the words of whoever said so.
        #[serde(skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
    },
    /// A key is published no more: somebody else may have it.
    #[serde(rename = "key.revoked")]
    KeyRevoked {
        /// Which.
        kid: Kid,
        /// Why, in the words of whoever said so.
        reason: String,
    },
    /// Another sealing key seals signing keys, those of all issuers; what the one before has sealed is being sealed anew.
    #[serde(rename = "reseal.began")]
    ResealBegan {
        /// The one before.
        from: SealingKeyId,
        /// The one that seals.
        to: SealingKeyId,
    },
    /// Nothing is sealed by the sealing keys of before any more.
    #[serde(rename = "reseal.ended")]
    ResealEnded {
        /// Those of before.
        retired: Vec<SealingKeyId>,
        /// The one that seals.
        to: SealingKeyId,
    },
    /// A disabled issuer answers again.
    #[serde(rename = "issuer.enabled")]
    IssuerEnabled {
        /// Whose word that was.
        by: Origin,
    },
}

/// A user's answer to a question.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decision {
    /// The service.
    pub aud: String,
    /// How far it goes.
    #[serde(flatten)]
    pub mode: Mode,
    /// What was given of what was asked for.
    pub scope: String,
    /// For which resources.
    pub resources: Vec<String>,
    /// The session it was given in.
    pub sid: String,
    /// What the agent said of itself.
    pub agent_platform: Option<String>,
    /// What the agent said of itself.
    pub agent_context_id: Option<String>,
}

/// What an assertion said.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Assertion {
    /// The user, as the service knows them.
    pub sub: Subject,
    /// The service.
    pub aud: String,
    /// When it expires.
    pub exp: Timestamp,
    /// The key that signed it.
    pub kid: Kid,
    /// What was granted.
    pub scope: Option<String>,
    /// For which resources.
    pub resource: Option<OneOrMany>,
    /// What the agent said of itself.
    pub agent_platform: Option<String>,
    /// What the agent said of itself.
    pub agent_context_id: Option<String>,
}

/// What ended, and how the service is told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Withdrawal {
    /// The service.
    pub aud: String,
    /// The user, as the service knows them.
    pub sub: Subject,
    /// Why.
    pub why: Why,
    /// How many decisions ended.
    pub consents: u64,
    /// The only client whose decisions ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client: Option<ClientKey>,
    /// The notices that follow.
    pub notices: Vec<Notice>,
    /// Those of earlier withdrawals that they make pointless.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub cancelled: Vec<String>,
}

/// A notice that is to be sent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Notice {
    /// The delivery.
    pub id: String,
    /// Which of the withdrawal's.
    pub round: Round,
    /// When it is due.
    pub due_at: Timestamp,
}

/// What an administrator added or changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Named {
    /// Its name.
    pub name: String,
    /// The members that were given, and never what they say.
    pub members: Vec<String>,
}

/// What was disabled, or enabled again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Disabled {
    /// Its name.
    pub name: String,
    /// Why.
    pub why: Why,
}

/// Why something ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Why {
    /// The user said so, on a page or through the API.
    User,
    /// An operator said so.
    Admin,
    /// What it was agreed for is over.
    Lapsed,
    /// User, client or service disappeared from the configuration, or was disabled.
    Configuration,
}

impl Event {
    /// Kind and body, as they are stored.
    ///
    /// # Panics
    /// Never: serde writes the tag, then the content, and an event holds nothing that is no JSON.
    #[must_use]
    pub fn columns(&self) -> (String, String) {
        // Cut out of the text rather than made as a tree: one is written for each assertion.
        let text = serde_json::to_string(self).expect("an event is JSON");
        let cut = text.strip_prefix(r#"{"kind":""#).and_then(|rest| rest.strip_suffix('}'));
        let (kind, body) =
            cut.and_then(|rest| rest.split_once(r#"","body":"#)).expect("serde writes tag, then content");
        (kind.to_owned(), body.to_owned())
    }

    /// Reads what [`Event::columns`] wrote.
    #[must_use]
    pub fn read(kind: &str, body: &str) -> Option<Self> {
        let body: serde_json::Value = serde_json::from_str(body).ok()?;
        serde_json::from_value(serde_json::json!({ "kind": kind, "body": body })).ok()
    }
}

#[cfg(test)]
mod tests;
