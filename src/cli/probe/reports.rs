//! What becomes of a report: files, the terminal, the exit code. Every path is tried before anything is sent to anybody.

use std::path::{Path, PathBuf};

use super::super::Failure;
use super::super::files::{Places, look, text_of};
use crate::lab::probe::report::baseline::{self, Baseline};
use crate::lab::probe::report::compare;
use crate::lab::probe::report::terminal;
use crate::lab::probe::report::view::{Outcome, View};
use crate::lab::probe::report::{Report, html, json, junit, sarif};

/// Where reports go.
#[derive(clap::Args)]
#[group(id = "Reports", multiple = true)]
pub(super) struct Arguments {
    /// Write the report as JSON (docs/probe-report.schema.json); - is standard output
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Write it as JUnit XML
    #[arg(long, value_name = "FILE")]
    junit: Option<PathBuf>,
    /// Write it as SARIF 2.1.0
    #[arg(long, value_name = "FILE")]
    sarif: Option<PathBuf>,
    /// Write it as one page of HTML that needs nothing else
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// Write a baseline that expects what falls short now
    #[arg(long, value_name = "FILE")]
    write_baseline: Option<PathBuf>,
}

/// How reports are read.
#[derive(clap::Args)]
#[group(id = "Reading", multiple = true)]
pub(super) struct ReadingArguments {
    /// Expect these checks to fail: an id on each line, and why behind a #; an entry that is out of date fails the run
    #[arg(long, value_name = "FILE")]
    baseline: Option<PathBuf>,
    /// Let what a service SHOULD do count as what it MUST
    #[arg(long)]
    strict: bool,
}

/// How this report is to be read.
pub(super) struct Reading {
    strict: bool,
    baseline: Option<Baseline>,
}

impl Reading {
    /// Reads the baseline.
    pub(super) fn open(arguments: &ReadingArguments) -> Result<Self, Failure> {
        let read = |path: &PathBuf| {
            let wrong = |problem: String| Failure::Usage(format!("--baseline {}: {problem}", path.display()));
            Baseline::parse(&text_of(path, baseline::MAX_FILE).map_err(wrong)?).map_err(wrong)
        };
        Ok(Self { strict: arguments.strict, baseline: arguments.baseline.as_ref().map(read).transpose()? })
    }

    fn view<'a>(&'a self, report: &'a Report) -> View<'a> {
        View { report, strict: self.strict, baseline: self.baseline.as_ref() }
    }
}

/// A form of a report.
type Form = fn(&View<'_>) -> String;

/// The files of a run.
pub(super) struct Reports(Places<Form>);

impl Reports {
    /// Sees that each path can be written, and that no two are one.
    pub(super) fn open(arguments: &Arguments) -> Result<Self, Failure> {
        let forms: [(&str, &Option<PathBuf>, Form); 5] = [
            ("--json", &arguments.json, |view| json::render(view.report)),
            ("--junit", &arguments.junit, junit::render),
            ("--sarif", &arguments.sarif, sarif::render),
            ("--html", &arguments.html, html::render),
            ("--write-baseline", &arguments.write_baseline, |view| {
                Baseline::of(view.report, view.strict, view.baseline)
            }),
        ];
        Places::open(forms).map(Self)
    }

    /// Writes them all, each whole or not at all.
    pub(super) fn write(&mut self, report: &Report, reading: &Reading) -> Result<(), Failure> {
        self.0.write(|form| form(&reading.view(report)))
    }

    /// Tells people, and how the run ends.
    pub(super) fn conclude(&self, report: &Report, reading: &Reading) -> Result<(), Failure> {
        let view = reading.view(report);
        self.0.tell(|look| terminal::render(&view, look));
        match view.outcome() {
            Outcome::Fine => Ok(()),
            Outcome::Short(why) => Err(Failure::Short(why)),
            Outcome::Unable(why) => Err(Failure::Unable(why)),
        }
    }
}

/// A report that a run wrote.
pub(super) fn stored(path: &Path) -> Result<Report, Failure> {
    let wrong = |problem: String| Failure::Usage(format!("{}: {problem}", path.display()));
    json::read(&text_of(path, json::MAX_FILE).map_err(wrong)?).map_err(wrong)
}

/// `--compare`.
pub(super) fn compare(old: &Path, new: &Path) -> Result<(), Failure> {
    let (old, new) = (stored(old)?, stored(new)?);
    let found = compare::compare(&old, &new);
    out!("{}", found.render(look(&std::io::stdout())).trim_end());
    if found.is_worse() { Err(Failure::Short("it got worse".to_owned())) } else { Ok(()) }
}
