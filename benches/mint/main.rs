//! What a mint costs: `cargo bench --bench mint`. What is measured and what it came to: `docs/performance.md`.
//!
//! Starts the release binary as anyone would, on SQLite and on a temporary PostgreSQL, signs users in and lets them agree through the
//! real forms, then loads the token endpoint and divides: CPU of the server by answers, beside the floor measured in the same run
//! (the same HTTP library and the same signature, and nothing else). Nothing here judges: it prints.

mod assertion;
mod beside;
mod client;
mod floor;
mod hang;
mod issuers;
mod keys;
mod load;
mod machine;
mod options;
mod outbox;
mod postgres;
mod provider;
mod queued;
mod report;
mod scenarios;
mod seed;
mod start;
mod statements;
mod withdrawals;

use std::process::ExitCode;

use options::{Options, Task};

/// What goes wrong here is told to whoever started it, in words.
pub(crate) type Outcome<T> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

fn main() -> ExitCode {
    let options = match Options::parse(std::env::args().skip(1)) {
        Ok(options) => options,
        Err(problem) => {
            eprintln!("mint: {problem}\n\n{}", options::USAGE);
            return ExitCode::from(2);
        }
    };
    if options.pin && matches!(options.task, Task::Measure | Task::Issuers | Task::Withdrawals | Task::Queued) {
        // Before any thread is made, so that all of them stay on the second core and the servers have the first one alone.
        if let Err(problem) = machine::stay_on(machine::LOAD_CORE) {
            eprintln!("mint: {problem}");
            return ExitCode::from(2);
        }
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime starts");
    let outcome = runtime.block_on(async {
        let work = async {
            match options.task {
                Task::Measure => scenarios::run(&options).await,
                Task::Issuers => issuers::run(&options).await,
                Task::Keys => keys::run(&options).await,
                Task::Outbox => {
                    outbox::run(&options).await?;
                    hang::run(&options).await
                }
                Task::Withdrawals => withdrawals::run(&options).await,
                Task::Queued => queued::run(&options).await,
                Task::Start => start::run(&options).await,
                Task::FloorServer => floor::serve().await,
            }
        };
        tokio::select! {
            outcome = work => outcome,
            // Dropped and not killed, the work stops its servers and removes its folders.
            _ = tokio::signal::ctrl_c() => Err("interrupted".into()),
        }
    });
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            eprintln!("mint: {problem}");
            ExitCode::from(if problem.is::<postgres::Missing>() { 2 } else { 3 })
        }
    }
}
