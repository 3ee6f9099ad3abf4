//! Issuers under administration: added, described, disabled and enabled, each as one transaction with its journal row.

use crate::domain::display_name::DisplayName;
use crate::domain::issuer::{Colour, IssuerId, IssuerRecord, Logo, Origin};
use crate::domain::journal::Event;
use crate::domain::refusal::Refusal;
use crate::domain::rotation::SigningAlg;
use crate::error::Error;
use crate::flow::keyring;
use crate::host::{DEFAULT_ISSUER, Host};
use crate::secret::{Secret, token_hash};
use crate::store::{Entry, Tx};

/// What people see of an issuer.
#[derive(Clone, Debug)]
pub struct Looks {
    /// What it calls itself.
    pub name: DisplayName,
    /// The colour of its pages.
    pub colour: Option<Colour>,
    /// Its logo.
    pub logo: Option<Logo>,
}

/// What is to become of something that need not be there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Patch<T> {
    /// It stays as it is.
    #[default]
    Keep,
    /// It goes.
    Remove,
    /// It is this from now on.
    Set(T),
}

impl<T> Patch<T> {
    /// What comes out, given what is there.
    fn apply(&self, present: Option<T>) -> Option<T>
    where
        T: Clone,
    {
        match self {
            Self::Keep => present,
            Self::Remove => None,
            Self::Set(value) => Some(value.clone()),
        }
    }
}

/// What is to change of an issuer.
#[derive(Clone, Debug, Default)]
pub struct Change {
    /// What it calls itself; `None`: as it is.
    pub name: Option<DisplayName>,
    /// The colour of its pages.
    pub colour: Patch<Colour>,
    /// Its logo.
    pub logo: Patch<Logo>,
    /// Whether it is disabled; `None`: as it is.
    pub disabled: Option<bool>,
}

/// Adds an issuer with its first key. Answers with its row and its admin token, which nobody can read a second time.
///
/// # Errors
/// [`Refusal::IssuerExists`]; faults.
pub async fn add(host: &Host, id: &IssuerId, looks: &Looks) -> Result<(IssuerRecord, Secret), Error> {
    let token = Secret::new(host.rng.token());
    let row = create(host, id, looks, token_hash(token.expose()), Origin::Admin).await?.ok_or(Refusal::IssuerExists)?;
    Ok((row, token))
}

async fn create(
    host: &Host,
    id: &IssuerId,
    looks: &Looks,
    admin_token_hash: String,
    origin: Origin,
) -> Result<Option<IssuerRecord>, Error> {
    let now = host.now();
    let row = IssuerRecord {
        id: id.as_str().to_owned(),
        url: id.under(&host.root).as_str().to_owned(),
        name: looks.name.to_string(),
        colour: looks.colour.clone(),
        logo_hash: looks.logo.as_ref().map(|logo| logo.hash().to_owned()),
        cimd: "{}".to_owned(),
        admin_token_hash,
        origin,
        created_at: now,
        disabled_at: None,
    };
    let sealing = host.sealing.keys();
    let first = keyring::make(&sealing, id.as_str(), SigningAlg::Es256, &host.rng).await?;
    let mut tx = host.database.of(id.as_str().into()).begin().await?;
    if !tx.create_issuer(&row).await? {
        drop(tx);
        keyring::destroy(&sealing, id.as_str(), first.0.kid(), &first.1).await;
        return Ok(None);
    }
    tx.set_issuer_logo(looks.logo.as_ref()).await?;
    record(host, &mut tx, Event::IssuerCreated { by: origin }).await?;
    keyring::add_first(&mut tx, &sealing, id.as_str(), &first, (&host.rng, &host.rotation, now)).await?;
    tx.commit().await?;
    Ok(Some(row))
}

/// A page of issuers, by id, the default one among them.
///
/// # Errors
/// Faults.
pub async fn list(host: &Host, after: Option<&str>, limit: i64) -> Result<Vec<IssuerRecord>, Error> {
    Ok(host.database.read().await?.issuers(after, limit).await?)
}

/// One issuer, disabled or not.
///
/// # Errors
/// [`Refusal::NotFound`]; faults.
pub async fn find(host: &Host, id: &str) -> Result<IssuerRecord, Error> {
    // No issuer is called that, and PostgreSQL cannot even be asked.
    if id.contains('\0') {
        return Err(Refusal::NotFound.into());
    }
    host.database.of(id.into()).read().await?.issuer().await?.ok_or(Refusal::NotFound.into())
}

/// Changes an issuer. What the configuration declares is changed there, disabling aside: that holds until it is enabled again, also
/// across restarts.
///
/// # Errors
/// [`Refusal::NotFound`], [`Refusal::IssuerDeclared`], [`Refusal::IssuerDefault`]; faults.
pub async fn change(host: &Host, id: &str, change: &Change) -> Result<IssuerRecord, Error> {
    find(host, id).await?;
    if id == DEFAULT_ISSUER {
        return Err(Refusal::IssuerDefault.into());
    }
    let mut tx = host.database.of(id.into()).begin().await?;
    let row = tx.issuer().await?.ok_or(Refusal::NotFound)?;
    let new_looks = change.name.is_some() || change.colour != Patch::Keep || change.logo != Patch::Keep;
    if new_looks && row.is_declared() {
        return Err(Refusal::IssuerDeclared.into());
    }
    let name = change.name.as_ref().map_or(row.name.as_str(), DisplayName::as_str);
    let colour = change.colour.apply(row.colour.clone());
    let mut described = tx.describe_issuer(name, colour.as_ref(), &row.cimd, row.origin).await?;
    described |= match &change.logo {
        Patch::Keep => false,
        Patch::Remove => tx.set_issuer_logo(None).await?,
        Patch::Set(logo) => tx.set_issuer_logo(Some(logo)).await?,
    };
    if described {
        record(host, &mut tx, Event::IssuerDescribed { by: Origin::Admin }).await?;
    }
    let mut moved = false;
    if let Some(disabled) = change.disabled {
        moved = tx.set_issuer_disabled(disabled.then(|| host.now())).await?;
        if moved {
            // An administrator's word: a declaration in the configuration does not enable it again.
            tx.describe_issuer(name, colour.as_ref(), &row.cimd, Origin::Admin).await?;
            let by = Origin::Admin;
            let event = if disabled { Event::IssuerDisabled { by } } else { Event::IssuerEnabled { by } };
            record(host, &mut tx, event).await?;
        }
    }
    let row = tx.issuer().await?.ok_or(Error::invariant("an issuer is never deleted"))?;
    if described || moved {
        tx.commit().await?;
        host.issuers.remove(id);
    }
    Ok(row)
}

/// What became of a declared issuer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Declared {
    /// It is new.
    Created {
        /// And so is the file with its admin token.
        made_file: bool,
    },
    /// It was there, and is as declared now.
    Known,
    /// An administrator disabled it, and so it stays.
    Disabled,
}

/// Makes an issuer what the configuration declares. `token` makes its admin token where it is new, and says the token's hash and whether
/// its file is new.
///
/// # Errors
/// What `token` says; faults.
pub async fn declare<E: From<Error>>(
    host: &Host,
    id: &IssuerId,
    looks: &Looks,
    token: impl FnOnce() -> Result<(String, bool), E>,
) -> Result<Declared, E> {
    let store = host.database.of(id.as_str().into());
    let row = store.read().await.map_err(Error::from)?.issuer().await.map_err(Error::from)?;
    let Some(row) = row else {
        let (hash, made_file) = token()?;
        if create(host, id, looks, hash, Origin::Config).await?.is_some() {
            return Ok(Declared::Created { made_file });
        }
        return Ok(Declared::Known);
    };
    if row.disabled_at.is_some() && !row.is_declared() {
        return Ok(Declared::Disabled);
    }
    redeclare(host, id, looks, &row).await?;
    Ok(Declared::Known)
}

async fn redeclare(host: &Host, id: &IssuerId, looks: &Looks, row: &IssuerRecord) -> Result<(), Error> {
    let mut tx = host.database.of(id.as_str().into()).begin().await?;
    let mut changed = tx.describe_issuer(looks.name.as_str(), looks.colour.as_ref(), &row.cimd, Origin::Config).await?;
    changed |= tx.set_issuer_logo(looks.logo.as_ref()).await?;
    if changed {
        record(host, &mut tx, Event::IssuerDescribed { by: Origin::Config }).await?;
    }
    if tx.set_issuer_disabled(None).await? {
        record(host, &mut tx, Event::IssuerEnabled { by: Origin::Config }).await?;
        changed = true;
    }
    if changed {
        tx.commit().await?;
        host.issuers.remove(id.as_str());
    }
    Ok(())
}

/// Disables the issuers that disappeared from the configuration. Nothing is minted for them any more; what users agreed to stays, for the
/// day on which they are declared again.
///
/// # Errors
/// Faults.
pub async fn disable_undeclared(host: &Host, declared: &[&str]) -> Result<(), Error> {
    for id in host.database.read().await?.configured_issuers().await? {
        if declared.contains(&id.as_str()) {
            continue;
        }
        let mut tx = host.database.of(id.as_str().into()).begin().await?;
        if tx.set_issuer_disabled(Some(host.now())).await? {
            record(host, &mut tx, Event::IssuerDisabled { by: Origin::Config }).await?;
            tx.commit().await?;
            host.issuers.remove(&id);
            tracing::warn!(issuer = id, "disabled an issuer that is no longer declared");
        }
    }
    Ok(())
}

async fn record(host: &Host, tx: &mut Tx, event: Event) -> Result<(), Error> {
    Ok(tx.record(Entry::new(host.id(), host.now(), event)).await?)
}
