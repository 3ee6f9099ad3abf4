//! `avouch probe`: what is examined, and what becomes of the report.

pub(super) mod examine;
mod reports;

use std::path::PathBuf;

use self::reports::{Reading, Reports, compare, stored};
use super::Failure;

/// What `avouch probe` is told.
#[derive(clap::Args)]
#[command(group = clap::ArgGroup::new("probed").required(true))]
pub(super) struct Arguments {
    /// The service: its identifier, or the address of an API that says who guards it
    #[arg(value_name = "URL", group = "probed")]
    url: Option<String>,
    /// Print every check there is, and send nothing
    #[arg(long, group = "probed", conflicts_with_all = ["Reports", "Reading", "Examination"])]
    list: bool,
    /// Read the metadata, say what would be sent, and send none of it
    #[arg(long, requires = "url", conflicts_with_all = ["Reports", "Reading"])]
    dry_run: bool,
    #[command(flatten)]
    examine: Box<examine::Arguments>,
    /// Take what an earlier run wrote by --json, and send nothing: for the other forms of the report, or another baseline
    #[arg(long, value_name = "REPORT", group = "probed", conflicts_with = "Examination")]
    from: Option<PathBuf>,
    /// Say what got better and what got worse between two reports that runs wrote by --json
    #[arg(long, num_args = 2, value_names = ["OLD", "NEW"], group = "probed", conflicts_with_all = ["Reports", "Reading", "Examination"])]
    compare: Option<Vec<PathBuf>>,
    #[command(flatten)]
    reports: reports::Arguments,
    #[command(flatten)]
    reading: reports::ReadingArguments,
}

pub(super) async fn run(arguments: Arguments) -> Result<(), Failure> {
    if arguments.list {
        examine::list();
        return Ok(());
    }
    if let Some([old, new]) = arguments.compare.as_deref() {
        return compare(old, new);
    }
    if let Some(url) = arguments.url.as_deref().filter(|_| arguments.dry_run) {
        return examine::outline(url, *arguments.examine).await;
    }
    let reading = Reading::open(&arguments.reading)?;
    let mut reports = Reports::open(&arguments.reports)?;
    let report = match (&arguments.from, &arguments.url) {
        (Some(from), _) => stored(from)?,
        (None, Some(url)) => examine::examine(url, *arguments.examine).await?,
        (None, None) => return Err(Failure::Usage("name a service, or a report with --from".to_owned())),
    };
    reports.write(&report, &reading)?;
    reports.conclude(&report, &reading)
}
