//! `avouch flaws`.

use serde_json::json;

use super::Failure;
use crate::lab::flaws::{self, Answer, Dialect, Flaw, Kind};

/// What `--kind` takes.
#[derive(Clone, Copy, clap::ValueEnum)]
pub(super) enum Of {
    /// An ID-JAG, or how it is presented
    Assertion,
    /// A logout token or a security event token, or how it is sent
    Notice,
    /// An issuer's key set
    Jwks,
    /// A Client ID Metadata Document
    Cimd,
    /// The sandbox itself
    Sandbox,
}

impl From<Of> for Kind {
    fn from(of: Of) -> Self {
        match of {
            Of::Assertion => Self::Assertion,
            Of::Notice => Self::Notice,
            Of::Jwks => Self::Jwks,
            Of::Cimd => Self::Cimd,
            Of::Sandbox => Self::Sandbox,
        }
    }
}

pub(super) fn run(json: bool, kind: Option<Of>) {
    let wanted = kind.map(Kind::from);
    let chosen: Vec<&Flaw> =
        flaws::all().iter().copied().filter(|flaw| wanted.is_none_or(|kind| flaw.kind == kind)).collect();
    if json {
        out!("{}", json!({ "items": chosen }));
        return;
    }
    for flaw in chosen {
        out!("{:<9} {}", flaw.kind.as_str(), flaw.name);
        out!("          {}", flaw.meaning);
        out!("          {} {}; {}", flaw.level.as_str(), flaw.section, answers(flaw));
    }
}

/// What services should say, those that say the same together.
fn answers(flaw: &Flaw) -> String {
    let mut said: Vec<(String, Vec<&str>)> = Vec::new();
    for dialect in Dialect::ALL {
        let answer = match flaw.answer(dialect) {
            Answer::Refuse { status, codes } => format!("{status} {}", codes.first().copied().unwrap_or_default()),
            Answer::Accept { status } => format!("{status}, taken"),
            Answer::Open => continue,
        };
        match said.iter_mut().find(|(known, _)| *known == answer) {
            Some((_, dialects)) => dialects.push(dialect.title()),
            None => said.push((answer, vec![dialect.title()])),
        }
    }
    let parts = said.iter().map(|(answer, dialects)| format!("{answer} ({})", dialects.join(", ")));
    parts.collect::<Vec<_>>().join("; ")
}

/// Finds a flaw by its name, for an option that takes one.
pub(super) fn named(name: &str) -> Result<&'static Flaw, Failure> {
    flaws::find(name).map_err(|nearest| {
        let hint = nearest.map(|nearest| format!("; did you mean {nearest}?")).unwrap_or_default();
        Failure::Usage(format!("--flaw {name}: there is no such flaw{hint} (avouch flaws lists them)"))
    })
}
