//! What is wrong with the documents of a harness: once, some times, or until it is cleared.

use serde::Deserialize;
use serde_json::{Value, json};

use super::Wrong;
use crate::lab::flaws::{Document, Flaw, Kind, Response, all};

/// Most faults at a time.
const MAX_FAULTS: usize = 100;
/// Most seconds that an answer is late.
const MAX_SECONDS: u16 = 600;

/// One that is asked for.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Ask {
    /// `jwks` or `cimd`.
    document: String,
    /// A flaw of it by name, with or without its prefix, or one of the short words.
    fault: String,
    /// How late, where it is late.
    seconds: Option<u16>,
    /// How often; without it, until it is cleared.
    times: Option<u32>,
    /// Of which issuer; without it, of all.
    pub(super) issuer: Option<String>,
}

pub(super) struct Fault {
    flaw: &'static Flaw,
    issuer: Option<String>,
    seconds: Option<u16>,
    left: Option<u32>,
    /// What is served in the place of what is there now.
    stale: Option<Value>,
}

#[derive(Default)]
pub(super) struct Faults(Vec<Fault>);

/// Words for flaws that people know by these.
const WORDS: [(&str, &str); 7] = [
    ("jwks-500", "jwks-fails"),
    ("cimd-500", "cimd-fails"),
    ("jwks-redirect", "jwks-redirects"),
    ("cimd-redirect", "cimd-redirects"),
    ("jwks-duplicate-kid", "jwks-kid-twice"),
    ("jwks-unknown-kty", "jwks-kty-unknown"),
    ("cimd-mismatch", "cimd-of-another-client"),
];
/// Those that come after so many seconds.
const LATE: [&str; 4] = ["jwks-slow", "jwks-hangs", "cimd-slow", "cimd-hangs"];
const CHANGED: (&str, &str) = ("cimd-changed", "cimd-with-changed-keys");

impl Ask {
    /// Which document, so that what it is now can be kept for a fault that is about that.
    pub(super) fn kind(&self) -> Result<Kind, Wrong> {
        match self.document.as_str() {
            "jwks" => Ok(Kind::Jwks),
            "cimd" => Ok(Kind::Cimd),
            _ => Err(Wrong::request("document is jwks or cimd")),
        }
    }

    pub(super) fn is_stale(&self) -> bool {
        self.fault == "stale" || self.fault == "jwks-stale"
    }

    pub(super) fn read(self, present: Option<Value>) -> Result<Fault, Wrong> {
        let kind = self.kind()?;
        let prefix = format!("{}-", kind.as_str());
        let full = if self.fault.starts_with(&prefix) { self.fault.clone() } else { format!("{prefix}{}", self.fault) };
        let word = WORDS.iter().chain([&CHANGED]).find(|(word, _)| *word == full);
        let name = word.map_or(full.as_str(), |(_, name)| name);
        let flaw = all().iter().find(|flaw| flaw.kind == kind && flaw.name == name).copied();
        let flaw = flaw.ok_or_else(|| {
            let names = all().iter().filter(|flaw| flaw.kind == kind).map(|flaw| flaw.name);
            let hint = crate::domain::spelling::probable(&full, names).map(|near| format!("; did you mean {near}?"));
            Wrong::request(format!("there is no such fault{}", hint.unwrap_or_default()))
        })?;
        if self.seconds.is_some_and(|seconds| seconds > MAX_SECONDS) {
            return Err(Wrong::request(format!("seconds is at most {MAX_SECONDS}")));
        }
        if self.seconds.is_some() && !LATE.contains(&flaw.name) {
            return Err(Wrong::request("seconds is for a document that comes late: slow or hangs"));
        }
        if self.times == Some(0) {
            return Err(Wrong::request("times is at least 1"));
        }
        Ok(Fault { flaw, issuer: self.issuer, seconds: self.seconds, left: self.times, stale: present })
    }
}

/// What an answer is to be.
pub(super) struct Spoilt {
    pub(super) name: &'static str,
    pub(super) flaw: &'static Flaw,
    seconds: Option<u16>,
    stale: Option<Value>,
}

impl Fault {
    fn fits(&self, kind: Kind, issuer: &str) -> bool {
        self.flaw.kind == kind && self.issuer.as_deref().is_none_or(|of| of == issuer)
    }
}

impl Faults {
    pub(super) fn add(&mut self, fault: Fault) -> Result<(), Wrong> {
        if self.0.len() >= MAX_FAULTS {
            return Err(Wrong::request(format!("there are {MAX_FAULTS} faults already: clear them")));
        }
        self.0.push(fault);
        Ok(())
    }

    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    pub(super) fn shown(&self) -> Value {
        let shown = |fault: &Fault| json!({"fault": fault.flaw.name, "issuer": fault.issuer, "left": fault.left});
        json!({"items": self.0.iter().map(shown).collect::<Vec<_>>()})
    }

    /// Whether there is one for a document of an issuer.
    pub(super) fn waits(&self, kind: Kind, issuer: &str) -> bool {
        self.0.iter().any(|fault| fault.fits(kind, issuer))
    }

    /// The one whose turn it is for a document of an issuer, and one time less of it.
    pub(super) fn take(&mut self, kind: Kind, issuer: &str) -> Option<Spoilt> {
        let at = self.0.iter().position(|fault| fault.fits(kind, issuer))?;
        let fault = &mut self.0[at];
        let spoilt =
            Spoilt { name: fault.flaw.name, flaw: fault.flaw, seconds: fault.seconds, stale: fault.stale.clone() };
        if let Some(left) = &mut fault.left {
            *left -= 1;
            if *left == 0 {
                self.0.remove(at);
            }
        }
        Some(spoilt)
    }
}

impl Spoilt {
    /// The document as it is to be served.
    pub(super) fn document(&self, good: &Document, cast: &crate::lab::flaws::Cast) -> Document {
        let mut document = self.flaw.spoil(good, cast).unwrap_or_else(|| good.clone());
        match (document.response, self.seconds, &self.stale) {
            (Response::Slow(_), Some(seconds), _) => document.response = Response::Slow(seconds),
            (Response::Stale, _, Some(before)) => document = Document::new(before.clone()),
            _ => {}
        }
        document
    }
}
