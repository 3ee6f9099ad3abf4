//! Where sealing keys come from, and whether they are those of the database.
//!
//! The operator gives them, as files of `[keys] dir` or by commands; the database says by name which one seals. Whatever else is given opens
//! what it has sealed.

use std::sync::Arc;

use crate::config::{Config, Pkcs11};
use crate::domain::ids::SealingKeyId;
use crate::domain::sealing::SealingState;
use crate::error::Error;
use crate::flow::sealing::{next_path, old, path, read};
use crate::flow::starting::StartError;
use crate::flow::{key_command, keyfile};
use crate::host::{Given, Host, Place, Placed, Sealing};
use crate::jose::Device;
use crate::store::Database;

const MAIN: &str = "sealing_key_command";
const NEXT: &str = "next_sealing_key_command";

/// What the operator gives; `None` when there is no sealing key yet.
///
/// # Errors
/// When something that is given cannot be used.
pub(super) async fn given(config: &Config) -> Result<Option<Given>, StartError> {
    let folder = &config.keys_dir;
    // The next one first: at the end it is put in the place of the other, and would be missed in between.
    let next = match &config.sealing_commands.next {
        Some(command) => Some(printed(NEXT, command).await?),
        None => read(next_path(folder))?,
    };
    let main = match &config.sealing_commands.main {
        Some(command) => Some(printed(MAIN, command).await?),
        None => read(path(folder))?,
    };
    // Also where there is no sealing key yet: before one is made, everything that is given has to be of use.
    let device = device(config).await?;
    let Some(main) = main else { return Ok(None) };
    Ok(Some(Given { folder: folder.clone(), main, next, old: old(folder)?, device }))
}

/// The device of the configuration, open.
async fn device(config: &Config) -> Result<Option<Device>, StartError> {
    let Some(Pkcs11 { module, token, pin }) = config.pkcs11.clone() else { return Ok(None) };
    let opened = tokio::task::spawn_blocking(move || Device::open(&module, &token, &pin)).await;
    let opened = opened.map_err(|_| Error::invariant("opening a device does not panic"))?;
    Ok(Some(opened.map_err(|e| StartError::Configuration(format!("[keys.pkcs11]: {e}")))?))
}

/// The same for a database that has keys already.
///
/// # Errors
/// Also when there is no sealing key.
pub(super) async fn needed(config: &Config) -> Result<Given, StartError> {
    match given(config).await? {
        Some(given) => Ok(given),
        None => Err(keyfile::missing(&path(&config.keys_dir)).into()),
    }
}

async fn printed(name: &'static str, command: &[String]) -> Result<Placed, StartError> {
    let key = key_command::run(command).await;
    let key = key.map_err(|problem| StartError::Configuration(format!("[keys] {name}: {problem}")))?;
    Ok(Placed { key: Arc::new(key), place: Place::Command(name) })
}

/// What a process begins with: what is given has to open whatever the database has.
///
/// # Errors
/// When it does not.
pub(super) async fn judge(database: &Database, given: Given) -> Result<Sealing, StartError> {
    let current = judge_given(database, &given).await?;
    Ok(Sealing::new(given, &current))
}

/// Goes on with what is given now.
///
/// # Errors
/// When it does not open whatever the database has; then nothing has changed.
pub(super) async fn replace(host: &Host, given: Given) -> Result<(), StartError> {
    let current = judge_given(&host.database, &given).await?;
    host.sealing.replace(given, &current);
    Ok(())
}

async fn judge_given(database: &Database, given: &Given) -> Result<SealingKeyId, StartError> {
    let mut tx = database.read().await?;
    let (keys, mut current) = (given.keys(), None);
    for (id, state) in tx.sealing_keys().await? {
        let used = match state {
            SealingState::Current => {
                current = Some(id.clone());
                true
            }
            SealingState::Leaving => tx.count_sealed_by(&id).await? > 0,
            SealingState::Next | SealingState::Retired => false,
        };
        if used && keys.get(&id).is_none() {
            let Placed { key, place } = &given.main;
            return Err(StartError::Configuration(format!(
                "there are signing keys in the database that only the sealing key {id} opens, and that is not here ({place} is {}). Put it \
                 back: as it was, or beside it under the name sealing-{id}.key",
                key.id()
            )));
        }
    }
    current.ok_or_else(|| Error::invariant("a database with an issuer names its sealing key").into())
}
