//! What was found out: a verdict, and the requests and answers that it rests on.

use serde::{Deserialize, Serialize};

/// What came of a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// As it should be, shown between two controls that were accepted.
    Pass,
    /// A MUST is not kept.
    Fail,
    /// A SHOULD is not kept, or the service's policy is unusual.
    Warning,
    /// Not tried; the reason says why.
    Skipped,
    /// The control after it was refused: it shows nothing.
    Void,
    /// Nothing can be said: no answer, a 5xx, a 429.
    CouldNotRun,
}

/// A request and its answer. What could be used again by a reader is not in it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Evidence {
    /// What it was: the control before, the bad one, a look whether a credential lives. What is a control is called so.
    pub what: String,
    /// A command that does it again.
    pub curl: String,
    /// The header and the claims of the token that was sent, where one was.
    pub token: Option<Sent>,
    /// Nothing where there was no answer.
    pub answer: Option<Received>,
    /// Why there was none.
    pub failure: Option<String>,
    /// Milliseconds from the first byte that was sent to the last that came.
    pub took_ms: u64,
}

/// A token that was sent.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Sent {
    /// Its header.
    pub header: serde_json::Value,
    /// Its claims.
    pub claims: serde_json::Value,
}

/// An answer that came.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Received {
    /// Its status.
    pub status: u16,
    /// The `error` (or `err`) in it.
    pub code: Option<String>,
    /// Its first kilobyte, credentials struck out: anyone's text.
    pub body: String,
}

impl Evidence {
    /// Whether it is a good one that had to be taken.
    #[must_use]
    pub fn is_control(&self) -> bool {
        self.what.to_ascii_lowercase().contains("control")
    }
}

impl Received {
    /// On one line: the status, and the error or the beginning of what came.
    #[must_use]
    pub fn summary(&self) -> String {
        match &self.code {
            Some(code) => format!("{} {code}", self.status),
            None if self.body.trim().is_empty() => self.status.to_string(),
            None => format!("{} {}", self.status, self.body.trim()),
        }
    }
}

impl Verdict {
    /// All of them, worst first as a summary counts them.
    pub const ALL: [Self; 6] = [Self::Fail, Self::Warning, Self::Void, Self::CouldNotRun, Self::Skipped, Self::Pass];

    /// As a person would say it; the counts of a summary say the same.
    #[must_use]
    pub fn title(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Fail => "fail",
            Self::Warning => "warning",
            Self::Skipped => "skipped",
            Self::Void => "void",
            Self::CouldNotRun => "could not run",
        }
    }
}
