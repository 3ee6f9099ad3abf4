//! Another sealing key, while servers go on: it is announced, seals once every server has it, and what the one before has sealed is sealed
//! anew, some rows at a time. Run again after it was cut short anywhere, it goes on from there; two at once do no harm.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::domain::ids::SealingKeyId;
use crate::domain::journal::Event;
use crate::domain::sealing::{SealedKey, SealingState, Server};
use crate::error::Error;
use crate::flow::keyfile::{self, KeyFileError};
use crate::flow::sealing;
use crate::flow::sealing_files::{self, Tidied};
use crate::host::{DEFAULT_ISSUER, Given, Host, Place, Placed};
use crate::jose::{SealingKeys, SigningKey};
use crate::rng::Rng;
use crate::store::Entry;

/// Rows of one transaction: mints and other servers wait for its end.
const AT_ONCE: i64 = 100;
/// Keys named that do not open.
const MAX_NAMED: usize = 20;
/// How often a server that lacks the key is heard of until it is plain that it looked for it.
const LOOKS: i64 = 3;
/// After how long without a word a server has ended.
const SILENCE: Duration = Duration::from_secs(15);
/// How often to look whether servers have the key, or whether somebody has let go of a row.
const LOOK: Duration = Duration::from_millis(100);
/// How long nothing may be moved because others hold the rows.
const HELD: Duration = Duration::from_secs(30);

/// Why the sealing key is not another, or not all is sealed by it.
#[derive(Debug, thiserror::Error)]
pub enum ResealError {
    /// Something that the operator has to do first.
    #[error("{0}")]
    Stopped(String),
    /// A key file.
    #[error(transparent)]
    KeyFile(#[from] KeyFileError),
    /// Faults.
    #[error(transparent)]
    Failed(#[from] Error),
}

impl From<crate::store::StoreError> for ResealError {
    #[track_caller]
    fn from(error: crate::store::StoreError) -> Self {
        Self::Failed(error.into())
    }
}

/// What goes on.
#[derive(Debug)]
pub enum Progress<'a> {
    /// Servers that have not said yet that they have the key.
    Waiting(&'a [Server]),
    /// Keys that are sealed anew, of how many.
    Resealed(u64, u64),
}

/// What happened, or would.
#[derive(Debug, Serialize)]
pub struct Report {
    /// Whether nothing was changed.
    pub dry_run: bool,
    /// The sealing key that sealed before.
    pub from: SealingKeyId,
    /// The one that seals now; none in a dry run that would make one.
    pub to: Option<SealingKeyId>,
    /// How many keys were sealed anew, or would be.
    pub resealed: u64,
    /// What of them does not open, and stays as it was.
    pub unopened: Vec<String>,
    /// Servers that have not got the key, in a dry run.
    pub servers_without: Vec<String>,
    /// What was done with files.
    pub files: Vec<String>,
    /// What is left for the operator to do.
    pub to_do: Vec<String>,
}

/// Makes the file of the next sealing key, if there is none. Says where it is, and whether it was made now.
///
/// # Errors
/// When there can be none.
pub fn prepare(given: &Given, rng: &Rng) -> Result<(PathBuf, bool), ResealError> {
    if let Place::Command(name) = given.main.place {
        return Err(ResealError::Stopped(format!(
            "the sealing key comes from {name}, so nothing is made here: let next_sealing_key_command print the one that is to follow it"
        )));
    }
    if let Some(Placed { place: Place::Command(name), .. }) = &given.next {
        return Err(ResealError::Stopped(format!("{name} says what the next sealing key is, so none is made here")));
    }
    let path = sealing::next_path(&given.folder);
    let made = keyfile::make(&path, &rng.bytes::<32>(), rng)?;
    Ok((path, made))
}

/// Makes a sealing key unless one is given, lets it seal, and seals anew what the one before has sealed.
///
/// # Errors
/// [`ResealError`]; what has been done by then stays, and the next run goes on with it.
pub async fn run(host: &Host, dry_run: bool, mut progress: impl FnMut(Progress<'_>)) -> Result<Report, ResealError> {
    // Another run may have been through since this one has read them.
    sealing::take_up(host)?;
    let before = current(host).await?;
    let mut target = target(host, &before).await?;
    if dry_run {
        return foretell(host, before, target).await;
    }
    if target.is_none() {
        prepare(&host.sealing.given(), &host.rng)?;
        sealing::take_up(host)?;
        target = host.sealing.given().next.as_ref().map(|next| next.key.id().clone());
    }
    let to = target.ok_or(Error::invariant("what was made is there"))?;
    let mut report = Report::new(before, Some(to.clone()));
    if to != report.from {
        change(host, &report.from, &to, &mut progress).await?;
    }
    sealing::follow(host).await?;
    report.resealed = reseal(host, &to, &mut report.unopened, &mut progress).await?;
    if report.unopened.is_empty() {
        end(host, &to).await?;
        sealing::take_up(host)?;
        let Tidied { files, to_do } = sealing_files::tidy(&host.sealing.given(), &to);
        (report.files, report.to_do) = (files, to_do);
    }
    Ok(report)
}

impl Report {
    fn new(from: SealingKeyId, to: Option<SealingKeyId>) -> Self {
        Self {
            dry_run: false,
            from,
            to,
            resealed: 0,
            unopened: Vec::new(),
            servers_without: Vec::new(),
            files: Vec::new(),
            to_do: Vec::new(),
        }
    }
}

async fn current(host: &Host) -> Result<SealingKeyId, ResealError> {
    let keys = host.database.read().await?.sealing_keys().await?;
    let current = keys.into_iter().find(|(_, state)| *state == SealingState::Current);
    Ok(current.ok_or(Error::invariant("a database with an issuer names its sealing key"))?.0)
}

/// The sealing key that is to seal; `None`: it has to be made.
async fn target(host: &Host, current: &SealingKeyId) -> Result<Option<SealingKeyId>, ResealError> {
    let Given { main, next, .. } = &*host.sealing.given();
    let others = !others(host, Some(current)).await?.is_empty();
    let chosen = match next {
        Some(next) if next.key.id() == main.key.id() && main.key.id() == current && !others => {
            let problem =
                format!("{} is the same key as {}: give another one, or take it away", next.place, main.place);
            return Err(ResealError::Stopped(problem));
        }
        Some(next) => next,
        None if main.key.id() != current => main,
        None if others => return Ok(Some(current.clone())),
        None => return Ok(None),
    };
    let id = chosen.key.id();
    let known = host.database.of(DEFAULT_ISSUER.into()).read().await?.sealing_state(id).await?;
    if matches!(known, Some(SealingState::Leaving | SealingState::Retired)) {
        return Err(ResealError::Stopped(format!(
            "{} is the sealing key {id}, which was used before: that of now is {current}. Give a new one, or none",
            chosen.place
        )));
    }
    Ok(Some(id.clone()))
}

/// What opens keys of the database beside the one that is to.
async fn others(host: &Host, to: Option<&SealingKeyId>) -> Result<Vec<SealingKeyId>, ResealError> {
    let mut tx = host.database.read().await?;
    let (mut found, mut after) = (Vec::new(), String::new());
    while let Some(id) = tx.sealed_by_after(&after).await? {
        id.as_str().clone_into(&mut after);
        found.push(id);
    }
    found.retain(|id| Some(id) != to);
    Ok(found)
}

/// How many keys those open.
async fn count(host: &Host, others: &[SealingKeyId]) -> Result<u64, ResealError> {
    let (mut tx, mut all) = (host.database.read().await?, 0);
    for id in others {
        all += tx.count_sealed_by(id).await?.unsigned_abs();
    }
    Ok(all)
}

/// A sealing key of the database, and how many keys of all issuers it opens.
#[derive(Clone, Debug, Serialize)]
pub struct Standing {
    /// Its name.
    pub id: SealingKeyId,
    /// What it is.
    pub state: SealingState,
    /// What it opens.
    pub keys: u64,
}

/// Where a change of the sealing key stands; one of them alone: none is under way.
///
/// # Errors
/// Faults.
pub async fn standings(host: &Host) -> Result<Vec<Standing>, Error> {
    let mut tx = host.database.read().await?;
    let mut all = Vec::new();
    for (id, state) in tx.sealing_keys().await? {
        let keys = tx.count_sealed_by(&id).await?.unsigned_abs();
        all.push(Standing { id, state, keys });
    }
    Ok(all)
}

async fn foretell(host: &Host, from: SealingKeyId, to: Option<SealingKeyId>) -> Result<Report, ResealError> {
    let mut report = Report { dry_run: true, ..Report::new(from, to) };
    report.resealed = count(host, &others(host, report.to.as_ref()).await?).await?;
    let servers = host.database.read().await?.servers().await?;
    let without = servers.iter().filter(|server| report.to.as_ref().is_none_or(|to| !server.has(to)));
    report.servers_without = without.map(|server| server.place.clone()).collect();
    Ok(report)
}

/// Announces a sealing key, waits until every server has it, and lets it seal.
async fn change(
    host: &Host,
    from: &SealingKeyId,
    to: &SealingKeyId,
    progress: &mut impl FnMut(Progress<'_>),
) -> Result<(), ResealError> {
    let store = host.database.of(DEFAULT_ISSUER.into());
    let mut tx = store.begin().await?;
    // Other servers hear of it by that.
    tx.touch_issuer().await?;
    if tx.announce_sealing_key(to, host.now()).await? {
        tx.commit().await?;
        loop {
            wait_for_servers(host, to, progress).await?;
            if switch(host, from, to).await? {
                break;
            }
        }
    }
    if current(host).await? == *to {
        return Ok(());
    }
    Err(ResealError::Stopped("another run has announced another sealing key meanwhile: run it again".to_owned()))
}

/// `false` when a server has started that has not got the key.
async fn switch(host: &Host, from: &SealingKeyId, to: &SealingKeyId) -> Result<bool, ResealError> {
    let mut tx = host.database.of(DEFAULT_ISSUER.into()).begin().await?;
    tx.touch_issuer().await?;
    if tx.servers().await?.iter().any(|server| !server.has(to)) {
        return Ok(false);
    }
    // Else another run has been quicker.
    if tx.switch_sealing_key(to, host.now()).await? {
        let event = Event::ResealBegan { from: from.clone(), to: to.clone() };
        tx.record(Entry::new(host.id(), host.now(), event)).await?;
        tx.commit().await?;
    }
    Ok(true)
}

async fn wait_for_servers(
    host: &Host,
    to: &SealingKeyId,
    progress: &mut impl FnMut(Progress<'_>),
) -> Result<(), ResealError> {
    let begun = Instant::now();
    let mut first: Option<BTreeMap<String, i64>> = None;
    loop {
        let mut servers = host.database.read().await?.servers().await?;
        let beats = |server: &Server| (server.id.clone(), server.beats);
        let first = first.get_or_insert_with(|| servers.iter().map(beats).collect());
        servers.retain(|server| !server.has(to));
        if servers.is_empty() {
            return Ok(());
        }
        let heard = |server: &Server| server.beats - first.get(&server.id).copied().unwrap_or_default();
        let silent = begun.elapsed() > SILENCE;
        let looked = servers.iter().filter(|server| heard(server) >= if silent { 1 } else { LOOKS });
        let looked: Vec<&str> = looked.map(|server| server.place.as_str()).collect();
        if !looked.is_empty() {
            return Err(ResealError::Stopped(format!(
                "nothing is sealed by the new sealing key ({to}) yet, for servers run that have not got it: {}. Bring it to them and run this \
                 again; they look for it each second, and where it comes from a command at SIGHUP",
                looked.join(", ")
            )));
        }
        if silent {
            let mut tx = host.database.begin().await?;
            for server in &servers {
                tx.server_ended(&server.id).await?;
            }
            tx.commit().await?;
            return Ok(());
        }
        progress(Progress::Waiting(&servers));
        tokio::time::sleep(LOOK).await;
    }
}

/// Seals anew whatever is sealed by another key, and says how much that was.
async fn reseal(
    host: &Host,
    to: &SealingKeyId,
    unopened: &mut Vec<String>,
    progress: &mut impl FnMut(Progress<'_>),
) -> Result<u64, ResealError> {
    let keys = host.sealing.keys();
    let all = count(host, &others(host, Some(to)).await?).await?;
    let (mut done, mut moved_at) = (0, Instant::now());
    let mut broken = BTreeSet::new();
    loop {
        let before = done;
        for from in others(host, Some(to)).await? {
            let mut after = (String::new(), String::new());
            loop {
                let mut batch = Batch { host, keys: &keys, ids: [&from, to], broken: &mut broken, moved: 0 };
                let Some(last) = batch.run(&after).await? else { break };
                done += batch.moved;
                after = last;
                progress(Progress::Resealed(done.min(all), all));
            }
        }
        let left = count(host, &others(host, Some(to)).await?).await?;
        if left <= broken.len() as u64 {
            break;
        }
        if done > before {
            moved_at = Instant::now();
        } else if moved_at.elapsed() > HELD {
            let problem =
                format!("{left} keys are held by somebody else's transaction: run this again, it goes on with them");
            return Err(ResealError::Stopped(problem));
        }
        tokio::time::sleep(LOOK).await;
    }
    unopened.extend(broken.into_iter().take(MAX_NAMED));
    Ok(done)
}

struct Batch<'a> {
    host: &'a Host,
    keys: &'a SealingKeys,
    ids: [&'a SealingKeyId; 2],
    broken: &'a mut BTreeSet<String>,
    moved: u64,
}

impl Batch<'_> {
    /// One transaction. Answers with the last row that it has looked at, if there was one.
    async fn run(&mut self, (issuer_id, kid): &(String, String)) -> Result<Option<(String, String)>, ResealError> {
        let [from, to] = self.ids;
        let mut tx = self.host.database.begin().await?;
        let rows = tx.sealed_keys(from, (issuer_id, kid), AT_ONCE).await?;
        for row in &rows {
            match self.sealed_anew(row) {
                Some(sealed) => self.moved += u64::from(tx.reseal_key(row, &sealed, to).await?),
                None => {
                    self.broken.insert(format!("{} of issuer {}, sealed by {from}", row.kid, row.issuer_id));
                }
            }
        }
        tx.commit().await?;
        Ok(rows.last().map(|row| (row.issuer_id.clone(), row.kid.as_str().to_owned())))
    }

    fn sealed_anew(&self, row: &SealedKey) -> Option<String> {
        let [from, to] = self.ids.map(|id| self.keys.get(id));
        SigningKey::reseal([from?, to?], &row.issuer_id, &row.kid, &row.sealed, &self.host.rng).ok()
    }
}

async fn end(host: &Host, to: &SealingKeyId) -> Result<(), ResealError> {
    let mut tx = host.database.of(DEFAULT_ISSUER.into()).begin().await?;
    tx.touch_issuer().await?;
    let retired = tx.retire_sealing_keys(host.now()).await?;
    if !retired.is_empty() {
        let event = Event::ResealEnded { retired, to: to.clone() };
        tx.record(Entry::new(host.id(), host.now(), event)).await?;
        tx.commit().await?;
    }
    Ok(())
}
