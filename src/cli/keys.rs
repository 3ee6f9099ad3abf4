//! `avouch keys …`: signing keys, on the database of a server that may be running.

mod fetchers;
mod reseal;
mod table;
pub(super) mod words;

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use chrono::DateTime;
use clap::{Args, Subcommand};
use zeroize::Zeroizing;

use self::table::{list, show};
use super::Failure;
use super::common::Common;
use super::config::{cannot_start, load};
use super::progress::Bar;
use crate::clock::Clock;
use crate::domain::ids::Kid;
use crate::domain::rotation::{SigningAlg, is_kid};
use crate::domain::time::Timestamp;
use crate::error::Error;
use crate::flow::compromise::{self, Order, Report};
use crate::flow::rotate::{self, Reason, Rotated};
use crate::flow::start::{self, Accepted};
use crate::rng::Rng;

#[derive(Subcommand)]
pub(super) enum Command {
    /// Make what a first start makes (database, sealing key, admin token, first signing key) and start nothing
    #[command(after_help = super::help!("avouch keys init --config /etc/avouch/avouch.toml", "Where there is all of it already, nothing is made and the keys are listed."))]
    Init {
        #[command(flatten)]
        common: Common,
    },
    /// Show the keys of an issuer: where each stands, how old it is, what comes next and when
    #[command(after_help = super::help!("avouch keys list --issuer acme"))]
    List {
        /// Also show who has fetched the keys in the last week
        #[arg(long)]
        fetchers: bool,
        #[command(flatten)]
        common: Common,
    },
    /// Publish a new key, which does not sign yet
    #[command(after_help = super::help!("avouch keys prepare"))]
    Prepare {
        /// ES256 or RS256
        #[arg(long, value_name = "ALG", default_value = "ES256", value_parser = alg)]
        alg: SigningAlg,
        #[command(flatten)]
        common: Common,
    },
    /// Let a pending key sign; the one before retires
    #[command(after_help = super::help!("avouch keys activate KID", "A key is published for [keys.rotation] publish_ahead before it signs, ten minutes at least: until then every service has fetched it."))]
    Activate {
        /// As `keys list` shows it
        #[arg(allow_hyphen_values = true)]
        kid: String,
        #[command(flatten)]
        force: Force,
        #[command(flatten)]
        common: Common,
    },
    /// Take a pending or retiring key out of the key set, for good
    #[command(after_help = super::help!("avouch keys retire KID", "A retiring key stays published until all that it signed has expired."))]
    Retire {
        /// As `keys list` shows it
        #[arg(allow_hyphen_values = true)]
        kid: String,
        #[command(flatten)]
        force: Force,
        #[command(flatten)]
        common: Common,
    },
    /// Revoke a key that somebody else may have: it signs nowhere any more, another one takes over, and a report says whom to tell
    #[command(after_help = super::help!("avouch keys revoke KID --reason \"laptop stolen\" --withdraw-since 2026-11-28T09:00:00Z --dry-run", "Two reports are written, KID being the key: key-revoked-KID.md for a ticket and key-revoked-KID.json. A run that was cut short is started again."))]
    Revoke {
        /// As `keys list` shows it
        #[arg(allow_hyphen_values = true)]
        kid: String,
        /// Why; it stands in the journal and in the reports
        #[arg(long, value_name = "TEXT")]
        reason: String,
        /// Also withdraw the delegations that were used since this time, such as 2026-11-28T09:00:00Z
        #[arg(long, value_name = "TIME", value_parser = time)]
        withdraw_since: Option<Timestamp>,
        /// Say what would happen, and change nothing
        #[arg(long)]
        dry_run: bool,
        /// Where the reports are written
        #[arg(long, value_name = "DIR", default_value = ".")]
        reports: PathBuf,
        #[command(flatten)]
        common: Common,
    },
    /// Publish a private key that was made elsewhere (PEM or JWK; ES256 or RS256), so that services need no other key set
    #[command(after_help = super::help!("avouch keys import key.pem --kid main-2025", "It keeps its name: --kid, or that of the JWK, else its RFC 7638 thumbprint. It signs when it is activated: at once with --force and a reason, where the services know it already. Delete the file afterwards: the key is sealed in the database."))]
    Import {
        /// The file; - reads from standard input
        file: PathBuf,
        /// The name that its verifiers know it by
        #[arg(long, value_name = "KID", allow_hyphen_values = true)]
        kid: Option<String>,
        #[command(flatten)]
        common: Common,
    },
    /// Print the public keys of an issuer as a JWK Set, as it is published, or one of them
    #[command(after_help = super::help!("avouch keys export > jwks.json"))]
    Export {
        /// As `keys list` shows it; all that are published unless said
        #[arg(allow_hyphen_values = true)]
        kid: Option<String>,
        #[command(flatten)]
        common: Common,
    },
    /// Change the sealing key while servers run: what it has sealed is sealed anew by another. Run it again after it was cut short
    #[command(after_help = super::help!("avouch keys reseal --dry-run", "The new key is made as sealing-next.key in [keys] dir, or printed by next_sealing_key_command. Nothing is sealed by it before every server has it: where they do not share that folder, run `avouch keys reseal --prepare` first and bring the file to each. At the end it takes the place of sealing.key, and the old one is kept as sealing-ID.key, with which older backups open."))]
    Reseal {
        /// Only make the new key, for bringing it to other servers first
        #[arg(long, conflicts_with = "dry_run")]
        prepare: bool,
        /// Say what would happen, and change nothing
        #[arg(long)]
        dry_run: bool,
        #[command(flatten)]
        common: All,
    },
    /// Take the next step of a rotation: publish a key, or let the published one sign
    #[command(after_help = super::help!("avouch keys rotate", "A server does that by itself; see [keys.rotation]."))]
    Rotate {
        /// ES256 or RS256
        #[arg(long, value_name = "ALG", default_value = "ES256", value_parser = alg)]
        alg: SigningAlg,
        #[command(flatten)]
        force: Force,
        #[command(flatten)]
        common: Common,
    },
}

/// What concerns all issuers.
#[derive(Args)]
pub(super) struct All {
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// Configuration file [default: avouch.toml if there is one]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

#[derive(Args)]
pub(super) struct Force {
    /// Do not wait until nobody can miss the key; needs --reason
    #[arg(long, requires = "reason")]
    force: bool,
    /// Why; it stands in the journal
    #[arg(long, value_name = "TEXT", requires = "force")]
    reason: Option<String>,
}

/// Most bytes of a key in text: RSA of 8192 bits takes a tenth of that.
const MAX_KEY: u64 = 64 * 1024;

fn read(file: &Path) -> std::io::Result<Zeroizing<String>> {
    let mut text = Zeroizing::new(String::new());
    if file == Path::new("-") {
        std::io::stdin().take(MAX_KEY).read_to_string(&mut text)?;
    } else {
        std::fs::File::open(file)?.take(MAX_KEY).read_to_string(&mut text)?;
    }
    Ok(text)
}

fn time(text: &str) -> Result<Timestamp, String> {
    let time =
        DateTime::parse_from_rfc3339(text).map_err(|_| "it must be a time such as 2026-11-28T09:00:00Z".to_owned())?;
    Ok(Timestamp(time.timestamp()))
}

pub(super) fn alg(text: &str) -> Result<SigningAlg, String> {
    SigningAlg::parse(text).ok_or_else(|| "it must be ES256 or RS256".to_owned())
}

pub(super) async fn run(command: Command) -> Result<(), Failure> {
    match command {
        Command::Init { common } => init(&common).await,
        Command::List { fetchers, common } => {
            let (host, id) = common.connect().await?;
            list(&host, &id, fetchers, &common).await
        }
        Command::Prepare { alg, common } => {
            let (host, id) = common.connect().await?;
            let kid = rotate::prepare(&host, &id, alg).await.map_err(failed)?;
            show(&host, &id, &kid, &common).await
        }
        Command::Activate { kid, force, common } => {
            let (kid, force) = (Kid::from(kid), force.reason()?);
            let (host, id) = common.connect().await?;
            rotate::activate(&host, &id, &kid, force.as_ref()).await.map_err(failed)?;
            show(&host, &id, &kid, &common).await
        }
        Command::Retire { kid, force, common } => {
            let (kid, force) = (Kid::from(kid), force.reason()?);
            let (host, id) = common.connect().await?;
            rotate::retire(&host, &id, &kid, force.as_ref()).await.map_err(failed)?;
            show(&host, &id, &kid, &common).await
        }
        Command::Import { file, kid, common } => {
            let wrong = |e: &dyn std::fmt::Display| Failure::Usage(format!("{}: {e}", file.display()));
            let text = read(&file).map_err(|e| wrong(&e))?;
            let (host, id) = common.connect().await?;
            let kid = rotate::import(&host, &id, &text, kid.map(Kid::from).as_ref()).await.map_err(|e| match e {
                Error::Refused(refusal) => wrong(&refusal),
                fault @ Error::Fault(_) => failed(fault),
            })?;
            show(&host, &id, &kid, &common).await
        }
        Command::Export { kid, common } => {
            let (host, id) = common.connect().await?;
            let set = rotate::export(&host, &id, kid.map(Kid::from).as_ref()).await.map_err(failed)?;
            out!("{set}");
            Ok(())
        }
        Command::Revoke { kid, reason, withdraw_since, dry_run, reports, common } => {
            let reason = Reason::parse(&reason).map_err(|problem| Failure::Usage(format!("--reason: {problem}")))?;
            // It names the reports as well.
            if !is_kid(&kid) {
                return Err(Failure::Usage(
                    "KID: it is not the name of a key; `avouch keys list` shows them".to_owned(),
                ));
            }
            let order = Order { kid: Kid::from(kid), reason, withdraw_since, dry_run };
            revoke(&order, &reports, &common).await
        }
        Command::Reseal { prepare, dry_run, common } => {
            if prepare {
                reseal::prepare(&common).await
            } else {
                reseal::run(dry_run, &common).await
            }
        }
        Command::Rotate { alg, force, common } => {
            let force = force.reason()?;
            let (host, id) = common.connect().await?;
            let rotated = rotate::rotate(&host, &id, alg, force.as_ref()).await.map_err(failed)?;
            let (Rotated::Prepared(kid) | Rotated::Activated(kid)) = rotated;
            show(&host, &id, &kid, &common).await
        }
    }
}

impl Force {
    fn reason(&self) -> Result<Option<Reason>, Failure> {
        let parsed = self.reason.as_deref().map(Reason::parse).transpose();
        parsed.map_err(|problem| Failure::Usage(format!("--reason: {problem}")))
    }
}

async fn init(common: &Common) -> Result<(), Failure> {
    let config = load(common.config.as_deref())?;
    if !start::was_started(&config).await.map_err(|e| cannot_start(&e))? {
        let opened = start::open_alone(&config, Accepted::default(), Clock::System, Rng::Os).await;
        let (host, report, claim) = opened.map_err(|e| cannot_start(&e))?;
        for (path, what) in &report.files {
            say!("made {}: {what}", path.display());
        }
        host.database.close().await;
        drop(claim);
    }
    let (host, id) = common.connect().await?;
    list(&host, &id, false, common).await
}

fn failed(error: Error) -> Failure {
    match error {
        Error::Refused(refusal) => Failure::Usage(refusal.to_string()),
        Error::Fault(fault) => Failure::Unable(fault.to_string()),
    }
}

async fn revoke(order: &Order, folder: &Path, common: &Common) -> Result<(), Failure> {
    let files = if order.dry_run {
        None
    } else {
        Some((ReportFile::open(order, folder, "md")?, ReportFile::open(order, folder, "json")?))
    };
    let report = match revoke_on(order, common).await {
        Ok(report) => report,
        Err(failure) => {
            if let Some((text, json)) = &files {
                text.give_up();
                json.give_up();
            }
            return Err(failure);
        }
    };
    let json = serde_json::to_string_pretty(&report).map_err(|e| Failure::Unable(e.to_string()))?;
    let text = report.markdown();
    out!("{}", if common.json { &json } else { &text });
    if let Some((text_file, json_file)) = files {
        text_file.write(&text)?;
        json_file.write(&json)?;
    }
    Ok(())
}

/// Begun before anything is done, for afterwards somebody needs it. It has its name when it is whole: a run that was cut short leaves a
/// part, which the next one writes anew.
struct ReportFile {
    path: PathBuf,
    part: PathBuf,
    file: File,
}

impl ReportFile {
    fn open(order: &Order, folder: &Path, ending: &str) -> Result<Self, Failure> {
        let path = folder.join(format!("key-revoked-{}.{ending}", order.kid));
        let part = folder.join(format!("key-revoked-{}.{ending}.part", order.kid));
        let opened = File::options().write(true).create(true).truncate(true).mode(0o600).open(&part);
        let file = opened.map_err(|e| Failure::Usage(format!("--reports: {}: {e}", part.display())))?;
        Ok(Self { path, part, file })
    }

    fn give_up(&self) {
        let _ = std::fs::remove_file(&self.part);
    }

    fn write(mut self, text: &str) -> Result<(), Failure> {
        let wrote = self.file.write_all(text.as_bytes()).and_then(|()| self.file.sync_all());
        let named = wrote.and_then(|()| std::fs::rename(&self.part, &self.path));
        named.map_err(|e| Failure::Unable(format!("{} could not be written: {e}", self.path.display())))?;
        say!("written: {}", self.path.display());
        Ok(())
    }
}

async fn revoke_on(order: &Order, common: &Common) -> Result<Report, Failure> {
    let (host, id) = common.connect().await?;
    let mut bar = Bar::new("withdrawn");
    let report = compromise::run(&host, &id, order, |done, all| bar.show(done, all)).await;
    bar.end();
    report.map_err(failed)
}
