//! What a start is told, what it tells, and why there is none.

use std::path::PathBuf;

use serde_json::{Value, json};

use crate::config::Config;
use crate::error::Error;
use crate::flow::issuers;
use crate::flow::keyfile::KeyFileError;
use crate::net::NetError;
use crate::store::StoreError;

/// Why the server cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Something the operator has to set right.
    #[error("{0}")]
    Configuration(String),
    /// A key file.
    #[error(transparent)]
    KeyFile(#[from] KeyFileError),
    /// The keys in the database.
    #[error("the signing keys in the database cannot be used: {0}")]
    Keys(String),
    /// Outbound settings.
    #[error("[network]: {0}")]
    Network(#[from] NetError),
    /// The database.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Applying what is declared.
    #[error(transparent)]
    Apply(#[from] Error),
}

impl StartError {
    /// Whether the configuration is to blame, rather than what it points to.
    #[must_use]
    pub fn is_configuration(&self) -> bool {
        matches!(self, Self::Configuration(_) | Self::KeyFile(_) | Self::Keys(_) | Self::Network(_))
            || matches!(self, Self::Apply(Error::Refused(_)))
    }
}

/// What an operator has said beforehand that a start may do.
#[derive(Clone, Copy, Debug, Default)]
pub struct Accepted {
    /// Remove all declared users, clients or services of an issuer.
    pub removals: bool,
    /// Take an empty database for a new one although there are keys already.
    pub new: bool,
}

/// What the start made, for telling the operator.
#[derive(Debug, Default)]
pub struct StartReport {
    /// Files, with what they are.
    pub files: Vec<(PathBuf, &'static str)>,
    /// Whether the database was empty.
    pub first_start: bool,
    /// How many users are declared.
    pub users: usize,
    /// How many clients are declared.
    pub clients: usize,
}

/// What the default issuer's Client ID Metadata Document says beside what follows from its URL.
pub(super) fn cimd_members(config: &Config) -> Value {
    let uris = [
        ("client_uri", &config.cimd.client_uri),
        ("logo_uri", &config.cimd.logo_uri),
        ("tos_uri", &config.cimd.tos_uri),
        ("policy_uri", &config.cimd.policy_uri),
    ];
    let given = uris.into_iter().filter_map(|(name, uri)| Some((name.to_owned(), json!(uri.as_ref()?))));
    Value::Object(given.collect())
}

/// What we say of ourselves, judged.
pub(super) fn own_document(config: &Config) -> Result<Value, StartError> {
    issuers::own_document(&config.issuer, config.cimd.client_name.as_str(), false, &cimd_members(config))
        .map_err(|e| StartError::Configuration(format!("[cimd]: the document about ourselves is not valid: {e}")))
}
