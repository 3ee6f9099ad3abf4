//! `avouch harness`.

use std::path::Path;
use std::time::Duration;

use super::demo::Folder;
use super::{Failure, descriptors, log, sandbox, stop};
use crate::clock::Clock;
use crate::config::{Config, Log, LogLevel};
use crate::flow::start::{self, Accepted};
use crate::http::serve::{Limits, serve_within};
use crate::lab::harness::Harness;
use crate::rng::Rng;

/// How long the database may take to close: its folder goes in any case.
const CLOSE: Duration = Duration::from_millis(500);

pub(super) async fn run(port: u16) -> Result<(), Failure> {
    log::start(Log { level: LogLevel::Warn, ..Log::default() });
    let folder = Folder::make("harness", false)?;
    let (listener, origin) = sandbox::bind(port)?;
    let port = listener.local_addr().map_err(|e| Failure::Unable(e.to_string()))?.port();
    let config = configuration(folder.path(), &origin)?;
    let stop = stop::on_signal()?;
    let unable = |e: &dyn std::fmt::Display| Failure::Unable(format!("the harness cannot start: {e}"));
    let opened = start::open(&config, Accepted::default(), Clock::shifted(), Rng::Os).await;
    let (host, _) = opened.map_err(|e| unable(&e))?;
    let harness = Harness::new(host.clone(), port).await.map_err(|e| unable(&e))?;
    out!("{origin}");
    say!("avouch harness is ready: an issuer for tests, which forgets everything when it ends");
    say!("  an assertion       curl -d '{{\"audience\": \"http://localhost:8000\"}}' {origin}/harness/assertions");
    say!("  what can be wrong  curl {origin}/harness/flaws");
    let mut ended = stop.clone();
    let serving = serve_within(Limits::within(descriptors::for_connections()), listener, harness.router(), stop);
    // Each test starts one: nobody waits for connections that a client keeps.
    tokio::select! {
        () = serving => {}
        _ = ended.wait_for(|over| *over) => {}
    }
    let _ = tokio::time::timeout(CLOSE, host.database.close()).await;
    Ok(())
}

/// What nobody has to write: everything is in a folder that ends with the process.
fn configuration(folder: &Path, origin: &str) -> Result<Config, Failure> {
    let at = |name: &str| folder.join(name).display().to_string();
    let text = format!(
        "issuer = \"{origin}\"\ndatabase_url = \"sqlite://{}\"\nnetwork = {{ allow_private_addresses = true }}\n\
         [keys]\ndir = \"{}\"\n[keys.rotation]\ninterval = \"never\"\n[cimd]\nclient_name = \"Avouch Harness\"\n",
        at("avouch.db"),
        at("keys"),
    );
    let file = folder.join("avouch.toml");
    std::fs::write(&file, text).map_err(|e| Failure::Unable(format!("{}: {e}", file.display())))?;
    Config::load(Some(&file), Vec::new()).map_err(|e| Failure::Unable(e.to_string()))
}
