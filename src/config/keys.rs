//! `[keys]` and `[keys.rotation]`.

use std::path::PathBuf;

use super::ConfigError;
use super::section::Section;
use super::values;
use crate::domain::rotation::Rotation;
use crate::domain::time::Seconds;

const HOUR: Seconds = Seconds(3600);
const DAY: Seconds = Seconds(24 * 3600);

/// Programs that print a sealing key, with their arguments; without one it is a file of `[keys] dir`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SealingCommands {
    /// For the one that is there without fail: `sealing_key_command`.
    pub main: Option<Vec<String>>,
    /// For the one that is to follow it: `next_sealing_key_command`.
    pub next: Option<Vec<String>>,
}

/// Where the sealing key lives, and how signing keys rotate.
pub(super) fn read(mut keys: Section<'_>) -> Result<(PathBuf, SealingCommands, Rotation), ConfigError> {
    let dir = PathBuf::from(keys.text("dir")?.unwrap_or_else(|| "keys".to_owned()));
    let commands =
        SealingCommands { main: keys.command("sealing_key_command")?, next: keys.command("next_sealing_key_command")? };
    let mut section = keys.section("rotation")?;
    keys.finish()?;
    let (interval, ahead) = (section.span("interval")?, section.span("publish_ahead")?);
    section.finish()?;
    let wrong = |key, problem: String| section.wrong(key, problem);
    let publish_ahead = match ahead.as_deref() {
        None => DAY,
        Some(text) => values::seconds(text).map_err(|problem| wrong("publish_ahead", problem))?,
    };
    let interval = match interval.as_deref() {
        None => Some(DAY * 30),
        Some("never") => None,
        Some(text) => {
            Some(values::seconds(text).map_err(|problem| wrong("interval", format!("{problem}, nor \"never\"")))?)
        }
    };
    let rotation = Rotation { interval, publish_ahead };
    let shortest = (rotation.lead() * 2).max(HOUR);
    if interval.is_some_and(|interval| interval < shortest) {
        let problem = format!(
            "it is too short: a key is published for {} seconds before it signs, and an interval has to be twice that and an hour at least",
            rotation.lead()
        );
        return Err(wrong("interval", problem));
    }
    Ok((dir, commands, rotation))
}

#[cfg(test)]
mod tests {
    use super::super::tests::{load, refuses_with};
    use super::*;

    #[test]
    fn where_sealing_keys_come_from() {
        let commands = |text: &str| load(text).unwrap().sealing_commands;
        assert_eq!(commands(""), SealingCommands::default());
        let words = |words: &[&str]| Some(words.iter().map(|&word| word.to_owned()).collect());
        assert_eq!(
            commands("[keys]\nsealing_key_command = ['kms', 'a b', '', 'a b']\nnext_sealing_key_command = ['/bin/x']"),
            SealingCommands { main: words(&["kms", "a b", "", "a b"]), next: words(&["/bin/x"]) }
        );
        refuses_with(
            "[keys]",
            &[
                (
                    "sealing_key_command = 'kms unwrap'",
                    "keys.sealing_key_command: expected a program and its arguments",
                ),
                ("sealing_key_command = []", "keys.sealing_key_command: expected a program and its arguments"),
                ("sealing_key_command = ['']", "keys.sealing_key_command: expected a program and its arguments"),
                ("sealing_key_command = ['a', 1]", "keys.sealing_key_command: expected a program and its arguments"),
                (
                    "sealing_key_command = [\"a\", \"b\\u0000\"]",
                    "keys.sealing_key_command: expected a program and its arguments",
                ),
            ],
        );
    }

    #[test]
    fn how_keys_rotate() {
        let rotation = |text: &str| load(text).unwrap().rotation;
        for (text, interval, ahead) in [
            ("", Some(30 * 86_400), 86_400),
            ("[keys.rotation]\ninterval = 'never'", None, 86_400),
            ("[keys.rotation]\ninterval = '1h'\npublish_ahead = '10m'", Some(3600), 600),
            ("[keys.rotation]\npublish_ahead = '48h'", Some(30 * 86_400), 2 * 86_400),
        ] {
            let expected = Rotation { interval: interval.map(Seconds), publish_ahead: Seconds(ahead) };
            assert_eq!(rotation(text), expected, "{text}");
        }
        refuses_with(
            "[keys.rotation]",
            &[
                ("interval = '30m'\npublish_ahead = '1m'", "keys.rotation.interval: it is too short"),
                ("interval = '36h'", "keys.rotation.interval: it is too short"),
                (
                    "interval = 'off'",
                    "keys.rotation.interval: \"off\" is not a duration such as \"90s\", \"15m\", \"1h\" or \"30d\", nor \"never\"",
                ),
                ("interval = 30", "keys.rotation.interval: expected a time with its unit, in quotes"),
                ("publish_ahead = '0s'", "keys.rotation.publish_ahead: \"0s\" is outside of 1 second to 3650 days"),
            ],
        );
    }
}
