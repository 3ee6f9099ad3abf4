//! What the configuration declares, for all issuers: read and judged as a whole before any of it is applied.

use std::path::Path;

use crate::config::{self, Config, IssuerDecl};
use crate::domain::issuer::{IssuerId, Logo, Origin};
use crate::domain::rotation::SigningAlg;
use crate::error::Error;
use crate::flow::declare::Gone;
use crate::flow::issuers_admin::{self, Looks};
use crate::flow::starting::{StartError, StartReport, cimd_members};
use crate::flow::{admin_token, declare, issuers, keyfile, logo, rotate};
use crate::host::{DEFAULT_ISSUER, Host};
use crate::secret::token_hash;
use crate::store::Database;

/// How often the configuration is applied again after the database has cut it off, as it does to break a deadlock.
const APPLY_TRIES: usize = 5;

/// A configuration with the files that it names for its issuers.
pub(super) struct Plan<'a> {
    config: &'a Config,
    issuers: Vec<(&'a IssuerDecl, Looks)>,
}

impl<'a> Plan<'a> {
    /// Reads what the configuration points to.
    pub(super) fn read(config: &'a Config) -> Result<Self, StartError> {
        let looks = |declared: &'a IssuerDecl| {
            let logo = declared.logo_file.as_deref().map(|path| declared_logo(&declared.id, path)).transpose()?;
            Ok((declared, Looks { name: declared.name.clone(), colour: declared.colour.clone(), logo }))
        };
        let issuers = config.issuers.iter().map(looks).collect::<Result<_, StartError>>()?;
        Ok(Self { config, issuers })
    }

    /// The issuers that things are declared for: our key of each, and its name in the configuration.
    pub(super) fn homes(&self) -> impl Iterator<Item = (&'a str, Option<&'a IssuerId>)> {
        let further = self.config.issuers.iter().map(|declared| (declared.id.as_str(), Some(&declared.id)));
        std::iter::once((DEFAULT_ISSUER, None)).chain(further)
    }

    /// What must be right of all issuers before anything is done for one of them: an admin token's file says what the database knows,
    /// and nobody is about to lose everything by a wrong file.
    pub(super) async fn judge(&self, database: &Database, removals_accepted: bool) -> Result<(), StartError> {
        for (id, home) in self.homes() {
            let mut tx = database.of(id.into()).read().await?;
            let Some(row) = tx.issuer().await? else { continue };
            admin_token::compare(&admin_token::file(self.config, id), &row)?;
            // What an administrator disabled stays as it is.
            if removals_accepted || (row.disabled_at.is_some() && !row.is_declared()) {
                continue;
            }
            let whole = Gone::of(&mut tx, &self.config.declared_for(home)).await?.whole_kinds();
            if !whole.is_empty() {
                return Err(StartError::Configuration(format!(
                    "all declared {} of {} would be removed, and what users agreed to would be withdrawn for good. Is this the right \
                     configuration? If that is meant: avouch serve --accept-removals",
                    whole.join(" and "),
                    row.url
                )));
            }
        }
        Ok(())
    }

    /// Writes it into the database, issuer by issuer, and disables those that disappeared.
    pub(super) async fn apply(&self, host: &Host, report: &mut StartReport) -> Result<(), StartError> {
        self.apply_default(host).await?;
        for (declared, looks) in &self.issuers {
            self.apply_issuer(host, declared, looks, report).await?;
        }
        let ids = self.issuers.iter().map(|(declared, _)| declared.id.as_str()).collect::<Vec<_>>();
        Ok(issuers_admin::disable_undeclared(host, &ids).await?)
    }

    async fn apply_default(&self, host: &Host) -> Result<(), StartError> {
        let members = cimd_members(self.config).to_string();
        let mut tx = host.database.of(DEFAULT_ISSUER.into()).begin().await?;
        tx.describe_issuer(self.config.cimd.client_name.as_str(), None, &members, Origin::Config).await?;
        tx.commit().await?;
        host.issuers.remove(DEFAULT_ISSUER);
        apply(host, DEFAULT_ISSUER, &self.config.declared_for(None)).await
    }

    async fn apply_issuer(
        &self,
        host: &Host,
        declared: &IssuerDecl,
        looks: &Looks,
        report: &mut StartReport,
    ) -> Result<(), StartError> {
        let id = declared.id.as_str();
        let file = admin_token::file(self.config, id);
        let made = issuers_admin::declare::<StartError>(host, &declared.id, looks, || {
            let made = keyfile::make(&file, host.rng.token().as_bytes(), &host.rng)?;
            Ok((token_hash(keyfile::read_text(&file)?.expose()), made))
        });
        match made.await? {
            issuers_admin::Declared::Created { made_file: true } => {
                report.files.push((file, "an issuer's admin token, bearer for its /api/v1"));
            }
            issuers_admin::Declared::Created { .. } | issuers_admin::Declared::Known => {}
            issuers_admin::Declared::Disabled => {
                tracing::warn!(issuer = id, "is declared, but an administrator disabled it: enable it again to use it");
                return Ok(());
            }
        }
        apply(host, id, &self.config.declared_for(Some(&declared.id))).await
    }
}

fn declared_logo(id: &IssuerId, path: &Path) -> Result<Logo, StartError> {
    let wrong = |e: &dyn std::fmt::Display| {
        StartError::Configuration(format!("issuers: {id}: logo_file {}: {e}", path.display()))
    };
    logo::read(path).map_err(|e| wrong(&e)).and_then(|bytes| logo::redraw(&bytes).map_err(|e| wrong(&e)))
}

async fn apply(host: &Host, id: &str, declared: &config::Declared<'_>) -> Result<(), StartError> {
    let by_rs256 =
        declared.clients.iter().any(|client| client.metadata.id_token_signed_response_alg == SigningAlg::Rs256)
            || declared.services.iter().any(|service| service.policy.signing_alg == SigningAlg::Rs256);
    if by_rs256 {
        rotate::ensure(host, id, SigningAlg::Rs256).await?;
        // Loaded before, it lacks the key.
        host.issuers.remove(id);
    }
    let app = issuers::app(host, id).await?.ok_or(Error::invariant("a declared issuer is there"))?;
    let mut tries = 0;
    loop {
        // The configuration's order is not the order of locks that mints keep on a replica that runs, and PostgreSQL may end either.
        match declare::apply(&app, declared).await {
            Err(error) if error.is_cut_off() && tries < APPLY_TRIES => tries += 1,
            applied => return Ok(applied?),
        }
    }
}
