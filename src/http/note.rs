//! What a form that was refused leaves for the page that shows it again.
//!
//! Every form is answered by a redirect, so that neither Back nor a reload asks whether to send it once more (RFC 9110 section 15.4.4). What
//! the next page has to know goes along in its address, sealed: no row, no cookie that two tabs would share, and never a password.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::domain::time::{Seconds, Timestamp};
use crate::error::Error;
use crate::host::App;

/// The parameter that carries it.
pub(super) const NOTE: &str = "note";
/// How long it is heeded: afterwards the page is as if nothing had been sent.
const LIFETIME: Seconds = Seconds(600);

#[derive(Serialize, Deserialize)]
struct Sealed<T> {
    until: Timestamp,
    note: T,
}

/// Seals a note for one page (`place`) of an issuer and, if it is for somebody in particular, of their session.
pub(super) fn seal(app: &App, place: &str, note: &impl Serialize) -> Result<String, Error> {
    let sealed = Sealed { until: app.now() + LIFETIME, note };
    let text = serde_json::to_vec(&sealed).map_err(|_| Error::invariant("a note is JSON"))?;
    Ok(app.sealing.keys().seal_note(&text, &context(app, place), &app.rng)?)
}

/// Reads a note. One that is too old, is for another page or is nonsense is none.
pub(super) fn open<T: DeserializeOwned>(app: &App, place: &str, note: Option<&str>) -> Option<T> {
    let text = app.sealing.keys().open_note(note?, &context(app, place)).ok()?;
    let Sealed { until, note } = serde_json::from_slice(&text).ok()?;
    (app.now()..=app.now() + LIFETIME).contains(&until).then_some(note)
}

fn context(app: &App, place: &str) -> String {
    format!("{} {place}", app.issuer.url)
}
