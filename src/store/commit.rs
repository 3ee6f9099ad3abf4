//! The committer: mints that wait, and attempts at notices, share one transaction.
//!
//! A durable commit costs the same for one row and for two hundred, so one task of the process drains what waits, of whichever issuer,
//! decides and writes it in one transaction, and answers each waiter after COMMIT.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use tokio::sync::{mpsc, oneshot};

use super::error::Outage;
use super::journal::Line;
use super::mint::{self, Mint, Outcome, Spending, UnspentJti, Waiting};
use super::settlements::Settlement;
use super::{Pools, Result, StoreError, Tx};
use crate::meters;

/// From this many rows on nothing more joins a transaction.
const BATCH: usize = 256;
/// From here on a batch costs each of its jobs little: it begins at once.
const COMPANY: usize = 32;
/// How often a smaller one lets those go first who may join it. The answers to the last batch are sent then, and what comes of them is read.
const TURNS: usize = 3;
/// Jobs that may wait; beyond, callers wait to be let in.
const QUEUE: usize = 4096;
/// How often a batch is tried that PostgreSQL cuts off, as it does to break a deadlock, and how many batches one mint goes through.
const TRIES: usize = 5;

enum Job {
    Mint(Box<Waiting>, To<mint::Answer>),
    Spend(Spending, To<bool>),
    Settle(Vec<Settlement>, To<()>),
}

/// Who waits.
type To<T> = oneshot::Sender<Result<T>>;

/// The way in.
#[derive(Clone)]
pub(super) struct Committer {
    jobs: mpsc::Sender<Job>,
    batches: Arc<AtomicU64>,
}

impl Committer {
    pub(super) fn start(pools: Pools) -> Self {
        let (jobs, waiting) = mpsc::channel(QUEUE);
        let batches = Arc::new(AtomicU64::new(0));
        tokio::spawn(run(pools, waiting, batches.clone()));
        Self { jobs, batches }
    }

    pub(super) fn batches(&self) -> u64 {
        self.batches.load(Ordering::Relaxed)
    }

    pub(super) async fn mint(&self, issuer: Arc<str>, mint: Mint, unspent: Option<UnspentJti>) -> Result<Outcome> {
        let (answer, outcome) = oneshot::channel();
        let waiting = Waiting { issuer, mint, unspent, turns: 0 };
        // Here and not in the batch: the line belongs to the request.
        self.submit(Job::Mint(Box::new(waiting), answer), outcome).await.map(|(outcome, _line)| outcome)
    }

    pub(super) async fn spend(&self, issuer: Arc<str>, unspent: UnspentJti) -> Result<bool> {
        let (answer, outcome) = oneshot::channel();
        self.submit(Job::Spend(Spending { issuer, unspent }, answer), outcome).await
    }

    pub(super) async fn settle(&self, settlements: Vec<Settlement>) -> Result<()> {
        let (answer, outcome) = oneshot::channel();
        self.submit(Job::Settle(settlements, answer), outcome).await
    }

    async fn submit<T>(&self, job: Job, outcome: oneshot::Receiver<Result<T>>) -> Result<T> {
        self.jobs.send(job).await.map_err(|_| StoreError::Closing)?;
        outcome.await.map_err(|_| StoreError::Closing)?
    }
}

/// A batch, with those who wait for it.
#[derive(Default)]
struct Batch {
    mints: Vec<Waiting>,
    outcomes: Vec<To<mint::Answer>>,
    spendings: Vec<Spending>,
    firsts: Vec<To<bool>>,
    settlements: Vec<Settlement>,
    settled: Vec<To<()>>,
}

/// What came of a batch, in its order.
struct Done {
    mints: Vec<Option<Result<mint::Answer>>>,
    spent: Vec<bool>,
}

/// Runs until the last way in is gone.
async fn run(pools: Pools, mut waiting: mpsc::Receiver<Job>, batches: Arc<AtomicU64>) {
    let mut batch = Batch::default();
    loop {
        // A mint that has to go through another batch is not kept until somebody else comes.
        if batch.mints.is_empty() {
            let Some(job) = waiting.recv().await else { return };
            batch.add(job);
        }
        // Where nobody else is served, that takes no time. Otherwise two small batches would take turns, each of them at the whole price.
        for _ in 0..TURNS {
            if batch.len() + waiting.len() < COMPANY {
                tokio::task::yield_now().await;
            }
        }
        batch.fill(&mut waiting);
        let done = decide(&pools, &mut batch, &mut waiting, &batches).await;
        batch = batch.answer(done);
    }
}

impl Batch {
    fn len(&self) -> usize {
        self.mints.len() + self.spendings.len() + self.settlements.len()
    }

    /// Takes in those who wait, as far as there is room.
    fn fill(&mut self, waiting: &mut mpsc::Receiver<Job>) {
        while self.len() < BATCH
            && let Ok(job) = waiting.try_recv()
        {
            self.add(job);
        }
    }

    fn add(&mut self, job: Job) {
        match job {
            Job::Mint(waiting, answer) => {
                self.mints.push(*waiting);
                self.outcomes.push(answer);
            }
            Job::Spend(spending, answer) => {
                self.spendings.push(spending);
                self.firsts.push(answer);
            }
            Job::Settle(settlements, answer) => {
                self.settlements.extend(settlements);
                self.settled.push(answer);
            }
        }
    }

    /// Answers those who waited; what is left has to go through another batch. Whoever asked may have hung up: what was written stays
    /// written and stands in the journal.
    fn answer(self, done: Result<Done>) -> Self {
        let mut again = Self::default();
        match done {
            Ok(done) => {
                for (is_first, to) in done.spent.into_iter().zip(self.firsts) {
                    let _ = to.send(Ok(is_first));
                }
                for to in self.settled {
                    let _ = to.send(Ok(()));
                }
                for ((waiting, outcome), to) in self.mints.into_iter().zip(done.mints).zip(self.outcomes) {
                    match outcome {
                        Some(outcome) => drop(to.send(outcome)),
                        None if waiting.turns + 1 < TRIES => again.add(Job::Mint(Box::new(waiting.again()), to)),
                        None => {
                            let why = "what it rests on changes all the time";
                            let _ = to.send(Err(StoreError::unavailable(Outage::Busy, why)));
                        }
                    }
                }
            }
            Err(error) => {
                let jobs = self.len();
                tracing::error!(error = &error as &dyn std::error::Error, jobs, "a batch failed");
                let error = error.for_each();
                for to in self.firsts {
                    let _ = to.send(Err(error()));
                }
                for to in self.settled {
                    let _ = to.send(Err(error()));
                }
                for to in self.outcomes {
                    let _ = to.send(Err(error()));
                }
            }
        }
        again
    }
}

async fn decide(
    pools: &Pools,
    batch: &mut Batch,
    waiting: &mut mpsc::Receiver<Job>,
    batches: &AtomicU64,
) -> Result<Done> {
    let mut tries = 0;
    let begun = Instant::now();
    loop {
        tries += 1;
        batches.fetch_add(1, Ordering::Relaxed);
        let ran = pools.while_it_answers(transact(pools, batch, waiting)).await;
        match ran.and_then(|outcome| outcome) {
            Err(error) if tries < TRIES && error.is_cut_off() => {}
            outcome => {
                meters::committed(batch.len(), begun.elapsed());
                return outcome;
            }
        }
    }
}

/// Writes a batch, with those who come until it is its turn, and makes it durable.
async fn transact(pools: &Pools, batch: &mut Batch, waiting: &mut mpsc::Receiver<Job>) -> Result<Done> {
    let mut tx = Tx::over(pools.begin().await?);
    batch.fill(waiting);
    let (mut mints, spent) = mint::run(&mut tx, &batch.mints, &batch.spendings).await?;
    tx.settle(&batch.settlements).await?;
    tx.commit().await?;
    for (_, line) in mints.iter_mut().flatten().flatten() {
        *line = line.take().map(Line::durable);
    }
    Ok(Done { mints, spent })
}
