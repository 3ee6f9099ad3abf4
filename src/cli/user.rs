//! `avouch user …`.

use std::io::{IsTerminal as _, Read as _};

use clap::Subcommand;

use super::Failure;
use crate::passwords::hash_password;
use crate::rng::Rng;
use crate::secret::Secret;

#[derive(Subcommand)]
pub(super) enum Command {
    /// Read a password from standard input and print its hash, for `password_hash` in the configuration
    HashPassword,
}

pub(super) fn run(command: &Command) -> Result<(), Failure> {
    let Command::HashPassword = command;
    let mut input = std::io::stdin();
    if input.is_terminal() {
        say!("Type the password, then Enter and Ctrl-D. It is shown while you type; a pipe does not show it.");
    }
    let mut text = String::new();
    let read = std::io::Read::by_ref(&mut input).take(4096).read_to_string(&mut text);
    read.map_err(|e| Failure::Unable(format!("standard input cannot be read: {e}")))?;
    let password = Secret::new(text.trim_end_matches(['\n', '\r']));
    if password.expose().is_empty() {
        return Err(Failure::Usage("no password on standard input".into()));
    }
    let hash = hash_password(&password, &Rng::Os.bytes()).map_err(|e| Failure::Usage(e.to_string()))?;
    out!("{hash}");
    Ok(())
}
