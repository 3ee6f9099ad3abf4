//! What the user agreed to, and the way to end it.

use askama::Template;

use super::{Account, Agent, Known, Service, Site, render};

/// The user's dashboard. Its forms post `csrf` to `/connections/denials/{id}/revise`.
#[derive(Clone, Debug, Template)]
#[template(path = "connections.html")]
pub struct Connections {
    /// Whose page this is.
    pub site: Site,
    /// Whose connections these are.
    pub account: Account,
    /// Whether this is the page that lists begin on, and not the rest of one.
    pub first: bool,
    /// Questions that wait for an answer.
    pub pending: Part<PendingTicket>,
    /// One for each service.
    pub items: Part<Connection>,
    /// Agents that the user stays signed in to; a form posts `csrf` to `/connections/sign-ins/{id}/end`.
    pub agents: Part<SignInLine>,
    /// Where the user is signed in; a form posts `csrf` to `/connections/sessions/{id}/end`.
    pub sessions: Part<SessionLine>,
    /// What the user refused and may want to be asked again.
    pub denied: Part<DeniedLine>,
}

/// As much of a list as is on a page.
#[derive(Clone, Debug)]
pub struct Part<T> {
    /// What is on it.
    pub items: Vec<T>,
    /// The query that shows what follows.
    pub more: Option<String>,
}

/// A question that waits for an answer.
#[derive(Clone, Debug)]
pub struct PendingTicket {
    /// Its ticket, for the link to `/consent/{ticket}`.
    pub ticket: String,
    /// Who asks.
    pub agent: Agent,
    /// Who would be told.
    pub service: Service,
    /// For what, in the service's words.
    pub scopes: Vec<String>,
    /// When it was asked.
    pub asked: String,
}

/// One service that is, or was, told who the user is.
#[derive(Clone, Debug)]
pub struct Connection {
    /// The delegation's id: letters, digits, `-` and `_`.
    pub id: String,
    /// Who is told.
    pub service: Service,
    /// Where it stands.
    pub state: State,
    /// What each agent may.
    pub agents: Vec<AgentLines>,
    /// When and by whom it was last used.
    pub last_used: Option<String>,
    /// Each step of telling the service that it is over, the oldest first.
    pub timeline: Vec<TimelineLine>,
    /// That the service has yet to hear of an earlier stop, and what that may do.
    pub still_told: Option<String>,
    /// Whether there is anything to stop; shows a link to `/connections/{id}/stop`.
    pub can_stop: bool,
}

/// Where a connection stands, each with the words that say so.
#[derive(Clone, Debug)]
pub enum State {
    /// An agent may use it.
    Active(String),
    /// No agent may use it again, and what came of it may still be open there.
    Used(String),
    /// Stopped here; the service has not confirmed yet.
    Withdrawing(String),
    /// Stopped, and the service confirmed it.
    Withdrawn(String),
    /// Stopped here; the service refused, never answered or cannot be told.
    Unconfirmed(String),
}

impl State {
    /// The kind of mark beside the words.
    fn kind(&self) -> &'static str {
        match self {
            Self::Active(_) => "good",
            Self::Withdrawing(_) => "waiting",
            Self::Used(_) | Self::Withdrawn(_) => "ended",
            Self::Unconfirmed(_) => "bad",
        }
    }

    /// The words.
    fn text(&self) -> &str {
        match self {
            Self::Active(text)
            | Self::Used(text)
            | Self::Withdrawing(text)
            | Self::Withdrawn(text)
            | Self::Unconfirmed(text) => text,
        }
    }

    /// Whether the timeline is news rather than history.
    fn is_open(&self) -> bool {
        matches!(self, Self::Withdrawing(_) | Self::Unconfirmed(_))
    }
}

/// What one agent may at one service.
#[derive(Clone, Debug)]
pub struct AgentLines {
    /// Who may.
    pub agent: Agent,
    /// What the user decided, the latest that stands first.
    pub decisions: Vec<DecisionLine>,
    /// How many earlier decisions are not shown.
    pub earlier: usize,
}

/// What a user decided.
#[derive(Clone, Debug)]
pub struct DecisionLine {
    /// For how long: "Until you stop it".
    pub mode: String,
    /// What, in the service's words; none where the service decides.
    pub scopes: Vec<String>,
    /// When, and if known on what, the user agreed.
    pub agreed: String,
}

/// One step of telling a service.
#[derive(Clone, Debug)]
pub struct TimelineLine {
    /// When.
    pub time: String,
    /// What happened. The service's own words in it are bounded and quoted by the caller.
    pub text: String,
}

/// An agent that the user stays signed in to.
#[derive(Clone, Debug)]
pub struct SignInLine {
    /// Our key of the client.
    pub id: String,
    /// Which agent.
    pub agent: Agent,
    /// For how long.
    pub stays: String,
    /// What it may know.
    pub scopes: Vec<String>,
    /// Since when.
    pub since: String,
}

/// A browser that the user is signed in with.
#[derive(Clone, Debug)]
pub struct SessionLine {
    /// The session.
    pub id: String,
    /// Name and system.
    pub browser: String,
    /// Whether it is the one that shows this page.
    pub is_this: bool,
    /// When they signed in.
    pub signed_in: String,
    /// When it ends by itself.
    pub until: String,
}

/// Something the user refused.
#[derive(Clone, Debug)]
pub struct DeniedLine {
    /// The consent's id.
    pub id: String,
    /// Who asked.
    pub agent: Agent,
    /// Who would have been told.
    pub service: Service,
    /// For what, in the service's words: something else may be asked again.
    pub scopes: Vec<String>,
    /// When it was refused.
    pub when: String,
}

/// The question before a connection is ended, which posts `csrf` to `/connections/{id}/stop`.
///
/// A notice to the service names no agent, so the page says first that every agent's access there ends.
#[derive(Clone, Debug, Template)]
#[template(path = "stop.html")]
pub struct Stop {
    /// Whose page this is.
    pub site: Site,
    /// Whose connection it is.
    pub account: Account,
    /// The delegation's id.
    pub id: String,
    /// Which service.
    pub service: Service,
    /// All agents that lose it.
    pub agents: Vec<Agent>,
    /// Nothing was minted under it, so there is nothing to end at the service.
    pub never_used: bool,
    /// The service has no endpoint to be told.
    pub no_revocation: bool,
    /// For how many days it is told while it does not answer.
    pub days: i64,
}

impl Connections {
    /// The page.
    pub fn html(&self) -> String {
        render(self)
    }
}

impl Stop {
    /// The page.
    pub fn html(&self) -> String {
        render(self)
    }
}
