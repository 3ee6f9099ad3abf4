//! `avouch probe`: what is examined, and what becomes of the report.

mod reports;

use std::path::PathBuf;

use self::reports::{Reading, Reports, compare, stored};
use super::Failure;

/// What `avouch probe` is told.
#[derive(clap::Args)]
#[command(group = clap::ArgGroup::new("probed").required(true))]
pub(super) struct Arguments {
    /// Take what an earlier run wrote by --json, and send nothing: for the other forms of the report, or another baseline
    #[arg(long, value_name = "REPORT", group = "probed")]
    from: Option<PathBuf>,
    /// Say what got better and what got worse between two reports that runs wrote by --json
    #[arg(long, num_args = 2, value_names = ["OLD", "NEW"], group = "probed", conflicts_with_all = ["Reports", "Reading"])]
    compare: Option<Vec<PathBuf>>,
    #[command(flatten)]
    reports: reports::Arguments,
    #[command(flatten)]
    reading: reports::ReadingArguments,
}

pub(super) fn run(arguments: &Arguments) -> Result<(), Failure> {
    if let Some([old, new]) = arguments.compare.as_deref() {
        return compare(old, new);
    }
    let reading = Reading::open(&arguments.reading)?;
    let Some(from) = &arguments.from else { return Err(Failure::Usage("name a report".to_owned())) };
    let report = stored(from)?;
    let mut reports = Reports::open(&arguments.reports)?;
    reports.write(&report, &reading)?;
    reports.conclude(&report, &reading)
}
