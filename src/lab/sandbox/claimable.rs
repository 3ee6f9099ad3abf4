//! What is kept of registrations that a user may claim (auth.md v0.1, "OTP ceremony").

use std::collections::BTreeMap;

use super::registration::Registration;
use crate::domain::time::Timestamp;

/// What v0.1 gives to somebody of whom nothing is known.
pub(super) const ANONYMOUS_TYPES: [&str; 1] = ["api_key"];

/// A registration that somebody may claim.
#[derive(Clone, Debug)]
pub(super) struct Claim {
    pub(super) registration: Registration,
    /// What is given when it is claimed; nothing where it was given before.
    pub(super) credential_type: Option<&'static str>,
    pub(super) expires_at: Timestamp,
    pub(super) at: Stage,
}

/// How far it is.
#[derive(Clone, Debug)]
pub(super) enum Stage {
    /// Nobody was asked.
    Unclaimed,
    /// Somebody has an e-mail.
    Asked(Attempt),
    Claimed,
    Expired,
}

/// An e-mail that was sent.
#[derive(Clone, Debug)]
pub(super) struct Attempt {
    /// Names the page.
    pub(super) id: String,
    pub(super) email: String,
    pub(super) otp: Option<Otp>,
}

#[derive(Clone, Debug)]
pub(super) struct Otp {
    pub(super) code: String,
    pub(super) expires_at: Timestamp,
    pub(super) failures: u8,
}

/// Every claim, by the hash of its token.
#[derive(Default)]
pub(super) struct Claims(pub(super) BTreeMap<String, Claim>);

impl Claims {
    /// Of whom e-mails wait to be answered: address, page.
    pub(super) fn mail(&self, now: Timestamp) -> impl Iterator<Item = (&str, &str)> {
        self.0.values().filter_map(move |claim| match &claim.at {
            Stage::Asked(attempt) if now < claim.expires_at => Some((attempt.email.as_str(), attempt.id.as_str())),
            _ => None,
        })
    }

    /// Ends those that nobody claimed in time; the answer is their names.
    pub(super) fn lapse(&mut self, now: Timestamp) -> Vec<String> {
        let open = |claim: &&mut Claim| matches!(claim.at, Stage::Unclaimed | Stage::Asked(_));
        let late = self.0.values_mut().filter(open).filter(|claim| now >= claim.expires_at);
        late.map(|claim| {
            claim.at = Stage::Expired;
            claim.registration.id.clone()
        })
        .collect()
    }

    /// `false` where there is no room for it.
    pub(super) fn add(&mut self, claim_token_hash: String, claim: Claim, most: usize) -> bool {
        if self.0.len() >= most {
            self.0.retain(|_, claim| matches!(claim.at, Stage::Unclaimed | Stage::Asked(_)));
        }
        let room = self.0.len() < most;
        if room {
            self.0.insert(claim_token_hash, claim);
        }
        room
    }

    pub(super) fn of_page(&mut self, id: &str) -> Option<&mut Claim> {
        self.0.values_mut().find(|claim| matches!(&claim.at, Stage::Asked(attempt) if attempt.id == id))
    }
}
