//! Pages around signing in.

use askama::Template;

use super::{Account, Agent, Known, Site, render};

/// The sign-in form, which posts `csrf`, `to`, `email` and `password` to `/login`.
#[derive(Clone, Debug, Template)]
#[template(path = "login.html")]
pub struct Login {
    /// Whose page this is.
    pub site: Site,
    /// Token against cross-site posts: nobody is signed in yet, so it is not the account's.
    pub csrf: String,
    /// Where to go on afterwards; comes back as posted, so it is judged again then.
    pub to: String,
    /// What to put in the e-mail field: empty at first, what was typed after an error.
    pub email: String,
    /// The agent that sent the user here.
    pub who: Option<Agent>,
    /// What was wrong with the last attempt. It must read the same for an unknown e-mail as for a wrong password.
    pub error: Option<String>,
    /// The user is signed in, but not recently enough (OpenID Connect Core 3.1.2.1, `max_age` or `prompt=login`).
    pub reauthenticate: bool,
}

/// Leave for an agent to sign the user in: posts `csrf`, `request` and `decision` (`allow` or `deny`) to
/// `/authorize/decision`.
#[derive(Clone, Debug, Template)]
#[template(path = "sign_in_consent.html")]
pub struct SignInConsent {
    /// Whose page this is.
    pub site: Site,
    /// Who is asked.
    pub account: Account,
    /// Who asks.
    pub agent: Agent,
    /// The authorization request to go on with; comes back as posted, so it is judged again then.
    pub request: String,
    /// What is asked for.
    pub scopes: Vec<ScopeLine>,
    /// How long it stays signed in.
    pub stays: String,
    /// When, and if known on what, the user signed in here.
    pub signed_in: String,
    /// The host of the redirect URI, where the user goes on to with either answer.
    pub returns_to: String,
}

/// Whether to sign out: posts `csrf`, `request` and `decision` (`sign_out` or `stay`) to `/end_session/decision`.
#[derive(Clone, Debug, Template)]
#[template(path = "end_session.html")]
pub struct EndSession {
    /// Whose page this is.
    pub site: Site,
    /// Who is asked.
    pub account: Account,
    /// The agent that sent the user here, where that is known.
    pub agent: Option<Agent>,
    /// The request to go on with; comes back as posted, so it is judged again then.
    pub request: String,
}

/// After signing out, where nobody said where to go on.
#[derive(Clone, Debug, Template)]
#[template(path = "signed_out.html")]
pub struct SignedOut {
    /// Whose page this is.
    pub site: Site,
}

/// One scope of a sign-in.
#[derive(Clone, Debug)]
pub struct ScopeLine {
    /// The scope as requested.
    pub token: String,
    /// What it lets the agent know or do, in plain words.
    pub meaning: String,
}

/// The answer to whoever opens a question that is another account's. It must tell nothing of the question, so there
/// is nothing to fill in.
#[derive(Clone, Debug, Template)]
#[template(path = "wrong_account.html")]
pub struct WrongAccount {
    /// Whose page this is.
    pub site: Site,
    /// Who is signed in.
    pub account: Account,
    /// A path on this server where another account can sign in and come back to the question.
    pub switch_to: String,
}

impl Login {
    /// The page.
    pub fn html(&self) -> String {
        render(self)
    }
}

impl SignInConsent {
    /// The page.
    pub fn html(&self) -> String {
        render(self)
    }
}

impl WrongAccount {
    /// The page.
    pub fn html(&self) -> String {
        render(self)
    }
}

impl EndSession {
    /// The page.
    pub fn html(&self) -> String {
        render(self)
    }
}

impl SignedOut {
    /// The page.
    pub fn html(&self) -> String {
        render(self)
    }
}
