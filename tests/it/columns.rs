//! The version of a client and of a service grows with whatever is said of it: somebody who prepared by one version is told of the other.
//!
//! Which members there are is asked of the types themselves, and which columns there are of the database: neither can be forgotten here.

use std::collections::BTreeSet;

use avouch::domain::client::Client;
use avouch::domain::ids::{Audience, ClientId};
use avouch::domain::service_policy::ServicePolicy;
use avouch::store::Store;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

use crate::harness::{Database, Engine, NOW};
use crate::store::{AUD, issuer_record, open, tx};

/// What no member fills.
const OURS: [&str; 9] =
    ["id", "issuer_id", "origin", "version", "created_at", "stopped_at", "undeclared_at", "ending_at", "disabled_at"];

/// Everything that a client says, in two ways.
fn clients() -> [Value; 2] {
    // RFC 7517 appendix A.1.
    let key = json!({"kty": "EC", "crv": "P-256", "x": "MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4",
        "y": "4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM"});
    let jwks = |kid: &str| {
        let mut key = key.clone();
        key["kid"] = kid.into();
        json!({"keys": [key]})
    };
    let client = |metadata: Value, audience: &str, flag: bool, secret_hash: &str| {
        let mut said =
            json!({"audiences": [audience], "first_party": flag, "require_pkce": flag, "secret_hash": secret_hash});
        said.as_object_mut().unwrap().extend(metadata.as_object().unwrap().clone());
        said
    };
    let one = json!({
        "client_name": "One", "token_endpoint_auth_method": "private_key_jwt", "jwks": jwks("one"),
        "redirect_uris": ["https://one.example/cb"], "grant_types": ["authorization_code"],
        "id_token_signed_response_alg": "ES256", "backchannel_logout_uri": "https://one.example/out",
        "backchannel_logout_session_required": true, "post_logout_redirect_uris": ["https://one.example/bye"],
    });
    let other = json!({
        "client_name": "Other", "token_endpoint_auth_method": "client_secret_basic", "jwks": jwks("other"),
        "redirect_uris": [], "grant_types": ["refresh_token"],
        "id_token_signed_response_alg": "RS256", "backchannel_logout_uri": null,
        "backchannel_logout_session_required": false, "post_logout_redirect_uris": [],
    });
    [client(one, "https://one.example", false, "one"), client(other, "*", true, "other")]
}

/// Everything that is known of a service, in two ways.
fn services() -> [Value; 2] {
    let one = json!({
        "name": "One", "resources": ["https://a.example/one"], "scopes": ["one"], "client_ids": {"c": "one"}, "claims": ["email"],
        "max_auth_age": 60, "requires_verified_contact": true, "client_id_source": "provider", "takes_id_jag": true, "notices": [],
        "signing_alg": "ES256",
    });
    let other = json!({
        "name": "Other", "resources": [], "scopes": ["other"], "client_ids": {}, "claims": [], "max_auth_age": 61,
        "requires_verified_contact": false, "client_id_source": "client", "takes_id_jag": false,
        "notices": [{"format": "logout+jwt", "endpoint": "https://a.example/revoke"}], "signing_alg": "RS256",
    });
    [one, other]
}

fn read<T: DeserializeOwned>(said: &Value) -> T {
    serde_json::from_value(said.clone()).unwrap()
}

fn members(of: &impl Serialize) -> Map<String, Value> {
    serde_json::to_value(of).unwrap().as_object().unwrap().clone()
}

async fn apply_client(store: &Store, said: &Value) -> (i64, Value) {
    let new = Client {
        key: "k".into(),
        client_id: ClientId::parse("c").unwrap(),
        metadata: read(said),
        policy: read(said),
        secret_hash: read(&said["secret_hash"]),
        version: 0,
    };
    tx!(store, |tx| tx.apply_client(&new, NOW).await.unwrap());
    let client = store.read().await.unwrap().client(&new.client_id).await.unwrap().unwrap();
    let mut there = members(&client.metadata);
    there.extend(members(&client.policy));
    there.insert("secret_hash".into(), json!(client.secret_hash));
    (client.version, there.into())
}

async fn apply_service(store: &Store, said: &Value) -> (i64, Value) {
    let audience = Audience::parse(AUD).unwrap();
    tx!(store, |tx| tx.apply_service("v", &audience, &read::<ServicePolicy>(said), NOW).await.unwrap());
    let service = store.read().await.unwrap().service(AUD).await.unwrap().unwrap();
    (service.version, members(&service.policy).into())
}

async fn columns(database: &Database, engine: Engine, table: &str) -> BTreeSet<String> {
    let sql = match engine {
        Engine::Sqlite => format!("SELECT name FROM pragma_table_xinfo('{table}')"),
        Engine::Postgres => format!(
            "SELECT column_name::text FROM information_schema.columns WHERE table_schema = current_schema() AND table_name = '{table}'"
        ),
    };
    database.column(&sql).await.into_iter().collect()
}

/// Lays each member of the other way over the one, alone, and writes it.
async fn each_member_counts(
    [one, other]: [Value; 2],
    columns: BTreeSet<String>,
    names: &[&str],
    apply: impl AsyncFn(&Value) -> (i64, Value),
) {
    let (mut version, there) = apply(&one).await;
    assert_eq!((version, &there), (1, &one), "the sample names every member");
    assert_eq!(apply(&one).await.0, 1, "nothing differs");
    let mut filled: BTreeSet<String> = OURS.iter().chain(names).map(|&name| name.to_owned()).collect();
    for (member, value) in other.as_object().unwrap() {
        assert_ne!(one[member], *value, "the samples have to differ in {member}");
        let mut changed = one.clone();
        changed[member] = value.clone();
        // There and back.
        for said in [&changed, &one] {
            let (grown, there) = apply(said).await;
            assert_eq!((grown, &there), (version + 1, said), "{member}");
            version = grown;
        }
        filled.insert(member.clone());
    }
    assert_eq!(columns, filled, "each column is a member, and each member a column");
}

#[tokio::test]
async fn the_version_grows_with_every_column() {
    for engine in [Engine::Sqlite, Engine::Postgres] {
        let database = Database::make(engine).await;
        let store = open(&database, engine).await.of("default".into());
        tx!(store, |tx| tx.create_issuer(&issuer_record("default")).await.unwrap());
        let client = columns(&database, engine, "client").await;
        each_member_counts(clients(), client, &["client_id"], async |said| apply_client(&store, said).await).await;
        let service = columns(&database, engine, "service").await;
        each_member_counts(services(), service, &["audience", "place", "shown"], async |said| {
            apply_service(&store, said).await
        })
        .await;
    }
}
