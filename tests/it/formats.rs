//! The formats of notices: what is sent to whom, and what is in it.

use serde_json::{Value, json};

use crate::harness::{Engine, World, both, claims, declarations};

const REVOKED: &str = "https://schemas.workos.com/events/agent/auth/identity/assertion/revoked";

/// With further lines for the service, in the place of where it takes notices.
async fn told(engine: Engine, lines: impl Fn(&str) -> String) -> (World, Vec<(String, String)>) {
    let world = World::with(engine, |service| {
        let old = format!("revocation_uri = \"{service}/agent/auth/revoke\"\n");
        let declared = declarations(service);
        assert!(declared.contains(&old));
        declared.replace(&old, &lines(service))
    })
    .await;
    let (_, _, id, _) = world.delegated().await;
    let answer = world.api("DELETE", &format!("/delegations/{id}"), &world.admin_token()).await;
    assert_eq!(answer.status, 202, "{}", answer.body);
    world.settle().await;
    let mut notices = world.service.notices.lock().unwrap().clone();
    notices.sort();
    (world, notices)
}

fn typ(token: &str) -> Value {
    use base64::Engine as _;
    let head = token.split('.').next().unwrap();
    let head = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(head).unwrap();
    serde_json::from_slice::<Value>(&head).unwrap()["typ"].clone()
}

async fn each_receiver_is_told(engine: Engine) {
    let (world, notices) = told(engine, |service| {
        format!("revocation_uri = \"{service}/revoke\"\nevents_endpoint = \"{service}/events\"\n")
    })
    .await;
    let kinds: Vec<&str> = notices.iter().map(|(kind, _)| kind.as_str()).collect();
    assert_eq!(kinds, ["application/logout+jwt", "application/secevent+jwt"]);
    let (logout, event) = (&notices[0].1, &notices[1].1);
    assert_eq!((typ(logout), typ(event)), (json!("logout+jwt"), json!("secevent+jwt")));
    let (logout, event) = (claims(logout), claims(event));
    let names = |claims: &Value| claims.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(&event), ["aud", "events", "iat", "iss", "jti", "sub"], "it has no exp (RFC 8417 section 2.2)");
    assert_eq!(event["events"], json!({ REVOKED: {} }));
    assert_eq!((&event["sub"], &event["aud"], &event["iss"]), (&logout["sub"], &logout["aud"], &logout["iss"]));
    assert!(event["jti"] != logout["jti"] && logout["exp"].is_i64(), "{event} {logout}");
    let ends = world.database.column("SELECT endpoint FROM delivery WHERE state = 'delivered' ORDER BY endpoint").await;
    assert_eq!(ends, [format!("{}/events", world.service.url), format!("{}/revoke", world.service.url)]);
    let owed = world.database.column("SELECT COUNT(*) FROM delivery WHERE round = 'second' AND state = 'queued'").await;
    assert_eq!(owed, ["2"], "and each a second time");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_receiver_is_told_in_its_format_on_sqlite() {
    each_receiver_is_told(Engine::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_receiver_is_told_in_its_format_on_postgres() {
    each_receiver_is_told(Engine::Postgres).await;
}

#[tokio::test]
async fn an_event_is_called_as_the_service_calls_it() {
    let name = "https://schemas.workos.com/events/agent/identity/assertion/revoked";
    let (_, notices) = told(Engine::Sqlite, |service| {
        format!(
            "notices = [{{ format = \"secevent+jwt\", endpoint = \"{service}/events\", event = \"{name}\" }}]\nsigning_alg = \"RS256\"\n"
        )
    })
    .await;
    assert_eq!(notices.len(), 1);
    assert_eq!(claims(&notices[0].1)["events"], json!({ name: {} }));
    let header = jsonwebtoken::decode_header(&notices[0].1).unwrap();
    assert_eq!(header.alg, jsonwebtoken::Algorithm::RS256, "by the service's algorithm");
}

both! {
    async fn a_discovered_events_endpoint_is_told(world: World) {
        let shop = crate::harness::FakeService::start().await;
        shop.publish_server(json!({"issuer": shop.url, "agent_auth": {
            "identity_endpoint": format!("{}/agent/identity", shop.url), "events_endpoint": format!("{}/events", shop.url),
            "identity_types_supported": ["identity_assertion"],
        }}));
        let declared = declarations(&world.service.url).replace("https://other.example", &shop.url);
        let world = world.replica(&declared).await;
        let alice = world.signed_in(crate::harness::ALICE).await;
        let tokens = world.tokens(&alice, "desk-agent").await;
        let asked = [("audience", shop.url.as_str()), ("scope", "")];
        world.agree(&alice, "desk-agent", &tokens, "always", &asked).await;
        let (status, minted) = world.exchange("desk-agent", &tokens, &asked).await;
        assert_eq!(status, 200, "{minted}");
        let answer = world.api("DELETE", "/delegations?client_id=desk-agent", &world.admin_token()).await;
        assert_eq!(answer.json()["withdrawn"], 1, "{}", answer.body);
        world.settle().await;
        let kinds: Vec<String> = shop.notices.lock().unwrap().iter().map(|(kind, _)| kind.clone()).collect();
        assert_eq!(kinds, ["application/secevent+jwt"]);
    }
}

async fn a_revocation_is_asked_for(engine: Engine) {
    let (world, notices) = told(engine, |service| {
        format!("global_token_revocation_endpoint = \"{service}/gtr?tenant=7\"\nsigning_alg = \"RS256\"\n")
    })
    .await;
    assert_eq!((notices.len(), notices[0].0.as_str()), (1, "application/json"));
    let body: Value = serde_json::from_str(&notices[0].1).unwrap();
    let delegation = world.api("GET", "/delegations", &world.admin_token()).await.json()["items"][0].clone();
    let sub_id = json!({"format": "iss_sub", "iss": delegation["iss"], "sub": delegation["sub"]});
    assert_eq!(body, json!({ "sub_id": sub_id }));
    let bearer = world.service.header("authorization").remove(0);
    let token = bearer.strip_prefix("Bearer ").unwrap();
    assert_eq!(typ(token), "global-token-revocation+jwt");
    assert_eq!(jsonwebtoken::decode_header(token).unwrap().alg, jsonwebtoken::Algorithm::RS256);
    let said = claims(token);
    let now = world.clock.now();
    let names: Vec<_> = said.as_object().unwrap().keys().cloned().collect();
    assert_eq!(names, ["aud", "exp", "iat", "iss", "jti", "sub"]);
    assert_eq!(said["aud"], format!("{}/gtr", world.service.url), "the endpoint without its query");
    assert_eq!(
        (&said["iss"], &said["sub"], &said["iat"], &said["exp"]),
        (&delegation["iss"], &json!(format!("{}/agent-auth.json", world.issuer())), &json!(now), &json!(now.0 + 300))
    );
    let ends = world.database.column("SELECT state FROM delivery WHERE round = 'first'").await;
    assert_eq!(ends, ["delivered"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_revocation_is_asked_for_on_sqlite() {
    a_revocation_is_asked_for(Engine::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_revocation_is_asked_for_on_postgres() {
    a_revocation_is_asked_for(Engine::Postgres).await;
}

both! {
    /// Whoever has all of them is told by each, and no two of these tokens share a `jti`.
    async fn a_service_is_told_in_every_format_that_it_publishes(world: World) {
        let early = "https://schemas.workos.com/events/agent/identity/assertion/revoked";
        let shop = crate::harness::FakeService::start().await;
        shop.publish_server(json!({
            "issuer": shop.url,
            "global_token_revocation_endpoint": format!("{}/gtr", shop.url),
            "global_token_revocation_endpoint_auth_methods_supported": ["global-token-revocation+jwt"],
            "agent_auth": {
                "identity_endpoint": format!("{}/agent/identity", shop.url), "events_endpoint": format!("{}/events", shop.url),
                "revocation_uri": format!("{}/revoke", shop.url), "events_supported": [early],
                "identity_types_supported": ["identity_assertion"],
            },
        }));
        let world = world.replica(&declarations(&world.service.url).replace("https://other.example", &shop.url)).await;
        let alice = world.signed_in(crate::harness::ALICE).await;
        let tokens = world.tokens(&alice, "desk-agent").await;
        let asked = [("audience", shop.url.as_str()), ("scope", "")];
        world.agree(&alice, "desk-agent", &tokens, "always", &asked).await;
        assert_eq!(world.exchange("desk-agent", &tokens, &asked).await.0, 200);
        world.api("DELETE", "/delegations?client_id=desk-agent", &world.admin_token()).await;
        world.settle().await;
        let notices = shop.notices.lock().unwrap().clone();
        let mut kinds: Vec<&str> = notices.iter().map(|(kind, _)| kind.as_str()).collect();
        kinds.sort_unstable();
        assert_eq!(kinds, ["application/json", "application/logout+jwt", "application/secevent+jwt"]);
        let bearers = shop.header("authorization");
        let tokens = notices.iter().zip(&bearers).map(|((_, body), bearer)| {
            claims(bearer.strip_prefix("Bearer ").unwrap_or(body))
        });
        let tokens: Vec<Value> = tokens.collect();
        let jtis: std::collections::HashSet<String> = tokens.iter().map(|token| token["jti"].to_string()).collect();
        assert_eq!(jtis.len(), 3);
        let events: Vec<&Value> = tokens.iter().filter_map(|token| token.get("events")).collect();
        assert_eq!(events, [&json!({ early: {} }); 2], "called as the document calls it");
        assert!(world.database.column("SELECT state FROM delivery WHERE round = 'first'").await.iter().all(|state| state == "delivered"));
    }
}
