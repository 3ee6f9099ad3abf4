//! What of a user leaves for a service: what it is known to need, of what is known and verified.

use std::fmt;

use super::service_policy::{Claim, ServicePolicy};
use super::session::Account;

/// A set of claims. Stored as their names, separated by spaces.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ClaimSet(u8);

impl ClaimSet {
    /// Reads stored names. One that is unknown names nothing that could leave.
    #[must_use]
    pub fn stored(names: &str) -> Self {
        names.split(' ').filter_map(|name| Claim::ALL.into_iter().find(|claim| claim.as_str() == name)).collect()
    }

    /// Whether a claim is in it.
    #[must_use]
    pub fn has(self, claim: Claim) -> bool {
        self.0 & bit(claim) != 0
    }

    /// Whether all of it is in another.
    #[must_use]
    pub fn within(self, other: Self) -> bool {
        self.0 & !other.0 == 0
    }

    /// What is in it, in the order of [`Claim::ALL`].
    pub fn iter(self) -> impl Iterator<Item = Claim> {
        Claim::ALL.into_iter().filter(move |claim| self.has(*claim))
    }
}

fn bit(claim: Claim) -> u8 {
    1 << claim as u8
}

impl FromIterator<Claim> for ClaimSet {
    fn from_iter<T: IntoIterator<Item = Claim>>(claims: T) -> Self {
        Self(claims.into_iter().fold(0, |set, claim| set | bit(claim)))
    }
}

impl fmt::Display for ClaimSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, claim) in self.iter().enumerate() {
            write!(f, "{}{}", if n == 0 { "" } else { " " }, claim.as_str())?;
        }
        Ok(())
    }
}

/// What an assertion for this service would say about this user. An address or number that is not verified never leaves: a service that
/// finds its accounts by it would let its first owner in.
#[must_use]
pub fn disclosed(policy: &ServicePolicy, account: &Account) -> ClaimSet {
    let named = |claim| policy.claims.contains(&claim);
    let email = account.email_verified && named(Claim::Email);
    let phone = account.phone_verified && account.phone_number.is_some() && named(Claim::PhoneNumber);
    let leaves = |claim: &Claim| match claim {
        Claim::Email => email,
        Claim::EmailVerified => email && named(Claim::EmailVerified),
        Claim::Name => account.name.is_some() && named(Claim::Name),
        Claim::PhoneNumber => phone,
        Claim::PhoneNumberVerified => phone && named(Claim::PhoneNumberVerified),
        Claim::Amr => named(Claim::Amr),
    };
    Claim::ALL.into_iter().filter(leaves).collect()
}

#[cfg(test)]
mod tests {
    use super::super::ids::Subject;
    use super::super::service_policy::Dialect;
    use super::*;

    #[test]
    fn sets() {
        let set: ClaimSet = [Claim::Name, Claim::Email].into_iter().collect();
        assert_eq!(set.to_string(), "email name");
        assert_eq!(ClaimSet::stored("name email nonsense"), set);
        assert_eq!(ClaimSet::stored(&ClaimSet::default().to_string()), ClaimSet::default());
        assert!(set.within(Claim::ALL.into_iter().collect()) && set.within(set));
        assert!(!set.within([Claim::Email].into_iter().collect()) && ClaimSet::default().within(set));
    }

    #[test]
    fn what_is_not_verified_never_leaves() {
        let account = |email_verified, phone_number: Option<&str>, phone_verified, name: Option<&str>| Account {
            id: "a".into(),
            sub: Subject::parse("sub").unwrap(),
            email: "alice@example.com".into(),
            email_verified,
            name: name.map(str::to_owned),
            phone_number: phone_number.map(str::to_owned),
            phone_verified,
            version: 1,
        };
        let policy = |claims: &[Claim]| ServicePolicy { claims: claims.to_vec(), ..ServicePolicy::of(Dialect::AuthMd) };
        for (account, claims, leaves) in [
            (
                account(true, Some("+1"), true, Some("A")),
                &Claim::ALL[..],
                "email email_verified name phone_number phone_number_verified amr",
            ),
            (account(false, Some("+1"), true, Some("A")), &Claim::ALL, "name phone_number phone_number_verified amr"),
            (account(true, Some("+1"), false, None), &Claim::ALL, "email email_verified amr"),
            (account(true, None, true, None), &Claim::ALL, "email email_verified amr"),
            (account(false, None, false, Some("A")), &[Claim::Email], ""),
            (account(true, Some("+1"), true, Some("A")), &[Claim::EmailVerified, Claim::PhoneNumberVerified], ""),
        ] {
            assert_eq!(disclosed(&policy(claims), &account).to_string(), leaves);
        }
    }
}
