//! What becomes of a drill's report. Every path is tried before anything is sent to anybody.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use super::super::Failure;
use super::super::files::{Place, Places, text_of};
use crate::lab::drill::Keep;
use crate::lab::drill::report::Report;
use crate::lab::drill::view::{Outcome, html, json, junit, outcome, terminal};

/// Where reports go.
#[derive(clap::Args)]
#[group(id = "DrillReports", multiple = true)]
pub(super) struct Arguments {
    /// Write the report as JSON (docs/drill-report.schema.json); - is standard output
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Write it as JUnit XML
    #[arg(long, value_name = "FILE")]
    junit: Option<PathBuf>,
    /// Write it as one page of HTML that needs nothing else, with a time line of each service
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// Keep here what was reached, and go on from it when the same drill is started again
    #[arg(long, value_name = "FILE", conflicts_with = "live")]
    state: Option<PathBuf>,
    /// Let what a service SHOULD do count as what it MUST
    #[arg(long)]
    strict: bool,
}

type Form = fn(&Report, bool) -> String;

/// The files of a run; what was reached is kept in one that is written meanwhile.
pub(super) struct Reports {
    files: Places<Option<Form>>,
    state: Option<Arc<Mutex<Place>>>,
    reached: Option<Report>,
    strict: bool,
}

impl Reports {
    /// Sees that each path can be written, and that no two are one.
    pub(super) fn open(arguments: &Arguments) -> Result<Self, Failure> {
        let forms: [(&str, &Option<PathBuf>, Option<Form>); 4] = [
            ("--json", &arguments.json, Some(|report, _| json::render(report))),
            ("--junit", &arguments.junit, Some(junit::render)),
            ("--html", &arguments.html, Some(|report, _| html::render(report))),
            ("--state", &arguments.state, None),
        ];
        let mut files = Places::open(forms)?;
        let (mut state, mut reached) = (None, None);
        if let (Some(place), Some(path)) = (files.take(Option::is_none), &arguments.state) {
            let wrong = |problem: String| Failure::Usage(format!("--state {}: {problem}", path.display()));
            if !matches!(place, Place::File { .. }) {
                return Err(wrong("what was reached is kept in a file".to_owned()));
            }
            if path.exists() {
                let text = text_of(path, json::MAX_FILE).map_err(wrong)?;
                reached = Some(json::read(&text).map_err(wrong)?);
            }
            state = Some(Arc::new(Mutex::new(place)));
        }
        Ok(Self { files, state, reached, strict: arguments.strict })
    }

    /// What an earlier run has reached.
    pub(super) fn reached(&mut self) -> Option<Report> {
        self.reached.take()
    }

    /// Keeps what was reached, where that is wanted.
    pub(super) fn keeper(&self) -> Keep {
        let state = self.state.clone();
        Arc::new(move |report| {
            let Some(Ok(mut place)) = state.as_ref().map(|state| state.lock()) else { return };
            if let Err(problem) = place.write(&json::render(report)) {
                say!("avouch drill: what was reached could not be kept in {}: {problem}", place.path().display());
            }
        })
    }

    /// Writes them all, each whole or not at all.
    pub(super) fn write(&mut self, report: &Report) -> Result<(), Failure> {
        (self.keeper())(report);
        self.files.write(|form| form.map_or_else(String::new, |form| form(report, self.strict)))
    }

    /// Tells people, and how the run ends.
    pub(super) fn conclude(&self, report: &Report) -> Result<(), Failure> {
        self.files.tell(|look| terminal::render(report, look));
        match outcome(report, self.strict) {
            Outcome::Fine => Ok(()),
            Outcome::Short(why) => Err(Failure::Short(why)),
            Outcome::Unable(why) => Err(Failure::Unable(why)),
        }
    }
}
