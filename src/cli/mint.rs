//! `avouch mint`: one assertion of a lab, for scripts.

use std::fs::File;
use std::io::{ErrorKind, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::Value;
use zeroize::Zeroizing;

use super::{Failure, flaws};
use crate::clock::Clock;
use crate::domain::ids::{Audience, ClientId, IssuerUrl, Subject};
use crate::domain::rotation::SigningAlg;
use crate::domain::scope::Scope;
use crate::lab::flaws::{Cast, Presented, Terms};
use crate::lab::issuer::{LabIssuer, LabKey};
use crate::lab::mint::{MintError, Wish, address_of, mint};
use crate::rng::Rng;

#[derive(Args)]
pub(super) struct Command {
    /// The service that it is for: its issuer identifier, byte for byte
    #[arg(long, value_name = "URL", required_unless_present = "jwks")]
    audience: Option<String>,
    /// Who vouches [default: one at lab.invalid, where nobody can fetch anything]
    #[arg(long, value_name = "URL")]
    issuer: Option<String>,
    /// The user
    #[arg(long, default_value = "lab-user")]
    sub: String,
    /// The client's id at the service [default: the issuer]
    #[arg(long, value_name = "ID")]
    client: Option<String>,
    /// Scope, as `api.read api.write`
    #[arg(long)]
    scope: Option<String>,
    /// Resource
    #[arg(long, value_name = "URL")]
    resource: Option<String>,
    /// Another claim, or another value for one: JSON, else a text; null takes it away. May be repeated
    #[arg(long = "claim", value_name = "NAME=VALUE", value_parser = claim)]
    claims: Vec<(String, Value)>,
    /// What is to be wrong with it; `avouch flaws` lists what can be
    #[arg(long, value_name = "NAME")]
    flaw: Option<String>,
    /// Bind it to a key, and add to the JSON a DPoP proof of that key for a POST to this address
    #[arg(long, value_name = "URL", requires = "json")]
    proof_for: Option<String>,
    /// A file with the lab's key, made when it is not there; without it each assertion has a key of its own
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
    /// ES256 or RS256 [default: the key's, else ES256]
    #[arg(long, value_name = "ALG", value_parser = super::keys::alg)]
    alg: Option<SigningAlg>,
    /// Print the key set to publish, and no assertion
    #[arg(long, requires = "key", conflicts_with_all = ["json", "flaw"])]
    jwks: bool,
    /// Print JSON: the assertion, what is in it, the flaw, and the key set
    #[arg(long)]
    json: bool,
}

/// A key in a file is a few kilobytes.
const MAX_FILE: u64 = 64 * 1024;

fn claim(text: &str) -> Result<(String, Value), String> {
    let (name, value) = text.split_once('=').filter(|(name, _)| !name.is_empty()).ok_or("it must be NAME=VALUE")?;
    Ok((name.to_owned(), serde_json::from_str(value).unwrap_or_else(|_| value.into())))
}

pub(super) fn run(command: &Command) -> Result<(), Failure> {
    let rng = Rng::Os;
    let issuer = match &command.issuer {
        Some(url) => IssuerUrl::parse(url),
        None => LabIssuer::default_url(),
    };
    let issuer = issuer.map_err(|e| wrong("issuer", command.issuer.as_deref(), &e))?;
    let flaw = command.flaw.as_deref().map(flaws::named).transpose()?;
    // Whatever is wrong with the rest is told before a file is made.
    let terms = command.audience.as_deref().map(|audience| terms(command, &issuer, audience, &rng)).transpose()?;
    let key = key(command, &rng)?;
    let alg = key.alg();
    let cast = Cast::new(issuer, key, Clock::System.now()).map_err(|e| Failure::Unable(e.to_string()))?;
    let Some(terms) = terms.filter(|_| !command.jwks) else {
        out!("{}", cast.issuer.jwks());
        return Ok(());
    };
    let wish = Wish {
        terms: Terms { alg, ..terms },
        claims: &command.claims,
        header: &[],
        flaw,
        proof_for: command.proof_for.as_deref(),
    };
    let minted = mint(&cast, &wish).map_err(|error| match error {
        MintError::Jose(_) => Failure::Usage(format!("{}: {error}", flaw.map_or("mint", |flaw| flaw.name))),
        _ => Failure::Usage(error.to_string()),
    })?;
    if command.json {
        out!("{}", minted.to_json(&cast, flaw));
        return Ok(());
    }
    out!("{}", minted.token);
    if minted.draft.presented != Presented::Usual {
        say!("avouch mint: {}", minted.draft.presented.advice());
    }
    Ok(())
}

fn wrong(option: &str, text: Option<&str>, problem: &dyn std::fmt::Display) -> Failure {
    Failure::Usage(format!("--{option} {}: {problem}", text.unwrap_or_default()))
}

fn terms(command: &Command, issuer: &IssuerUrl, audience: &str, rng: &Rng) -> Result<Terms, Failure> {
    Audience::parse(audience).map_err(|e| wrong("audience", Some(audience), &e))?;
    let sub = Subject::parse(&command.sub).map_err(|e| wrong("sub", Some(&command.sub), &e))?;
    let client_id = command.client.as_deref().unwrap_or(issuer.as_str());
    ClientId::parse(client_id).map_err(|e| wrong("client", Some(client_id), &e))?;
    if let Some(scope) = &command.scope {
        Scope::parse(scope).map_err(|_| wrong("scope", Some(scope), &"it is not a list of scope tokens"))?;
    }
    if let Some(url) = &command.proof_for {
        url::Url::parse(url).map_err(|e| wrong("proof-for", Some(url), &e))?;
    }
    Ok(Terms {
        audience: audience.to_owned(),
        sub: sub.to_string(),
        email: Some(address_of(sub.as_str())),
        client_id: client_id.to_owned(),
        scope: command.scope.clone(),
        resource: command.resource.clone(),
        jti: rng.jti(),
        alg: SigningAlg::Es256,
    })
}

/// That of the file, else a new one.
fn key(command: &Command, rng: &Rng) -> Result<LabKey, Failure> {
    match &command.key {
        Some(file) => key_of(file, "key", command.alg),
        None => made(command.alg, rng),
    }
}

fn made(alg: Option<SigningAlg>, rng: &Rng) -> Result<LabKey, Failure> {
    LabKey::generate(alg.unwrap_or(SigningAlg::Es256), rng).map_err(|e| Failure::Unable(e.to_string()))
}

/// The key of a file that an option names, which is made where there is none.
pub(super) fn key_of(file: &Path, option: &str, alg: Option<SigningAlg>) -> Result<LabKey, Failure> {
    let lost = |e: std::io::Error| Failure::Unable(format!("{}: {e}", file.display()));
    let key = match File::open(file) {
        Ok(open) => {
            let mut text = Zeroizing::new(String::new());
            open.take(MAX_FILE).read_to_string(&mut text).map_err(lost)?;
            LabKey::read(&text).map_err(|e| Failure::Usage(format!("--{option} {}: {e}", file.display())))?
        }
        Err(e) if e.kind() == ErrorKind::NotFound => {
            let key = made(alg, &Rng::Os)?;
            write(file, &key)?;
            key
        }
        Err(e) => return Err(lost(e)),
    };
    match alg {
        Some(alg) if alg != key.alg() => {
            let problem = format!("the key of {} signs {}", file.display(), key.alg().as_str());
            Err(wrong("alg", Some(alg.as_str()), &problem))
        }
        _ => Ok(key),
    }
}

fn write(file: &Path, key: &LabKey) -> Result<(), Failure> {
    let lost = |e: &dyn std::fmt::Display| Failure::Unable(format!("{}: {e}", file.display()));
    let text = key.to_jwk().map_err(|e| lost(&e))?;
    let mut open = File::options().write(true).create_new(true).mode(0o600).open(file).map_err(|e| lost(&e))?;
    writeln!(open, "{}", text.as_str()).map_err(|e| lost(&e))?;
    say!("made {}, which signs for tests and for nothing else", file.display());
    Ok(())
}
