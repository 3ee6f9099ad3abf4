//! Users, clients and services that an administrator adds and changes, by the rules of those that the configuration declares. What it declares
//! is changed there: the next start would undo anything else.

use serde_json::{Map, Value, json};

use crate::config;
use crate::domain::administered::{AdministeredClient, AdministeredUser, State};
use crate::domain::client::{Client, ClientPolicy};
use crate::domain::client_metadata::{AuthMethod, ClientMetadata};
use crate::domain::credentials;
use crate::domain::delegation::Removed;
use crate::domain::ids::{Audience, ClientId, Subject};
use crate::domain::journal::{Event, Named};
use crate::domain::members::{MemberError, names, over, quote};
use crate::domain::profile::Profile;
use crate::domain::refusal::Refusal;
use crate::domain::registered_client;
use crate::domain::rotation::SigningAlg;
use crate::domain::service::{Source, audience_of};
use crate::domain::service_policy::ServicePolicy;
use crate::domain::session::Account;
use crate::domain::time::Timestamp;
use crate::error::Error;
use crate::flow::administer::{self, turn};
use crate::flow::services::{self, Record};
use crate::flow::{declare, rotate};
use crate::host::App;
use crate::secret::{Secret, token_hash};
use crate::store::{Entry, NewAccount, Tx};

/// What is said of one, by the names of its members.
pub type Members = Map<String, Value>;

/// How a client authenticates.
const METHOD: &str = "token_endpoint_auth_method";

/// Adds a user: `email`, and whatever else is known of them. Without `password` or `password_hash` nobody signs in as them by a password.
///
/// # Errors
/// [`Refusal::MemberWrong`], [`Refusal::Exists`]; faults.
pub async fn add_user(app: &App, mut members: Members) -> Result<AdministeredUser, Error> {
    let given = given(&members);
    let hash = password(app, &mut members).await?.flatten();
    known(&members, names::<Profile>())?;
    let profile = Profile::read(members).map_err(Refusal::MemberWrong)?;
    let (id, sub) = (app.id().into(), app.rng.subject());
    let mut tx = app.store.begin().await?;
    if !tx.add_account(&NewAccount::of(&id, &sub, &profile), hash.as_deref(), app.now()).await? {
        return Err(Refusal::Exists("a user with this e-mail address").into());
    }
    let event = Event::AccountAdded(Named { name: profile.email, members: given });
    tx.record(Entry { account_id: Some(&id), ..Entry::new(app.id(), app.now(), event) }).await?;
    tx.commit().await?;
    administer::user(app, &sub).await
}

/// Changes a user: those members that are given. Null takes one away.
///
/// # Errors
/// [`Refusal::NotFound`], [`Refusal::MemberWrong`], [`Refusal::Declared`], [`Refusal::NotDeclared`]; faults.
pub async fn change_user(app: &App, sub: &Subject, mut members: Members) -> Result<AdministeredUser, Error> {
    let found = administer::user(app, sub).await?;
    let disabled = flag(&mut members, "disabled")?;
    let given = given(&members);
    let password = password(app, &mut members).await?;
    let editable: Vec<_> = names::<Profile>().iter().copied().filter(|name| *name != "email").collect();
    known(&members, &editable)?;
    let what = Removed::User(found.account.id.clone());
    let mut tx = app.store.begin().await?;
    tx.lock_what(&what).await?;
    let AdministeredUser { account, state } = tx.user(sub).await?.ok_or(Refusal::NotFound)?;
    if !given.is_empty() {
        editable_by_administrators(&state)?;
        let profile = Profile::read(over(&known_of(&account), members)).map_err(Refusal::MemberWrong)?;
        tx.edit_account(&NewAccount::of(&account.id, &account.sub, &profile), app.now()).await?;
        if let Some(hash) = password {
            declare::set_password(app, &mut tx, &account.email, hash.as_deref(), app.now()).await?;
        }
        let event = Event::AccountEdited(Named { name: account.email.clone(), members: given.clone() });
        tx.record(Entry { account_id: Some(&account.id), ..Entry::new(app.id(), app.now(), event) }).await?;
    }
    finish(app, tx, (&what, &account.email), disabled, !given.is_empty()).await?;
    administer::user(app, sub).await
}

fn known_of(account: &Account) -> Value {
    json!({
        "email": account.email, "email_verified": account.email_verified, "name": account.name,
        "phone_number": account.phone_number, "phone_number_verified": account.phone_verified,
    })
}

/// Adds a client: `client_id`, what it says of itself, and what it is allowed. One that authenticates by a secret gets one here unless the
/// hash of one is given; nobody can read it a second time.
///
/// # Errors
/// [`Refusal::MemberWrong`], [`Refusal::Exists`]; faults.
pub async fn add_client(app: &App, mut members: Members) -> Result<(AdministeredClient, Option<Secret>), Error> {
    let given = given(&members);
    let id = text(&mut members, "client_id")?;
    let client_id = registered_client::id(id).map_err(Refusal::MemberWrong)?;
    let (client, secret) = registered(app, client_id, members, None)?;
    ensure(app, client.metadata.id_token_signed_response_alg).await?;
    let mut tx = app.store.begin().await?;
    if !tx.add_client(&client, app.now()).await? {
        return Err(Refusal::Exists("a client with this client_id").into());
    }
    let event = Event::ClientAdded(Named { name: client.client_id.to_string(), members: given });
    tx.record(Entry { client: Some(&client.key), ..Entry::new(app.id(), app.now(), event) }).await?;
    tx.commit().await?;
    app.issuers.remove(&app.issuer.id);
    Ok((administer::client(app, &client.client_id).await?, secret))
}

/// Changes a client: those members that are given. Null takes one away; `new_secret` gives it another secret, and the one before is worth
/// nothing any more.
///
/// # Errors
/// [`Refusal::NotFound`], [`Refusal::MemberWrong`], [`Refusal::Declared`], [`Refusal::NotDeclared`]; faults.
pub async fn change_client(
    app: &App,
    client_id: &ClientId,
    mut members: Members,
) -> Result<(AdministeredClient, Option<Secret>), Error> {
    let found = administer::client(app, client_id).await?;
    let disabled = flag(&mut members, "disabled")?;
    let given = given(&members);
    let said = [names::<ClientMetadata>(), names::<ClientPolicy>(), &["client_secret_hash", "new_secret"]].concat();
    known(&members, &said)?;
    let what = Removed::Client(found.client.key.clone());
    if let Some(alg) = members.get("id_token_signed_response_alg").and_then(Value::as_str).and_then(SigningAlg::parse) {
        editable_by_administrators(&found.state)?;
        ensure(app, alg).await?;
    }
    let mut tx = app.store.begin().await?;
    tx.lock_what(&what).await?;
    let AdministeredClient { client, state } = tx.administered_client(client_id).await?.ok_or(Refusal::NotFound)?;
    let mut secret = None;
    if !given.is_empty() {
        editable_by_administrators(&state)?;
        let (edited, new) = registered(app, client_id.clone(), members, Some(&client))?;
        tx.edit_client(&edited).await?;
        secret = new;
        let event = Event::ClientEdited(Named { name: client_id.to_string(), members: given.clone() });
        tx.record(Entry { client: Some(&client.key), ..Entry::new(app.id(), app.now(), event) }).await?;
    }
    finish(app, tx, (&what, client_id.as_str()), disabled, !given.is_empty()).await?;
    Ok((administer::client(app, client_id).await?, secret))
}

/// A client by what is said of it, laid over what is known, and its secret where it gets a new one.
fn registered(
    app: &App,
    client_id: ClientId,
    mut members: Members,
    before: Option<&Client>,
) -> Result<(Client, Option<Secret>), Refusal> {
    let hash = text(&mut members, "client_secret_hash")?;
    if let Some(hash) = &hash {
        registered_client::secret_hash(hash).map_err(Refusal::MemberWrong)?;
    }
    let wants_new = before.is_some() && flag(&mut members, "new_secret")? == Some(true);
    if wants_new && hash.is_some() {
        let problem = "give either new_secret or a client_secret_hash, not both";
        return Err(Refusal::MemberWrong(MemberError::new("new_secret", problem)));
    }
    let (metadata, policy): (Members, Members) =
        members.into_iter().partition(|(name, _)| !names::<ClientPolicy>().contains(&name.as_str()));
    known(&metadata, names::<ClientMetadata>())?;
    let (metadata, policy) = match before {
        None => (metadata, policy),
        Some(client) => (over(&client.metadata, metadata), over(&client.policy, policy)),
    };
    let said = metadata.get(METHOD).cloned().map(serde_json::from_value::<AuthMethod>);
    let by_secret =
        hash.is_some() || wants_new || said.is_some_and(|said| said.is_ok_and(AuthMethod::is_shared_secret));
    let metadata = registered_client::metadata(metadata, by_secret).map_err(Refusal::MemberWrong)?;
    let policy = registered_client::policy(policy, &metadata, &app.issuer.url).map_err(Refusal::MemberWrong)?;
    let kept = hash.or_else(|| before.filter(|_| !wants_new).and_then(|client| client.secret_hash.clone()));
    let secret = (by_secret && kept.is_none()).then(|| Secret::new(app.rng.token()));
    let secret_hash = secret.as_ref().map(|secret| token_hash(secret.expose())).or(kept).filter(|_| by_secret);
    let key = before.map_or_else(|| app.id().into(), |client| client.key.clone());
    Ok((Client { key, client_id, metadata, policy, secret_hash, version: 0 }, secret))
}

/// Adds a service: `audience`, and what is known of it. One that agents have named until now is this from then on, whatever it says of itself.
///
/// # Errors
/// [`Refusal::MemberWrong`], [`Refusal::Exists`]; faults.
pub async fn add_service(app: &App, mut members: Members) -> Result<Record, Error> {
    let given = given(&members);
    let wrong = |problem: String| Refusal::MemberWrong(MemberError::new("audience", problem));
    let audience = text(&mut members, "audience")?.ok_or_else(|| wrong("every service needs one".into()))?;
    let audience = audience_of(&audience, &app.issuer.url).map_err(wrong)?;
    known(&members, &ServicePolicy::said_by_operators())?;
    members.retain(|_, value| !value.is_null());
    let policy = ServicePolicy::said(members).map_err(Refusal::MemberWrong)?;
    ensure(app, policy.signing_alg).await?;
    let mut tx = app.store.begin().await?;
    if !tx.add_service(&app.id(), &audience, &policy, app.now()).await? {
        return Err(Refusal::Exists("a service with this audience").into());
    }
    tx.stop_looking(audience.as_str(), Timestamp::MAX).await?;
    let event = Event::ServiceAdded(Named { name: audience.as_str().to_owned(), members: given });
    tx.record(Entry::new(app.id(), app.now(), event)).await?;
    tx.commit().await?;
    services::find(app, &audience).await
}

/// Changes a service: those members that are given. Null takes one away.
///
/// # Errors
/// [`Refusal::NotFound`], [`Refusal::MemberWrong`], [`Refusal::Declared`], [`Refusal::NotAdded`], [`Refusal::NotDeclared`]; faults.
pub async fn change_service(app: &App, audience: &Audience, mut members: Members) -> Result<Record, Error> {
    services::find(app, audience).await?;
    let disabled = flag(&mut members, "disabled")?;
    let given = given(&members);
    let said = ServicePolicy::said_by_operators();
    known(&members, &said)?;
    if let Some(alg) = members.get("signing_alg").and_then(Value::as_str).and_then(SigningAlg::parse) {
        ensure(app, alg).await?;
    }
    let what = Removed::Service(audience.as_str().to_owned());
    let mut tx = app.store.begin().await?;
    tx.lock_what(&what).await?;
    let found = tx.administered_service(audience.as_str()).await?.ok_or(Refusal::NotFound)?;
    if !given.is_empty() {
        match found.service.source {
            Source::Added => {}
            Source::Declared => return Err(Refusal::Declared.into()),
            Source::Pinned | Source::Discovered | Source::Unknown => return Err(Refusal::NotAdded.into()),
        }
        // What nobody says follows from the rest, as it did when it was added.
        let mut all = over(&found.service.policy, members);
        all.retain(|name, value| said.contains(&name.as_str()) && !value.is_null());
        let policy = ServicePolicy::said(all).map_err(Refusal::MemberWrong)?;
        tx.edit_service(audience, &policy).await?;
        let event = Event::ServiceEdited(Named { name: audience.as_str().to_owned(), members: given.clone() });
        tx.record(Entry::new(app.id(), app.now(), event)).await?;
    }
    finish(app, tx, (&what, audience.as_str()), disabled, !given.is_empty()).await?;
    services::find(app, audience).await
}

/// Disables or enables it in the same transaction, and makes that durable where it changes anything.
async fn finish(
    app: &App,
    mut tx: Tx,
    (what, name): (&Removed, &str),
    disabled: Option<bool>,
    is_edited: bool,
) -> Result<(), Error> {
    let turned = turn(app, &mut tx, what, name, disabled).await?;
    if turned || is_edited {
        tx.commit().await?;
        app.outbox_signal.notify_one();
        // What it says of itself depends on its clients; other processes hear of it by its revision.
        app.issuers.remove(&app.issuer.id);
    }
    Ok(())
}

fn editable_by_administrators(state: &State) -> Result<(), Refusal> {
    if state.by_configuration { Err(Refusal::Declared) } else { Ok(()) }
}

/// There has to be a key of an algorithm before anything is signed by it.
async fn ensure(app: &App, alg: SigningAlg) -> Result<(), Error> {
    rotate::ensure(&app.host, &app.issuer.id, alg).await
}

/// The members, by name: what they say may be a secret.
fn given(members: &Members) -> Vec<String> {
    members.keys().map(|name| name.chars().take(64).collect()).collect()
}

/// Refuses members that nobody knows.
fn known(members: &Members, names: &[&str]) -> Result<(), Refusal> {
    match members.keys().find(|name| !names.contains(&name.as_str())) {
        Some(name) => Err(Refusal::JsonMalformed(format!("there is no member {}", quote(name)))),
        None => Ok(()),
    }
}

fn flag(members: &mut Members, name: &str) -> Result<Option<bool>, Refusal> {
    match members.remove(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Bool(is)) => Ok(Some(is)),
        Some(_) => Err(Refusal::JsonMalformed(format!("{name} must be true or false"))),
    }
}

/// A text, of which nothing is said where it is none: it may be a secret all the same.
fn text(members: &mut Members, name: &str) -> Result<Option<String>, Refusal> {
    match members.remove(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(Refusal::MemberWrong(MemberError::new(name, "it must be a text"))),
    }
}

/// What is said of the password: nothing, that there is none, or its hash. A plain one is hashed where all are, beside what is quicker.
async fn password(app: &App, members: &mut Members) -> Result<Option<Option<String>>, Error> {
    let wrong = |name: &str, problem: String| Refusal::MemberWrong(MemberError::new(name, problem));
    let is_said = members.contains_key("password") || members.contains_key("password_hash");
    let plain = text(members, "password")?.map(Secret::new);
    match (plain, text(members, "password_hash")?) {
        (None, None) => Ok(is_said.then_some(None)),
        (Some(_), Some(_)) => {
            Err(wrong("password", "give either a password or a password_hash, not both".into()).into())
        }
        (Some(plain), None) => {
            credentials::password(&plain).map_err(|problem| wrong("password", format!("it {problem}")))?;
            Ok(Some(Some(app.hashing.hash(plain, app.rng.bytes::<16>()).await?)))
        }
        (None, Some(hash)) => {
            config::password_hash(&hash).map_err(|problem| wrong("password_hash", problem))?;
            Ok(Some(Some(hash)))
        }
    }
}
