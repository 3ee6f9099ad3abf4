//! The command line.

use std::path::PathBuf;

pub(crate) const USAGE: &str = "\
usage: cargo bench --bench mint -- [OPTION]...
  --connections N   connections of the load generator, each with one request at a time [32]
  --seconds N       length of each measurement [3]
  --rounds N        measurements of each scenario, taken in turns; the median counts [3]
  --quick           one round of one second
  --sqlite          without PostgreSQL
  --large           also with 100,000 delegations and 1,000,000 assertions in the journal (takes minutes to make)
  --pin             servers on core 0 alone; load generator and PostgreSQL on core 1
  --only TEXT       only scenarios whose name contains TEXT, and the floor
  --folder DIR      where databases are made; its disk is what commits wait for [the system's temporary folder]
  --start           instead: time from start to first answer, and memory
  --issuers         instead: one path issuer and 10,000 of them, side by side
  --keys            instead: time until one server follows what another does with keys (PostgreSQL)
  --outbox          instead: time to find what is due among 20,000 notices, and to tell hosts beside some that hang
  --withdrawals     instead: mints alone, and beside a withdrawal of 30,000 delegations of other users
  --queued          instead: mints alone, and beside 20,000 notices that are on their way";

/// What to do.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Task {
    Measure,
    Outbox,
    Start,
    Issuers,
    Keys,
    Withdrawals,
    Queued,
    /// Not for people: how this program starts the floor as a process of its own.
    FloorServer,
}

pub(crate) struct Options {
    pub(crate) connections: usize,
    pub(crate) seconds: u64,
    pub(crate) rounds: usize,
    pub(crate) sqlite_only: bool,
    pub(crate) large: bool,
    pub(crate) pin: bool,
    pub(crate) only: Option<String>,
    pub(crate) folder: PathBuf,
    pub(crate) task: Task,
}

impl Options {
    pub(crate) fn parse(mut args: impl Iterator<Item = String>) -> Result<Self, String> {
        let mut options = Self {
            connections: 32,
            seconds: 3,
            rounds: 3,
            sqlite_only: false,
            large: false,
            pin: false,
            only: None,
            folder: std::env::temp_dir(),
            task: Task::Measure,
        };
        while let Some(arg) = args.next() {
            let mut value = || args.next().ok_or_else(|| format!("{arg} needs a value"));
            match arg.as_str() {
                "--connections" => options.connections = number(&value()?)?,
                "--seconds" => options.seconds = number(&value()?)?,
                "--rounds" => options.rounds = number(&value()?)?,
                "--quick" => (options.seconds, options.rounds) = (1, 1),
                "--sqlite" => options.sqlite_only = true,
                "--large" => options.large = true,
                "--pin" => options.pin = true,
                "--only" => options.only = Some(value()?),
                "--folder" => options.folder = value()?.into(),
                "--outbox" => options.task = Task::Outbox,
                "--start" => options.task = Task::Start,
                "--issuers" => options.task = Task::Issuers,
                "--withdrawals" => options.task = Task::Withdrawals,
                "--queued" => options.task = Task::Queued,
                "--keys" => options.task = Task::Keys,
                "--floor-server" => options.task = Task::FloorServer,
                // `cargo bench` says so to every benchmark.
                "--bench" => {}
                other => return Err(format!("there is no option {other}")),
            }
        }
        Ok(options)
    }
}

fn number<N: std::str::FromStr + PartialOrd + From<u8>>(text: &str) -> Result<N, String> {
    text.parse().ok().filter(|n| *n >= N::from(1)).ok_or_else(|| format!("{text:?} is not a number above 0"))
}
