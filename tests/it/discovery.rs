//! Metadata, keys and the document about ourselves: what a client or service finds before it knows anything.

use avouch::domain::cimd;
use jsonwebtoken::jwk::{JwkSet, ThumbprintHash};
use serde_json::Value;

use crate::harness::{Answer, Engine, World};

const DOCUMENTS: [&str; 5] = [
    "/.well-known/openid-configuration",
    "/.well-known/oauth-authorization-server",
    "/.well-known/jwks.json",
    "/jwks.json",
    "/agent-auth.json",
];

async fn send(world: &World, method: reqwest::Method, path: &str, headers: &[(&str, &str)]) -> Answer {
    let mut request = world.http.request(method, format!("{}{path}", world.url));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    Answer::read(request.send().await.unwrap()).await
}

async fn get(world: &World, path: &str) -> Answer {
    let answer = send(world, reqwest::Method::GET, path, &[]).await;
    assert_eq!(answer.status, 200, "{path}");
    answer
}

/// Pretty, and with the test's port taken out.
fn stable(world: &World, document: &Value) -> String {
    serde_json::to_string_pretty(document).unwrap().replace(&world.issuer(), "http://localhost:PORT")
}

#[tokio::test]
async fn the_metadata_is_what_clients_rely_on() {
    let world = World::start(Engine::Sqlite).await;
    let openid = get(&world, DOCUMENTS[0]).await;
    let oauth = get(&world, DOCUMENTS[1]).await;
    assert_eq!(openid.body, oauth.body);
    assert_eq!(openid.json()["issuer"], world.issuer(), "identical to the issuer, RFC 8414 section 3.3");
    insta::assert_snapshot!(stable(&world, &openid.json()));

    // What it names is there: none of it answers 404 to the method it is made for.
    for (name, method) in [
        ("authorization_endpoint", "GET"),
        ("token_endpoint", "POST"),
        ("userinfo_endpoint", "GET"),
        ("introspection_endpoint", "POST"),
        ("revocation_endpoint", "POST"),
        ("jwks_uri", "GET"),
    ] {
        let path = openid.json()[name].as_str().unwrap().strip_prefix(&world.issuer()).unwrap().to_owned();
        let answer = send(&world, method.parse().unwrap(), &path, &[]).await;
        assert!(![404, 405].contains(&answer.status), "{name} {}", answer.status);
    }
}

#[tokio::test]
async fn the_keys_are_public_and_named_by_their_thumbprint() {
    let world = World::start(Engine::Sqlite).await;
    let jwks = get(&world, "/.well-known/jwks.json").await;
    assert_eq!(jwks.body, get(&world, "/jwks.json").await.body);
    let keys = jwks.json()["keys"].as_array().unwrap().clone();
    assert_eq!(keys.len(), 1);
    for key in &keys {
        let names: Vec<&str> = key.as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(names, ["alg", "crv", "kid", "kty", "use", "x", "y"], "nothing private, nothing unknown");
    }
    let independent: JwkSet = serde_json::from_str(&jwks.body).unwrap();
    for key in &independent.keys {
        assert_eq!(key.common.key_id, key.thumbprint(ThumbprintHash::SHA256).ok(), "RFC 7638");
    }
}

#[tokio::test]
async fn the_document_about_ourselves_passes_our_own_judgement() {
    let world = World::start(Engine::Sqlite).await;
    let document = get(&world, "/agent-auth.json").await.json();
    let url = format!("{}/agent-auth.json", world.issuer());
    cimd::judge(&url, &document, true).unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(document["client_id"], url, "the URL it is served from");
    assert_eq!(document["jwks_uri"], get(&world, DOCUMENTS[0]).await.json()["jwks_uri"], "services compare the two");
    insta::assert_snapshot!(stable(&world, &document));
}

#[tokio::test]
async fn documents_are_cached_and_validated() {
    let world = World::start(Engine::Sqlite).await;
    for path in DOCUMENTS {
        let answer = get(&world, path).await;
        let etag = answer.header("etag").to_owned();
        assert!(etag.len() > 20 && etag.starts_with('"') && etag.ends_with('"'), "{path} {etag}");
        assert_eq!(answer.header("cache-control"), "public, max-age=300", "{path}");
        assert_eq!(answer.header("content-type"), "application/json", "{path}");
        assert_eq!(answer.header("access-control-allow-origin"), "*", "{path}");
        let weak = format!("W/{etag}");
        let among = format!("\"other\", {etag}");
        for known in [etag.as_str(), &weak, &among, "*"] {
            let unchanged = send(&world, reqwest::Method::GET, path, &[("if-none-match", known)]).await;
            assert_eq!((unchanged.status, unchanged.body.as_str()), (304, ""), "{path} {known}");
            assert_eq!(unchanged.header("etag"), etag, "{path}: RFC 9110 section 15.4.5");
            assert_eq!(unchanged.header("cache-control"), "public, max-age=300", "{path}");
        }
        let other = send(&world, reqwest::Method::GET, path, &[("if-none-match", "\"other\"")]).await;
        assert_eq!((other.status, other.body), (200, answer.body), "{path}");
    }
}
