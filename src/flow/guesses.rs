//! How many passwords may be guessed, and by whom, before whoever guesses has to wait.
//!
//! A browser that has signed the user in before is counted by itself. Of everybody else three things are counted: the guesses at one user
//! from one address; those at one user from anywhere, so that a thousand addresses guess little more than a few; and those from one
//! address at anybody.

use std::net::IpAddr;

use crate::domain::refusal::Refusal;
use crate::domain::time::{Seconds, Timestamp};
use crate::error::Error;
use crate::host::App;
use crate::secret::sha256;
use crate::store::Tx;

/// Seconds after which a failed attempt no longer counts.
const FORGET: Seconds = Seconds(900);
/// Longest wait.
const LONGEST_WAIT: Seconds = Seconds(900);
/// Failed attempts of one guesser at one user before they have to wait.
const FREE: i64 = 5;
/// Failed attempts from one address before it has to wait.
const FREE_FROM_ADDRESS: i64 = 50;
/// Failed attempts of strangers at one user before all strangers have to wait (NIST SP 800-63B-4 section 3.2.2 has a hundred too), and for how
/// long they are counted together: each hour begins anew, so that their user can sign in on a new browser once an hour at least.
const FREE_FOR_STRANGERS: i64 = 100;
const COUNTED_TOGETHER: Seconds = Seconds(3600);

/// Who guesses.
#[derive(Clone, Copy, Debug)]
pub(super) enum Guesser<'a> {
    /// A browser that has signed this user in before, by the name that it is known by.
    Known(&'a str),
    /// Anybody else, by their address where they have one of their own.
    Stranger(Option<IpAddr>),
}

/// What an attempt counts for.
pub(super) struct Counts(Vec<Count>);

struct Count {
    /// Hashed, so that the table holds no list of e-mails that were tried.
    name: String,
    free: i64,
    /// Whether a success makes up for the failures before it. One known password must not wash away others' guesses.
    forgiven: bool,
}

impl Counts {
    /// Every transaction writes them in this order, so that none waits for another in a circle.
    pub(super) fn of(email: &str, guesser: Guesser<'_>, now: Timestamp) -> Self {
        let count = |name: String, free, forgiven| Count { name: sha256(name.as_bytes()), free, forgiven };
        let address = match guesser {
            Guesser::Known(name) => return Self(vec![count(format!("browser {name} {email}"), FREE, true)]),
            Guesser::Stranger(address) => address.map(block),
        };
        let hour = now.0.div_euclid(COUNTED_TOGETHER.0);
        let at_user = address.as_ref().map(|from| count(format!("address {from} {email}"), FREE, true));
        let together = count(format!("hour {hour} {email}"), FREE_FOR_STRANGERS, false);
        let at_anybody = address.as_ref().map(|from| count(format!("address {from}"), FREE_FROM_ADDRESS, false));
        Self(at_user.into_iter().chain([together]).chain(at_anybody).collect())
    }

    /// Counts an attempt, before the password is looked at: a hundred attempts at once are a hundred attempts.
    ///
    /// # Errors
    /// [`Refusal::Throttled`].
    pub(super) async fn add(&self, app: &App) -> Result<(), Error> {
        let now = app.now();
        let mut tx = app.store.begin().await?;
        for Count { name, free, .. } in &self.0 {
            let (failures, until) = tx.count_attempt(name, now, FORGET).await?;
            // What would last longer than the longest wait was written by a clock that was wrong.
            if until > now && until - now <= LONGEST_WAIT {
                // Without a commit: who has to wait does not make it longer.
                return Err(Refusal::Throttled(until - now).into());
            }
            if failures >= *free {
                let doublings = u32::try_from(failures - free).unwrap_or(u32::MAX).min(10);
                tx.block(name, now + Seconds(5 << doublings).min(LONGEST_WAIT)).await?;
            }
        }
        tx.commit().await?;
        Ok(())
    }

    /// Takes an attempt back that succeeded.
    pub(super) async fn forgive(&self, tx: &mut Tx) -> Result<(), Error> {
        for Count { name, forgiven, .. } in &self.0 {
            tx.forgive(name, *forgiven).await?;
        }
        Ok(())
    }
}

/// What belongs to one customer: of IPv6 a whole /64.
fn block(address: IpAddr) -> String {
    match address.to_canonical() {
        IpAddr::V4(ip) => ip.to_string(),
        IpAddr::V6(ip) => format!("{:?}", &ip.segments()[..4]),
    }
}
