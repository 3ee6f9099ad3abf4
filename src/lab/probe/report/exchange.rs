//! A request and its answer on a page, of a probe or of a drill.

use serde_json::Value;

use super::text::{self, block, clip, line};
use super::{Evidence, Verdict};

/// Most characters of an answer on the line that says what came.
const ANSWER: usize = 160;

/// A request and its answer: `exchange.html` shows it as `sent`.
pub(in crate::lab) struct Exchange {
    pub(in crate::lab) what: String,
    pub(in crate::lab) open: bool,
    pub(in crate::lab) curl: String,
    pub(in crate::lab) token: Option<Token>,
    pub(in crate::lab) came: String,
    pub(in crate::lab) body: String,
}

/// What was sent, if it was a token.
pub(in crate::lab) struct Token {
    pub(in crate::lab) header: String,
    pub(in crate::lab) claims: String,
}

impl Exchange {
    /// As a page shows it, open or not.
    #[must_use]
    pub(in crate::lab) fn of(evidence: &Evidence, open: bool) -> Self {
        let took = text::duration(evidence.took_ms);
        let token = evidence.token.as_ref();
        let token = token.map(|token| Token { header: pretty(&token.header), claims: pretty(&token.claims) });
        let (came, body) = match (&evidence.answer, &evidence.failure) {
            (Some(answer), _) => {
                let code = answer.code.as_ref().map(|code| format!(" {}", clip(code, ANSWER))).unwrap_or_default();
                (format!("Answer after {took}: {}{code}", answer.status), block(&answer.body))
            }
            (None, failure) => {
                let why = failure.as_deref().map_or("nothing came".to_owned(), |failure| clip(failure, ANSWER));
                (format!("No answer in {took}: {why}"), String::new())
            }
        };
        Self { what: line(&evidence.what), open, curl: line(&evidence.curl), token, came, body }
    }
}

fn pretty(value: &Value) -> String {
    block(&serde_json::to_string_pretty(value).unwrap_or_default())
}

/// A verdict as the stylesheet calls it.
#[must_use]
pub(in crate::lab) fn class(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::CouldNotRun => "could-not-run",
        other => other.title(),
    }
}
