//! Browsers that have signed a user in before: nobody else's guesses keep them out (OWASP, Slow Down Online Guessing Attacks with Device
//! Cookies).
//!
//! A browser keeps, for each of its latest users, a name of its own, until when it is known by that, and a tag over both that only this
//! server can make. No row is needed, and none is read to tell who is a stranger. A mark of the password goes with it: with another
//! password, nobody is known.

use crate::domain::time::{Seconds, Timestamp};
use crate::host::App;
use crate::store::StoredAccount;

/// How long a browser is known after a sign-in: as long as browsers keep a cookie (RFC 6265bis section 5.6.3).
pub const LIFETIME: Seconds = Seconds(400 * 24 * 3600);
/// Users of one browser that are remembered, the latest.
const USERS: usize = 8;

/// What a browser keeps.
#[derive(Debug, Default)]
pub struct KnownBrowser(Vec<Entry>);

/// What it keeps for one user.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    /// What this user's guesses from this browser are counted by.
    pub(super) name: String,
    until: Timestamp,
    password: String,
    tag: String,
}

impl KnownBrowser {
    /// Reads a cookie. What is none of ours is as good as nothing.
    #[must_use]
    pub fn parse(cookie: &str) -> Self {
        let mut parts = cookie.split('.').map(str::to_owned);
        let mut entries = Vec::new();
        while let (Some(name), Some(until), Some(password), Some(tag)) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        {
            let Ok(until) = until.parse().map(Timestamp) else { break };
            entries.push(Entry { name, until, password, tag });
        }
        entries.truncate(USERS);
        Self(entries)
    }

    /// What it keeps for the user with an e-mail, if it has signed them in before.
    pub(super) fn of(&self, app: &App, email: &str) -> Option<&Entry> {
        self.0.iter().find(|entry| entry.is_of(app, email))
    }

    /// The cookie after a user was signed in, under a new name: whoever has a copy of the old one guesses by himself.
    pub(super) fn renewed(&self, app: &App, user: &StoredAccount) -> String {
        let email = &user.account.email;
        let others = self.0.iter().filter(|entry| !entry.is_of(app, email)).take(USERS - 1).cloned();
        let entries = [Entry::new(app, user)].into_iter().chain(others);
        entries.map(|e| format!("{}.{}.{}.{}", e.name, e.until, e.password, e.tag)).collect::<Vec<_>>().join(".")
    }
}

impl Entry {
    fn new(app: &App, user: &StoredAccount) -> Self {
        let (name, until) = (app.rng.token(), app.now() + LIFETIME);
        let keys = app.sealing.keys();
        let password = keys.browser_tag(&mark(user, &name));
        Self { tag: keys.browser_tag(&fact(app, &user.account.email, &name, until, &password)), name, until, password }
    }

    fn is_of(&self, app: &App, email: &str) -> bool {
        let fact = fact(app, email, &self.name, self.until, &self.password);
        self.until > app.now() && app.sealing.keys().is_browser_tag(&fact, &self.tag)
    }

    /// Whether the user's password is still the one of then.
    pub(super) fn is_current(&self, app: &App, user: &StoredAccount) -> bool {
        app.sealing.keys().is_browser_tag(&mark(user, &self.name), &self.password)
    }
}

/// The tag over it says nothing of a password to whoever has not the key.
fn mark(user: &StoredAccount, name: &str) -> String {
    let hash = user.password_hash.as_deref().unwrap_or_default();
    format!("password\n{}\n{hash}\n{name}", user.account.id)
}

fn fact(app: &App, email: &str, name: &str, until: Timestamp, password: &str) -> String {
    // None of these has a line break but the e-mail, which somebody may have typed: so it comes last.
    format!("browser\n{}\n{until}\n{name}\n{password}\n{email}", app.issuer.id)
}
