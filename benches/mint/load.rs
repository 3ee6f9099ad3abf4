//! The load: connections that ask again as soon as they are answered, and what that cost.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::task::JoinSet;

use crate::Outcome;
use crate::beside::Beside;
use crate::client::Connection;
use crate::machine::Meter;

/// Time before each measurement in which caches and connections warm up. Its answers are counted, its time is not.
const WARM_UP: Duration = Duration::from_millis(300);

/// Makes the n-th request.
pub(crate) type Requests = Arc<dyn Fn(usize) -> Vec<u8> + Send + Sync>;

/// Whose CPU is counted.
#[derive(Clone, Copy)]
pub(crate) struct Processes {
    pub(crate) server: u32,
    /// The postmaster.
    pub(crate) database: Option<u32>,
}

impl Processes {
    fn used(self, meter: Meter) -> [u64; 3] {
        let database = self.database.map_or(0, |pid| meter.used_by_family(pid));
        [meter.used(self.server), database, meter.used(std::process::id())]
    }
}

/// One measurement.
pub(crate) struct Sample {
    pub(crate) per_second: f64,
    pub(crate) p50_ms: f64,
    pub(crate) p99_ms: f64,
    /// Microseconds of CPU per answer: server, PostgreSQL, load generator.
    pub(crate) cpu: [f64; 3],
    /// All answers, those of the warm-up and of the end among them.
    pub(crate) answers: u64,
    /// One of them.
    pub(crate) body: String,
}

struct Shared {
    answers: AtomicU64,
    measuring: AtomicBool,
    stop: Arc<AtomicBool>,
}

pub(crate) async fn run(
    port: u16,
    requests: &Requests,
    connections: usize,
    beside: Option<&Beside>,
    length: Duration,
    processes: Processes,
    meter: Meter,
) -> Outcome<Sample> {
    let shared =
        Arc::new(Shared { answers: AtomicU64::new(0), measuring: AtomicBool::new(false), stop: Arc::default() });
    let (mut agents, mut others) = (JoinSet::new(), JoinSet::new());
    if let Some(beside) = beside {
        beside.start(&mut others, &shared.stop);
    }
    for first in 0..connections {
        agents.spawn(agent(port, requests.clone(), first, connections, shared.clone()));
    }
    tokio::time::sleep(WARM_UP).await;
    shared.measuring.store(true, Ordering::Relaxed);
    let (start, before, cpu_before) = (Instant::now(), shared.answers.load(Ordering::Relaxed), processes.used(meter));
    tokio::time::sleep(length).await;
    let (seconds, after, cpu_after) =
        (start.elapsed().as_secs_f64(), shared.answers.load(Ordering::Relaxed), processes.used(meter));
    shared.stop.store(true, Ordering::Relaxed);
    let (mut latencies, mut body) = (Vec::new(), String::new());
    while let Some(ended) = agents.join_next().await {
        let (micros, last) = ended??;
        latencies.extend(micros);
        body = last;
    }
    while let Some(ended) = others.join_next().await {
        ended??;
    }
    latencies.sort_unstable();
    let quantile =
        |percent: usize| latencies.get(latencies.len() * percent / 100).map_or(0.0, |us| float(*us) / 1000.0);
    let count = float(after - before);
    Ok(Sample {
        per_second: count / seconds,
        p50_ms: quantile(50),
        p99_ms: quantile(99),
        cpu: std::array::from_fn(|n| float(cpu_after[n] - cpu_before[n]) / count),
        answers: shared.answers.load(Ordering::Relaxed),
        body,
    })
}

/// Microseconds of CPU in a second that a server takes, and its PostgreSQL, for what else it does.
pub(crate) async fn alone(beside: &Beside, length: Duration, processes: Processes, meter: Meter) -> Outcome<[f64; 2]> {
    let (stop, mut others) = (Arc::default(), JoinSet::new());
    beside.start(&mut others, &stop);
    tokio::time::sleep(WARM_UP).await;
    let (start, before) = (Instant::now(), processes.used(meter));
    tokio::time::sleep(length).await;
    let (seconds, after) = (start.elapsed().as_secs_f64(), processes.used(meter));
    stop.store(true, Ordering::Relaxed);
    while let Some(ended) = others.join_next().await {
        ended??;
    }
    Ok(std::array::from_fn(|n| float(after[n] - before[n]) / seconds))
}

/// One connection. Answers with the microseconds that each of its measured requests took, and with the last body.
async fn agent(
    port: u16,
    requests: Requests,
    first: usize,
    step: usize,
    shared: Arc<Shared>,
) -> Outcome<(Vec<u64>, String)> {
    let mut connection = Connection::open(port).await?;
    let mut latencies = Vec::new();
    let mut n = first;
    while !shared.stop.load(Ordering::Relaxed) {
        let request = requests(n);
        n += step;
        let (start, measured) = (Instant::now(), shared.measuring.load(Ordering::Relaxed));
        let status = connection.send(&request).await?;
        if status != 200 {
            return Err(format!("{status}: {}", connection.body()).into());
        }
        shared.answers.fetch_add(1, Ordering::Relaxed);
        if measured {
            latencies.push(u64::try_from(start.elapsed().as_micros()).unwrap_or(u64::MAX));
        }
    }
    Ok((latencies, connection.body().to_owned()))
}

/// A count as a number to divide.
#[expect(clippy::cast_precision_loss, reason = "counts stay far below 2^52")]
pub(crate) fn float(n: u64) -> f64 {
    n as f64
}
