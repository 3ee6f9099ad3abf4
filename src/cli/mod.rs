//! The command line. Every command ends with one of four codes: 0 done, 1 the thing examined fell short, 2 wrong usage or
//! configuration, 3 could not run.

/// A line on standard output. Whoever stopped reading (`| head`) wants no more of it.
macro_rules! out {
    ($($part:tt)*) => {{
        use std::io::Write as _;
        let _ = writeln!(std::io::stdout(), $($part)*);
    }};
}

/// A line on standard error, among those of the log.
macro_rules! say {
    ($($part:tt)*) => { $crate::cli::log::say(format_args!($($part)*)) };
}

/// What `--help` says at its end: examples, variables, exit codes.
macro_rules! help {
    ($example:literal $(, $more:literal)*) => {
        concat!(
            $($more, "\n\n",)*
            "Example:\n  ", $example,
            "\n\nVariables:\n  AVOUCH__SECTION__KEY sets any key of the configuration, such as AVOUCH__LISTEN or AVOUCH__KEYS__DIR",
            "\n\nExit codes:\n  0 done; 2 wrong usage or configuration; 3 could not run"
        )
    };
}
use help;

/// The same for what examines others.
macro_rules! drill_help {
    ($example:literal, $more:literal) => {
        concat!(
            $more,
            "\n\nExample:\n  ", $example,
            "\n\nExit codes:\n  0 every service is ready; 1 a service is not (with --strict: or should do something better); 2 wrong usage or configuration;\n  3 could not run, or not to its end"
        )
    };
}
use drill_help;

mod admin_token;
mod client;
mod common;
mod config;
mod delegation;
mod delivery;
mod demo;
mod descriptors;
mod drill;
mod files;
mod flaws;
mod harness;
mod issuer;
mod keys;
mod log;
mod mint;
mod probe;
mod progress;
mod reload;
mod sandbox;
mod serve;
mod service;
mod stop;
mod user;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::flow::start::Accepted;

/// With the commit it was made of.
const VERSION: &str = concat!(env!("CARGO_PKG_VERSION"), " (", env!("AVOUCH_COMMIT"), ")");

/// How a command ends when it does not succeed.
#[derive(Debug)]
pub(crate) enum Failure {
    /// Wrong usage or configuration: exit 2.
    Usage(String),
    /// What was examined fell short: exit 1.
    Short(String),
    /// It could not run: exit 3.
    Unable(String),
}

impl Failure {
    fn code(&self) -> u8 {
        match self {
            Self::Short(_) => 1,
            Self::Usage(_) => 2,
            Self::Unable(_) => 3,
        }
    }

    fn text(&self) -> &str {
        match self {
            Self::Usage(text) | Self::Short(text) | Self::Unable(text) => text,
        }
    }
}

#[derive(Parser)]
#[command(name = "avouch", version = VERSION, about = "An agent provider's identity service", max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run the server. Without any configuration: issuer http://localhost:4000, SQLite in ./data, keys in ./keys
    #[command(after_help = help!("avouch serve --config /etc/avouch/avouch.toml", "SIGHUP reads the configuration again and applies issuers, users, clients and services; SIGTERM ends the server within 20 seconds."))]
    Serve {
        /// Configuration file [default: avouch.toml if there is one]
        #[arg(long, value_name = "FILE")]
        config: Option<PathBuf>,
        /// Port to listen on, instead of the configured one; 0 picks a free one
        #[arg(long, value_name = "N")]
        port: Option<u16>,
        /// Let the configuration remove all users, clients or services of an issuer; else such a start is refused
        #[arg(long)]
        accept_removals: bool,
        /// Take an empty database for a new one although there are keys already; else such a start is refused
        #[arg(long)]
        new: bool,
    },
    /// Play the whole loop on this machine: provider, service and agent, up to the withdrawn credential that is refused
    #[command(after_help = help!("avouch demo --step --keep", "What it prints went over the wire; tokens and secrets are cut short."))]
    Demo {
        /// Leave provider and service running, with a connection to stop and a question to answer, and print where
        #[arg(long)]
        keep: bool,
        /// Wait for Enter before each step
        #[arg(long)]
        step: bool,
        /// What the service speaks: auth.md in one of three shapes, or plain RFC 7523
        #[arg(long, value_enum, default_value_t = sandbox::Speaks::V01)]
        dialect: sandbox::Speaks,
    },
    /// Run a relying service to test against, as strict as it gets unless told
    #[command(after_help = help!("avouch sandbox --dialect nested --flaw accept-expired"))]
    Sandbox(sandbox::Arguments),
    /// Run an issuer for other people's tests, scripted over HTTP: mint, rotate and break things at will. Everything ends with it
    #[command(after_help = help!("avouch harness --port 0", "The first line on standard output is the issuer. The control API is at /harness: docs/harness.md."))]
    Harness {
        /// Port to listen on; 0 picks a free one
        #[arg(long, value_name = "N", default_value_t = 4400)]
        port: u16,
    },
    /// List every deliberate flaw: what it is, the rule that it breaks, and the answer that it should get
    #[command(after_help = help!("avouch flaws --kind assertion", "`avouch mint --flaw NAME` makes an assertion with one."))]
    Flaws {
        /// Print JSON
        #[arg(long)]
        json: bool,
        /// Only those of this kind
        #[arg(long, value_name = "KIND")]
        kind: Option<flaws::Of>,
    },
    /// Print one assertion by a lab's key, good or with a flaw, for scripts; no server takes it for its own
    #[command(after_help = help!("avouch mint --audience http://localhost:8000 --key lab.json --flaw expired", "With --key FILE the key is the same each time: `avouch mint --key FILE --jwks` prints the key set, to be served at the issuer's\n/.well-known/jwks.json. It lives for 300 seconds."))]
    Mint(Box<mint::Command>),
    /// Grade a relying service: what it is to refuse, what it is to take, and what it is to end
    #[command(after_help = help!("avouch probe https://auth.service.example --issuer https://lab.example/lab --listen 0.0.0.0:4500 --html report.html", "The service has to trust the issuer, whose entry is printed first, and to reach it. Bad assertions go to it between good ones.\nHow to read a report: docs/probe.md. Exit code 1: something fell short that was not expected to, or the baseline is out of date."))]
    Probe(Box<probe::Arguments>),
    /// Rehearse with relying services what happens to keys: a rotation, or a compromise
    #[command(subcommand)]
    Drill(drill::Command),
    /// Read the configuration, say what is wrong with it or what a start would change, and do nothing else
    #[command(after_help = help!("avouch check-config --config /etc/avouch/avouch.toml"))]
    CheckConfig {
        /// Configuration file [default: avouch.toml if there is one]
        #[arg(long, value_name = "FILE")]
        config: Option<PathBuf>,
    },
    /// Bring the database's schema up to date and do nothing else; `serve` does it as well
    #[command(after_help = help!("avouch migrate --config /etc/avouch/avouch.toml"))]
    Migrate {
        /// Configuration file [default: avouch.toml if there is one]
        #[arg(long, value_name = "FILE")]
        config: Option<PathBuf>,
    },
    /// Write a consistent copy of the SQLite database into a new file, also while the server runs
    #[command(after_help = help!("avouch backup /var/backups/avouch.db", "The sealing key is not in it: keep a copy of it elsewhere. A PostgreSQL database is copied by pg_dump; the line is named."))]
    Backup {
        /// The file to make, of mode 0600
        file: PathBuf,
        /// Configuration file [default: avouch.toml if there is one]
        #[arg(long, value_name = "FILE")]
        config: Option<PathBuf>,
    },
    /// Admin tokens
    #[command(subcommand)]
    AdminToken(admin_token::Command),
    /// Print what /api/v1 is, as an OpenAPI 3.1 document
    #[command(after_help = help!("avouch openapi > openapi.json"))]
    Openapi,
    /// Signing keys, on the database of a server that may be running
    #[command(subcommand)]
    Keys(keys::Command),
    /// Issuers by path, on the database of a server that may be running
    #[command(subcommand)]
    Issuer(issuer::Command),
    /// Relying services: what is understood of them
    #[command(subcommand)]
    Service(service::Command),
    /// Delegations, on the database of a server that may be running
    #[command(subcommand)]
    Delegation(delegation::Command),
    /// Notices of withdrawals, on the database of a server that may be running
    #[command(subcommand)]
    Delivery(delivery::Command),
    /// Users, on the database of a server that may be running
    #[command(subcommand)]
    User(user::Command),
    /// Clients, on the database of a server that may be running
    #[command(subcommand)]
    Client(client::Command),
}

/// Runs the command that the process was started with.
#[must_use]
pub fn run() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            let _ = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
        }
    };
    // The first random byte of the process costs the cryptography library tens of milliseconds: have it over with beside the rest.
    let first_byte = std::thread::spawn(|| aws_lc_rs::rand::fill(&mut [0]).is_ok());
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            say!("avouch: no runtime: {error}");
            log::finish();
            return ExitCode::from(3);
        }
    };
    let outcome = runtime.block_on(async {
        match cli.command {
            Command::Serve { config, port, accept_removals, new } => {
                serve::run(config, port, Accepted { removals: accept_removals, new }).await
            }
            Command::Demo { keep, step, dialect } => demo::run(keep, step, dialect.into()).await,
            Command::Sandbox(arguments) => sandbox::run(arguments).await,
            Command::Harness { port } => harness::run(port).await,
            Command::Flaws { json, kind } => {
                flaws::run(json, kind);
                Ok(())
            }
            Command::Mint(command) => mint::run(&command),
            Command::Probe(arguments) => probe::run(*arguments).await,
            Command::Drill(command) => drill::run(command).await,
            Command::CheckConfig { config } => config::check(config.as_deref()).await,
            Command::Migrate { config } => config::migrate(config.as_deref()).await,
            Command::Backup { file, config } => config::backup(&file, config.as_deref()).await,
            Command::AdminToken(command) => admin_token::run(&command).await,
            Command::Openapi => {
                out!("{}", crate::http::openapi());
                Ok(())
            }
            Command::Keys(command) => keys::run(command).await,
            Command::Issuer(command) => issuer::run(command).await,
            Command::Service(command) => service::run(command).await,
            Command::Delegation(command) => delegation::run(command).await,
            Command::Delivery(command) => delivery::run(command).await,
            Command::User(command) => user::run(command).await,
            Command::Client(command) => client::run(command).await,
        }
    });
    runtime.shutdown_timeout(std::time::Duration::from_secs(2));
    // A process that ends while that library is at work in another thread may crash.
    let _ = first_byte.join();
    let code = match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            say!("avouch: {}", failure.text());
            ExitCode::from(failure.code())
        }
    };
    log::finish();
    code
}
