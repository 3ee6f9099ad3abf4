//! `[keys]`, `[keys.rotation]` and `[keys.pkcs11]`.

use std::path::PathBuf;

use super::ConfigError;
use super::section::Section;
use super::values;
use crate::domain::rotation::Rotation;
use crate::domain::time::Seconds;
use crate::secret::Secret;

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

/// `[keys.pkcs11]`: a device in which signing keys are made.
#[derive(Debug, Clone)]
pub struct Pkcs11 {
    /// The library that speaks with it.
    pub module: PathBuf,
    /// The label of its token.
    pub token: String,
    /// What its user logs in with.
    pub pin: Secret,
}

/// Where keys live, and how those that sign rotate.
#[derive(Debug)]
pub(super) struct Keys {
    pub(super) dir: PathBuf,
    pub(super) sealing_commands: SealingCommands,
    pub(super) pkcs11: Option<Pkcs11>,
    pub(super) rotation: Rotation,
}

/// `[keys]` and what is below it.
pub(super) fn read(mut keys: Section<'_>) -> Result<Keys, ConfigError> {
    let dir = PathBuf::from(keys.text("dir")?.unwrap_or_else(|| "keys".to_owned()));
    let commands =
        SealingCommands { main: keys.command("sealing_key_command")?, next: keys.command("next_sealing_key_command")? };
    let pkcs11 = pkcs11(keys.section("pkcs11")?)?;
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
    Ok(Keys { dir, sealing_commands: commands, pkcs11, rotation })
}

fn pkcs11(mut section: Section<'_>) -> Result<Option<Pkcs11>, ConfigError> {
    let (module, token, pin) = (section.text("module")?, section.text("token")?, section.secret("pin")?);
    section.finish()?;
    match (module, token, pin) {
        (None, None, None) => Ok(None),
        (Some(module), Some(token), Some(pin)) => Ok(Some(Pkcs11 { module: module.into(), token, pin })),
        (None, ..) => Err(section.wrong("module", "it is missing")),
        (_, None, _) => Err(section.wrong("token", "it is missing")),
        (.., None) => Err(section.wrong("pin", "it is missing; give pin_file, whose file only the server may read")),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

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
    fn a_device() {
        assert!(load("").unwrap().pkcs11.is_none());
        let device =
            load("[keys.pkcs11]\nmodule = '/usr/lib/x.so'\ntoken = 'avouch'\npin = '1234'").unwrap().pkcs11.unwrap();
        assert_eq!((device.module.as_path(), device.token.as_str()), (Path::new("/usr/lib/x.so"), "avouch"));
        assert!(!format!("{device:?}").contains("1234"));
        refuses_with(
            "[keys.pkcs11]",
            &[
                ("token = 'a'\npin = '1'", "keys.pkcs11.module: it is missing"),
                ("module = 'a'\npin = '1'", "keys.pkcs11.token: it is missing"),
                ("module = 'a'\ntoken = 'a'", "keys.pkcs11.pin: it is missing"),
                ("slot = 1", "keys.pkcs11.slot"),
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
