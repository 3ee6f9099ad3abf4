//! Files that reports are written into and read from, and how they look on a terminal.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};

use super::Failure;
use crate::config::shell_variable;
use crate::lab::probe::report::terminal::Look;

/// In colour on a terminal, unless somebody wants none (no-color.org).
pub(super) fn look(stream: &impl std::io::IsTerminal) -> Look {
    let terminal = stream.is_terminal();
    let plain = shell_variable("NO_COLOR").is_some() || shell_variable("TERM").is_some_and(|term| term == "dumb");
    let columns = shell_variable("COLUMNS").and_then(|columns| columns.to_str()?.parse().ok());
    let width = columns.filter(|_| terminal).unwrap_or(Look::default().width);
    Look { colour: terminal && !plain, width }
}

/// What is in a file of so many bytes at most.
pub(super) fn text_of(path: &Path, most: usize) -> Result<String, String> {
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
pub(super) enum Place {
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
    pub(super) fn open(path: &Path) -> std::io::Result<Self> {
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

    pub(super) fn path(&self) -> &Path {
        match self {
            Self::Stdout => Path::new("-"),
            Self::Stream(path, _) | Self::File { path, .. } => path,
        }
    }

    pub(super) fn write(&mut self, text: &str) -> std::io::Result<()> {
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

/// The files of a run, each with how it is written. Every path is tried before anything is sent to anybody, and no two are one.
pub(super) struct Places<Form>(Vec<(Form, Place)>);

impl<Form> Places<Form> {
    /// Sees that each path that an option names can be written.
    pub(super) fn open<'a>(
        options: impl IntoIterator<Item = (&'static str, &'a Option<PathBuf>, Form)>,
    ) -> Result<Self, Failure> {
        let (mut places, mut taken) = (Vec::new(), Vec::<(&str, PathBuf)>::new());
        for (option, path, form) in options {
            let Some(path) = path else { continue };
            let wrong = |problem: String| Failure::Usage(format!("{option} {}: {problem}", path.display()));
            let place = Place::open(path).map_err(|problem| wrong(problem.to_string()))?;
            if let Some((other, _)) = taken.iter().find(|(_, other)| other == place.path()) {
                return Err(wrong(format!("{other} writes there as well")));
            }
            taken.push((option, place.path().to_owned()));
            places.push((form, place));
        }
        Ok(Self(places))
    }

    /// Takes the first one out that is written so.
    pub(super) fn take(&mut self, wanted: impl Fn(&Form) -> bool) -> Option<Place> {
        let at = self.0.iter().position(|(form, _)| wanted(form))?;
        Some(self.0.remove(at).1)
    }

    /// Whether standard output is among them: what is for people goes to standard error then.
    fn takes_stdout(&self) -> bool {
        self.0.iter().any(|(_, place)| matches!(place, Place::Stdout))
    }

    /// Writes them all, each whole or not at all. Called again it replaces what it wrote, other than on standard output.
    pub(super) fn write(&mut self, text: impl Fn(&Form) -> String) -> Result<(), Failure> {
        for (form, place) in &mut self.0 {
            let written = place.write(&text(form));
            written.map_err(|problem| Failure::Unable(format!("{}: {problem}", place.path().display())))?;
        }
        Ok(())
    }

    /// Tells people, who may want colours where they read.
    pub(super) fn tell(&self, text: impl Fn(Look) -> String) {
        if self.takes_stdout() {
            say!("{}", text(look(&std::io::stderr())).trim_end());
        } else {
            out!("{}", text(look(&std::io::stdout())).trim_end());
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
