//! The question whether an agent may tell a service who the user is, and what became of it.

use askama::Template;

use super::{Account, Agent, Known, Service, Site, render};
use crate::domain::time::Seconds;

/// The question on a ticket: posts `csrf`, `digest`, any number of `scope`, `mode` and `decision` (`allow` or `deny`)
/// to `/consent/{ticket}`.
#[derive(Clone, Debug, Template)]
#[template(path = "consent.html")]
pub struct Consent {
    /// Whose page this is.
    pub site: Site,
    /// Who is asked.
    pub account: Account,
    /// The ticket's name in the URL.
    pub ticket: String,
    /// What the page shows, as a digest: an answer to something else is refused.
    pub digest: String,
    /// Why the last answer could not be taken.
    pub error: Option<String>,
    /// What was wrong with the scopes that were left ticked.
    pub scope_error: Option<String>,
    /// Who asks.
    pub agent: Agent,
    /// Who would be told.
    pub service: Service,
    /// What the service says of itself, field by field; nothing where it proves nothing. `None` where the operator says what it is.
    pub known: Option<Vec<KnownLine>>,
    /// The user has had no dealings with this service through any agent.
    pub first_time_service: bool,
    /// The user has agreed to nothing for this agent.
    pub first_time_agent: bool,
    /// Each thing that leaves.
    pub disclosed: Vec<Disclosed>,
    /// What does not leave since it is not verified.
    pub withheld: Vec<String>,
    /// Scopes to choose from; none means that the agent asked for none and the service decides.
    pub scopes: Vec<ScopeChoice>,
    /// The resources that the agent asked for, verbatim.
    pub resources: Vec<String>,
    /// What the agent says it works on (`agent_platform`, `agent_context_id`), verbatim.
    pub context: Option<String>,
    /// The ways to agree that the ceiling leaves, the shortest first.
    pub modes: Vec<ModeChoice>,
    /// The service has no endpoint to be told of a withdrawal.
    pub no_revocation: bool,
    /// How long the question stays open, in minutes, rounded up.
    pub expires_in_minutes: u32,
}

/// Something that a service says of itself.
#[derive(Clone, Debug)]
pub struct KnownLine {
    /// What about.
    pub what: String,
    /// What it says.
    pub value: String,
    /// Why it is understood so, and where it says it.
    pub why: String,
}

/// One thing that leaves.
#[derive(Clone, Debug)]
pub struct Disclosed {
    /// What kind of thing: "Your e-mail".
    pub what: String,
    /// The thing itself, where it is worth showing.
    pub value: Option<String>,
    /// What the service does with it.
    pub why: String,
    /// It is more than the user agreed to before.
    pub new: bool,
}

/// One scope at the service. The words are the service's own, so there is no meaning to show.
#[derive(Clone, Debug)]
pub struct ScopeChoice {
    /// The scope, verbatim; the posted value.
    pub token: String,
    /// Whether it is ticked before the user touches it: never for what was not asked for.
    pub checked: bool,
}

/// One way to agree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModeChoice {
    /// The posted value: `once`, `until:` with a number of seconds from the decision, or `always`.
    pub value: String,
    /// What it means.
    pub label: String,
    /// What is worth knowing about it.
    pub note: Option<String>,
    /// The user has chosen it before.
    pub checked: bool,
}

impl ModeChoice {
    /// For one assertion.
    pub fn once() -> Self {
        let note = "The agent has to ask again next time.";
        Self { value: "once".into(), label: "This once".into(), note: Some(note.into()), checked: false }
    }

    /// For `seconds` from the decision, under a label like "For 1 hour".
    pub fn until(seconds: Seconds, label: &str) -> Self {
        Self { value: format!("until:{seconds}"), label: label.into(), note: None, checked: false }
    }

    /// Until the user ends it.
    pub fn always() -> Self {
        Self { value: "always".into(), label: "Until I stop it".into(), note: None, checked: false }
    }

    /// Every choice there is, the shortest first.
    pub fn all() -> Vec<Self> {
        vec![
            Self::once(),
            Self::until(Seconds(3_600), "For 1 hour"),
            Self::until(Seconds(86_400), "For 1 day"),
            Self::until(Seconds(2_592_000), "For 30 days"),
            Self::always(),
        ]
    }
}

/// A ticket that cannot be answered (any more).
#[derive(Clone, Debug, Template)]
#[template(path = "closed.html")]
pub struct ConsentClosed {
    /// Whose page this is.
    pub site: Site,
    /// The user has just answered a question that was answered before.
    pub too_late: bool,
    /// Who was asked.
    pub account: Account,
    /// What became of the question.
    pub outcome: Outcome,
    /// Who asked.
    pub agent: Agent,
    /// Who would be told.
    pub service: Service,
}

/// What became of a question.
#[derive(Clone, Debug)]
pub enum Outcome {
    /// The user agreed; the text says for how long ("This once").
    Allowed(String),
    /// The user refused.
    Denied,
    /// Nobody answered in time.
    Expired,
}

impl ConsentClosed {
    /// The first thing on the page and its title.
    fn heading(&self) -> &'static str {
        match self.outcome {
            Outcome::Allowed(_) => "You allowed it",
            Outcome::Denied => "You denied it",
            Outcome::Expired => "This question has expired",
        }
    }

    /// The page.
    pub fn html(&self) -> String {
        render(self)
    }
}

impl Consent {
    /// Whether the user has chosen a mode before; else it is the first.
    fn is_chosen(&self) -> bool {
        self.modes.iter().any(|mode| mode.checked)
    }

    fn is_more_than_before(&self) -> bool {
        self.disclosed.iter().any(|line| line.new)
    }

    /// The page.
    pub fn html(&self) -> String {
        render(self)
    }
}
