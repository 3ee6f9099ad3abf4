//! What becomes of a drill's report. Every path is tried before anything is sent to anybody.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use super::super::Failure;
use super::super::files::{Place, look, text_of};
use crate::lab::drill::Keep;
use crate::lab::drill::report::Report;
use crate::lab::drill::view::{Outcome, html, json, junit, outcome, terminal};

/// Where reports go.
#[derive(clap::Args)]
#[group(id = "DrillReports", multiple = true)]
pub(super) struct Arguments {
    /// Write the report as JSON; - is standard output
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

/// The files of a run.
pub(super) struct Reports {
    files: Vec<(Form, Place)>,
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
        let (mut files, mut state, mut reached) = (Vec::new(), None, None);
        let mut taken: Vec<(&str, PathBuf)> = Vec::new();
        for (option, path, form) in forms {
            let Some(path) = path else { continue };
            let wrong = |problem: String| Failure::Usage(format!("{option} {}: {problem}", path.display()));
            let place = Place::open(path).map_err(|problem| wrong(problem.to_string()))?;
            if let Some((other, _)) = taken.iter().find(|(_, other)| other == place.path()) {
                return Err(wrong(format!("{other} writes there as well")));
            }
            taken.push((option, place.path().to_owned()));
            if let Some(form) = form {
                files.push((form, place));
                continue;
            }
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
        for (form, place) in &mut self.files {
            let written = place.write(&form(report, self.strict));
            written.map_err(|problem| Failure::Unable(format!("{}: {problem}", place.path().display())))?;
        }
        Ok(())
    }

    /// Tells people, and how the run ends.
    pub(super) fn conclude(&self, report: &Report) -> Result<(), Failure> {
        if self.files.iter().any(|(_, place)| matches!(place, Place::Stdout)) {
            say!("{}", terminal::render(report, look(&std::io::stderr())).trim_end());
        } else {
            out!("{}", terminal::render(report, look(&std::io::stdout())).trim_end());
        }
        match outcome(report, self.strict) {
            Outcome::Fine => Ok(()),
            Outcome::Short(why) => Err(Failure::Short(why)),
            Outcome::Unable(why) => Err(Failure::Unable(why)),
        }
    }
}
