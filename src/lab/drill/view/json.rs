//! A report as JSON, for programs, and for a later run to go on from: `docs/drill-report.schema.json` says what is in it.

use crate::lab::drill::report::{Report, SCHEMA};
use crate::lab::probe::report::json::pretty;

/// Most bytes of a report that is read.
pub const MAX_FILE: usize = 64 * 1024 * 1024;

/// The file.
#[must_use]
pub fn render(report: &Report) -> String {
    pretty(report)
}

/// Reads one.
///
/// # Errors
/// Why it cannot be read, in a sentence.
pub fn read(text: &str) -> Result<Report, String> {
    let report: Report = serde_json::from_str(text).map_err(|e| format!("it is no report of avouch drill: {e}"))?;
    if report.schema == SCHEMA {
        Ok(report)
    } else {
        Err(format!("its schema is {}; this avouch reads {SCHEMA}", report.schema))
    }
}
