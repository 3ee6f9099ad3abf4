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
    let wrong = |e: std::io::Error| KeyFileError::new(path, e);
    let folder = path.parent().filter(|f| !f.as_os_str().is_empty()).unwrap_or(Path::new("."));
    fs::DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(wrong)?;
    // Written beside and linked into place, so that no other process ever reads half of it. Named at random: two containers on one
    // volume have the same process id.
    let beside = path.with_extension(format!("new-{:032x}", u128::from_be_bytes(rng.bytes())));
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&beside).map_err(wrong)?;
    file.write_all(bytes).and_then(|()| file.sync_all()).map_err(wrong)?;
    let linked = fs::hard_link(&beside, path);
    fs::remove_file(&beside).map_err(wrong)?;
    // The rows that only this key opens are about to be durable; its name has to be so first.
    fs::File::open(folder).and_then(|f| f.sync_all()).map_err(wrong)?;
    match linked {
        Ok(()) => Ok(true),
        Err(e) if e.kind() == ErrorKind::AlreadyExists => Ok(false),
        Err(e) => Err(wrong(e)),
    }
}

/// Reads a file that no other user of the machine may read.
///
/// # Errors
/// When it is missing, unreadable, too large or open to everyone.
pub fn read(path: &Path) -> Result<Zeroizing<Vec<u8>>, KeyFileError> {
    let wrong = |e: std::io::Error| match e.kind() {
        ErrorKind::NotFound => {
            KeyFileError::new(path, "it is missing, and the database already has keys that only it opens. Put it back")
        }
        _ => KeyFileError::new(path, e),
    };
    let metadata = fs::metadata(path).map_err(wrong)?;
    if metadata.permissions().mode() & 0o007 != 0 {
        return Err(KeyFileError::new(path, "every user of this machine can read or change it. Run: chmod 600 on it"));
    }
    if metadata.len() > MAX {
        return Err(KeyFileError::new(path, "it is larger than any key"));
    }
    fs::read(path).map(Zeroizing::new).map_err(wrong)
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
