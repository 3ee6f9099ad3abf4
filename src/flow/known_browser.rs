//! Browsers that have signed a user in before: nobody else's guesses keep them out (OWASP, Slow Down Online Guessing Attacks with Device
//! Cookies).
//!
//! A browser keeps, for each of its latest users, a name of its own, until when it is known by that, and a tag over both that only this
//! server can make. No row is needed. The tag is also over the password's hash: with another password, nobody is known.

use crate::domain::time::{Seconds, Timestamp};
use crate::host::App;
use crate::secret::same;
use crate::store::StoredAccount;

/// How long a browser is known after a sign-in: as long as browsers keep a cookie (RFC 6265bis section 5.6.3).
pub const LIFETIME: Seconds = Seconds(400 * 24 * 3600);
/// Users of one browser that are remembered, the latest.
const USERS: usize = 8;

/// What a browser keeps.
#[derive(Debug, Default)]
pub struct KnownBrowser(Vec<Entry>);

/// What it keeps for one user.
#[derive(Debug)]
struct Entry {
    name: String,
    until: Timestamp,
    tag: String,
}

impl KnownBrowser {
    /// Reads a cookie. What is none of ours is as good as nothing.
    #[must_use]
    pub fn parse(cookie: &str) -> Self {
        let mut parts = cookie.split('.');
        let mut entries = Vec::new();
        while let (Some(name), Some(until), Some(tag)) = (parts.next(), parts.next(), parts.next()) {
            let Ok(until) = until.parse() else { break };
            entries.push(Entry { name: name.to_owned(), until: Timestamp(until), tag: tag.to_owned() });
        }
        entries.truncate(USERS);
        Self(entries)
    }

    /// The name under which a user's guesses from this browser are counted, if it has signed them in before.
    pub(super) fn name(&self, app: &App, user: &StoredAccount) -> Option<&str> {
        self.0.iter().find(|entry| entry.is_of(app, user)).map(|entry| entry.name.as_str())
    }

    /// The cookie after a user was signed in, under a new name: whoever has a copy of the old one guesses by himself.
    pub(super) fn renewed(&self, app: &App, user: &StoredAccount) -> String {
        let mut cookie = Entry::new(app, user).to_string();
        for entry in self.0.iter().filter(|entry| !entry.is_of(app, user)).take(USERS - 1) {
            cookie = format!("{cookie}.{entry}");
        }
        cookie
    }
}

impl Entry {
    fn new(app: &App, user: &StoredAccount) -> Self {
        let (name, until) = (app.rng.token(), app.now() + LIFETIME);
        Self { tag: tag(app, user, &name, until), name, until }
    }

    fn is_of(&self, app: &App, user: &StoredAccount) -> bool {
        self.until > app.now() && same(&self.tag, &tag(app, user, &self.name, self.until))
    }
}

impl std::fmt::Display for Entry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}.{}", self.name, self.until, self.tag)
    }
}

fn tag(app: &App, user: &StoredAccount, name: &str, until: Timestamp) -> String {
    let (id, hash) = (&user.account.id, user.password_hash.as_deref().unwrap_or_default());
    // What the browser may choose comes last: nothing before it has a line break.
    app.sealing.browser_tag(&format!("{id}\n{hash}\n{until}\n{name}"))
}
