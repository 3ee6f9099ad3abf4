//! What becomes of a report: files, the terminal, the exit code. Every path is tried before anything is sent to anybody.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};

use super::super::Failure;
use crate::config::shell_variable;
use crate::lab::probe::report::baseline::{self, Baseline};
use crate::lab::probe::report::compare;
use crate::lab::probe::report::terminal::{self, Look};
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

/// In colour on a terminal, unless somebody wants none (no-color.org).
pub(super) fn look(stream: &impl std::io::IsTerminal) -> Look {
    let terminal = stream.is_terminal();
    let plain = shell_variable("NO_COLOR").is_some() || shell_variable("TERM").is_some_and(|term| term == "dumb");
    let columns = shell_variable("COLUMNS").and_then(|columns| columns.to_str()?.parse().ok());
    let width = columns.filter(|_| terminal).unwrap_or(Look::default().width);
    Look { colour: terminal && !plain, width }
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

fn text_of(path: &Path, most: usize) -> Result<String, String> {
    let file = File::open(path).map_err(|problem| problem.to_string())?;
    let mut text = String::new();
    let most = u64::try_from(most).unwrap_or(u64::MAX);
    file.take(most + 1).read_to_string(&mut text).map_err(|problem| problem.to_string())?;
    if u64::try_from(text.len()).is_ok_and(|length| length > most) {
        return Err(format!("it is longer than {most} bytes"));
    }
    Ok(text)
}

/// Where a file goes.
enum Place {
    Stdout,
    /// A pipe or a device, which is there already and cannot be replaced.
    Stream(PathBuf, File),
    /// A file beside it is written first, so that it is whole or as it was.
    File {
        path: PathBuf,
        beside: PathBuf,
    },
}

impl Place {
    fn open(path: &Path) -> std::io::Result<Self> {
        if path == Path::new("-") {
            return Ok(Self::Stdout);
        }
        // A pipe or a device is written into. It is asked for as it is named: what /dev/stdout leads to has no path of its own.
        match fs::metadata(path) {
            Ok(found) if !found.is_file() => {
                return Ok(Self::Stream(path.to_owned(), OpenOptions::new().write(true).open(path)?));
            }
            Ok(_) => drop(OpenOptions::new().write(true).open(path)?),
            Err(problem) if problem.kind() != std::io::ErrorKind::NotFound => return Err(problem),
            // A link that leads nowhere is nobody's to replace.
            Err(problem) if fs::symlink_metadata(path).is_ok() => return Err(problem),
            Err(_) => {}
        }
        let name = path.file_name().ok_or(std::io::ErrorKind::InvalidFilename)?;
        // What a link leads to is written, and the link stays.
        let path = match fs::canonicalize(path) {
            Ok(path) => path,
            Err(_) => fs::canonicalize(folder(path))?.join(name),
        };
        let beside = beside(&path);
        fresh(&beside)?;
        Ok(Self::File { path, beside })
    }

    fn path(&self) -> &Path {
        match self {
            Self::Stdout => Path::new("-"),
            Self::Stream(path, _) | Self::File { path, .. } => path,
        }
    }

    fn write(&mut self, text: &str) -> std::io::Result<()> {
        match self {
            Self::Stdout => {
                let _ = std::io::stdout().write_all(text.as_bytes());
                Ok(())
            }
            Self::Stream(_, file) => file.write_all(text.as_bytes()),
            Self::File { path, beside } => {
                fresh(beside)?.write_all(text.as_bytes())?;
                fs::rename(&*beside, path)
            }
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Self::File { beside, .. } = self {
            let _ = fs::remove_file(beside);
        }
    }
}

fn folder(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if folder != Path::new("") => folder,
        _ => Path::new("."),
    }
}

/// A file that was not there before: nobody's link is followed.
fn fresh(path: &Path) -> std::io::Result<File> {
    let _ = fs::remove_file(path);
    OpenOptions::new().write(true).create_new(true).open(path)
}

/// A name of this process's own.
fn beside(path: &Path) -> PathBuf {
    let mut name = OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    name.push(format!(".{}", std::process::id()));
    path.with_file_name(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_whole_each_time_it_is_written_and_nothing_is_left_beside_it() {
        let folder = tempfile::TempDir::new().unwrap();
        let names = || fs::read_dir(folder.path()).unwrap().count();
        let path = folder.path().join("report.json");
        fs::write(&path, "of an earlier run").unwrap();
        let mut place = Place::open(&path).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "of an earlier run", "until there is a new one");
        for text in ["the first half", "all of it"] {
            place.write(text).unwrap();
            assert_eq!(fs::read_to_string(&path).unwrap(), text);
        }
        drop(place);
        assert_eq!(names(), 1);
        drop(Place::open(&folder.path().join("never-written")).unwrap());
        assert_eq!(names(), 1);
    }

    #[test]
    fn nobody_lays_a_link_where_a_file_is_written_first() {
        let folder = tempfile::TempDir::new().unwrap();
        let (path, secret) = (folder.path().join("report"), folder.path().join("secret"));
        fs::write(&secret, "untouched").unwrap();
        let mut place = Place::open(&path).unwrap();
        fs::remove_file(beside(&path)).unwrap();
        std::os::unix::fs::symlink(&secret, beside(&path)).unwrap();
        place.write("report").unwrap();
        assert_eq!(fs::read_to_string(&secret).unwrap(), "untouched");
        assert_eq!(fs::read_to_string(&path).unwrap(), "report");
    }
}
