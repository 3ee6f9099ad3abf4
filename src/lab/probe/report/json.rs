//! A report as JSON, for programs: `docs/probe-report.schema.json` says what is in it.

use std::fmt::Write as _;

use serde::{Deserialize, Serialize};

use super::{Report, SCHEMA};
use crate::domain::display_name::beginning;
use crate::domain::members::quote;

/// Most bytes of a report that is read.
pub const MAX_FILE: usize = 32 * 1024 * 1024;

/// The file. What a stranger sent is in it as it came, and does nothing to a terminal that shows it.
#[must_use]
pub fn render(report: &Report) -> String {
    pretty(report)
}

pub(in crate::lab) fn pretty(value: &impl Serialize) -> String {
    let text = serde_json::to_string_pretty(value).unwrap_or_default();
    let (mut safe, mut before) = (String::with_capacity(text.len() + 1), '\n');
    for c in text.chars() {
        // Outside strings there is nothing but ASCII and line breaks. Two of these begin an order to some build servers.
        let plain =
            c == '\n' || if c.is_ascii() { !c.is_ascii_control() && (c, before) != ('#', '#') } else { is_seen(c) };
        if plain {
            safe.push(c);
        } else {
            for unit in c.encode_utf16(&mut [0; 2]) {
                let _ = write!(safe, "\\u{unit:04x}");
            }
        }
        before = c;
    }
    safe.push('\n');
    safe
}

fn is_seen(c: char) -> bool {
    beginning(c.encode_utf8(&mut [0; 4]).as_bytes(), 4).len() == c.len_utf8()
}

/// Reads one.
///
/// # Errors
/// Why it cannot be read, in a sentence.
pub fn read(text: &str) -> Result<Report, String> {
    #[derive(Deserialize)]
    struct Version {
        schema: u64,
        #[serde(default)]
        avouch: Option<String>,
    }
    let Version { schema, avouch } =
        serde_json::from_str(text).map_err(|problem| format!("it is no report of avouch probe: {problem}"))?;
    if schema > u64::from(SCHEMA) {
        let by = avouch.map(|avouch| format!(", written by avouch {}", quote(&avouch))).unwrap_or_default();
        return Err(format!(
            "its schema is {schema}{by}; this avouch reads reports up to schema {SCHEMA}: use a newer one"
        ));
    }
    if schema < u64::from(SCHEMA) {
        return Err(format!("its schema is {schema}, which no avouch reads any more: probe again"));
    }
    serde_json::from_str(text).map_err(|problem| format!("it is no whole report: {problem}"))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::testing::{bad, good, hostile};
    use super::*;

    #[test]
    fn what_is_written_is_read_again() {
        for report in [good(), bad(), hostile()] {
            let text = render(&report);
            assert_eq!(read(&text).unwrap(), report);
            assert!(text.chars().all(|c| c == '\n' || !c.is_control()), "harmless");
            assert!(!text.contains('\u{202e}') && !text.contains("##"), "harmless");
        }
    }

    #[test]
    fn what_is_no_report_is_refused_with_the_reason() {
        let mut value: Value = serde_json::to_value(good()).unwrap();
        value["schema"] = json!(2);
        value["checks"] = json!({"of": "another shape"});
        let newer = read(&value.to_string()).unwrap_err();
        assert!(
            newer.starts_with("its schema is 2, written by avouch \"0.0.0\"; this avouch reads reports up to schema 1"),
            "{newer}"
        );
        value["schema"] = json!(0);
        assert!(read(&value.to_string()).unwrap_err().contains("no avouch reads any more"));
        value["schema"] = json!(1);
        assert!(read(&value.to_string()).unwrap_err().starts_with("it is no whole report"), "{value}");
        for text in ["", "[]", "{\"schema\":\"1\"}", "{\"schema\":-1}", "<html>"] {
            assert!(read(text).unwrap_err().starts_with("it is no report of avouch probe"), "{text}");
        }
    }
}
