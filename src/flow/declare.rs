//! What the configuration declares, in the database: users, clients and services, and what becomes of those that disappear from it.

use std::collections::HashSet;

use crate::config::{ClientDecl, Declared, Password, ServiceDecl, UserDecl};
use crate::domain::client::Client;
use crate::domain::delegation::Removed;
use crate::domain::ids::{AccountId, ClientId, ClientKey};
use crate::domain::issuer::{IssuerId, Origin};
use crate::domain::journal::Event;
use crate::domain::time::Timestamp;
use crate::error::Error;
use crate::flow::{administer, issuers, logout};
use crate::host::{App, DEFAULT_ISSUER, Host};
use crate::secret::{Secret, token_hash};
use crate::store::{Entry, NewAccount, Tx};

/// Makes the issuer's rows say what the configuration declares for it, in one transaction. What disappeared from it is disabled, so that
/// nothing is minted under it any more, and what stood under it is withdrawn afterwards, batch by batch.
///
/// # Errors
/// Faults.
pub(super) async fn apply(app: &App, declared: &Declared<'_>) -> Result<(), Error> {
    let now = app.now();
    let mut tx = app.store.begin().await?;
    for user in &declared.users {
        apply_user(app, &mut tx, user, now).await?;
    }
    for client in &declared.clients {
        apply_client(app, &mut tx, client, now).await?;
    }
    for service in &declared.services {
        apply_service(app, &mut tx, service, now).await?;
    }
    let gone = Gone::of(&mut tx, declared).await?;
    remove(app, &mut tx, &gone).await?;
    tx.commit().await?;
    app.outbox_signal.notify_one();
    // What it says of itself depends on its clients; other processes hear of it by its revision.
    app.issuers.remove(&app.issuer.id);
    gone.warn(app.issuer.url.as_str());
    Ok(())
}

/// What was declared until now, and is no longer.
pub(super) struct Gone {
    users: Vec<(AccountId, String)>,
    clients: Vec<(ClientKey, ClientId)>,
    services: Vec<String>,
    /// Of the users, clients and services that were declared before, how many there are.
    before: [usize; 3],
}

impl Gone {
    /// Compares the rows with what is declared.
    pub(super) async fn of(tx: &mut Tx, declared: &Declared<'_>) -> Result<Self, Error> {
        let users: HashSet<&str> = declared.users.iter().map(|u| u.profile.email.as_str()).collect();
        let clients: HashSet<&ClientId> = declared.clients.iter().map(|c| &c.client_id).collect();
        let services: HashSet<&str> = declared.services.iter().map(|s| s.audience.as_str()).collect();
        let mut gone = Self {
            users: tx.configured_accounts().await?,
            clients: tx.configured_clients().await?,
            services: tx.configured_services().await?,
            before: [0; 3],
        };
        gone.before = gone.counts();
        gone.users.retain(|(_, email)| !users.contains(email.as_str()));
        gone.clients.retain(|(_, client_id)| !clients.contains(client_id));
        gone.services.retain(|audience| !services.contains(audience.as_str()));
        Ok(gone)
    }

    fn counts(&self) -> [usize; 3] {
        [self.users.len(), self.clients.len(), self.services.len()]
    }

    /// The kinds of which none would be left, with how many there are.
    pub(super) fn whole_kinds(&self) -> Vec<String> {
        let kinds = ["users", "clients", "services"].into_iter().zip(self.before).zip(self.counts());
        let whole = kinds.filter(|((_, before), gone)| *before > 0 && before == gone);
        whole.map(|((kind, before), _)| format!("{kind} ({before})")).collect()
    }

    /// The names that go: users, clients, services.
    pub(super) fn names(self) -> [Vec<String>; 3] {
        [
            self.users.into_iter().map(|(_, email)| email).collect(),
            self.clients.into_iter().map(|(_, client_id)| client_id.to_string()).collect(),
            self.services,
        ]
    }

    fn warn(&self, issuer: &str) {
        let [users, clients, services] = self.counts();
        if users + clients + services > 0 {
            tracing::warn!(
                issuer,
                users,
                clients,
                services,
                "disabled what the configuration no longer declares; what stood under it is being withdrawn"
            );
        }
    }
}

async fn apply_user(app: &App, tx: &mut Tx, user: &UserDecl, now: Timestamp) -> Result<(), Error> {
    let (id, sub) = (app.id().into(), app.rng.subject());
    tx.apply_account(&NewAccount::of(&id, &sub, &user.profile), now).await?;
    match &user.password {
        Some(Password::Hash(hash)) => set_password(app, tx, &user.profile.email, Some(hash.expose()), now).await,
        // Hashed later, when there is time: until then nobody signs in.
        Some(Password::Plain(_)) => Ok(()),
        None => set_password(app, tx, &user.profile.email, None, now).await,
    }
}

/// Whoever was signed in by another password no longer is.
pub(super) async fn set_password(
    app: &App,
    tx: &mut Tx,
    email: &str,
    hash: Option<&str>,
    now: Timestamp,
) -> Result<(), Error> {
    if let Some(account_id) = tx.set_password(email, hash).await? {
        let sessions = tx.sign_out_everywhere(&account_id, now).await?;
        logout::of_sessions(app, tx, &sessions).await?;
        let entry = Entry::new(app.id(), now, Event::PasswordChanged {});
        tx.record(Entry { account_id: Some(&account_id), ..entry }).await?;
    }
    Ok(())
}

async fn apply_client(app: &App, tx: &mut Tx, declared: &ClientDecl, now: Timestamp) -> Result<(), Error> {
    let client = Client {
        key: app.id().into(),
        client_id: declared.client_id.clone(),
        metadata: declared.metadata.clone(),
        policy: declared.policy.clone(),
        secret_hash: declared.secret.as_ref().map(|secret| token_hash(secret.expose())),
        version: 0,
    };
    Ok(tx.apply_client(&client, now).await?)
}

async fn apply_service(app: &App, tx: &mut Tx, declared: &ServiceDecl, now: Timestamp) -> Result<(), Error> {
    Ok(tx.apply_service(&app.id(), &declared.audience, &declared.policy, now).await?)
}

async fn remove(app: &App, tx: &mut Tx, gone: &Gone) -> Result<(), Error> {
    let users = gone.users.iter().map(|(id, email)| (Removed::User(id.clone()), email.as_str()));
    let clients = gone.clients.iter().map(|(key, id)| (Removed::Client(key.clone()), id.as_str()));
    let services = gone.services.iter().map(|audience| (Removed::Service(audience.clone()), audience.as_str()));
    for (what, name) in users.chain(clients).chain(services) {
        administer::disable(app, tx, &what, name, Origin::Config).await?;
    }
    Ok(())
}

/// Hashes the plain passwords of the configuration, after the server is ready: each takes tens of milliseconds. Sign-ins wait for it.
pub async fn hash_passwords(host: Host, users: Vec<UserDecl>) {
    for user in users {
        if let Some(Password::Plain(password)) = user.password
            && let Err(error) = hash_one(
                &host,
                user.issuer.as_ref().map_or(DEFAULT_ISSUER, IssuerId::as_str),
                &user.profile.email,
                password,
            )
            .await
        {
            tracing::error!(
                error = &error as &dyn std::error::Error,
                "a password of the configuration could not be stored"
            );
        }
    }
    host.passwords_ready.send_replace(true);
}

async fn hash_one(host: &Host, issuer: &str, email: &str, password: Secret) -> Result<(), Error> {
    // Nobody signs in at a disabled issuer.
    let Some(app) = issuers::app(host, issuer).await? else { return Ok(()) };
    let stored = app.store.read().await?.account_by_email(email).await?;
    if let Some(hash) = stored.and_then(|s| s.password_hash)
        && app.hashing.verify(password.clone(), hash).await?
    {
        return Ok(());
    }
    let hash = app.hashing.hash(password, app.rng.bytes::<16>()).await?;
    let mut tx = app.store.begin().await?;
    set_password(&app, &mut tx, email, Some(&hash), app.now()).await?;
    tx.commit().await?;
    Ok(())
}
