//! What a drill found out, as data: what is printed and written to files is made of this, and what an interrupted drill goes on from.

use serde::{Deserialize, Serialize};

use crate::domain::time::Timestamp;
use crate::lab::examine::found::{Evidence, Verdict};

/// Which shape a report has; raised when a member changes its meaning or goes away.
pub const SCHEMA: u32 = 1;

/// What is rehearsed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// The issuer's key is followed by another.
    Rotation,
    /// The issuer's key is somebody else's as well, and is taken away at once.
    Compromise,
}

/// Which steps are taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Schedule {
    /// Those that need no waiting.
    Fast,
    /// All of them: services' caches are waited for.
    Realistic,
}

/// A rehearsal with some services.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// [`SCHEMA`].
    pub schema: u32,
    /// Of which Avouch.
    pub avouch: String,
    /// What was rehearsed.
    pub drill: Kind,
    /// How far.
    pub schedule: Schedule,
    /// Who vouched; each service has this issuer, or one below it.
    pub issuer: String,
    /// Whether that issuer is at work: then nothing was sent to anybody, and nothing was wrong on purpose.
    #[serde(default)]
    pub live: bool,
    /// When it began, for the first time.
    pub began: Timestamp,
    /// How long it took, all runs together.
    pub took_ms: u64,
    /// How it ended.
    pub ending: Ending,
    /// What was done at an issuer at work, and what comes next.
    #[serde(default)]
    pub remarks: Vec<String>,
    /// Each service, in the order of the command line.
    pub services: Vec<Service>,
}

/// How a rehearsal ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ending {
    /// Each step came to its verdict.
    Complete,
    /// Somebody stopped it, or stopped looking; what was not reached has no time.
    Interrupted,
}

/// One service and what came of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Service {
    /// What was named on the command line.
    pub named: String,
    /// Its own identifier, as far as one is proven.
    pub audience: Option<String>,
    /// How it talks, as JSON names it.
    pub dialect: Option<String>,
    /// Who vouched to it.
    pub issuer: String,
    /// How it stands, all steps together.
    pub standing: Standing,
    /// What is worth knowing and is no step.
    pub remarks: Vec<String>,
    /// Every step there is, in order; none is left out.
    pub steps: Vec<Step>,
    /// What happened when, in order.
    pub moments: Vec<Moment>,
}

/// How a service stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Standing {
    /// It goes along with everything.
    Ready,
    /// It goes along, and there is something that it should do better.
    Warned,
    /// It does not go along with something that it must.
    NotReady,
    /// Nothing can be said: it took no good assertion, or nothing was shown.
    Unknown,
}

/// One step.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Step {
    /// Its id for good: the section of the rule, then its name.
    pub id: String,
    /// Its name.
    pub name: String,
    /// What is done or looked for, in a sentence.
    pub meaning: String,
    /// Where the rule stands, for people.
    pub section: String,
    /// `MUST`, `SHOULD` or `policy`.
    pub level: String,
    /// What came of it.
    pub verdict: Verdict,
    /// Why that verdict, in words.
    pub reason: String,
    /// When it came to its verdict, from the beginning; nothing where it was not reached.
    pub at_ms: Option<u64>,
    /// What was measured: how long until the new key was taken, how long the old one still was.
    pub measured_ms: Option<u64>,
    /// What went over the wire, in order.
    pub evidence: Vec<Evidence>,
}

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Moment {
    /// When, from the beginning.
    pub at_ms: u64,
    /// What.
    #[serde(flatten)]
    pub what: What,
}

/// What can happen.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "what", rename_all = "snake_case")]
pub enum What {
    /// The issuer publishes another key set.
    Published {
        /// The keys in it, as they are called here.
        keys: Vec<String>,
        /// What is wrong with it on purpose, by the flaw's name.
        flaw: Option<String>,
    },
    /// The service fetched the key set.
    Fetched {
        /// The status that it got.
        status: u16,
        /// The keys that it got.
        keys: Vec<String>,
    },
    /// An assertion was presented.
    Presented {
        /// The key that signed it.
        key: String,
        /// What the service said.
        answer: Said,
    },
    /// A notice was delivered.
    Notified {
        /// The key that signed it.
        key: String,
        /// What the service said.
        answer: Said,
    },
}

/// What a service said, in one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Said {
    /// Yes.
    Taken,
    /// No.
    Refused,
    /// Nothing that says anything.
    Nothing,
}

impl Report {
    /// Whether a service fell short; `strict` counts what it should do as well.
    #[must_use]
    pub fn fell_short(&self, strict: bool) -> bool {
        let short = |standing| standing == Standing::NotReady || strict && standing == Standing::Warned;
        self.services.iter().any(|service| short(service.standing))
    }

    /// Whether something is still to be done.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.ending == Ending::Complete && self.services.iter().all(|service| service.standing != Standing::Unknown)
    }
}

impl Service {
    /// How many steps came to a verdict.
    #[must_use]
    pub fn count(&self, verdict: Verdict) -> usize {
        self.steps.iter().filter(|step| step.verdict == verdict).count()
    }

    /// How it stands by its steps.
    pub(super) fn judge(&mut self) {
        self.standing = if self.count(Verdict::Fail) > 0 {
            Standing::NotReady
        } else if self.count(Verdict::Pass) < 2 {
            // The good assertion by itself shows nothing of keys.
            Standing::Unknown
        } else if self.count(Verdict::Warning) > 0 {
            Standing::Warned
        } else {
            Standing::Ready
        };
    }
}

impl Standing {
    /// As a person would say it.
    #[must_use]
    pub fn title(self) -> &'static str {
        match self {
            Self::Ready => "ready",
            Self::Warned => "ready, with warnings",
            Self::NotReady => "not ready",
            Self::Unknown => "unknown",
        }
    }
}

impl Kind {
    /// As the command line names it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Rotation => "rotation",
            Self::Compromise => "compromise",
        }
    }
}

impl Schedule {
    /// As the command line names it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Fast => "fast",
            Self::Realistic => "realistic",
        }
    }
}
