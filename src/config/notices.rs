//! `[notices]`.

use super::ConfigError;
use super::section::Section;
use super::values;
use crate::domain::notice::LIFETIME;
use crate::domain::time::Seconds;

/// How services are told of withdrawals.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Notices {
    /// How long a notice is tried.
    pub give_up_after: Seconds,
}

/// Each attempt is a row, of which there are thirty a day.
const LONGEST: Seconds = Seconds(30 * 86_400);

pub(super) fn read(mut section: Section<'_>) -> Result<Notices, ConfigError> {
    const KEY: &str = "give_up_after";
    let given = section.span(KEY)?;
    section.finish()?;
    let give_up_after = match given {
        None => LIFETIME,
        Some(text) => values::seconds(&text).map_err(|problem| section.wrong(KEY, problem))?,
    };
    if give_up_after < LIFETIME {
        return Err(section.wrong(KEY, "it is shorter than 7 days: a service may be down for as long"));
    }
    if give_up_after > LONGEST {
        return Err(section.wrong(KEY, "it is longer than 30 days"));
    }
    Ok(Notices { give_up_after })
}

#[cfg(test)]
mod tests {
    use super::super::tests::{load, refuses_with};

    #[test]
    fn how_long_a_notice_is_tried() {
        let days = |text: &str| load(text).unwrap().notices.give_up_after.0 / 86_400;
        for (text, expected) in [
            ("", 7),
            ("[notices]\n", 7),
            ("[notices]\ngive_up_after = '168h'", 7),
            ("[notices]\ngive_up_after = '30d'", 30),
        ] {
            assert_eq!(days(text), expected, "{text}");
        }
        refuses_with(
            "[notices]",
            &[
                ("give_up_after = '6d'", "notices.give_up_after: it is shorter than 7 days"),
                ("give_up_after = '0s'", "notices.give_up_after: \"0s\" is outside"),
                ("give_up_after = '31d'", "notices.give_up_after: it is longer than 30 days"),
                ("give_up_after = 'never'", "notices.give_up_after: \"never\" is not a duration"),
                ("give_up_after = 7", "notices.give_up_after: expected a time with its unit, in quotes: \"7s\""),
                ("give_up = '7d'", "the nearest known one is `give_up_after`"),
            ],
        );
    }
}
