//! The probe: examines a service that accepts ID-JAGs, from outside, as any issuer that it trusts could.
//!
//! Bad assertions are sent between good ones that differ from them in nothing but the flaw: a refusal shows something only where those are
//! taken. What counts is what really happens and not what is answered, wherever that can be seen.

mod blocks;
mod check;
mod clients;
mod examiner;
mod first;
mod keys;
mod metadata;
mod notices;
mod outline;
pub mod report;
mod requests;
mod results;
mod run;
#[cfg(test)]
mod tests;

pub use crate::lab::examine::stage::{Client, User};
pub use crate::lab::examine::target::Known;
pub use check::{Check, Selection, all};
pub use examiner::Restart;
pub use outline::{Planned, outline};
pub use results::{Progress, Tell};
pub use run::{Options, run};
