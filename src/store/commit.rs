//! The committer: mints that wait share one transaction.
//!
//! A durable commit costs the same for one row and for two hundred, so one task drains what waits, runs it in one transaction and
//! answers each waiter after COMMIT. Everything a mint was decided on (user, client, session, token family, service, key, delegation,
//! consent) is compared again inside, and no later denial may speak against it: the decision may have rested on a cache, the take
//! never does.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::Value;
use tokio::sync::{mpsc, oneshot};

use super::{Handle, Pools, Result, StoreError, Tx};

/// Most jobs in one transaction.
const BATCH: usize = 256;
/// Jobs that may wait; beyond, callers wait to be let in.
const QUEUE: usize = 4096;
/// How often a batch is tried again after PostgreSQL broke a deadlock by ending it.
const TRIES: usize = 5;

/// What one assertion takes, with the versions it was decided on.
#[derive(Clone, Debug)]
pub struct Take {
    /// The consent.
    pub consent_id: String,
    /// The record.
    pub delegation_id: String,
    /// The user.
    pub account_id: String,
    /// As decided on.
    pub account_version: i64,
    /// The client (our key).
    pub client_id: String,
    /// As decided on.
    pub client_version: i64,
    /// The session.
    pub session_id: String,
    /// Of the session, as the assertion will say it.
    pub auth_time: i64,
    /// The family of tokens that the subject token belongs to.
    pub family_id: String,
    /// As decided on; 0 for a service nobody configured.
    pub service_version: i64,
    /// As the request asked, empty for none: what a denial is compared with.
    pub asked_scope: String,
    /// As the request asked, sorted: what a denial is compared with.
    pub resources: Vec<String>,
    /// The key that will sign.
    pub kid: String,
    /// The assertion's.
    pub jti: String,
    /// Now.
    pub at: i64,
    /// The assertion's.
    pub exp: i64,
    /// The journal row's id.
    pub entry_id: String,
    /// What the journal says beside the columns.
    pub body: Value,
}

pub(super) enum Work {
    Take(Box<Take>),
    Spend { client: String, jti: String, expires_at: i64 },
}

struct Job {
    work: Work,
    answer: oneshot::Sender<Result<bool>>,
}

/// The way in.
#[derive(Clone)]
pub(super) struct Committer {
    jobs: mpsc::Sender<Job>,
    batches: Arc<AtomicU64>,
}

impl Committer {
    pub(super) fn start(pools: Pools, issuer: Arc<str>) -> Self {
        let (jobs, waiting) = mpsc::channel(QUEUE);
        let batches = Arc::new(AtomicU64::new(0));
        tokio::spawn(run(pools, issuer, waiting, batches.clone()));
        Self { jobs, batches }
    }

    pub(super) fn batches(&self) -> u64 {
        self.batches.load(Ordering::Relaxed)
    }

    pub(super) async fn take(&self, take: Take) -> Result<bool> {
        self.submit(Work::Take(Box::new(take))).await
    }

    pub(super) async fn spend(&self, client: &str, jti: &str, expires_at: i64) -> Result<bool> {
        self.submit(Work::Spend { client: client.into(), jti: jti.into(), expires_at }).await
    }

    async fn submit(&self, work: Work) -> Result<bool> {
        let (answer, outcome) = oneshot::channel();
        self.jobs.send(Job { work, answer }).await.map_err(|_| StoreError::Closing)?;
        outcome.await.map_err(|_| StoreError::Closing)?
    }
}

/// Runs until the last [`super::Store`] is gone.
async fn run(pools: Pools, issuer: Arc<str>, mut waiting: mpsc::Receiver<Job>, batches: Arc<AtomicU64>) {
    let mut jobs = Vec::with_capacity(BATCH);
    while waiting.recv_many(&mut jobs, BATCH).await > 0 {
        let (work, answers): (Vec<Work>, Vec<_>) = jobs.drain(..).map(|job| (job.work, job.answer)).unzip();
        match batch(&pools, &issuer, &work, &batches).await {
            Ok(outcomes) => answer(answers, outcomes.into_iter().map(Ok)),
            // One text serves them all, so one value that the database cannot take fails everybody's: each gets its own turn.
            Err(StoreError::Statement(error)) if work.len() > 1 && is_about_a_value(&error) => {
                for (work, to) in work.iter().zip(answers) {
                    let alone = batch(&pools, &issuer, std::slice::from_ref(work), &batches).await;
                    answer(vec![to], std::iter::once(alone.map(|outcomes| outcomes[0])));
                }
            }
            Err(error) => {
                tracing::error!(error = &error as &dyn std::error::Error, jobs = work.len(), "a batch of mints failed");
                answer(answers, std::iter::repeat_with(|| Err(StoreError::Busy)));
            }
        }
    }
}

/// Whoever asked may have hung up; what they took stays taken and stands in the journal.
fn answer(to: Vec<oneshot::Sender<Result<bool>>>, outcomes: impl Iterator<Item = Result<bool>>) {
    for (to, outcome) in to.into_iter().zip(outcomes) {
        let _ = to.send(outcome);
    }
}

async fn batch(pools: &Pools, issuer: &Arc<str>, work: &[Work], batches: &AtomicU64) -> Result<Vec<bool>> {
    let mut tries = 0;
    loop {
        tries += 1;
        batches.fetch_add(1, Ordering::Relaxed);
        match attempt(pools, issuer, work).await {
            Err(error) if tries < TRIES && error.is_deadlock() => {}
            outcome => return outcome,
        }
    }
}

/// Whether a statement failed for what was in it (SQLSTATE class 22, a constraint), rather than for the state of the database.
fn is_about_a_value(error: &sqlx::Error) -> bool {
    error.as_database_error().is_some_and(|e| {
        !matches!(e.kind(), sqlx::error::ErrorKind::Other) || e.code().is_some_and(|code| code.starts_with("22"))
    })
}

async fn attempt(pools: &Pools, issuer: &Arc<str>, work: &[Work]) -> Result<Vec<bool>> {
    let handle: Handle = pools.begin().await?;
    let mut tx = Tx { handle, issuer: issuer.clone(), changes: None };
    let mut outcomes = vec![false; work.len()];
    tx.spend_all(work, &mut outcomes).await?;
    tx.take_all(work, &mut outcomes).await?;
    tx.commit().await?;
    Ok(outcomes)
}
