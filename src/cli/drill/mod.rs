//! `avouch drill …`: a rotation or a compromise of keys, rehearsed with real services.

mod live;
mod rehearse;
mod reports;

use clap::Subcommand;

use self::reports::Reports;
use super::Failure;
use crate::lab::drill::report::{Kind, Schedule};
use crate::lab::drill::{Waits, all};

/// Which drill.
#[derive(Subcommand)]
pub(super) enum Command {
    /// Follow the issuer's key by another, remove the old one, break the key set in every way there is: does each service go along?
    #[command(after_help = super::drill_help!("avouch drill rotation --service http://localhost:8000 --service http://localhost:8001 --html drill.html", "How to read it: docs/drills.md. `--list` prints every step. --schedule realistic waits until services may fetch again and until their copies are too old; it says beforehand how long that takes.\n--live rehearses on the issuer of --config itself: it prepares, activates and retires as `avouch keys` does, and breaks nothing."))]
    Rotation(Box<Arguments>),
    /// Take the issuer's key away at once, as when somebody else has it: how long does each service take what it signs?
    #[command(after_help = super::drill_help!("avouch drill compromise --service https://auth.service.example --issuer https://lab.example --listen 0.0.0.0:4500 --issuer-key lab.json", "How to read it: docs/drills.md. `--list` prints every step. What to do when it is no drill: `avouch keys revoke`."))]
    Compromise(Box<Arguments>),
}

/// What a drill is told.
#[derive(clap::Args)]
pub(super) struct Arguments {
    /// A service: its identifier, or the address of an API that says who guards it (repeatable; each goes at its own pace)
    #[arg(long = "service", value_name = "URL", required_unless_present_any = ["list", "live"])]
    services: Vec<String>,
    /// What is waited for: nothing, or services' caches
    #[arg(long, value_enum, default_value_t = Pace::Fast)]
    schedule: Pace,
    /// Print every step, and send nothing
    #[arg(long)]
    list: bool,
    #[command(flatten)]
    rehearse: rehearse::Arguments,
    #[command(flatten)]
    live: live::Arguments,
    #[command(flatten)]
    reports: reports::Arguments,
}

/// A schedule, as the command line names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Pace {
    /// Ask only for what needs no waiting
    Fast,
    /// Wait as long as services keep their copies
    Realistic,
}

impl From<Pace> for Schedule {
    fn from(pace: Pace) -> Self {
        match pace {
            Pace::Fast => Self::Fast,
            Pace::Realistic => Self::Realistic,
        }
    }
}

pub(super) async fn run(command: Command) -> Result<(), Failure> {
    let (kind, arguments) = match command {
        Command::Rotation(arguments) => (Kind::Rotation, arguments),
        Command::Compromise(arguments) => (Kind::Compromise, arguments),
    };
    if arguments.list {
        list(kind);
        return Ok(());
    }
    let Arguments { services, schedule, rehearse, live, reports, .. } = *arguments;
    let is_live = live.is_meant()?;
    let mut reports = Reports::open(&reports)?;
    let report = if is_live {
        live::run(kind, schedule.into(), &services, rehearse.issuer.as_deref(), &live).await?
    } else {
        rehearse::run(kind, schedule.into(), services, rehearse, &mut reports).await?
    };
    reports.write(&report)?;
    reports.conclude(&report)
}

/// Prints every step there is.
fn list(kind: Kind) {
    for step in all(kind) {
        let waits = match step.waits {
            Waits::No => "",
            Waits::Fetch => "  (realistic: waits until the service may fetch again)",
            Waits::Cache => "  (realistic: waits until its copy of the key set is too old)",
            Waits::Document => "  (realistic: waits until its copy of the document is too old)",
        };
        out!("{:<68} {:<6}  {}{waits}", step.id(), step.level.as_str(), step.meaning);
    }
}
