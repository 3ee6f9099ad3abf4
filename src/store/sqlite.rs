//! A SQLite file and the ways to it: one connection writes, some read.

use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use sqlx::pool::PoolConnection;
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous,
};
use sqlx::{Connection as _, Sqlite, Transaction};
use tokio::sync::Mutex;

use super::error::Outage;
use super::{Result, StoreError, migrator};

/// How long a write waits for another process that has locked the file.
const BUSY: Duration = Duration::from_secs(3);
/// How long anyone waits for a connection.
const ACQUIRE: Duration = Duration::from_secs(5);
/// Room that must be left for the server to count as ready.
const ROOM: usize = 1 << 20;

/// Held by the one server that works on a file, for as long as its process lives. Commands that work beside a server need none.
#[derive(Debug)]
pub struct FileLock(#[expect(dead_code, reason = "it is held, not read")] fs::File);

impl FileLock {
    /// Takes it. It is a file beside the database and stays there: were it removed, two servers could each lock one of that name. The
    /// database's own file would not do, since SQLite loses its locks when the process closes that file elsewhere.
    ///
    /// # Errors
    /// [`StoreError::Taken`], [`StoreError::Lock`].
    pub fn take(database: &Path) -> Result<Self> {
        // By whatever path it is named; on the first start there is none yet.
        let database = database.canonicalize().unwrap_or_else(|_| database.to_owned());
        let file = beside(&database, "-lock");
        let open = fs::OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(&file);
        let lock = open.map_err(|cause| StoreError::Lock { file: file.clone(), cause })?;
        match lock.try_lock() {
            Ok(()) => Ok(Self(lock)),
            Err(fs::TryLockError::WouldBlock) => Err(StoreError::Taken(database)),
            Err(fs::TryLockError::Error(cause)) => Err(StoreError::Lock { file, cause }),
        }
    }
}

#[derive(Clone)]
pub(super) struct File {
    write: SqlitePool,
    read: SqlitePool,
    /// Asks nothing. As long as it is open, the log is one file, whichever of the others are closed.
    keeper: Arc<Mutex<Option<SqliteConnection>>>,
    place: Arc<Place>,
}

/// Which file was opened.
struct Place {
    path: PathBuf,
    identity: Identity,
    /// Where commits go first.
    wal: Option<(PathBuf, Identity)>,
}

/// Device and inode. As long as a connection has it open, no other file gets that number.
type Identity = (u64, u64);

fn identity(path: &Path) -> io::Result<Identity> {
    fs::metadata(path).map(|found| (found.dev(), found.ino()))
}

impl File {
    /// Opens the file, creating it if need be, and brings its schema up to date.
    pub(super) async fn open(path: &Path) -> Result<Self> {
        let options = SqliteConnectOptions::new()
            .filename(path)
            .journal_mode(SqliteJournalMode::Wal)
            // A row must be durable before its caller hears of it: NORMAL would lose commits with the power.
            .synchronous(SqliteSynchronous::Full)
            .busy_timeout(BUSY)
            // A batch needs somewhere to undo a statement: not a file, each time.
            .pragma("temp_store", "MEMORY")
            .foreign_keys(true);
        keep_private(path).map_err(|error| StoreError::Unreachable(error.into()))?;
        let first = options.clone().create_if_missing(true);
        let mut keeper = SqliteConnection::connect_with(&first).await.map_err(StoreError::Unreachable)?;
        // From here on a file that is not there must not be made: it would be another, and empty. A file does not hang up, so that a
        // connection that was well when it was given back needs no look before it is used.
        let write = SqlitePoolOptions::new()
            .max_connections(1)
            .acquire_timeout(ACQUIRE)
            .idle_timeout(None)
            .max_lifetime(None)
            .test_before_acquire(false)
            .after_release(|connection, _| Box::pin(has_ended(connection)));
        let write = write.connect_with(options.clone()).await.map_err(StoreError::Unreachable)?;
        migrator().run(&write).await.map_err(StoreError::of_schema)?;
        // Only who has read something holds on to the log.
        sqlx::query("SELECT name FROM sqlite_schema LIMIT 1")
            .execute(&mut keeper)
            .await
            .map_err(StoreError::Unreachable)?;
        let read = SqlitePoolOptions::new().max_connections(4).acquire_timeout(ACQUIRE).test_before_acquire(false);
        let read = read.connect_lazy_with(options.read_only(true));
        let place = Place::of(path).map_err(|error| StoreError::Unreachable(error.into()))?;
        Ok(Self { write, read, keeper: Arc::new(Mutex::new(Some(keeper))), place: Arc::new(place) })
    }

    /// Opens a file that is there for reading, and changes nothing about it. `None` when there is none.
    pub(super) async fn look(path: &Path) -> Result<Option<Self>> {
        if !path.exists() {
            return Ok(None);
        }
        // Whoever reads a log makes an index for it and leaves that behind. Where there is no log, nobody is at work and the file is all.
        let alone = !beside(path, "-wal").exists();
        let options = SqliteConnectOptions::new().filename(path).read_only(true).immutable(alone).busy_timeout(BUSY);
        let pool = SqlitePoolOptions::new().max_connections(1).acquire_timeout(ACQUIRE);
        let read = pool.connect_with(options).await.map_err(StoreError::Unreachable)?;
        let place = Place::of(path).map_err(|error| StoreError::Unreachable(error.into()))?;
        Ok(Some(Self { write: read.clone(), read, keeper: Arc::default(), place: Arc::new(place) }))
    }

    /// Writes a consistent copy into a new file, whoever works on this one meanwhile.
    pub(super) async fn backup(path: &Path, copy: &Path) -> Result<()> {
        let lost = |error: io::Error| StoreError::Backup { file: copy.to_owned(), cause: error.into() };
        let options = SqliteConnectOptions::new().filename(path).read_only(true).busy_timeout(BUSY);
        let mut from = SqliteConnection::connect_with(&options).await.map_err(StoreError::Unreachable)?;
        // Made beforehand, so that it is never open to others; SQLite takes a file that is there if it is empty.
        let made = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(copy).map_err(lost)?;
        let name = copy.to_str().ok_or_else(|| lost(io::Error::other("its name is not UTF-8")))?;
        let copied = sqlx::query("VACUUM INTO $1").bind(name).execute(&mut from).await;
        let copied = copied.map_err(|error| StoreError::Backup { file: copy.to_owned(), cause: error.into() });
        let folder = copy.parent().filter(|f| !f.as_os_str().is_empty()).unwrap_or(Path::new("."));
        // SQLite does not wait for the disk here.
        let durable = || made.sync_all().and_then(|()| fs::File::open(folder)?.sync_all()).map_err(lost);
        let done = copied.and_then(|_| durable());
        if done.is_err() {
            let _ = fs::remove_file(copy);
        }
        let _ = from.close().await;
        done
    }

    /// Takes the one writer at once: a read that later writes would fail instead of waiting.
    pub(super) async fn begin(&self) -> Result<Transaction<'static, Sqlite>> {
        let tx = self.write.begin_with("BEGIN IMMEDIATE").await?;
        self.place.check(true)?;
        Ok(tx)
    }

    pub(super) async fn read(&self) -> Result<PoolConnection<Sqlite>> {
        let connection = self.read.acquire().await?;
        self.place.check(false)?;
        Ok(connection)
    }

    /// Whether a write would do: that nobody else has locked the file, and that there is room.
    pub(super) async fn ping(&self) -> Result<()> {
        self.begin().await?.rollback().await?;
        let place = self.place.clone();
        let room = tokio::task::spawn_blocking(move || place.has_room()).await;
        room.map_err(|error| StoreError::unavailable(Outage::Unusable, error))?
    }

    pub(super) async fn close(&self) {
        self.read.close().await;
        self.write.close().await;
        if let Some(keeper) = self.keeper.lock().await.take() {
            let _ = keeper.close().await;
        }
    }
}

/// Makes the file, if there is none, and lets nobody else read it, in whatever folder it stands. What SQLite makes beside it gets the same
/// mode. A file that is there is not opened: closing it would take the locks away that SQLite has on it in this process.
fn keep_private(path: &Path) -> io::Result<()> {
    match fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        made => return made.map(drop),
    }
    for file in [path.to_owned(), beside(path, "-wal"), beside(path, "-shm")] {
        let Ok(mode) = fs::metadata(&file).map(|found| found.mode()) else { continue };
        if mode & 0o077 != 0
            && let Err(error) = fs::set_permissions(&file, fs::Permissions::from_mode(mode & 0o700))
        {
            let error = &error as &dyn std::error::Error;
            tracing::warn!(error, file = %file.display(), "others can read the database, and that cannot be changed");
        }
    }
    Ok(())
}

/// Whether a connection that comes back has no transaction any more. One that SQLite ended by itself, as it does when the disk is full,
/// is one that sqlx believes in for good: nothing could begin on that connection again, so it is closed.
async fn has_ended(connection: &mut SqliteConnection) -> std::result::Result<bool, sqlx::Error> {
    if connection.is_in_transaction() {
        // The rollback of a dropped transaction is under way: this waits for it.
        connection.ping().await?;
    }
    Ok(!connection.is_in_transaction())
}

impl Place {
    fn of(path: &Path) -> io::Result<Self> {
        let path = path.canonicalize()?;
        let wal = beside(&path, "-wal");
        let wal = identity(&wal).ok().map(|identity| (wal, identity));
        Ok(Self { identity: identity(&path)?, wal, path })
    }

    /// Whether the file still has its name, and for a transaction its log as well: what is read is right without. Another log of that name,
    /// as a command makes it that is run where there is none, is none of ours.
    fn check(&self, in_transaction: bool) -> Result<()> {
        let lost = |cause: &Path| StoreError::unavailable(Outage::Gone, cause.display().to_string());
        let is_there = |path: &Path, known: Identity| identity(path).is_ok_and(|found| found == known);
        if !is_there(&self.path, self.identity) {
            return Err(lost(&self.path));
        }
        match &self.wal {
            Some((wal, known)) if in_transaction && !is_there(wal, *known) => Err(lost(wal)),
            _ => Ok(()),
        }
    }

    /// Tries whether there is room, by a file beside it: a small write into the log may succeed where the next larger one does not.
    fn has_room(&self) -> Result<()> {
        let scratch = beside(&self.path, "-room");
        let open = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&scratch);
        let written = open.and_then(|mut file| file.write_all(&vec![0; ROOM]));
        // Two that look at once share it.
        let _ = fs::remove_file(&scratch);
        written.map_err(|error| {
            let outage = match error.kind() {
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge => Outage::Full,
                io::ErrorKind::ReadOnlyFilesystem | io::ErrorKind::PermissionDenied => Outage::ReadOnly,
                _ => Outage::Unusable,
            };
            StoreError::unavailable(outage, error)
        })
    }
}

fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    name.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// SQLite ends a transaction by itself when there is no room, and sqlx then believes in it for good.
    #[tokio::test]
    async fn a_connection_whose_transaction_did_not_end_is_thrown_away() {
        let folder = tempfile::TempDir::new().unwrap();
        let file = File::open(&folder.path().join("avouch.db")).await.unwrap();
        for _ in 0..2 {
            let mut tx = file.begin().await.unwrap();
            sqlx::query("PRAGMA max_page_count = 1").execute(&mut *tx).await.unwrap();
            let large = "x".repeat(100_000);
            let written = sqlx::query("INSERT INTO counter (name, value) VALUES ($1, 0)").bind(large).execute(&mut *tx);
            let error = StoreError::from(written.await.unwrap_err());
            assert!(matches!(error, StoreError::Unavailable { outage: Outage::Full, .. }), "{error:?}");
            drop(tx);
        }
        let mut tx = file.begin().await.unwrap();
        sqlx::query("UPDATE counter SET value = 7").execute(&mut *tx).await.unwrap();
        tx.commit().await.unwrap();
        // An ordinary refusal costs no connection.
        drop(file.begin().await.unwrap());
        drop(file.begin().await.unwrap());
        assert_eq!(file.write.size(), 1);
    }
}
