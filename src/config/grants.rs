//! `[grants]`.

use super::ConfigError;
use super::section::Section;
use super::values;
use crate::domain::time::Seconds;

/// What the token endpoint takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Grants {
    /// How long the last refresh token may be sent again while nothing that it gave was used; zero: never.
    pub refresh_retry: Seconds,
}

/// Whoever stole a token that was just used could use it for as long.
const MAX_RETRY: Seconds = Seconds(300);

pub(super) fn read(mut section: Section<'_>) -> Result<Grants, ConfigError> {
    const KEY: &str = "refresh_retry";
    let retry = section.span(KEY)?;
    section.finish()?;
    let refresh_retry = match retry.as_deref() {
        None => Seconds(10),
        Some("0s") => Seconds(0),
        Some(text) => values::seconds(text).map_err(|problem| section.wrong(KEY, problem))?,
    };
    if refresh_retry > MAX_RETRY {
        return Err(section.wrong(KEY, "it is longer than 5 minutes: for as long a stolen refresh token could be used"));
    }
    Ok(Grants { refresh_retry })
}

#[cfg(test)]
mod tests {
    use super::super::tests::{load, refuses_with};
    use super::*;

    #[test]
    fn how_long_a_refresh_token_may_be_sent_again() {
        let retry = |text: &str| load(text).unwrap().grants.refresh_retry;
        for (text, expected) in [
            ("", 10),
            ("[grants]\n", 10),
            ("[grants]\nrefresh_retry = '0s'", 0),
            ("[grants]\nrefresh_retry = '30s'", 30),
            ("[grants]\nrefresh_retry = '5m'", 300),
        ] {
            assert_eq!(retry(text), Seconds(expected), "{text}");
        }
        refuses_with(
            "[grants]",
            &[
                ("refresh_retry = '301s'", "grants.refresh_retry: it is longer than 5 minutes"),
                ("refresh_retry = '10'", "grants.refresh_retry: \"10\" is not a duration"),
                ("refresh_retry = 10", "grants.refresh_retry: expected a time with its unit, in quotes: \"10s\""),
                (
                    "refresh_retry = 1.5",
                    "grants.refresh_retry: expected a time with its unit, in quotes: as in \"15m\"",
                ),
                ("refresh_retri = '10s'", "the nearest known one is `refresh_retry`"),
            ],
        );
    }
}
