//! What becomes of a report: files, the terminal, the exit code. Every path is tried before anything is sent to anybody.

use std::path::{Path, PathBuf};

use super::super::Failure;
use super::super::files::{Place, look, text_of};
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
pub(super) struct Reports {
    files: Vec<(Form, Place)>,
}

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
        let (mut files, mut taken): (_, Vec<(&str, PathBuf)>) = (Vec::new(), Vec::new());
        for (option, path, form) in forms {
            let Some(path) = path else { continue };
            let wrong = |problem: String| Failure::Usage(format!("{option} {}: {problem}", path.display()));
            let place = Place::open(path).map_err(|problem| wrong(problem.to_string()))?;
            if let Some((other, _)) = taken.iter().find(|(_, other)| other == place.path()) {
                return Err(wrong(format!("{other} writes there as well")));
            }
            taken.push((option, place.path().to_owned()));
            files.push((form, place));
        }
        Ok(Self { files })
    }

    /// Whether standard output is taken, and what is for people goes to standard error.
    pub(super) fn take_stdout(&self) -> bool {
        self.files.iter().any(|(_, place)| matches!(place, Place::Stdout))
    }

    /// Writes them all, each whole or not at all. Called again it replaces what it wrote, other than on standard output.
    pub(super) fn write(&mut self, report: &Report, reading: &Reading) -> Result<(), Failure> {
        for (form, place) in &mut self.files {
            let text = form(&reading.view(report));
            let written = place.write(&text);
            written.map_err(|problem| Failure::Unable(format!("{}: {problem}", place.path().display())))?;
        }
        Ok(())
    }

    /// Tells people, and how the run ends.
    pub(super) fn conclude(&self, report: &Report, reading: &Reading) -> Result<(), Failure> {
        let view = reading.view(report);
        if self.take_stdout() {
            let text = terminal::render(&view, look(&std::io::stderr()));
            say!("{}", text.trim_end());
        } else {
            let text = terminal::render(&view, look(&std::io::stdout()));
            out!("{}", text.trim_end());
        }
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
