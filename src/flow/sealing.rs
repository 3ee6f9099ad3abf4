//! Sealing keys of a process that runs: which one seals, how it hears that it is another, and how others hear what it has.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::domain::ids::SealingKeyId;
use crate::domain::sealing::SealingState;
use crate::error::Error;
use crate::flow::keyfile::{self, KeyFileError};
use crate::host::{Given, Host, Place, Placed};
use crate::jose::SealingKey;

/// Most sealing keys of before that are read.
const MAX_OLD: usize = 50;
/// How often a server says that it runs.
const BEAT: Duration = Duration::from_secs(5);

/// Where the sealing key is.
#[must_use]
pub fn path(folder: &Path) -> PathBuf {
    folder.join("sealing.key")
}

/// Where the one is that is to follow it.
#[must_use]
pub fn next_path(folder: &Path) -> PathBuf {
    folder.join("sealing-next.key")
}

/// Where one is kept that another has followed.
#[must_use]
pub fn old_path(folder: &Path, id: &SealingKeyId) -> PathBuf {
    folder.join(format!("sealing-{id}.key"))
}

/// A sealing key in a file, if there is one.
pub(super) fn read(path: PathBuf) -> Result<Option<Placed>, KeyFileError> {
    if !keyfile::exists(&path)? {
        return Ok(None);
    }
    let key = SealingKey::from_bytes(&keyfile::read(&path)?).map_err(|e| KeyFileError::new(&path, e.0))?;
    Ok(Some(Placed { key: Arc::new(key), place: Place::File(path) }))
}

/// Those that were kept, by their names.
pub(super) fn old(folder: &Path) -> Result<Vec<Placed>, KeyFileError> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Ok(Vec::new()) };
    let id = |name: &str| {
        let id = name.strip_prefix("sealing-")?.strip_suffix(".key")?;
        (id.len() == 16 && id.bytes().all(|b| b.is_ascii_hexdigit())).then(|| SealingKeyId::from(id))
    };
    let mut ids: Vec<_> = entries.flatten().filter_map(|entry| id(entry.file_name().to_str()?)).collect();
    ids.sort();
    if ids.len() > MAX_OLD {
        let problem = format!(
            "there are more than {MAX_OLD} sealing keys of before beside it: take those away that no backup needs"
        );
        return Err(KeyFileError::new(&path(folder), problem));
    }
    let mut kept = Vec::new();
    for id in ids {
        let path = old_path(folder, &id);
        let Some(placed) = read(path.clone())? else { continue };
        if *placed.key.id() != id {
            let problem =
                format!("it holds the sealing key {}, which is not the one that it is named after", placed.key.id());
            return Err(KeyFileError::new(&path, problem));
        }
        kept.push(placed);
    }
    Ok(kept)
}

/// Hears which sealing key seals, and looks for one that is named and not here. Where it is not found, that is said in the log, once.
///
/// # Errors
/// Faults.
pub async fn follow(host: &Host) -> Result<(), Error> {
    let named = host.database.read().await?.sealing_keys().await?;
    let Some((current, _)) = named.iter().find(|(_, state)| *state == SealingState::Current) else {
        return Err(Error::invariant("a database with an issuer names its sealing key"));
    };
    let keys = host.sealing.keys();
    let lacks = |id: &SealingKeyId| keys.get(id).is_none();
    let mut trouble = None;
    if named.iter().any(|(id, _)| lacks(id)) {
        match look_again(&host.sealing.given()) {
            Ok(given) => {
                let keys = given.keys();
                if let Some((id, _)) = named.iter().find(|(id, _)| keys.get(id).is_none()) {
                    trouble = Some(format!("the database names the sealing key {id}, which this server has not got"));
                }
                host.sealing.replace(given, current);
            }
            Err(error) => trouble = Some(error.to_string()),
        }
    } else if keys.first().id() != current {
        host.sealing.replace(Given::clone(&host.sealing.given()), current);
        tracing::info!(sealing_key = current.as_str(), "another sealing key seals from now on");
    }
    if host.sealing.is_news(trouble.as_deref()) {
        tracing::error!("{}", trouble.unwrap_or_default());
    }
    Ok(())
}

/// Takes up what is there now, for who has made it.
///
/// # Errors
/// When it cannot be used.
pub(super) fn take_up(host: &Host) -> Result<(), KeyFileError> {
    let given = look_again(&host.sealing.given())?;
    host.sealing.replace(given, host.sealing.keys().first().id());
    Ok(())
}

/// Reads the files again. Commands are run at the start and at SIGHUP only.
fn look_again(given: &Given) -> Result<Given, KeyFileError> {
    let folder = given.folder.clone();
    let mut found = given.clone();
    if !matches!(&given.next, Some(Placed { place: Place::Command(_), .. })) {
        found.next = read(next_path(&folder))?;
    }
    if matches!(given.main.place, Place::File(_))
        && let Some(main) = read(path(&folder))?
    {
        found.main = main;
    }
    // What this process has it keeps: somebody may have a page open.
    for placed in old(&folder)?.into_iter().chain([given.main.clone()]).chain(given.next.clone()) {
        if found.old.iter().all(|known| known.key.id() != placed.key.id()) {
            found.old.push(placed);
        }
    }
    Ok(found)
}

/// Says that a server runs, and which sealing keys it has, so that whoever changes the sealing key knows whom to wait for.
#[derive(Debug)]
pub struct Heart {
    id: String,
    place: String,
    last: Option<(Instant, Vec<SealingKeyId>)>,
}

impl Heart {
    /// Of this process.
    #[must_use]
    pub fn new(host: &Host) -> Self {
        let machine = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
        let machine = if machine.trim().is_empty() { "an unnamed machine" } else { machine.trim() };
        Self { id: host.id(), place: format!("{machine} (process {})", std::process::id()), last: None }
    }

    /// Says it every few seconds, at once where it has another key, and each time while one that is announced is missing.
    ///
    /// # Errors
    /// Faults.
    pub async fn beat(&mut self, host: &Host) -> Result<(), Error> {
        let keys = host.sealing.keys();
        let ids: Vec<SealingKeyId> = keys.ids().cloned().collect();
        let quiet = |(at, said): &(Instant, Vec<SealingKeyId>)| at.elapsed() < BEAT && *said == ids;
        if self.last.as_ref().is_some_and(quiet) && !host.sealing.is_in_trouble() {
            return Ok(());
        }
        let mut tx = host.database.begin().await?;
        tx.server_runs(&self.id, &self.place, &ids, host.now()).await?;
        tx.commit().await?;
        self.last = Some((Instant::now(), ids));
        Ok(())
    }

    /// Says that it has ended.
    ///
    /// # Errors
    /// Faults.
    pub async fn end(&self, host: &Host) -> Result<(), Error> {
        let mut tx = host.database.begin().await?;
        tx.server_ended(&self.id).await?;
        tx.commit().await?;
        Ok(())
    }
}
