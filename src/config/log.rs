//! `[log]`.

use super::ConfigError;
use super::section::Section;
use crate::domain::members::quote;

/// What the log looks like, and how much of it there is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Log {
    /// For people, or for machines.
    pub format: LogFormat,
    /// What is logged.
    pub level: LogLevel,
}

/// The form of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object on each line.
    Json,
}

/// The least important line that is logged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LogLevel {
    /// What failed.
    Error,
    /// What somebody should look at.
    Warn,
    /// Each thing that happened, and what was refused.
    #[default]
    Info,
    /// Each request.
    Debug,
}

pub(super) fn read(mut section: Section<'_>) -> Result<Log, ConfigError> {
    let (format, level) = (section.text("format")?, section.text("level")?);
    section.finish()?;
    let format = choice(&section, "format", format, &[("text", LogFormat::Text), ("json", LogFormat::Json)])?;
    let levels =
        [("error", LogLevel::Error), ("warn", LogLevel::Warn), ("info", LogLevel::Info), ("debug", LogLevel::Debug)];
    Ok(Log { format, level: choice(&section, "level", level, &levels)? })
}

fn choice<T: Copy + Default>(
    section: &Section<'_>,
    key: &str,
    text: Option<String>,
    choices: &[(&str, T)],
) -> Result<T, ConfigError> {
    let Some(text) = text else { return Ok(T::default()) };
    choices.iter().find(|(name, _)| *name == text).map(|(_, value)| *value).ok_or_else(|| {
        let names: Vec<String> = choices.iter().map(|(name, _)| quote(name)).collect();
        section.wrong(key, format!("expected one of {}, found {}", names.join(", "), quote(&text)))
    })
}

#[cfg(test)]
mod tests {
    use super::super::tests::{load, refuses};
    use super::*;

    #[test]
    fn choices() {
        let log = |text: &str| load(text).unwrap().log;
        assert_eq!(log(""), Log { format: LogFormat::Text, level: LogLevel::Info });
        assert_eq!(
            log("[log]\nformat = 'json'\nlevel = 'debug'"),
            Log { format: LogFormat::Json, level: LogLevel::Debug }
        );
        refuses(&[
            ("[log]\nformat = 'xml'", r#"log.format: expected one of "text", "json", found "xml""#),
            ("[log]\nlevel = 'all'", r#"log.level: expected one of "error", "warn", "info", "debug", found "all""#),
            ("[log]\nlevl = 'info'", "log.levl: unknown key; the nearest known one is `level`"),
        ]);
    }
}
