//! What a probe found out, as data: what is printed, written to files and compared with earlier runs is made of this and of nothing else.

use serde::{Deserialize, Serialize};

use crate::domain::time::Timestamp;
pub use crate::lab::examine::found::{Evidence, Received, Sent, Verdict};
use crate::lab::flaws::Dialect;

pub mod advice;
pub mod baseline;
pub mod compare;
pub(in crate::lab) mod exchange;
pub mod grade;
pub mod html;
pub mod json;
pub mod junit;
pub mod link;
pub mod matters;
pub mod sarif;
pub mod terminal;
#[cfg(test)]
pub(crate) mod testing;
pub(in crate::lab) mod text;
pub mod view;

/// Which shape a report has; raised when a member changes its meaning or goes away.
pub const SCHEMA: u32 = 1;

/// An examination of one service.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// [`SCHEMA`].
    pub schema: u32,
    /// Of which Avouch.
    pub avouch: String,
    /// What was named on the command line.
    pub target: String,
    /// The service's own identifier, as far as one is proven.
    pub audience: Option<String>,
    /// How it talks, as JSON names it; none where that is not known.
    pub dialect: Option<String>,
    /// Who vouched.
    pub issuer: Option<String>,
    /// About whom.
    pub user: Option<String>,
    /// When it began.
    pub began: Timestamp,
    /// How long it took.
    pub took_ms: u64,
    /// How it ended.
    pub ending: Ending,
    /// Nothing where too little was found out.
    pub grade: Option<Grade>,
    /// Why it is no better, and what to mend first: a paragraph for people.
    pub advice: String,
    /// What is worth knowing and was not counted: odd metadata, refusals that all look alike.
    pub remarks: Vec<String>,
    /// What was understood of the service's metadata, line by line.
    pub understood: Vec<Line>,
    /// Every check there is, in the order of its list; none is left out.
    pub checks: Vec<Checked>,
}

/// How an examination ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ending {
    /// Each check came to its verdict.
    Complete,
    /// Somebody stopped it; what was not reached is skipped.
    Interrupted,
    /// The service took no good assertion, so nothing could be shown by refusing bad ones.
    NoControl,
    /// Metadata alone were read, as asked for.
    Passive,
}

/// A line of what was understood.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Line {
    /// Which field.
    pub name: String,
    /// What.
    pub value: String,
    /// Where it stands, and why it is read so.
    pub why: String,
}

/// One check and what came of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Checked {
    /// Its id for good: the section of the rule, then its name, as `rfc7515/5.2/signed-by-a-stranger`.
    pub id: String,
    /// Its name: that of the flaw that was sent, or of the effect that was looked for.
    pub name: String,
    /// What it belongs to, as reports put together.
    pub group: Group,
    /// What was done or looked for, in a sentence.
    pub meaning: String,
    /// Where the rule stands, for people.
    pub section: String,
    /// Where that can be read; nothing where the text has no address.
    pub link: Option<String>,
    /// `MUST`, `SHOULD` or `policy`; the last is told and never counted.
    pub level: String,
    /// Why it matters: what somebody could do where the rule is not kept.
    pub matters: String,
    /// What was expected, in words.
    pub expected: String,
    /// What came of it.
    pub verdict: Verdict,
    /// Why that verdict, in words.
    pub reason: String,
    /// What went over the wire, in order: controls, the check itself.
    pub evidence: Vec<Evidence>,
}

/// What a check is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Group {
    /// What the service publishes of itself.
    Metadata,
    /// Form and kind of an assertion.
    Form,
    /// Who signed, by which key.
    Signature,
    /// From whom and for whom it is.
    Parties,
    /// When it holds, and that it is used once.
    Times,
    /// Whom it is about.
    Person,
    /// What it is for.
    Target,
    /// Who may present it.
    Possession,
    /// The issuer's key set.
    KeySet,
    /// The client's document.
    Client,
    /// Notices of withdrawal.
    Notices,
    /// What really happens: credentials that end, and those that do not.
    Effects,
}

/// From best to worst.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Grade {
    /// Every rule is kept.
    A,
    /// Every MUST is kept.
    B,
    /// Some MUSTs are not, none of which lets strangers in.
    C,
    /// Something that was taken back or used up still works, or many MUSTs are not kept.
    D,
    /// The service believes what nobody whom it trusts has said to it.
    F,
}

impl Report {
    /// How it talks, as a person would call it.
    #[must_use]
    pub fn speaks(&self) -> Option<String> {
        self.dialect.as_deref().map(|name| Dialect::title_of(name).to_owned())
    }

    /// How many checks came to a verdict.
    #[must_use]
    pub fn count(&self, verdict: Verdict) -> usize {
        self.checks.iter().filter(|check| check.verdict == verdict).count()
    }

    /// Whether the service fell short; `strict` counts what it should do as well.
    #[must_use]
    pub fn fell_short(&self, strict: bool) -> bool {
        self.checks.iter().any(|check| check.is_counted() && check.is_short(strict))
    }
}

impl Checked {
    /// Whether it counts: what each service decides for itself does not.
    #[must_use]
    pub fn is_counted(&self) -> bool {
        self.level != "policy"
    }

    /// The request that the verdict rests on, of those that went over the wire: the last one that is no control.
    #[must_use]
    pub fn decisive(&self) -> Option<&Evidence> {
        self.evidence.iter().rev().find(|evidence| !evidence.is_control()).or_else(|| self.evidence.last())
    }

    fn is_short(&self, strict: bool) -> bool {
        self.verdict == Verdict::Fail || strict && self.verdict == Verdict::Warning
    }
}

impl Grade {
    /// The letter.
    #[must_use]
    pub fn letter(self) -> &'static str {
        match self {
            Self::A => "A",
            Self::B => "B",
            Self::C => "C",
            Self::D => "D",
            Self::F => "F",
        }
    }
}

impl Group {
    /// All of them, in the order of a report.
    pub const ALL: [Self; 12] = [
        Self::Metadata,
        Self::Form,
        Self::Signature,
        Self::Parties,
        Self::Times,
        Self::Person,
        Self::Target,
        Self::Possession,
        Self::KeySet,
        Self::Client,
        Self::Notices,
        Self::Effects,
    ];

    /// Its heading.
    #[must_use]
    pub fn title(self) -> &'static str {
        match self {
            Self::Metadata => "What it publishes",
            Self::Form => "Form and kind of the assertion",
            Self::Signature => "Signature and key",
            Self::Parties => "Issuer, audience and client",
            Self::Times => "Times and replay",
            Self::Person => "The user",
            Self::Target => "Scope and resource",
            Self::Possession => "Proof of possession",
            Self::KeySet => "The issuer's key set",
            Self::Client => "The client's document",
            Self::Notices => "Notices of withdrawal",
            Self::Effects => "What really happens",
        }
    }
}
