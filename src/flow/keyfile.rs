//! Key files: made once with mode 0600, read only when nobody else can.

use std::fs::{self, OpenOptions};
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use crate::rng::Rng;
use crate::secret::Secret;

/// Most bytes of a key file.
const MAX: u64 = 4096;
/// What the ending begins with of a file that is being made.
const NEW: &str = "new-";

/// Why a key file cannot be used. Nothing is ever made in its place.
#[derive(Debug, thiserror::Error)]
#[error("the key file {path} cannot be used: {problem}", path = path.display())]
pub struct KeyFileError {
    path: PathBuf,
    problem: String,
}

impl KeyFileError {
    /// About a file.
    #[must_use]
    pub fn new(path: &Path, problem: impl std::fmt::Display) -> Self {
        Self { path: path.to_owned(), problem: problem.to_string() }
    }
}

/// Whether there is such a file.
///
/// # Errors
/// When nobody can tell.
pub fn exists(path: &Path) -> Result<bool, KeyFileError> {
    path.try_exists().map_err(|e| KeyFileError::new(path, e))
}

/// Makes a file of mode 0600, durable before this returns. `false` when there is one: it is left as it is.
///
/// # Errors
/// When folder or file cannot be made.
pub fn make(path: &Path, bytes: &[u8], rng: &Rng) -> Result<bool, KeyFileError> {
    if exists(path)? {
        return Ok(false);
    }
    // Linked into place, so that no other process ever reads half of it, nor writes over it.
    let beside = write_beside(path, bytes, rng)?;
    let linked = fs::hard_link(&beside.file, path);
    drop(beside);
    match linked {
        // The rows that only this key opens are about to be durable; its name has to be so first.
        Ok(()) => sync_folder(path).map(|()| true),
        Err(e) if e.kind() == ErrorKind::AlreadyExists => Ok(false),
        // Swept by another process, which found the file made.
        Err(e) if e.kind() == ErrorKind::NotFound && path.exists() => Ok(false),
        Err(e) => Err(KeyFileError::new(path, e)),
    }
}

/// Gives a file a second name, durable before this returns. `false` when there is a file of that name: it is left as it is.
///
/// # Errors
/// When that cannot be done.
pub fn keep(path: &Path, name: &Path) -> Result<bool, KeyFileError> {
    match fs::hard_link(path, name) {
        Ok(()) => sync_folder(name).map(|()| true),
        Err(e) if e.kind() == ErrorKind::AlreadyExists => Ok(false),
        Err(e) => Err(KeyFileError::new(path, e)),
    }
}

/// Puts a file in the place of another at one stroke.
///
/// # Errors
/// When that cannot be done; both are as they were then.
pub fn replace(new: &Path, path: &Path) -> Result<(), KeyFileError> {
    fs::rename(new, path).map_err(|e| KeyFileError::new(path, e))?;
    sync_folder(path)
}

/// Takes a file away, if there is one.
///
/// # Errors
/// When it cannot be taken away.
pub fn remove(path: &Path) -> Result<(), KeyFileError> {
    match fs::remove_file(path) {
        Err(e) if e.kind() != ErrorKind::NotFound => Err(KeyFileError::new(path, e)),
        _ => Ok(()),
    }
}

/// A file that is about to be one of another name; gone with this value unless it was put there.
pub struct Beside {
    file: PathBuf,
    path: PathBuf,
}

/// Writes a file of mode 0600 beside where it belongs. Named at random: two containers on one volume have the same process id.
///
/// # Errors
/// When folder or file cannot be made.
pub fn write_beside(path: &Path, bytes: &[u8], rng: &Rng) -> Result<Beside, KeyFileError> {
    let wrong = |e: std::io::Error| KeyFileError::new(path, e);
    fs::DirBuilder::new().recursive(true).mode(0o700).create(folder(path)).map_err(wrong)?;
    let file = path.with_extension(format!("{NEW}{:032x}", u128::from_be_bytes(rng.bytes())));
    let mut open = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&file).map_err(wrong)?;
    let beside = Beside { file, path: path.to_owned() };
    open.write_all(bytes).and_then(|()| open.sync_all()).map_err(wrong)?;
    Ok(beside)
}

impl Beside {
    /// Puts it in its place at one stroke, over what is there.
    ///
    /// # Errors
    /// When that cannot be done; what is there stays.
    pub fn put(self) -> Result<(), KeyFileError> {
        replace(&self.file, &self.path)
    }
}

impl Drop for Beside {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.file);
    }
}

fn folder(path: &Path) -> &Path {
    path.parent().filter(|f| !f.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

fn sync_folder(path: &Path) -> Result<(), KeyFileError> {
    fs::File::open(folder(path)).and_then(|f| f.sync_all()).map_err(|e| KeyFileError::new(path, e))
}

/// Removes what starts that were killed have left beside a file, if that is there: until it is, another process may be about to make it.
pub fn sweep(path: &Path) {
    let (Some(folder), Some(stem)) = (path.parent(), path.file_stem()) else { return };
    let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    let (true, Ok(entries)) = (path.exists(), fs::read_dir(folder)) else { return };
    for entry in entries.flatten() {
        let beside = PathBuf::from(entry.file_name());
        let ending = beside.extension().and_then(|ending| ending.to_str()?.strip_prefix(NEW));
        let ours = ending.is_some_and(|id| id.len() == 32 && id.bytes().all(|b| b.is_ascii_hexdigit()));
        if ours && beside.file_stem() == Some(stem) {
            // In a folder that can only be read nothing was left.
            let _ = fs::remove_file(entry.path());
        }
    }
}

/// Reads a file that no other user of the machine may read; its group may, as it has to where files are handed to a container.
///
/// # Errors
/// When it is missing, unreadable, too large or open to everyone.
pub fn read(path: &Path) -> Result<Zeroizing<Vec<u8>>, KeyFileError> {
    let wrong = |e: std::io::Error| match e.kind() {
        ErrorKind::NotFound => missing(path),
        _ => KeyFileError::new(path, e),
    };
    let metadata = fs::metadata(path).map_err(wrong)?;
    if metadata.permissions().mode() & 0o027 != 0 {
        return Err(KeyFileError::new(path, "others on this machine can read or change it. Run: chmod 600 on it"));
    }
    if !metadata.is_file() {
        return Err(KeyFileError::new(path, "it is not a file"));
    }
    if metadata.len() > MAX {
        return Err(KeyFileError::new(path, "it is larger than any key"));
    }
    fs::read(path).map(Zeroizing::new).map_err(wrong)
}

/// It should be there.
#[must_use]
pub fn missing(path: &Path) -> KeyFileError {
    KeyFileError::new(path, "it is missing, and the database already has keys that only it opens. Put it back")
}

/// Reads a token from such a file.
///
/// # Errors
/// As [`read`]; and when it is shorter than 32 bytes, which nobody should trust.
pub fn read_text(path: &Path) -> Result<Secret, KeyFileError> {
    let bytes = read(path)?;
    let text = std::str::from_utf8(&bytes).map_err(|_| KeyFileError::new(path, "it is not text"))?.trim();
    if text.len() < 32 {
        return Err(KeyFileError::new(path, "it is shorter than 32 characters"));
    }
    Ok(Secret::new(text))
}
