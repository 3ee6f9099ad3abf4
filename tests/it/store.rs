//! Every method of the store on both engines, and the schema they share.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use avouch::domain::client::{Client, ClientPolicy};
use avouch::domain::client_metadata::TOKEN_EXCHANGE;
use avouch::domain::consent::{Consent, Mode};
use avouch::domain::delegation::{Filter, Part, Removed, Selection, Status};
use avouch::domain::exchange::Request;
use avouch::domain::ids::{AccountId, Audience, ClientId, ClientKey, IssuerUrl, Jti, Kid, SealingKeyId, Subject};
use avouch::domain::issuer::{Colour, IssuerRecord, Logo, Origin};
use avouch::domain::notice::{Attempt, DeliveryState, Format, Round};
use avouch::domain::refusal::Refusal;
use avouch::domain::rotation::{KeyState, SigningAlg};
use avouch::domain::scope::Scope;
use avouch::domain::sealing::SealingState;
use avouch::domain::service::{Service, Source};
use avouch::domain::service_policy::{Claim, Dialect, ServicePolicy};
use avouch::domain::session::Stays;
use avouch::domain::ticket::Ticket;
use avouch::domain::time::{Seconds, Timestamp};
use avouch::domain::understood::Understood;
use avouch::store::{
    self, Discovery, Hosts, Mint, NewAccount, NewDelivery, NewFamily, NewKey, NewSession, Outcome, Settlement, SignIn,
    Store, StoreError, SubjectToken, Tx, UnspentJti,
};
use serde_json::json;

use crate::harness::{Database, Engine, NOW};

pub(crate) const AUD: &str = "https://a.example";

pub(crate) async fn open(database: &Database, engine: Engine) -> store::Database {
    match engine {
        Engine::Sqlite => {
            store::Database::sqlite(std::path::Path::new(database.url.strip_prefix("sqlite://").unwrap()))
                .await
                .unwrap()
        }
        Engine::Postgres => store::Database::postgres(&database.url).await.unwrap(),
    }
}

pub(crate) fn issuer_record(id: &str) -> IssuerRecord {
    IssuerRecord {
        id: id.to_owned(),
        url: format!("https://{id}.example"),
        name: id.to_owned(),
        colour: None,
        logo_hash: None,
        cimd: "{}".to_owned(),
        admin_token_hash: "hash".to_owned(),
        origin: Origin::Config,
        created_at: NOW,
        disabled_at: None,
    }
}

/// Runs a body in a transaction and commits it.
macro_rules! tx {
    ($store:expr, |$tx:ident| $body:expr) => {{
        let mut $tx = $store.begin().await.unwrap();
        let done = $body;
        $tx.commit().await.unwrap();
        done
    }};
}
pub(crate) use tx;

pub(crate) async fn people(store: &Store, n: usize) {
    let id = account_key(n);
    let email = format!("{id}@example.com");
    let account = NewAccount {
        id: &id,
        sub: &subject(&format!("sub{n}")),
        email: &email,
        email_verified: true,
        name: None,
        phone_number: None,
        phone_verified: false,
    };
    let session = NewSession {
        id: &format!("s{n}"),
        account_id: &id,
        token_hash: &format!("cookie{n}"),
        user_agent: Some("test"),
        now: NOW,
        expires_at: NOW + Seconds(1000),
    };
    tx!(store, |tx| {
        tx.apply_account(&account, NOW).await.unwrap();
        tx.add_session(&session).await.unwrap();
    });
}

/// Our key of the n-th user that [`people`] made.
pub(crate) fn account_key(n: usize) -> AccountId {
    format!("a{n}").into()
}

fn subject(text: &str) -> Subject {
    Subject::parse(text).unwrap()
}

pub(crate) fn id_of(client: &str) -> ClientId {
    ClientId::parse(client).unwrap()
}

/// Our key of a client that [`client`] made.
pub(crate) fn key_of(client: &str) -> ClientKey {
    format!("key of {client}").into()
}

pub(crate) async fn client(store: &Store, client_id: &str, audiences: &[String]) {
    let metadata = json!({
        "client_name": "C",
        "token_endpoint_auth_method": "client_secret_basic",
        "grant_types": [TOKEN_EXCHANGE],
    });
    let new = Client {
        key: key_of(client_id),
        client_id: id_of(client_id),
        metadata: serde_json::from_value(metadata).unwrap(),
        policy: ClientPolicy { audiences: audiences.to_vec(), ..ClientPolicy::default() },
        secret_hash: Some("hash".to_owned()),
        version: 0,
    };
    tx!(store, |tx| tx.apply_client(&new, NOW).await.unwrap());
}

pub(crate) fn consent(id: &str, delegation: Option<&str>, client: &str, mode: Mode) -> Consent {
    Consent {
        id: id.to_owned(),
        delegation_id: delegation.map(str::to_owned),
        client_key: key_of(client),
        mode,
        asked_scope: Scope::stored("r w"),
        scope: Scope::stored("r"),
        resources: vec!["https://a.example/api".to_owned()],
        claims: Claim::ALL.into_iter().collect(),
        shown: Some("none".to_owned()),
        request_key: "key".to_owned(),
        number: 1,
        created_at: NOW,
        last_used_at: None,
        ended_at: None,
    }
}

pub(crate) fn ticket(n: usize) -> Ticket {
    Ticket {
        id: format!("t{n}"),
        request_key: format!("key{n}"),
        account_id: account_key(1),
        session_id: "s1".into(),
        client_key: key_of("c"),
        aud: AUD.into(),
        scope: Scope::stored("r"),
        resources: vec![],
        agent_platform: None,
        agent_context_id: Some("chat".into()),
        created_at: NOW,
        expires_at: NOW + Seconds(600),
        polled_at: NOW,
        closed_at: None,
        consent_id: None,
    }
}

/// What a sign-in of a user to a client gives.
pub(crate) async fn family(store: &Store, n: usize, client: &str) {
    let id = format!("f{n} {client}");
    let new = NewFamily {
        id: &id,
        account_id: &account_key(n),
        client: &key_of(client),
        session_id: &format!("s{n}"),
        scope: &Scope::default(),
        offline: false,
        code_hash: &id,
        redirect_uri: "https://c.example/cb",
        code_challenge: Some("challenge"),
        nonce: None,
        now: NOW,
        expires_at: NOW + Seconds(60),
    };
    tx!(store, |tx| {
        tx.add_family(&new).await.unwrap();
        tx.add_access_token(&id, &id, &Scope::default(), NOW, NOW + Seconds(1000)).await.unwrap();
    });
}

/// A mint of the n-th user by a client.
fn prepared(client: Client, n: usize, jti: &str) -> Mint {
    let request = Request {
        audience: Audience::parse(AUD).unwrap(),
        asked_as: None,
        resources: vec![],
        scope: Some(Scope::stored("r")),
        agent_platform: None,
        agent_context_id: None,
    };
    Mint {
        subject: SubjectToken::Access { hash: format!("f{n} {}", client.client_id) },
        client: Arc::new(client),
        request: Arc::new(request),
        issuer: IssuerUrl::parse("https://id.example").unwrap(),
        root: IssuerUrl::parse("https://id.example").unwrap(),
        provider_client_id: id_of("https://id.example/agent-auth.json"),
        kid: "kid".into(),
        rs256_kid: None,
        jti: Jti::parse(jti).unwrap(),
        entry_id: jti.to_owned(),
        now: NOW,
    }
}

pub(crate) async fn mint(store: &Store, n: usize, client: &str, jti: &str) -> Result<Outcome, StoreError> {
    let client = store.read().await?.client(&id_of(client)).await?.unwrap();
    store.mint(prepared(client, n, jti), None).await
}

/// A key that signs, though nothing can be signed by it.
pub(crate) async fn active_key(tx: &mut Tx) -> Kid {
    let kid = Kid::from("kid");
    let by = SealingKeyId::from("one");
    let new = NewKey { kid: &kid, alg: SigningAlg::Es256, public_jwk: "{}", sealed: "sealed", sealed_by: &by };
    assert!(tx.add_pending_key(&new, NOW).await.unwrap());
    assert!(tx.activate_key(&kid, NOW, NOW).await.unwrap());
    kid
}

/// Each move names the state it leaves.
async fn keys(tx: &mut Tx) {
    let two = Kid::from("kid2");
    let by = SealingKeyId::from("one");
    let new = |kid| NewKey { kid, alg: SigningAlg::Es256, public_jwk: "{}", sealed: "sealed", sealed_by: &by };
    let one = active_key(tx).await;
    assert!(!tx.activate_key(&one, NOW, NOW).await.unwrap(), "it is not pending");
    assert!(tx.add_pending_key(&new(&two), NOW).await.unwrap());
    assert!(!tx.add_pending_key(&new(&"kid3".into()), NOW).await.unwrap(), "one pending key");
    assert_eq!(tx.published_keys().await.unwrap().len(), 2);
    let pending = tx.keys(9).await.unwrap().into_iter().find(|key| key.kid == two).unwrap();
    assert!(tx.end_key(&pending, KeyState::Removed, None, NOW).await.unwrap());
    assert!(!tx.end_key(&pending, KeyState::Removed, None, NOW).await.unwrap(), "it is not pending");
    assert!(!tx.activate_key(&two, NOW, NOW).await.unwrap(), "it has ended");
    assert_eq!(tx.published_keys().await.unwrap().len(), 1);
    assert!(tx.last_revocation().await.unwrap().is_none());
}

/// Those who ask at the same time are each told of their own key.
async fn looks_at_keys(a: &Store, b: &Store) {
    let kid = Kid::from("kid");
    let asked = (0..300).map(|n| {
        let (store, kid) =
            (if n % 2 == 0 { a } else { b }.clone(), if n % 3 == 0 { "kid2".into() } else { kid.clone() });
        tokio::spawn(async move { store.key_signs(&kid).await.unwrap() })
    });
    for (n, answer) in asked.collect::<Vec<_>>().into_iter().enumerate() {
        assert_eq!(answer.await.unwrap(), n % 2 == 0 && n % 3 != 0, "{n}");
    }
}

/// One seals after the other, once nobody lacks it, and goes when it opens nothing.
async fn sealing(all: &store::Database, store: &Store) {
    let [one, two, three] = ["one", "two", "three"].map(SealingKeyId::from);
    tx!(store, |tx| {
        assert!(tx.current_sealing_key().await.unwrap().is_none());
        tx.add_first_sealing_key(&one, NOW).await.unwrap();
        assert!(!tx.announce_sealing_key(&one, NOW).await.unwrap(), "it is the current one");
        assert!(
            tx.announce_sealing_key(&three, NOW).await.unwrap() && tx.announce_sealing_key(&two, NOW).await.unwrap()
        );
        assert_eq!(tx.sealing_state(&three).await.unwrap(), None, "two is announced in its place");
        assert_eq!(tx.current_sealing_key().await.unwrap(), Some(one.clone()));
    });
    tx!(all, |tx| {
        tx.server_runs("s", "here", std::slice::from_ref(&one), NOW).await.unwrap();
        tx.server_runs("s", "here", &[one.clone(), two.clone()], NOW).await.unwrap();
        tx.server_runs("t", "there", std::slice::from_ref(&one), NOW).await.unwrap();
        let servers = tx.servers().await.unwrap();
        assert_eq!((servers[0].beats, servers[0].has(&two), servers[1].has(&two)), (2, true, false));
        tx.server_ended("t").await.unwrap();
    });
    tx!(store, |tx| {
        assert_eq!(tx.servers().await.unwrap().len(), 1);
        assert!(tx.switch_sealing_key(&two, NOW).await.unwrap());
        assert!(tx.retire_sealing_keys(NOW).await.unwrap().is_empty(), "one opens something");
        assert!(!tx.announce_sealing_key(&one, NOW).await.unwrap(), "it was the current one before");
    });
    let states = async || all.read().await.unwrap().sealing_keys().await.unwrap();
    assert_eq!(states().await.len(), 2);
    tx!(all, |tx| {
        assert_eq!(
            (tx.sealed_by_after("").await.unwrap(), tx.sealed_by_after("one").await.unwrap()),
            (Some(one.clone()), None)
        );
        assert_eq!(tx.count_sealed_by(&one).await.unwrap(), 1);
        assert!(tx.sealed_keys(&one, ("default", "kid"), 9).await.unwrap().is_empty(), "that was the last");
        let rows = tx.sealed_keys(&one, ("", ""), 9).await.unwrap();
        assert!(tx.reseal_key(&rows[0], "sealed anew", &two).await.unwrap());
        assert!(!tx.reseal_key(&rows[0], "sealed again", &two).await.unwrap(), "it is not as it was read");
        tx.no_server_runs().await.unwrap();
        assert!(tx.servers().await.unwrap().is_empty());
    });
    tx!(store, |tx| {
        assert_eq!(tx.published_keys().await.unwrap()[0].sealed, "sealed anew");
        assert_eq!(tx.retire_sealing_keys(NOW).await.unwrap(), std::slice::from_ref(&one));
    });
    let mut tx = store.begin().await.unwrap();
    assert!(!tx.switch_sealing_key(&three, NOW).await.unwrap(), "it is not announced");
    drop(tx);
    assert_eq!(states().await, [(two, SealingState::Current)]);
}

/// Calls everything once, with what must come of it.
async fn every_method(engine: Engine) {
    let database = Database::make(engine).await;
    let all = open(&database, engine).await;
    assert_eq!(all.is_private(), engine == Engine::Sqlite);
    all.ping().await.unwrap();
    let store = all.of("default".into());
    tx!(store, |tx| {
        assert!(tx.issuer().await.unwrap().is_none());
        assert!(tx.create_issuer(&issuer_record("default")).await.unwrap());
        assert!(!tx.create_issuer(&issuer_record("default")).await.unwrap());
        assert_eq!(tx.issuer().await.unwrap().unwrap().url, "https://default.example");
        keys(&mut tx).await;
    });
    sealing(&all, &store).await;
    people_and_clients(&store).await;
    discoveries(&all, &store).await;
    sign_ins(&store).await;
    agreed(&all, &store).await;
    withdrawn(&all, &store).await;
    changed(&all).await;

    // None of it is there for another issuer.
    let other = all.of("other".into());
    looks_at_keys(&store, &other).await;
    let mut tx = other.read().await.unwrap();
    assert!(tx.issuer().await.unwrap().is_none());
    assert!(tx.client(&id_of("c")).await.unwrap().is_none() && tx.client_by_key(&key_of("c")).await.unwrap().is_none());
    assert!(tx.delegation("d1").await.unwrap().is_none() && tx.ticket("t1").await.unwrap().is_none());
    assert!(tx.account_by_email("a1@example.com").await.unwrap().is_none());
    assert!(tx.published_keys().await.unwrap().is_empty());
    let foreign = store.read().await.unwrap().client(&id_of("c")).await.unwrap().unwrap();
    let outcome = other.mint(prepared(foreign, 1, "foreign"), None).await;
    assert!(matches!(outcome, Ok(Outcome::Refused(Refusal::ClientAuthenticationFailed))), "{outcome:?}");
    drop(tx);
    let changes = all.client_changes();
    tx!(store, |tx| tx.disable(&Removed::User(account_key(1)), Origin::Config, NOW).await.unwrap());
    assert_eq!(all.client_changes(), changes, "no client was written");
    tx!(store, |tx| {
        tx.disable(&Removed::Client(key_of("c")), Origin::Config, NOW).await.unwrap();
    });
    assert_eq!(all.client_changes(), changes + 1);
    let mut swept = 0;
    for table in store::SWEPT {
        tx!(all, |tx| {
            assert!(tx.sweep(table, NOW + Seconds(100_000), 1).await.unwrap() <= 1, "no more than asked for");
            swept += tx.sweep(table, NOW + Seconds(100_000), 100).await.unwrap();
        });
    }
    assert!(swept > 0, "{swept}");
    let later = NOW + Seconds(100_000);
    assert_eq!(all.read().await.unwrap().sessions_over(later, 1).await.unwrap().len(), 1, "no more than asked for");
    let over = all.read().await.unwrap().sessions_over(later, 100).await.unwrap();
    tx!(all, |tx| assert_eq!(tx.delete_sessions(&over).await.unwrap(), over.len() as u64));
    assert!(all.read().await.unwrap().sessions_over(later, 100).await.unwrap().is_empty());
    all.close().await;
    assert!(store.begin().await.is_err());
}

/// What processes keep in memory has a number that says how new it is.
async fn changed(all: &store::Database) {
    let before = all.read().await.unwrap().issuer_revision().await.unwrap();
    let (acme, default) = (all.of("acme".into()), all.of("default".into()));
    tx!(acme, |tx| assert!(tx.create_issuer(&issuer_record("acme")).await.unwrap()));
    tx!(default, |tx| {
        assert!(tx.describe_issuer("Avouch", None, "{}", Origin::Config).await.unwrap());
        assert!(!tx.describe_issuer("Avouch", None, "{}", Origin::Config).await.unwrap(), "it says that already");
    });
    let changed = |since| async move { all.read().await.unwrap().issuers_changed_since(since, 10).await.unwrap() };
    let names: Vec<String> = changed(before).await.into_iter().map(|(id, _)| id).collect();
    assert_eq!(names, ["acme", "default"]);
    tx!(acme, |tx| tx.touch_issuer().await.unwrap());
    looks(all, &acme).await;
    let last = all.read().await.unwrap().issuer_revision().await.unwrap();
    assert_eq!(changed(before).await.last().unwrap(), &("acme".to_owned(), last));
    assert!(changed(last).await.is_empty());
}

async fn looks(all: &store::Database, acme: &Store) {
    let (colour, logo) = (Colour::parse("#0a7d5c").unwrap(), Logo::stored("AAAA", "hash".into()).unwrap());
    tx!(acme, |tx| {
        assert!(tx.describe_issuer("Acme", Some(&colour), "{}", Origin::Admin).await.unwrap());
        assert!(tx.set_issuer_logo(Some(&logo)).await.unwrap() && !tx.set_issuer_logo(Some(&logo)).await.unwrap());
        assert_eq!(tx.issuer_logo().await.unwrap(), Some(logo));
        assert!(tx.set_issuer_disabled(Some(NOW)).await.unwrap());
        assert!(!tx.set_issuer_disabled(Some(NOW + Seconds(1))).await.unwrap(), "it is disabled already");
    });
    let mut tx = all.read().await.unwrap();
    let rows = tx.issuers(None, 9).await.unwrap();
    assert_eq!((rows[0].colour.as_ref(), rows[0].logo_hash.as_deref()), (Some(&colour), Some("hash")));
    assert_eq!((rows[0].disabled_at, rows[1].id.as_str()), (Some(NOW), "default"));
    assert_eq!(tx.issuers(Some("acme"), 9).await.unwrap().len(), 1);
    assert!(tx.configured_issuers().await.unwrap().is_empty(), "disabled, or the default one");
}

/// A service that somebody has looked at, in vain.
pub(crate) async fn looked_at(store: &Store) {
    let service = Service::unknown(Audience::parse(AUD).unwrap());
    tx!(store, |tx| assert!(tx.apply_discovered("looked at", &service, NOW).await.unwrap()));
}

/// What is found out about services that nobody declared.
async fn discoveries(all: &store::Database, store: &Store) {
    let audience = Audience::parse("https://shop.example").unwrap();
    let understood = Understood::nothing(&audience, Vec::new(), "why");
    let mut row = Discovery { understood, looked_at: NOW, fresh_until: NOW, due_at: NOW, missed_at: None };
    let mut service = Service { source: Source::Discovered, ..Service::unknown(audience.clone()) };
    let aud = audience.as_str();
    tx!(store, |tx| {
        assert!(tx.apply_discovered("s", &service, NOW).await.unwrap());
        assert!(!tx.apply_discovered("t", &service, NOW).await.unwrap(), "nothing differs");
        service.shown = Some("more".into());
        assert!(tx.apply_discovered("t", &service, NOW).await.unwrap());
        let known = tx.lock_service(aud).await.unwrap().unwrap().service;
        assert_eq!((known.id.as_deref(), known.version, known.shown.as_deref()), (Some("s"), 2, Some("more")));
        tx.put_discovery(aud, Some(&key_of("c")), &row).await.unwrap();
        row.missed_at = Some(NOW);
        tx.put_discovery(aud, None, &row).await.unwrap();
        assert_eq!(tx.discovery(aud).await.unwrap().unwrap().missed_at, Some(NOW));
        assert_eq!(tx.services_named_since(&key_of("c"), NOW - Seconds(1)).await.unwrap(), 1);
        assert_eq!(tx.services_named_since(&key_of("c"), NOW).await.unwrap(), 0);
        assert_eq!(tx.unused_services(&key_of("c"), 0).await.unwrap(), [aud]);
        assert!(tx.unused_services(&key_of("c"), 1).await.unwrap().is_empty());
        assert_eq!(tx.service_audience("s").await.unwrap().as_ref(), Some(&audience));
        assert!(tx.service_audience("nobody").await.unwrap().is_none());
        assert!(tx.administered_services("", 9).await.unwrap().iter().any(|one| one.service.audience == audience));
        assert!(tx.administered_services("z", 9).await.unwrap().is_empty());
    });
    let due = all.read().await.unwrap().due_looks(NOW, 9).await.unwrap();
    assert_eq!((due.len(), due[0].is_used), (1, false));
    tx!(all, |tx| {
        assert!(tx.put_off_look(&due[0], NOW + Seconds(9)).await.unwrap());
        assert!(!tx.put_off_look(&due[0], NOW + Seconds(9)).await.unwrap(), "somebody was first");
    });
    assert!(all.read().await.unwrap().due_looks(NOW, 9).await.unwrap().is_empty());
    tx!(store, |tx| {
        tx.stop_looking(aud, NOW).await.unwrap();
        assert!(tx.move_service(aud, ("discovered", "pinned")).await.unwrap());
        assert!(!tx.move_service(aud, ("discovered", "pinned")).await.unwrap());
        service.shown = Some("another".into());
        assert!(!tx.apply_discovered("t", &service, NOW).await.unwrap(), "an operator answers for it");
        tx.forget_service(aud).await.unwrap();
        assert!(tx.known_service(aud).await.unwrap().is_some(), "and so nobody forgets it");
        assert!(tx.move_service(aud, ("pinned", "discovered")).await.unwrap());
        tx.forget_service(aud).await.unwrap();
        assert!(tx.known_service(aud).await.unwrap().is_none() && tx.discovery(aud).await.unwrap().is_none());
    });
}

async fn people_and_clients(store: &Store) {
    people(store, 1).await;
    client(store, "c", &[AUD.to_owned()]).await;
    looked_at(store).await;
    let audience = Audience::parse("https://b.example").unwrap();
    let policy = ServicePolicy { max_auth_age: Some(Seconds(60)), ..ServicePolicy::of(Dialect::AuthMd) };
    tx!(store, |tx| {
        tx.apply_service("v", &audience, &policy, NOW).await.unwrap();
        tx.apply_service("v", &audience, &policy, NOW).await.unwrap();
        let found = tx.service("https://b.example").await.unwrap().unwrap();
        let of_both = tx.services(&["https://b.example", "https://nobody.example"]).await.unwrap();
        assert_eq!(of_both.keys().collect::<Vec<_>>(), ["https://b.example"]);
        assert_eq!((found.version, found.policy), (1, policy));
        assert_eq!(tx.configured_services().await.unwrap(), ["https://b.example"]);
        let service = Removed::Service("https://b.example".into());
        for (by, first) in
            [(Origin::Config, true), (Origin::Config, false), (Origin::Admin, true), (Origin::Admin, false)]
        {
            assert_eq!(tx.disable(&service, by, NOW).await.unwrap(), first, "each says it once");
        }
        assert!(tx.enable(&service).await.unwrap() && !tx.enable(&service).await.unwrap());
        tx.begin_ending(&service, NOW).await.unwrap();
        tx.lock_what(&service).await.unwrap();
        let state = tx.administered_service("https://b.example").await.unwrap().unwrap().state;
        assert_eq!((state.stopped_at, state.undeclared_at, state.ending_at), (None, Some(NOW), Some(NOW)));
        tx.finish_ending(&service).await.unwrap();
        assert_eq!(tx.state_of(&service).await.unwrap().unwrap().ending_at, None);
        assert!(tx.service("https://b.example").await.unwrap().is_none());
        assert!(tx.known_service("https://b.example").await.unwrap().unwrap().disabled);
        assert_eq!(tx.client(&id_of("c")).await.unwrap().unwrap().version, 1);
        assert_eq!(tx.client_by_key(&key_of("c")).await.unwrap().unwrap().client_id, id_of("c"));
        assert_eq!(tx.configured_clients().await.unwrap(), [(key_of("c"), id_of("c"))]);
        assert_eq!(tx.configured_accounts().await.unwrap(), [("a1".into(), "a1@example.com".into())]);
        tx.set_password("a1@example.com", Some("phc")).await.unwrap();
        let stored = tx.account_by_email("a1@example.com").await.unwrap().unwrap();
        assert_eq!(tx.set_password("a1@example.com", Some("phc")).await.unwrap(), None, "nothing differs");
        for nobody in [Removed::User("nobody".into()), Removed::Client(key_of("nobody")), service] {
            assert!(!tx.is_given_under(&nobody).await.unwrap());
            assert_eq!(tx.end_given_under(&nobody, NOW, 9).await.unwrap().rows, 0);
        }
        assert_eq!(
            tx.service_spelling(&Audience::parse("https://b.example/").unwrap()).await.unwrap(),
            None,
            "disabled"
        );
        for _ in 0..2 {
            tx.add_session_client("s1", &key_of("c")).await.unwrap();
        }
        assert_eq!(tx.logouts(&["s1".to_owned()], NOW).await.unwrap(), [], "it does not want to be told");
        assert_eq!(tx.logouts_of_client(&account_key(1), &key_of("c"), NOW).await.unwrap(), []);
        assert!(!tx.session_is_over("nobody's", &key_of("c"), NOW).await.unwrap());
        assert_eq!((stored.password_hash.as_deref(), stored.disabled, stored.account.version), (Some("phc"), false, 1));
    });
    people(store, 2).await;
    tx!(store, |tx| {
        assert!(
            tx.disable(&Removed::User(account_key(2)), Origin::Admin, NOW).await.unwrap()
                && !tx.disable(&Removed::User(account_key(2)), Origin::Admin, NOW).await.unwrap()
        );
        assert!(tx.session_by_token("cookie2", NOW).await.unwrap().is_none(), "its sessions end with it");
        assert_eq!(tx.count_attempt("n", NOW, Seconds(900)).await.unwrap(), (1, Timestamp::EPOCH));
        tx.block("n", NOW + Seconds(5)).await.unwrap();
        assert_eq!(tx.count_attempt("n", NOW, Seconds(900)).await.unwrap(), (2, NOW + Seconds(5)));
        tx.forgive("n", true).await.unwrap();
        assert_eq!(tx.count_attempt("n", NOW, Seconds(900)).await.unwrap(), (1, Timestamp::EPOCH));
    });
    let jti = || UnspentJti::new("c".into(), Jti::parse("j").unwrap(), NOW);
    assert!(store.spend(jti()).await.unwrap() && !store.spend(jti()).await.unwrap());
}

async fn sign_ins(store: &Store) {
    let scope = Scope::stored("email openid");
    let family = NewFamily {
        id: "f",
        account_id: &account_key(1),
        client: &key_of("c"),
        session_id: "s1",
        scope: &scope,
        offline: false,
        code_hash: "code",
        redirect_uri: "https://c.example/cb",
        code_challenge: Some("challenge"),
        nonce: None,
        now: NOW,
        expires_at: NOW + Seconds(60),
    };
    tx!(store, |tx| {
        assert_eq!(tx.signin_scope(&account_key(1), &key_of("c")).await.unwrap(), None);
        tx.add_signin_consent("i", &account_key(1), &key_of("c"), &scope, NOW).await.unwrap();
        tx.add_signin_consent("i2", &account_key(1), &key_of("c"), &scope, NOW).await.unwrap();
        assert_eq!(tx.signin_scope(&account_key(1), &key_of("c")).await.unwrap(), Some(scope.clone()));
        tx.add_family(&family).await.unwrap();
        assert_eq!(tx.family_by_code("code", NOW).await.unwrap().unwrap().used_at, None);
        assert!(tx.use_code("code", NOW).await.unwrap() && !tx.use_code("code", NOW).await.unwrap());
        tx.add_access_token("access", "f", &scope, NOW, NOW + Seconds(100)).await.unwrap();
        for twin in ["refresh", "twin"] {
            tx.add_refresh_token(twin, "f", 1, NOW, NOW + Seconds(100)).await.unwrap();
        }
        tx.lock_family_of_refresh("refresh").await.unwrap();
        let unused = tx.family_by_refresh("refresh", NOW).await.unwrap().unwrap();
        assert_eq!((unused.id.as_str(), unused.generation, unused.used_generation, unused.used_at), ("f", 1, 0, None));
        assert!(tx.use_refresh("refresh", &unused, NOW).await.unwrap());
        assert!(!tx.use_refresh("twin", &unused, NOW).await.unwrap(), "what replaced the same one is used with it");
        let used = tx.family_by_refresh("refresh", NOW).await.unwrap().unwrap();
        assert_eq!((used.used_generation, used.used_at), (1, Some(NOW)));
        assert_eq!(tx.subject_by_access_token("access", NOW).await.unwrap().unwrap().client_key, key_of("c"));
        assert!(tx.subject_by_access_token("access", NOW + Seconds(100)).await.unwrap().is_none(), "expired");
        tx.extend_family("f", NOW + Seconds(100)).await.unwrap();
        assert_eq!(tx.signed_in_clients(&account_key(1), NOW, 0, 9).await.unwrap(), [key_of("c")]);
        assert!(tx.signed_in_clients(&account_key(1), NOW, 1, 9).await.unwrap().is_empty(), "all of them are passed");
        for (after, stays) in [(0, Stays::UntilSignOut), (100, Stays::Out)] {
            let found = tx.sign_ins(&account_key(1), &[&key_of("c")], NOW + Seconds(after)).await.unwrap();
            assert_eq!(found, [SignIn { client: key_of("c"), scope: scope.clone(), since: NOW, stays }]);
        }
        assert_eq!(tx.open_sessions(&account_key(1), NOW, "~", 9).await.unwrap()[0].id, "s1");
        assert!(tx.open_sessions(&account_key(1), NOW, "s1", 9).await.unwrap().is_empty(), "none before it");
        assert!(tx.open_sessions(&account_key(1), NOW + Seconds(1000), "~", 9).await.unwrap().is_empty(), "expired");
        assert!(!tx.end_session(&account_key(2), "s1", NOW).await.unwrap(), "somebody else's");
        assert!(tx.end_family("f", NOW).await.unwrap() && !tx.end_family("f", NOW).await.unwrap());
        assert!(tx.subject_by_access_token("access", NOW).await.unwrap().is_none(), "ended");
        assert!(tx.reauthenticate("s1", "cookie1b", NOW).await.unwrap());
        assert!(tx.session_by_token("cookie1", NOW).await.unwrap().is_none());
        assert_eq!(tx.session_by_token("cookie1b", NOW).await.unwrap().unwrap().1.id, account_key(1));
    });
}

async fn agreed(all: &store::Database, store: &Store) {
    tx!(store, |tx| {
        assert!(tx.lock_account(&account_key(1)).await.unwrap() && tx.lock_client(&key_of("c")).await.unwrap());
        assert!(!tx.lock_account(&"nobody".into()).await.unwrap() && !tx.lock_client(&key_of("nobody")).await.unwrap());
        assert!(tx.lock_asked(&account_key(1), &key_of("c"), AUD).await.unwrap());
        assert!(tx.add_ticket(&ticket(1)).await.unwrap());
        assert!(!tx.add_ticket(&Ticket { id: "t2".into(), ..ticket(1) }).await.unwrap(), "the same question");
        tx.polled("t1", NOW + Seconds(5)).await.unwrap();
        assert_eq!(tx.open_ticket("key1").await.unwrap().unwrap().polled_at, NOW + Seconds(5));
        assert_eq!(tx.open_tickets(&account_key(1), NOW, 0, 9).await.unwrap().len(), 1);
        assert_eq!(tx.count_open_tickets(&account_key(1), &key_of("c"), NOW).await.unwrap(), 1);
        assert_eq!(tx.count_open_tickets(&account_key(1), &key_of("nobody"), NOW).await.unwrap(), 0);
        let id =
            tx.open_delegation("d1", &account_key(1), "https://id.example", &subject("sub1"), AUD, NOW).await.unwrap();
        assert_eq!(
            tx.open_delegation("dx", &account_key(1), "x", &subject("x"), AUD, NOW).await.unwrap(),
            id,
            "one for user and audience"
        );
        for (name, mode) in [("k1 c", Mode::Always), ("until", Mode::Until(NOW + Seconds(10))), ("no", Mode::Denied)] {
            let delegation = Some("d1").filter(|_| mode != Mode::Denied);
            tx.add_consent(&consent(name, delegation, "c", mode), &account_key(1), AUD, "s1").await.unwrap();
        }
        assert!(!tx.close_ticket("t1", &account_key(2), "k1 c", NOW).await.unwrap(), "somebody else's");
        assert!(!tx.close_ticket("t1", &account_key(1), "k1 c", NOW + Seconds(600)).await.unwrap(), "expired");
        assert!(tx.close_ticket("t1", &account_key(1), "k1 c", NOW).await.unwrap());
        assert_eq!(tx.ticket("t1").await.unwrap().unwrap().consent_id, Some("k1 c".into()));
        tx.add_ticket(&ticket(3)).await.unwrap();
        tx.close_expired_ticket("key3", NOW + Seconds(600)).await.unwrap();
        assert!(tx.open_ticket("key3").await.unwrap().is_none());
        assert_eq!(tx.consents(&account_key(1), AUD, &key_of("c")).await.unwrap().len(), 3);
        assert_eq!(tx.consent_mode("until").await.unwrap(), Some(Mode::Until(NOW + Seconds(10))));
        assert_eq!(tx.agreed_before(&account_key(1), AUD, &key_of("c")).await.unwrap(), (true, true));
        assert_eq!(tx.delegation_consents(&["d1", "dx"]).await.unwrap().len(), 2);
        assert_eq!(tx.denials(&account_key(1), i64::MAX, 9).await.unwrap().len(), 1);
        let number = tx.denials(&account_key(1), i64::MAX, 9).await.unwrap()[0].1.number;
        assert!(tx.denials(&account_key(1), number, 9).await.unwrap().is_empty(), "none before it");
        let clients = tx.clients_by_key(&[&key_of("c"), &key_of("nobody")]).await.unwrap();
        assert_eq!(clients.keys().collect::<Vec<_>>(), [&key_of("c")]);
        assert!(
            !tx.end_denial(&account_key(2), "no", NOW).await.unwrap()
                && tx.end_denial(&account_key(1), "no", NOW).await.unwrap()
        );
    });
    family(store, 1, "c").await;
    let batches = all.batches();
    assert!(matches!(mint(store, 1, "c", "j1").await, Ok(Outcome::Minted(..))));
    assert!(matches!(mint(store, 2, "c", "j2").await, Ok(Outcome::Refused(Refusal::SubjectToken(_)))));
    assert_eq!(all.batches(), batches + 2);
}

async fn withdrawn(all: &store::Database, store: &Store) {
    let mut tx = store.begin().await.unwrap();
    let used = tx.delegation_for(&account_key(1), AUD).await.unwrap().unwrap();
    assert_eq!((used.mint_count, used.last_exp, used.last_client.as_deref()), (1, NOW + Seconds(300), Some("C")));
    for (filter, n) in [
        (
            Filter {
                sub: Some(&subject("sub1")),
                aud: Some(AUD),
                client_id: Some(&id_of("c")),
                status: Some(Status::Active),
                ..Filter::default()
            },
            1,
        ),
        (Filter { account_id: Some(&account_key(2)), ..Filter::default() }, 0),
        (Filter { after: Some("d1"), ..Filter::default() }, 0),
    ] {
        assert_eq!(tx.delegations(Filter { limit: 9, ..filter }).await.unwrap().len(), n, "{filter:?}");
    }
    for selection in [
        Selection { client_id: Some(id_of("c")), ..Selection::default() },
        Selection { account_id: Some(account_key(1)), ..Selection::default() },
    ] {
        assert_eq!(tx.standing(&selection, "", 9).await.unwrap(), ["d1"]);
    }
    let one = |n| BTreeMap::from([("d1".to_owned(), n)]);
    let nobody = Part::OfClient(key_of("nobody"));
    assert_eq!(tx.lock_delegations(&["d1", "d2"]).await.unwrap()[0].id, "d1");
    assert_eq!(tx.end_consents(&["d1"], &Part::Lapsed, NOW + Seconds(10)).await.unwrap(), one(1));
    assert!(tx.with_standing_consent(&["d1"]).await.unwrap().contains("d1"));
    assert_eq!(
        [1, 0],
        [tx.end_delegations(&["d1"], NOW).await.unwrap(), tx.end_delegations(&["d1"], NOW).await.unwrap()]
    );
    assert_eq!(tx.end_consents(&["d1"], &nobody, NOW).await.unwrap(), BTreeMap::new());
    assert_eq!(tx.end_consents(&["d1"], &Part::Whole, NOW).await.unwrap(), one(1));
    tx.end_used_up(&["d1"], NOW).await.unwrap();
    assert!(tx.with_standing_consent(&["d1"]).await.unwrap().is_empty());
    assert_eq!(tx.receivers(&BTreeSet::from([AUD, "https://nowhere.example"])).await.unwrap().len(), 1);
    let endpoint = "https://a.example/revoke";
    let notice = NewDelivery {
        id: "o".into(),
        delegation_id: Some("d1"),
        sid: None,
        format: Format::LogoutJwt,
        round: Round::First,
        endpoint,
        host: "a.example".into(),
        iss: "https://id.example",
        sub: &subject("sub1"),
        aud: AUD,
        created_at: NOW,
        due_at: NOW,
        give_up_at: NOW + Seconds(100),
    };
    tx.enqueue(&[notice]).await.unwrap();
    assert_eq!(tx.delegation("d1").await.unwrap().unwrap().status(), Status::Withdrawing);
    tx.commit().await.unwrap();
    assert_eq!(all.read().await.unwrap().next_due(NOW, Seconds(10)).await.unwrap(), Some(NOW));
    tx!(all, |tx| {
        assert_eq!(tx.claim("w", NOW, Seconds(10), (9, 16), Hosts::But(&[], "")).await.unwrap().len(), 1);
        assert_eq!(tx.claim("w2", NOW, Seconds(10), (9, 16), Hosts::But(&[], "")).await.unwrap().len(), 0, "leased");
    });
    tx!(all, |tx| assert_eq!(tx.clear_leases().await.unwrap(), 1));
    tx!(all, |tx| assert_eq!(
        tx.claim("w", NOW, Seconds(10), (9, 16), Hosts::But(&[], "")).await.unwrap()[0].attempts,
        2
    ));
    tx!(all, |tx| {
        tx.release(&["o"], "another").await.unwrap();
        assert_eq!(
            tx.claim("w2", NOW, Seconds(10), (9, 16), Hosts::But(&[], "")).await.unwrap().len(),
            0,
            "only its worker gives it back"
        );
        tx.release(&["o"], "w").await.unwrap();
        assert_eq!(
            tx.claim("w2", NOW, Seconds(10), (9, 16), Hosts::But(&[], "")).await.unwrap()[0].attempts,
            2,
            "it was not tried"
        );
    });
    tx!(all, |tx| {
        let (named, nobody) = (["a.example".to_owned()], ["b.example".to_owned()]);
        tx.release(&["o"], "w2").await.unwrap();
        for hosts in [Hosts::But(&named, ""), Hosts::But(&[], "a.example"), Hosts::Only(&nobody)] {
            assert!(tx.claim("w2", NOW, Seconds(10), (9, 16), hosts).await.unwrap().is_empty(), "{hosts:?}");
        }
        assert_eq!(tx.claim("w2", NOW, Seconds(10), (9, 16), Hosts::Only(&named)).await.unwrap().len(), 1);
    });
    assert_eq!(all.read().await.unwrap().next_due(NOW, Seconds(10)).await.unwrap(), None, "leased");
    let back = NOW - Seconds(3600);
    let due = all.read().await.unwrap().next_due(back, Seconds(10)).await.unwrap();
    assert_eq!(due, Some(NOW), "by a clock that was an hour ahead");
    let attempt = Attempt {
        delivery_id: "o".into(),
        number: 2,
        jti: Jti::parse("j").unwrap(),
        kid: "kid".into(),
        endpoint: "https://new.example/revoke".into(),
        status: Some(200),
        error: None,
        latency: 5,
        answer: String::new(),
        state: DeliveryState::Delivered,
        due_at: NOW,
        held: false,
    };
    let settlement = |entry: &str, worker: &str| Settlement {
        issuer: "default".into(),
        entry_id: entry.into(),
        worker: worker.into(),
        at: NOW,
        delegation_id: Some("d1".into()),
        host: "new.example".into(),
        attempt: attempt.clone(),
    };
    // One that lost its lease, one that has it; and then it is over.
    all.settle(vec![settlement("y", "w"), settlement("z", "w2")]).await.unwrap();
    all.settle(vec![settlement("zz", "w2")]).await.unwrap();
    let mut tx = store.begin().await.unwrap();
    let told = tx.deliveries(&["d1"]).await.unwrap().remove(0);
    assert_eq!((told.last_status, told.ended_at, told.host.as_str()), (Some(200), Some(NOW), "new.example"));
    assert_eq!(told.endpoint, "https://new.example/revoke");
    assert_eq!(tx.delegation("d1").await.unwrap().unwrap().status(), Status::Withdrawn);
    let attempts: Vec<_> = tx.attempts(&["d1"]).await.unwrap();
    let held: Vec<_> = attempts.iter().map(|(_, at, attempt)| (*at, attempt.held)).collect();
    assert_eq!(held, [(NOW, false), (NOW, true), (NOW, false)]);
    assert_eq!(Attempt { held: false, ..attempts[1].2.clone() }, attempt);
    assert!(
        tx.end_session(&account_key(1), "s1", NOW).await.unwrap()
            && !tx.end_session(&account_key(1), "s1", NOW).await.unwrap()
    );
    tx.commit().await.unwrap();
    assert!(matches!(mint(store, 1, "c", "j3").await, Ok(Outcome::Refused(Refusal::SubjectToken(_)))));
}

#[tokio::test]
async fn every_method_on_sqlite() {
    every_method(Engine::Sqlite).await;
}

#[tokio::test]
async fn every_method_on_postgres() {
    every_method(Engine::Postgres).await;
}

/// Table, column, type and whether it may be null, of every column of ours.
#[tokio::test]
async fn both_schemas_are_the_same() {
    let (sqlite, postgres) = (Database::make(Engine::Sqlite).await, Database::make(Engine::Postgres).await);
    open(&sqlite, Engine::Sqlite).await;
    open(&postgres, Engine::Postgres).await;
    // A primary key of several columns may not be null in PostgreSQL; SQLite says so only where it is written.
    let there = "SELECT table_name || '.' || column_name || ' ' || UPPER(data_type) || CASE is_nullable WHEN 'YES' THEN ' NULL' ELSE '' END
                   FROM information_schema.columns WHERE table_schema = current_schema() AND table_name <> '_sqlx_migrations' ORDER BY 1";
    let here = "SELECT m.name || '.' || c.name || ' ' || REPLACE(c.type, ' GENERATED ALWAYS', '') || CASE WHEN c.\"notnull\" = 0 AND c.pk = 0 THEN ' NULL' ELSE '' END
                  FROM sqlite_master m JOIN pragma_table_xinfo(m.name) c
                 WHERE m.type = 'table' AND m.name NOT LIKE 'sqlite_%' AND m.name <> '_sqlx_migrations' ORDER BY 1";
    let sorted = |columns: Vec<String>| columns.into_iter().collect::<BTreeSet<_>>();
    let (here, there) = (sorted(sqlite.column(here).await), sorted(postgres.column(there).await));
    assert_eq!(here, there);
    assert!(here.len() > 100, "{here:?}");
    for column in &here {
        let kind = column.trim_end_matches(" NULL").rsplit(' ').next().unwrap();
        assert!(kind == "TEXT" || kind == "BIGINT", "{column}");
    }
}
