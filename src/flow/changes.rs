//! What a start would change, found out without changing anything.

use crate::config::{self, ClientDecl, Config, Declared, Password, ServiceDecl, UserDecl};
use crate::domain::administered::State;
use crate::domain::client::Client;
use crate::domain::delegation::Removed;
use crate::domain::display_name::DisplayName;
use crate::error::Error;
use crate::flow::declare::Gone;
use crate::flow::plan::Plan;
use crate::flow::starting::{Accepted, StartError};
use crate::flow::{first_start, sealing_source};
use crate::host::{DEFAULT_ISSUER, Given};
use crate::secret::token_hash;
use crate::store::{Database, Schema, StoreError, StoredAccount, Tx};

/// What a start would find.
#[derive(Debug)]
pub enum Outlook {
    /// A database that is not there, or empty: it would be the first start.
    First,
    /// A schema that a start would bring up to date first; what is declared cannot be compared before.
    OlderSchema,
    /// A later version has worked on the database: why there would be no start.
    NewerSchema(String),
    /// A database in use.
    InUse {
        /// Issuers of which something would change.
        changes: Vec<Changes>,
        /// Path issuers that would be disabled.
        disabled: Vec<String>,
        /// Why there would be no start.
        stopped: Option<StartError>,
    },
}

/// What would change of an issuer.
#[derive(Debug)]
pub struct Changes {
    /// Our key of it.
    pub issuer: String,
    /// Whether it would be made.
    pub is_new: bool,
    /// Its users, by e-mail.
    pub users: Difference,
    /// Its clients, by `client_id`.
    pub clients: Difference,
    /// Its services, by audience.
    pub services: Difference,
}

/// Names, by what would happen to them.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Difference {
    /// New, or enabled again.
    pub added: Vec<String>,
    /// Others than before.
    pub changed: Vec<String>,
    /// Disabled, and what stood under them withdrawn.
    pub removed: Vec<String>,
}

impl Difference {
    fn note(&mut self, name: &str, same: Option<bool>) {
        match same {
            None => self.added.push(name.to_owned()),
            Some(false) => self.changed.push(name.to_owned()),
            Some(true) => {}
        }
    }

    fn is_none(&self) -> bool {
        *self == Self::default()
    }
}

/// Looks at the database that a start would work on.
///
/// # Errors
/// [`StartError`], also where the start itself would end with it.
pub async fn outlook(config: &Config) -> Result<Outlook, StartError> {
    let plan = Plan::read(config)?;
    let given = sealing_source::given(config).await?;
    let database = match &config.database {
        config::Database::Sqlite(file) => Database::look_at_sqlite(file).await?,
        config::Database::Postgres(url) => Some(Database::look_at_postgres(url.expose()).await?),
    };
    let Some(database) = database else {
        first_start::judge_keys(config, Accepted::default())?;
        return Ok(Outlook::First);
    };
    let outlook = look(config, &plan, &database, given).await;
    database.close().await;
    outlook
}

async fn look(
    config: &Config,
    plan: &Plan<'_>,
    database: &Database,
    given: Option<Given>,
) -> Result<Outlook, StartError> {
    let schema = database.read().await?.schema().await?;
    let is_empty = match schema {
        Schema::Newer(version) => return Ok(Outlook::NewerSchema(StoreError::Newer(version).to_string())),
        Schema::Older => return Ok(Outlook::OlderSchema),
        Schema::Empty => true,
        Schema::Current => database.of(DEFAULT_ISSUER.into()).read().await?.issuer().await?.is_none(),
    };
    if is_empty {
        first_start::judge_keys(config, Accepted::default())?;
        return Ok(Outlook::First);
    }
    let given = match given {
        Some(given) => given,
        None => sealing_source::needed(config).await?,
    };
    first_start::judge_known(config, database, given).await?;
    let mut changes = Vec::new();
    for (id, home) in plan.homes() {
        let mut tx = database.of(id.into()).read().await?;
        let row = tx.issuer().await?;
        if row.as_ref().is_some_and(|row| row.disabled_at.is_some() && !row.is_declared()) {
            continue;
        }
        let found = compare(&mut tx, id, row.is_none(), &config.declared_for(home)).await?;
        if found.is_new || ![&found.users, &found.clients, &found.services].iter().all(|d| d.is_none()) {
            changes.push(found);
        }
    }
    let mut disabled = database.read().await?.configured_issuers().await?;
    disabled.retain(|id| config.issuers.iter().all(|declared| declared.id.as_str() != id));
    let stopped = plan.judge(database, false).await.err();
    Ok(Outlook::InUse { changes, disabled, stopped })
}

async fn compare(tx: &mut Tx, issuer: &str, is_new: bool, declared: &Declared<'_>) -> Result<Changes, Error> {
    let [users, clients, services] = Gone::of(tx, declared).await?.names();
    let gone = |removed| Difference { removed, ..Difference::default() };
    let mut changes = Changes {
        issuer: issuer.to_owned(),
        is_new,
        users: gone(users),
        clients: gone(clients),
        services: gone(services),
    };
    for user in &declared.users {
        let stored = tx.account_by_email(&user.profile.email).await?;
        let stands = tx.user_by_email(&user.profile.email).await?.is_some_and(|user| stays(&user.state));
        let stored = stored.filter(|_| stands);
        changes.users.note(&user.profile.email, stored.map(|stored| same_user(user, &stored)));
    }
    for client in &declared.clients {
        let stored = tx.administered_client(&client.client_id).await?.filter(|stored| stays(&stored.state));
        changes.clients.note(client.client_id.as_str(), stored.map(|stored| same_client(client, &stored.client)));
    }
    for service in &declared.services {
        let what = Removed::Service(service.audience.as_str().to_owned());
        let stands = tx.state_of(&what).await?.is_some_and(|state| stays(&state));
        let stored = tx.known_service(service.audience.as_str()).await?.filter(|_| stands);
        changes
            .services
            .note(service.audience.as_str(), stored.map(|stored| same_service(service, &stored.service.policy)));
    }
    Ok(changes)
}

/// Whether a declaration leaves it as enabled or disabled as it is: what an administrator disabled stays so.
fn stays(state: &State) -> bool {
    state.undeclared_at.is_none()
}

fn same_user(declared: &UserDecl, stored: &StoredAccount) -> bool {
    let account = &stored.account;
    let password = match (&declared.password, &stored.password_hash) {
        (Some(Password::Hash(hash)), Some(stored)) => hash.expose() == stored,
        // Whether a plain one is the same is known only to whoever hashes it.
        (declared, stored) => declared.is_some() == stored.is_some(),
    };
    password
        && account.email_verified == declared.profile.email_verified
        && account.name.as_deref() == declared.profile.name.as_ref().map(DisplayName::as_str)
        && account.phone_number == declared.profile.phone_number
        && account.phone_verified == declared.profile.phone_number_verified
}

fn same_client(declared: &ClientDecl, stored: &Client) -> bool {
    stored.secret_hash == declared.secret.as_ref().map(|secret| token_hash(secret.expose()))
        && stored.metadata == declared.metadata
        && stored.policy == declared.policy
}

fn same_service(declared: &ServiceDecl, stored: &crate::domain::service_policy::ServicePolicy) -> bool {
    declared.policy == *stored
}
