//! What goes wrong in the store, and what a database's own code for it means to those who asked.

use std::error::Error;
use std::path::PathBuf;
use std::sync::Arc;

/// What went wrong below. The text never leaves the process.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The database cannot be reached or opened.
    #[error("the database cannot be opened: {0}")]
    Unreachable(#[source] sqlx::Error),
    /// Its schema is not ours.
    #[error("the database's schema cannot be brought up to date: {0}")]
    Schema(#[source] sqlx::migrate::MigrateError),
    /// A later version has worked on it.
    #[error("the database was made or migrated by a newer avouch (its schema has version {0}): start that one")]
    Newer(i64),
    /// It was made before the schema was last rewritten.
    #[error(
        "the database was made by an older avouch whose schema was rewritten since (version {0}): until 0.1.0 there is no way on, start on a new one"
    )]
    Rewritten(i64),
    /// A copy of the database.
    #[error("the copy {} cannot be made: {cause}", .file.display())]
    Backup {
        /// Where to.
        file: PathBuf,
        /// Why not.
        #[source]
        cause: Box<dyn Error + Send + Sync>,
    },
    /// A pooler that hands every transaction to another connection: prepared statements and settings get lost there.
    #[error(
        "database_url leads to a pooler in transaction or statement mode (as of PgBouncer), which is not supported: let it pool by session, or name PostgreSQL itself"
    )]
    Pooler,
    /// Another server works on the file.
    #[error("another server is working on {}: stop it first. Several servers need PostgreSQL", .0.display())]
    Taken(PathBuf),
    /// The file's lock cannot be made.
    #[error("{} cannot be locked: {cause}", .file.display())]
    Lock {
        /// The lock's own file.
        file: PathBuf,
        /// Why not.
        #[source]
        cause: std::io::Error,
    },
    /// Nothing is wrong with what was asked: a moment later it may work.
    #[error("{outage}: {cause}")]
    Unavailable {
        /// What is the matter.
        outage: Outage,
        /// As the database or the machine says it.
        #[source]
        cause: Cause,
        /// Whether the database ended the transaction, for a reason that may be over by now: nothing of it happened.
        cut_off: bool,
    },
    /// A statement failed.
    #[error("a statement failed: {0}")]
    Statement(#[source] sqlx::Error),
    /// A text with U+0000, which PostgreSQL cannot hold: no row is named by it.
    #[error("a text contains U+0000")]
    Unstorable,
    /// A row does not say what every row of its table must.
    #[error("a row is broken: {0}")]
    Broken(&'static str),
    /// The committer is gone: the process is ending.
    #[error("the store is closing")]
    Closing,
}

/// What lies under it; shared by all who waited for the same.
pub type Cause = Arc<dyn Error + Send + Sync>;

/// What keeps a database from working that is in order otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Outage {
    /// Refused, cut off, or silent.
    #[error("the database does not answer")]
    Silent,
    /// Too much is asked of it.
    #[error("the database is busy")]
    Busy,
    /// By another process, for longer than anyone waits.
    #[error("the database is locked")]
    Locked,
    /// No room for a write.
    #[error("the disk is full")]
    Full,
    /// A file system or a server that takes no writes.
    #[error("the database takes no writes")]
    ReadOnly,
    /// Another file is there now, or none: what is written would have no name.
    #[error("the database's file was moved, deleted or replaced")]
    Gone,
    /// The machine says no.
    #[error("the database's files cannot be used")]
    Unusable,
}

impl StoreError {
    pub(super) fn unavailable(outage: Outage, cause: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::Unavailable { outage, cause: Arc::from(cause.into()), cut_off: false }
    }

    pub(super) fn of_schema(error: sqlx::migrate::MigrateError) -> Self {
        use sqlx::migrate::MigrateError as E;
        match error {
            E::VersionMissing(version) => Self::Newer(version),
            E::VersionMismatch(version) => Self::Rewritten(version),
            other => Self::Schema(other),
        }
    }

    /// Whether a moment later it may work.
    #[must_use]
    pub fn is_outage(&self) -> bool {
        matches!(self, Self::Unavailable { .. } | Self::Closing)
    }

    /// Whether the database ended the transaction before its end, so that nothing of it happened and it may be run again: a deadlock
    /// was broken, or the connection was lost or ended.
    #[must_use]
    pub fn is_cut_off(&self) -> bool {
        matches!(self, Self::Unavailable { cut_off: true, .. })
    }

    /// The same for a COMMIT: whether it happened is unknown, so it must not be run again.
    pub(super) fn of_commit(error: sqlx::Error) -> Self {
        match error.into() {
            Self::Unavailable { outage, cause, .. } => Self::Unavailable { outage, cause, cut_off: false },
            other => other,
        }
    }

    /// The same for each of many who waited for it together.
    pub(super) fn for_each(self) -> impl Fn() -> Self {
        let (outage, cause) = match self {
            Self::Unavailable { outage, cause, .. } => (outage, cause),
            other => (Outage::Busy, Arc::new(other) as Cause),
        };
        move || Self::Unavailable { outage, cause: cause.clone(), cut_off: false }
    }
}

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        use sqlx::Error as E;
        let code = error.as_database_error().and_then(sqlx::error::DatabaseError::code);
        let (outage, cut_off) = match (&error, code.as_deref()) {
            // `character_not_in_repertoire`; our texts are UTF-8, so it is that one character.
            (_, Some("22021")) => return Self::Unstorable,
            (_, Some(code)) => match by_code(code) {
                Some(found) => found,
                None => return Self::Statement(error),
            },
            (E::PoolTimedOut, _) => (Outage::Busy, false),
            (E::Io(_) | E::Tls(_) | E::Protocol(_), _) => (Outage::Silent, true),
            (E::PoolClosed | E::WorkerCrashed | E::BeginFailed, _) => (Outage::Silent, false),
            _ => return Self::Statement(error),
        };
        Self::Unavailable { outage, cause: Arc::new(error), cut_off }
    }
}

/// PostgreSQL's have five characters (its appendix A), SQLite's are numbers whose lowest byte tells the kind (sqlite.org/rescode.html).
fn by_code(code: &str) -> Option<(Outage, bool)> {
    Some(match (code.len(), code.get(..2).unwrap_or_default(), code) {
        // Serialization failure, deadlock.
        (5, _, "40001" | "40P01") => (Outage::Busy, true),
        // Idle in its transaction for too long, as a process that was stopped meanwhile.
        (5, _, "25P03" | "25P04") | (5, "08", _) => (Outage::Silent, true),
        // The lock or the whole statement took too long: at once it would again.
        (5, _, "55P03" | "57014") => (Outage::Busy, false),
        (5, "57", _) => (Outage::Silent, true),
        (5, _, "25006") => (Outage::ReadOnly, false),
        (5, _, "53100") => (Outage::Full, false),
        (5, "53", _) => (Outage::Busy, false),
        (5, "58", _) => (Outage::Unusable, false),
        // Whoever may connect was changed, or what to.
        (5, "28", _) | (5, _, "3D000") => (Outage::Silent, false),
        (5, ..) => return None,
        _ => match code.parse::<u32>().ok()? & 0xff {
            5 | 6 | 15 => (Outage::Locked, false),
            7 => (Outage::Busy, false),
            8 => (Outage::ReadOnly, false),
            13 => (Outage::Full, false),
            10 | 14 => (Outage::Unusable, false),
            _ => return None,
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_code_means() {
        let cases = [
            ("40P01", Some((Outage::Busy, true))),
            ("25P03", Some((Outage::Silent, true))),
            ("57P01", Some((Outage::Silent, true))),
            ("57P03", Some((Outage::Silent, true))),
            ("08006", Some((Outage::Silent, true))),
            ("55P03", Some((Outage::Busy, false))),
            ("57014", Some((Outage::Busy, false))),
            ("25006", Some((Outage::ReadOnly, false))),
            ("53100", Some((Outage::Full, false))),
            ("53300", Some((Outage::Busy, false))),
            ("58030", Some((Outage::Unusable, false))),
            ("28P01", Some((Outage::Silent, false))),
            ("3D000", Some((Outage::Silent, false))),
            ("23505", None),
            ("42P01", None),
            ("42P05", None),
            // SQLite: busy, busy snapshot, locked, read-only and its moved file, I/O error at a write, full, cannot open.
            ("5", Some((Outage::Locked, false))),
            ("517", Some((Outage::Locked, false))),
            ("6", Some((Outage::Locked, false))),
            ("8", Some((Outage::ReadOnly, false))),
            ("1032", Some((Outage::ReadOnly, false))),
            ("778", Some((Outage::Unusable, false))),
            ("13", Some((Outage::Full, false))),
            ("14", Some((Outage::Unusable, false))),
            // An error, a corrupt file, a constraint.
            ("1", None),
            ("11", None),
            ("2067", None),
        ];
        for (code, meaning) in cases {
            assert_eq!(by_code(code), meaning, "{code}");
        }
    }
}
