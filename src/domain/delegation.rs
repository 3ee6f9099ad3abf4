//! Delegations: the standing record of one user at one service, keyed on the wire by (sub, aud).

/// Seconds after an assertion's `exp` at which no service takes it any more: our lifetime plus twice the usual leeway.
pub const REDEEMABLE_AFTER_EXP: i64 = 120;

/// Seconds a notice is tried.
pub const NOTICE_LIFETIME: i64 = 7 * 24 * 3600;

/// Where a delegation stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// Assertions may be minted under its consents.
    Active,
    /// Ended here; the service has not confirmed every notice yet.
    Withdrawing,
    /// Ended here, nothing owed.
    Withdrawn,
}

impl Status {
    /// The published name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Withdrawing => "withdrawing",
            Self::Withdrawn => "withdrawn",
        }
    }

    /// Reads a name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        [Self::Active, Self::Withdrawing, Self::Withdrawn].into_iter().find(|s| s.as_str() == name)
    }
}

/// The record. `iss`, `sub` and `aud` are what was first emitted and what every notice says.
#[derive(Clone, Debug)]
pub struct Delegation {
    /// Our own key, published by the API.
    pub id: String,
    /// Whose.
    pub account_id: String,
    /// The issuer's name on the wire.
    pub iss: String,
    /// The user's name on the wire.
    pub sub: String,
    /// The service's name on the wire.
    pub aud: String,
    /// Seconds since the epoch.
    pub created_at: i64,
    /// Seconds since the epoch.
    pub last_used_at: Option<i64>,
    /// Name of the client that used it last.
    pub last_client: Option<String>,
    /// How many assertions were minted.
    pub mint_count: i64,
    /// The latest `exp` of them; 0 when there was none.
    pub last_exp: i64,
    /// Seconds since the epoch; `None` while active.
    pub ended_at: Option<i64>,
    /// Notices that are still on their way.
    pub owed: i64,
}

impl Delegation {
    /// Where it stands.
    #[must_use]
    pub fn status(&self) -> Status {
        match (self.ended_at, self.owed) {
            (None, _) => Status::Active,
            (Some(_), 0) => Status::Withdrawn,
            (Some(_), _) => Status::Withdrawing,
        }
    }
}

/// When notices are due after a withdrawal at `now`, given the latest `exp` minted: one at once, and a second when the last
/// assertion can no longer be redeemed, since a service might have taken it after the first.
#[must_use]
pub fn notices_due(now: i64, last_exp: i64) -> (i64, Option<i64>) {
    let dead = last_exp + REDEEMABLE_AFTER_EXP;
    (now, (last_exp > 0 && dead > now).then_some(dead))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_notice_follows_a_fresh_assertion_only() {
        assert_eq!(notices_due(1000, 0), (1000, None));
        assert_eq!(notices_due(1000, 880), (1000, None));
        assert_eq!(notices_due(1000, 881), (1000, Some(1001)));
        assert_eq!(notices_due(1000, 1300), (1000, Some(1420)));
    }
}
