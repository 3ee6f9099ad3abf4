//! Services that nobody declared: understood by what they publish, asked about, minted for and told of withdrawals by it, and trusted in
//! nothing.

use avouch::domain::time::Seconds;
use avouch::flow::look;
use serde_json::{Value, json};

use crate::harness::{
    ALICE, BOB, Browser, Engine, FakeService, Published, SECRET, World, answer_form, both, claims, declarations, run,
    text, twice,
};

const SERVER: &str = "/.well-known/oauth-authorization-server";
const RESOURCE: &str = "/.well-known/oauth-protected-resource";
const JAG: &str = "urn:ietf:params:oauth:token-type:id-jag";
const REVOKED: &str = "https://schemas.workos.com/events/agent/auth/identity/assertion/revoked";

/// Agents that may ask for whatever their user agrees to.
fn free(service: &str) -> String {
    declarations(service)
        .replace(&format!("audiences = [\"{service}\", \"https://other.example\"]"), "audiences = [\"*\"]")
        .replace(&format!("audiences = [\"{service}\"]"), "audiences = [\"*\"]")
}

/// What auth.md v0.1 publishes, with notices at a path.
fn v01(issuer: &str, revoke: &str) -> Value {
    let at = issuer.trim_end_matches('/');
    json!({
        "issuer": issuer, "resource": format!("{at}/api/"),
        "agent_auth": {
            "register_uri": format!("{at}/agent/auth"), "revocation_uri": revoke,
            "identity_types_supported": ["identity_assertion"],
            "identity_assertion": {"assertion_types_supported": [JAG]},
            "events_supported": [REVOKED],
        },
    })
}

/// A service that publishes that, and the world in which an agent has a user.
async fn shop() -> FakeService {
    let shop = FakeService::start().await;
    shop.publish_server(v01(&shop.url, &format!("{}/agent/auth/revoke", shop.url)));
    shop
}

async fn start(engine: Engine) -> (World, Browser, Value) {
    let world = World::with(engine, free).await;
    let browser = world.signed_in(ALICE).await;
    let tokens = world.tokens(&browser, "desk-agent").await;
    (world, browser, tokens)
}

fn at(url: &str) -> Vec<(&str, &str)> {
    vec![("audience", url), ("scope", "")]
}

async fn error(world: &World, tokens: &Value, changes: &[(&str, &str)]) -> (String, String) {
    let (status, body) = world.exchange("desk-agent", tokens, changes).await;
    assert_eq!(status, 400, "{body}");
    (body["error"].as_str().unwrap().to_owned(), body["error_description"].as_str().unwrap().to_owned())
}

async fn minted(world: &World, tokens: &Value, changes: &[(&str, &str)]) -> Value {
    let (status, body) = world.exchange("desk-agent", tokens, changes).await;
    assert_eq!(status, 200, "{body}");
    claims(body["access_token"].as_str().unwrap())
}

async fn journal(world: &World, kind: &str) -> Vec<Value> {
    let rows = world.database.column(&format!("SELECT body FROM journal WHERE kind = '{kind}' ORDER BY id")).await;
    rows.iter().map(|body| serde_json::from_str(body).unwrap()).collect()
}

async fn from_the_question_to_the_notice(engine: Engine) {
    let ((world, browser, tokens), shop) = (start(engine).await, shop().await);
    let (status, body) = world.exchange("desk-agent", &tokens, &at(&shop.url)).await;
    assert_eq!((status, &body["error"]), (400, &json!("consent_required")), "{body}");
    let path = body["consent_uri"].as_str().unwrap().strip_prefix(&world.issuer()).unwrap().to_owned();
    let page = browser.get(&path).await;
    for said in [
        "What this service says of itself".to_owned(),
        "auth.md v0.1".to_owned(),
        format!("agent_auth.register_uri of {}{SERVER}", shop.url),
        format!("{}/agent/auth/revoke (logout+jwt)", shop.url),
        "the service is then told to end the agent's access there as well".to_owned(),
    ] {
        assert!(page.body.contains(&said), "{said} in {}", page.body);
    }
    assert_eq!(browser.submit(&page, &path, &answer_form(&page, "always")).await.status, 303);
    let looks = shop.fetches();
    for _ in 0..3 {
        let assertion = minted(&world, &tokens, &at(&shop.url)).await;
        assert_eq!((&assertion["aud"], &assertion["name"]), (&json!(shop.url), &json!("Alice Example")));
        assert_eq!(assertion["client_id"], json!(format!("{}/agent-auth.json", world.issuer())));
    }
    world.clock.advance(Seconds(48 * 3600));
    let tokens = world.tokens(&browser, "desk-agent").await;
    minted(&world, &tokens, &at(&shop.url)).await;
    assert_eq!(shop.fetches(), looks, "a mint under what was agreed to waits for nobody");

    let list = world.api("GET", "/delegations", &world.admin_token()).await.json();
    let id = list["items"][0]["id"].as_str().unwrap().to_owned();
    // It goes to where the service takes notices at that time.
    shop.publish_server(v01(&shop.url, &format!("{}/moved", shop.url)));
    look::again(&world.host).await.unwrap();
    assert_eq!(world.api("DELETE", &format!("/delegations/{id}"), &world.admin_token()).await.status, 202);
    world.settle().await;
    assert_eq!(shop.received().len(), 1);
    let attempt = &journal(&world, "delivery.attempt").await[0];
    assert_eq!(attempt["endpoint"], json!(format!("{}/moved", shop.url)));
    assert_eq!(
        journal(&world, "service.discovered").await,
        [json!({"aud": shop.url, "shown": "auth.md v0.1; logout+jwt at localhost"})]
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn from_the_question_to_the_notice_on_sqlite() {
    from_the_question_to_the_notice(Engine::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn from_the_question_to_the_notice_on_postgres() {
    from_the_question_to_the_notice(Engine::Postgres).await;
}

both! {
    async fn nobody_has_a_service_looked_at_who_may_not_ask_for_it(world: World) {
        let shop = shop().await;
        let browser = world.signed_in(ALICE).await;
        let tokens = world.tokens(&browser, "desk-agent").await;
        let (code, _) = error(&world, &tokens, &at(&shop.url)).await;
        assert_eq!(code, "invalid_target", "beyond the ceiling");
        let free = World::with(Engine::Sqlite, free).await;
        let browser = free.signed_in(ALICE).await;
        let tokens = free.tokens(&browser, "desk-agent").await;
        let mut changes = at(&shop.url);
        changes.push(("subject_token", "nobody's"));
        assert_eq!(error(&free, &tokens, &changes).await.0, "invalid_grant");
        let form = [("grant_type", crate::harness::EXCHANGE), ("requested_token_type", crate::harness::ID_JAG), ("audience", &*shop.url),
            ("subject_token", tokens["access_token"].as_str().unwrap()), ("subject_token_type", crate::harness::ACCESS_TOKEN)];
        let request = free.http.post(format!("{}/token", free.url)).basic_auth("desk-agent", Some(format!("{SECRET}x")));
        let request = request.header("content-type", "application/x-www-form-urlencoded").body(crate::harness::encode(&form));
        assert_eq!(request.send().await.unwrap().status(), 401);
        // Nor this server itself, whatever the ceiling.
        let own = format!("{}/t", free.issuer());
        assert_eq!(error(&free, &tokens, &at(&own)).await.0, "invalid_target");
        assert_eq!(shop.fetches(), 0);
        assert_eq!(free.database.column("SELECT COUNT(*) FROM discovery").await, ["0"]);
        // Who may: it is looked at once, however many ask.
        assert_eq!(error(&free, &tokens, &at(&shop.url)).await.0, "consent_required");
        let looks = shop.fetches();
        assert_eq!(error(&free, &tokens, &at(&shop.url)).await.0, "slow_down");
        assert_eq!(shop.fetches(), looks);
    }
}

both! {
    async fn a_service_that_takes_no_id_jags_says_what_it_takes(world: World) {
        let (shop, declared) = (FakeService::start().await, free(&world.service.url));
        let world = world.replica(&declared).await;
        let browser = world.signed_in(ALICE).await;
        let tokens = world.tokens(&browser, "desk-agent").await;
        let portal = format!("{}/api-keys", shop.url).replace("http://", "https://");
        shop.publish_server(json!({"issuer": shop.url, "agent_auth": {
            "register_uri": portal, "claim_uri": portal, "identity_types_supported": ["service_auth"],
            "unsupported_identity_types": ["identity_assertion", "id_jag"], "credential_types_supported": ["api_key"],
        }}));
        let (code, said) = error(&world, &tokens, &at(&shop.url)).await;
        assert_eq!(code, "invalid_target");
        let expected = format!("this service takes no ID-JAGs; by its own metadata it takes service_auth: keys by its portal {portal}");
        assert_eq!(said, expected);
        assert_eq!(error(&world, &tokens, &at(&shop.url)).await.1, expected, "and again, of the row");
        assert_eq!(world.database.column("SELECT COUNT(*) FROM ticket").await, ["0"], "nobody is asked");
    }
}

both! {
    async fn the_spelling_is_the_services_own(world: World) {
        let shop = FakeService::start().await;
        let slash = format!("{}/", shop.url);
        shop.publish_server(v01(&slash, &format!("{}/agent/auth/revoke", shop.url)));
        // The ceiling has the one without.
        let declared = declarations(&world.service.url).replace("https://other.example", &shop.url);
        let world = world.replica(&declared).await;
        let browser = world.signed_in(ALICE).await;
        let tokens = world.tokens(&browser, "desk-agent").await;
        world.agree(&browser, "desk-agent", &tokens, "always", &at(&shop.url)).await;
        for _ in 0..2 {
            assert_eq!(minted(&world, &tokens, &at(&shop.url)).await["aud"], json!(slash));
        }
        assert_eq!(error(&world, &tokens, &at(&slash)).await.0, "invalid_target", "beyond the ceiling, spelled like this");
        let other = shop.url.replace("localhost", "LOCALHOST");
        let (_, said) = error(&world, &tokens, &at(&other)).await;
        assert!(said.contains("did you mean"), "{said}");
        assert_eq!(world.database.column("SELECT aud FROM delegation").await, std::slice::from_ref(&slash));
        assert_eq!(world.database.column("SELECT audience FROM service WHERE origin = 'discovered'").await, [slash]);
    }
}

both! {
    async fn a_resource_belongs_to_its_audience(world: World) {
        let (shop, bare, world) = (FakeService::start().await, FakeService::start().await, world.replica(&free(&world.service.url)).await);
        let browser = world.signed_in(ALICE).await;
        let tokens = world.tokens(&browser, "desk-agent").await;
        let mcp = format!("{}/mcp", shop.url);
        shop.publish_server(json!({"issuer": shop.url, "token_endpoint": format!("{}/token", shop.url), "protected_resources": [mcp, "https://api.example/v1"]}));
        let own = format!("{}/any/where", bare.url);
        let (beside, foreign) = (format!("{}/other", shop.url), format!("{}/mcp", bare.url));
        for (audience, resource, good) in [
            (&shop.url, mcp.as_str(), true),
            (&shop.url, "https://api.example/v1", true),
            (&shop.url, "https://API.example:443/x/../v1", true),
            (&shop.url, beside.as_str(), false),
            (&shop.url, "https://api.example/v1/", false),
            (&shop.url, foreign.as_str(), false),
            (&bare.url, own.as_str(), true),
            (&bare.url, mcp.as_str(), false),
            (&bare.url, "https://api.example/v1", false),
        ] {
            let changes = [("audience", audience.as_str()), ("scope", ""), ("resource", resource)];
            let (code, said) = error(&world, &tokens, &changes).await;
            assert_eq!(code, if good { "consent_required" } else { "invalid_target" }, "{audience} {resource}: {said}");
        }
        // A resource in the place of the audience.
        let api = FakeService::start().await;
        api.publish(RESOURCE, Published::Json(json!({"resource": api.url, "authorization_servers": [shop.url]})));
        for _ in 0..2 {
            let (code, said) = error(&world, &tokens, &at(&api.url)).await;
            assert_eq!((code.as_str(), said.contains(&shop.url)), ("invalid_target", true), "{said}");
        }
    }
}

both! {
    async fn who_was_shown_something_else_is_asked_again(world: World) {
        let (shop, world) = (shop().await, world.replica(&free(&world.service.url)).await);
        let browser = world.signed_in(ALICE).await;
        let tokens = world.tokens(&browser, "desk-agent").await;
        world.agree(&browser, "desk-agent", &tokens, "always", &at(&shop.url)).await;
        minted(&world, &tokens, &at(&shop.url)).await;
        let again = async || {
            world.clock.advance(Seconds(3601));
            look::again(&world.host).await.unwrap();
            world.tokens(&browser, "desk-agent").await
        };
        // Another path, another resource: a journal entry, and nobody is asked.
        let mut body = v01(&shop.url, &format!("{}/elsewhere", shop.url));
        shop.publish_server(body.clone());
        minted(&world, &again().await, &at(&shop.url)).await;
        assert_eq!(journal(&world, "service.changed").await[0]["fields"], json!(["notices"]));
        // Another host.
        body["agent_auth"]["revocation_uri"] = json!(format!("{}/elsewhere", shop.url).replace("localhost", "push.localhost"));
        shop.publish_server(body.clone());
        let tokens = again().await;
        assert_eq!(error(&world, &tokens, &at(&shop.url)).await.0, "consent_required");
        let changed = &journal(&world, "service.changed").await[1];
        assert_eq!((&changed["before"], &changed["after"]), (&json!("auth.md v0.1; logout+jwt at localhost"), &json!("auth.md v0.1; logout+jwt at push.localhost")));
        world.clock.advance(Seconds(6));
        world.agree(&browser, "desk-agent", &tokens, "always", &at(&shop.url)).await;
        minted(&world, &tokens, &at(&shop.url)).await;
        // Another protocol.
        body["agent_auth"]["identity_endpoint"] = json!(format!("{}/agent/identity", shop.url));
        shop.publish_server(body.clone());
        let tokens = again().await;
        assert_eq!(error(&world, &tokens, &at(&shop.url)).await.0, "consent_required");
        world.clock.advance(Seconds(6));
        world.agree(&browser, "desk-agent", &tokens, "always", &at(&shop.url)).await;
        // Whoever makes the document disappear, or another's of it, makes no other service of it.
        for document in [
            Published::Answer(404, vec![], String::new()),
            Published::Json(v01("https://bank.example", "https://bank.example/revoke")),
            Published::Answer(200, vec![("content-type", "text/html".into())], "<html>".into()),
        ] {
            shop.publish(SERVER, document);
            minted(&world, &again().await, &at(&shop.url)).await;
        }
        assert_eq!(journal(&world, "service.changed").await.len(), 3);
        assert_eq!(world.database.column("SELECT COUNT(*) FROM discovery WHERE missed_at IS NOT NULL").await, ["1"]);
        // One that takes no ID-JAGs any more: nothing is minted.
        body["agent_auth"]["available"] = json!(false);
        shop.publish_server(body);
        let tokens = again().await;
        assert!(error(&world, &tokens, &at(&shop.url)).await.1.starts_with("this service takes no ID-JAGs"));
    }
}

both! {
    async fn metadata_widen_nothing_of_a_declared_service(world: World) {
        let here = world.service.url.clone();
        world.service.publish_server(v01(&here, &format!("{here}/elsewhere")));
        let plain = declarations(&here).replace(&format!("revocation_uri = \"{here}/agent/auth/revoke\""), "claims = ['email']");
        let world = world.replica(&plain).await;
        let browser = world.signed_in(ALICE).await;
        let tokens = world.tokens(&browser, "desk-agent").await;
        let path = world.agree(&browser, "desk-agent", &tokens, "always", &[]).await;
        assert!(!browser.get(&path).await.body.contains("says of itself"));
        let assertion = minted(&world, &tokens, &[]).await;
        assert_eq!((&assertion["name"], &assertion["client_id"]), (&Value::Null, &json!("desk-agent")));
        assert_eq!(error(&world, &tokens, &[("scope", "notes:read")]).await.0, "invalid_scope");
        assert_eq!(world.service.fetches(), 0, "nobody looks at it");
    }
}

both! {
    async fn what_was_discovered_and_is_declared_then_is_the_operators(world: World) {
        let shop = shop().await;
        let here = world.service.url.clone();
        let world = world.replica(&free(&here)).await;
        let browser = world.signed_in(ALICE).await;
        let tokens = world.tokens(&browser, "desk-agent").await;
        world.agree(&browser, "desk-agent", &tokens, "always", &at(&shop.url)).await;
        minted(&world, &tokens, &at(&shop.url)).await;
        let declared = format!("{}\n[[services]]\naudience = \"{}\"\nclaims = ['email']\n", free(&here), shop.url);
        let world = world.replica(&declared).await;
        let looks = shop.fetches();
        let assertion = minted(&world, &tokens, &at(&shop.url)).await;
        assert_eq!(assertion["name"], Value::Null, "as declared, and nobody is asked again for less");
        world.clock.advance(Seconds(7 * 86_400));
        look::again(&world.host).await.unwrap();
        assert_eq!(shop.fetches(), looks, "nobody looks any more");
        assert_eq!(world.database.column(&format!("SELECT origin FROM service WHERE audience = '{}'", shop.url)).await, ["config"]);
    }
}

both! {
    async fn a_document_that_is_missing_for_a_while_changes_nothing(world: World) {
        let (shop, world) = (shop().await, world.replica(&free(&world.service.url)).await);
        shop.publish("/.well-known/openid-configuration", Published::Json(json!({"issuer": shop.url})));
        let browser = world.signed_in(ALICE).await;
        let tokens = world.tokens(&browser, "desk-agent").await;
        world.agree(&browser, "desk-agent", &tokens, "always", &at(&shop.url)).await;
        minted(&world, &tokens, &at(&shop.url)).await;
        let again = async |after: i64| {
            world.clock.advance(Seconds(after));
            look::again(&world.host).await.unwrap();
        };
        let notices = async || world.database.column("SELECT notices FROM service WHERE origin = 'discovered'").await;
        let before = notices().await;
        assert!(before[0].contains("logout+jwt"), "{before:?}");
        // The other document still proves whose it is, and says nothing of agents.
        shop.publish(SERVER, Published::Answer(503, vec![], String::new()));
        again(3601).await;
        minted(&world, &world.tokens(&browser, "desk-agent").await, &at(&shop.url)).await;
        assert_eq!((notices().await, journal(&world, "service.changed").await.len()), (before.clone(), 0));
        assert_eq!(world.database.column("SELECT COUNT(*) FROM discovery WHERE missed_at IS NOT NULL").await, ["1"]);
        // Nor does one under the other spelling make another service of what users have agreed to.
        shop.publish_server(v01(&format!("{}/", shop.url), &format!("{}/elsewhere", shop.url)));
        shop.publish("/.well-known/openid-configuration", Published::Answer(404, vec![], String::new()));
        again(3601).await;
        assert_eq!(notices().await, before);
        let known = world.database.column("SELECT audience FROM service WHERE origin = 'discovered'").await;
        assert_eq!(known, std::slice::from_ref(&shop.url));
        // After a day it is what is left.
        shop.publish(SERVER, Published::Answer(404, vec![], String::new()));
        shop.publish("/.well-known/openid-configuration", Published::Json(json!({"issuer": shop.url})));
        again(86_400).await;
        assert_eq!((notices().await, journal(&world, "service.changed").await.len()), (vec!["[]".to_owned()], 1));
    }
}

/// One client's curiosity has bounds, and costs the others nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn looks_have_bounds() {
    let (world, browser, tokens) = start(Engine::Sqlite).await;
    let shop = FakeService::start().await;
    for n in 0..10 {
        let (code, _) = error(&world, &tokens, &at(&format!("{}/{n}", shop.url))).await;
        assert!(["consent_required", "slow_down"].contains(&code.as_str()), "{n}: {code}");
    }
    let looks = shop.fetches();
    let (code, said) = error(&world, &tokens, &at(&format!("{}/10", shop.url))).await;
    assert_eq!((code.as_str(), said.contains("too many unknown services")), ("slow_down", true), "{said}");
    assert_eq!(shop.fetches(), looks);
    let others = world.tokens(&browser, "travel-agent").await;
    let (_, body) = world.exchange("travel-agent", &others, &at(&format!("{}/10", shop.url))).await;
    assert_eq!(body["error"], "consent_required", "{body}");
    // What nobody uses is forgotten when it would be looked at again.
    assert_eq!(world.database.column("SELECT COUNT(*) FROM discovery").await, ["11"]);
    world.clock.advance(Seconds(3601));
    look::again(&world.host).await.unwrap();
    assert_eq!(world.database.column("SELECT COUNT(*) FROM discovery").await, ["0"]);
    assert_eq!(world.database.column("SELECT COUNT(*) FROM service WHERE origin <> 'config'").await, ["0"]);
}

/// Every server sees the same row; what one has found out, the other does not look for.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replicas_share_what_was_found_out() {
    let (world, browser, tokens) = start(Engine::Postgres).await;
    let shop = shop().await;
    world.agree(&browser, "desk-agent", &tokens, "always", &at(&shop.url)).await;
    let looks = shop.fetches();
    let other = world.replica(&free(&world.service.url)).await;
    minted(&other, &tokens, &at(&shop.url)).await;
    let bob = other.signed_in(BOB).await;
    let tokens = other.tokens(&bob, "desk-agent").await;
    let (code, _) = error(&other, &tokens, &at(&shop.url)).await;
    assert_eq!(code, "access_denied", "the service finds its users by a verified address, and Bob has none");
    assert_eq!(shop.fetches(), looks);
    // Both come due at once, and one of them looks.
    world.clock.advance(Seconds(3601));
    let both = tokio::join!(look::again(&world.host), look::again(&other.host));
    assert!(both.0.is_ok() && both.1.is_ok());
    assert_eq!(shop.fetches(), 2 * looks);
}

/// What one issuer found out is nothing to another.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn issuers_find_out_for_themselves() {
    let world = World::with(Engine::Sqlite, |service| twice(&free(service))).await;
    let acme = world.under("acme").await;
    let shop = shop().await;
    for world in [&acme, &world] {
        assert_eq!(
            world
                .database
                .column(&format!("SELECT COUNT(*) FROM discovery WHERE issuer_id = '{}'", world.app.issuer.id))
                .await,
            ["0"]
        );
        let browser = world.signed_in(ALICE).await;
        let tokens = world.tokens(&browser, "desk-agent").await;
        world.agree(&browser, "desk-agent", &tokens, "always", &at(&shop.url)).await;
        minted(world, &tokens, &at(&shop.url)).await;
    }
    assert_eq!(world.database.column("SELECT COUNT(*) FROM discovery").await, ["2"]);
    // For one that is disabled nobody looks.
    let (root, body) = (world.admin_token(), json!({"disabled": true}));
    assert_eq!(world.api_json("PATCH", "/issuers/acme", &root, &body).await.status, 200);
    world.clock.advance(Seconds(3601));
    let looks = shop.fetches();
    look::again(&world.host).await.unwrap();
    assert_eq!(shop.fetches(), looks + 3, "each of three documents once, for the other one");
}

both! {
    async fn operators_see_pin_and_refresh_what_was_found_out(world: World) {
        let (shop, bare, world) = (shop().await, FakeService::start().await, world.replica(&free(&world.service.url)).await);
        let (browser, token) = (world.signed_in(ALICE).await, world.admin_token());
        let tokens = world.tokens(&browser, "desk-agent").await;
        world.agree(&browser, "desk-agent", &tokens, "always", &at(&shop.url)).await;
        assert_eq!(error(&world, &tokens, &at(&bare.url)).await.0, "consent_required");
        let list = world.api("GET", "/services", &token).await.json();
        let of = |url: &str| list["items"].as_array().unwrap().iter().find(|item| item["audience"] == *url).unwrap().clone();
        let sources = [&world.service.url, &shop.url, &bare.url].map(|url| of(url)["source"].clone());
        assert_eq!(sources, [json!("declared"), json!("discovered"), json!("unknown")]);
        assert_eq!(of(&shop.url)["notices"][0]["endpoint"], json!(format!("{}/agent/auth/revoke", shop.url)));
        let page = world.api("GET", "/services?limit=1", &token).await.json();
        assert_eq!(page["items"].as_array().unwrap().len(), 1);
        let next = world.api("GET", &format!("/services?limit=9&cursor={}", page["next"].as_str().unwrap()), &token).await.json();
        assert_eq!((next["items"].as_array().unwrap().len(), &next["next"]), (2, &Value::Null));

        let path = |url: &str, what: &str| format!("/services/{}{what}", of(url)["id"].as_str().unwrap());
        let shown = world.api("GET", &path(&shop.url, ""), &token).await.json();
        assert_eq!(shown["understood"]["dialect"]["value"], "auth.md v0.1", "{shown}");
        for (url, method, what, said) in [
            (&world.service.url, "POST", "/refresh", "the configuration declares it"),
            (&world.service.url, "POST", "/pin", "the configuration declares it"),
            (&bare.url, "POST", "/pin", "nothing is known of it that could be pinned"),
            (&shop.url, "DELETE", "/pin", "it is not pinned"),
        ] {
            let answer = world.api(method, &path(url, what), &token).await;
            assert_eq!((answer.status, &answer.json()["code"]), (409, &json!("service_state")), "{}", answer.body);
            assert!(answer.body.contains(said), "{}", answer.body);
        }
        let pinned = world.api("POST", &path(&shop.url, "/pin"), &token).await;
        assert_eq!((pinned.status, &pinned.json()["source"]), (200, &json!("pinned")), "{}", pinned.body);
        assert_eq!(world.api("POST", &path(&shop.url, "/pin"), &token).await.status, 409);
        // What it says from now on changes nothing, and nobody looks.
        shop.publish_server(v01(&shop.url, &format!("{}/elsewhere", shop.url).replace("localhost", "push.localhost")));
        let looks = shop.fetches();
        world.clock.advance(Seconds(3601));
        look::again(&world.host).await.unwrap();
        assert_eq!(world.api("POST", &path(&shop.url, "/refresh"), &token).await.status, 409);
        let tokens = world.tokens(&browser, "desk-agent").await;
        minted(&world, &tokens, &at(&shop.url)).await;
        assert_eq!(shop.fetches(), looks);
        let page = error(&world, &tokens, &[("audience", &shop.url), ("scope", "more")]).await.1;
        let page = browser.get(page.split(&world.issuer()).nth(1).unwrap()).await;
        assert!(page.status == 200 && !page.body.contains("says of itself"), "{}", page.body);
        // Until it speaks for itself again.
        let unpinned = world.api("DELETE", &path(&shop.url, "/pin"), &token).await.json();
        assert_eq!(unpinned["source"], "discovered");
        let refreshed = world.api("POST", &path(&shop.url, "/refresh"), &token).await.json();
        assert!(refreshed["notices"][0]["endpoint"].as_str().unwrap().contains("push.localhost"), "{refreshed}");
        assert_eq!(error(&world, &tokens, &at(&shop.url)).await.0, "consent_required", "shown otherwise");
        for kind in ["service.pinned", "service.unpinned", "service.changed"] {
            assert_eq!(journal(&world, kind).await.len(), 1, "{kind}");
        }
        for (path, bearer, status) in [
            ("/services", tokens["access_token"].as_str().unwrap(), 403),
            ("/services/nobody", &*token, 404),
            ("/services?audience=x", &*token, 400),
        ] {
            assert_eq!(world.api("GET", path, bearer).await.status, status, "{path}");
        }
    }
}

/// As an operator types it, beside a server.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_the_command_line() {
    let (world, browser, tokens) = start(Engine::Sqlite).await;
    let shop = shop().await;
    world.agree(&browser, "desk-agent", &tokens, "always", &at(&shop.url)).await;
    let folder = world.database.path("");
    let service = |args: &[&str]| {
        let output = run(&folder, &[&["service"], args].concat());
        (output.status.code().unwrap(), text(&output.stdout), text(&output.stderr))
    };
    let (code, said, why) = service(&["list"]);
    assert_eq!(code, 0, "{why}");
    assert!(said.lines().any(|line| line.starts_with("discovered") && line.contains(&shop.url)), "{said}");
    let (_, said, _) = service(&["show", &shop.url]);
    assert!(said.contains("told at            ") && said.contains("protocol           auth.md v0.1"), "{said}");
    let (code, said, _) = service(&["pin", &shop.url, "--json"]);
    assert_eq!((code, &serde_json::from_str::<Value>(&said).unwrap()["source"]), (0, &json!("pinned")));
    let (code, _, why) = service(&["refresh", &shop.url]);
    assert!(code == 2 && why.contains("it is pinned"), "{why}");
    assert_eq!(service(&["pin", "--undo", &shop.url]).0, 0);
    assert_eq!(service(&["refresh", &shop.url]).0, 0);
    let (code, said, _) = service(&["list", "--json"]);
    assert_eq!((code, serde_json::from_str::<Value>(&said).unwrap()["items"].as_array().unwrap().len()), (0, 2));
    let (code, _, why) = service(&["show", "https://nobody.example"]);
    assert!(code == 2 && why.contains("there is no such service"), "{why}");
    assert_eq!(service(&["show", &shop.url, "--issuer", "nobody"]).0, 2);
}
