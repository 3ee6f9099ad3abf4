//! A drill's report as people and programs read it.

pub mod html;
pub mod json;
pub mod junit;
mod line;
pub mod terminal;
#[cfg(test)]
mod tests;

use super::report::{Ending, Report, Standing};

/// How a run ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Every service is ready.
    Fine,
    /// A service fell short.
    Short(String),
    /// Not everything could be shown.
    Unable(String),
}

/// How a run ends; `strict` counts what services should do as well.
#[must_use]
pub fn outcome(report: &Report, strict: bool) -> Outcome {
    let named = |wanted: &dyn Fn(Standing) -> bool| {
        let found = report.services.iter().filter(|service| wanted(service.standing));
        found.map(|service| service.named.as_str()).collect::<Vec<_>>().join(", ")
    };
    let short = |standing| standing == Standing::NotReady || strict && standing == Standing::Warned;
    if report.fell_short(strict) {
        return Outcome::Short(format!("not ready: {}", named(&short)));
    }
    if report.ending == Ending::Interrupted {
        return Outcome::Unable("the drill was stopped before its end".to_owned());
    }
    // An issuer at work goes on when its time has come: there is nothing to be shown yet.
    if report.live {
        return Outcome::Fine;
    }
    let unknown = named(&|standing| standing == Standing::Unknown);
    if unknown.is_empty() { Outcome::Fine } else { Outcome::Unable(format!("nothing could be shown of {unknown}")) }
}
