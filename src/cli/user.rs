//! `avouch user …`.

use std::io::{IsTerminal as _, Read as _};

use clap::Subcommand;
use zeroize::Zeroizing;

use super::Failure;
use crate::passwords::hash_password;
use crate::rng::Rng;
use crate::secret::{Secret, same};

#[derive(Subcommand)]
pub(super) enum Command {
    /// Ask for a password, or read it from standard input, and print its hash for `password_hash` in the configuration
    #[command(after_help = super::help!("avouch user hash-password < password.txt"))]
    HashPassword,
}

pub(super) fn run(command: &Command) -> Result<(), Failure> {
    let Command::HashPassword = command;
    let password = if std::io::stdin().is_terminal() { ask()? } else { read()? };
    if password.expose().is_empty() {
        return Err(Failure::Usage("there is no password".into()));
    }
    let hash = hash_password(&password, &Rng::Os.bytes()).map_err(|e| Failure::Usage(e.to_string()))?;
    out!("{hash}");
    Ok(())
}

/// Twice, since nothing is shown while it is typed.
fn ask() -> Result<Secret, Failure> {
    let ask = |prompt: &str| {
        let typed = rpassword::prompt_password(prompt);
        typed.map(Secret::new).map_err(|e| Failure::Unable(format!("the terminal cannot be read: {e}")))
    };
    let password = ask("Password: ")?;
    if same(password.expose(), ask("Again: ")?.expose()) {
        return Ok(password);
    }
    Err(Failure::Usage("the two differ".into()))
}

fn read() -> Result<Secret, Failure> {
    let mut text = Zeroizing::new(String::new());
    let read = std::io::stdin().take(4096).read_to_string(&mut text);
    read.map_err(|e| Failure::Unable(format!("standard input cannot be read: {e}")))?;
    Ok(Secret::new(text.trim_end_matches(['\n', '\r'])))
}
