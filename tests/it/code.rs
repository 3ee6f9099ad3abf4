//! The authorization code grant: what it gives, and every way it refuses to.

use avouch::domain::time::Seconds;
use std::sync::Arc;

use jsonwebtoken::jwk::JwkSet;
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::harness::{
    ALICE, Answer, CALLBACK, Engine, ID_TOKEN, NOW, VERIFIER, World, both, changed, claims, code_grant,
};

/// Names and values.
type Form<'a> = &'a [(&'a str, &'a str)];

/// What an independent library makes of a token, by the keys and issuer it finds in the metadata. The clock is the test's, so `exp` is
/// compared there.
async fn verified(world: &World, token: &str, audience: &str) -> Value {
    let get = async |url: &str| Answer::read(world.http.get(url).send().await.unwrap()).await;
    let metadata = get(&format!("{}/.well-known/openid-configuration", world.url)).await.json();
    let jwks: JwkSet = serde_json::from_str(&get(metadata["jwks_uri"].as_str().unwrap()).await.body).unwrap();
    let header = jsonwebtoken::decode_header(token).unwrap();
    let key = jwks.find(&header.kid.unwrap()).expect("its kid is published");
    let mut rules = Validation::new(Algorithm::ES256);
    rules.validate_exp = false;
    rules.set_audience(&[audience]);
    rules.set_issuer(&[metadata["issuer"].as_str().unwrap()]);
    jsonwebtoken::decode::<Value>(token, &DecodingKey::from_jwk(key).unwrap(), &rules).unwrap().claims
}

fn refused(answer: &(u16, Value), code: &str) {
    assert_eq!((answer.0, &answer.1["error"]), (400, &json!(code)), "{}", answer.1);
    assert!(answer.1.get("access_token").is_none());
}

/// Whether anything a token set gave is of use still: (access token mints, refresh token refreshes).
async fn alive(world: &World, client_id: &str, tokens: &Value) -> (bool, bool) {
    let exchange = world.exchange(client_id, tokens, &[]).await.1;
    let form = [("grant_type", "refresh_token"), ("refresh_token", tokens["refresh_token"].as_str().unwrap())];
    let refresh = world.token(client_id, &form).await;
    (exchange["error"] != "invalid_grant", refresh.0 == 200)
}

both! {
    async fn a_sign_in_gives_tokens_that_tell_the_truth(world: World) {
        let browser = world.signed_in(ALICE).await;
        world.clock.advance(Seconds(30));
        let code = world.code(&browser, "desk-agent", &[("scope", "openid email")]).await;
        let answer = world.token_raw("desk-agent", &code_grant(&code)).await;
        assert_eq!(answer.status, 200, "{}", answer.body);
        assert_eq!((answer.header("cache-control"), answer.header("pragma")), ("no-store", "no-cache"));
        let tokens = answer.json();
        assert_eq!((&tokens["token_type"], &tokens["expires_in"]), (&json!("Bearer"), &json!(3600)));
        assert_eq!(tokens["scope"], "email openid");
        assert_eq!(tokens["refresh_token"].as_str().unwrap().len(), 43);

        let id = verified(&world, tokens["id_token"].as_str().unwrap(), "desk-agent").await;
        let sub = world.database.column("SELECT sub FROM account WHERE email = 'alice@example.com'").await.remove(0);
        let sid = world.database.column("SELECT id FROM session").await.remove(0);
        let expected = json!({
            "iss": world.issuer(), "sub": sub, "aud": "desk-agent", "iat": NOW + Seconds(30), "exp": NOW + Seconds(30) + Seconds(3600), "auth_time": NOW,
            "sid": sid, "nonce": "no", "amr": ["pwd"], "email": ALICE, "email_verified": true,
        });
        assert_eq!(id, expected, "and no name, which was not asked for");
        assert_eq!(alive(&world, "desk-agent", &tokens).await, (true, true));
    }
}

#[tokio::test]
async fn every_kind_of_client_gets_what_it_is_registered_for() {
    let world = World::start(Engine::Sqlite).await;
    let browser = world.signed_in(ALICE).await;
    for (client, refreshes) in [("travel-agent", true), ("public-app", true), ("console", true), ("jwt-agent", false)] {
        let tokens = world.tokens(&browser, client).await;
        assert_eq!(tokens["refresh_token"].is_string(), refreshes, "{client}");
        assert_eq!(claims(tokens["id_token"].as_str().unwrap())["aud"], client);
    }
    let code = world.code(&browser, "desk-agent", &[("scope", "email"), ("nonce", "")]).await;
    let (_, tokens) = world.token("desk-agent", &code_grant(&code)).await;
    assert!(tokens.get("id_token").is_none(), "only the scope openid gives one: {tokens}");
    let code = world.code(&browser, "desk-agent", &[("nonce", "")]).await;
    let (_, tokens) = world.token("desk-agent", &code_grant(&code)).await;
    assert!(claims(tokens["id_token"].as_str().unwrap()).get("nonce").is_none());
}

both! {
    async fn a_code_that_comes_back_ends_what_it_gave(world: World) {
        let browser = world.signed_in(ALICE).await;
        let untouched = world.tokens(&browser, "desk-agent").await;
        let code = world.code(&browser, "desk-agent", &[]).await;
        let (_, tokens) = world.token("desk-agent", &code_grant(&code)).await;
        refused(&world.token("travel-agent", &code_grant(&code)).await, "invalid_grant");
        assert_eq!(world.exchange("desk-agent", &tokens, &[]).await.1["error"], "consent_required", "another client ends nothing");

        refused(&world.token("desk-agent", &code_grant(&code)).await, "invalid_grant");
        assert_eq!(alive(&world, "desk-agent", &tokens).await, (false, false));
        refused(&world.token("desk-agent", &code_grant(&code)).await, "invalid_grant");
        let told = world.database.column("SELECT kind FROM journal WHERE kind = 'code.reused'").await;
        assert_eq!(told.len(), 1, "ended once, told once");
        assert_eq!(alive(&world, "desk-agent", &untouched).await, (true, true), "another sign-in's tokens are not concerned");
    }
}

#[tokio::test]
async fn a_reused_code_ends_calls_of_the_api() {
    let world = World::start(Engine::Sqlite).await;
    let browser = world.signed_in(ALICE).await;
    let code = world.code(&browser, "console", &[("scope", "openid delegations")]).await;
    let (_, tokens) = world.token("console", &code_grant(&code)).await;
    let bearer = tokens["access_token"].as_str().unwrap();
    assert_eq!(world.api("GET", "/delegations", bearer).await.status, 200);
    // Long after the code has expired, and with a wrong verifier: a used code that comes back is a stolen one.
    world.clock.advance(Seconds(600));
    let wrong = "x".repeat(43);
    refused(&world.token("console", &changed(&code_grant(&code), &[("code_verifier", &wrong)])).await, "invalid_grant");
    let answer = world.api("GET", "/delegations", bearer).await;
    assert_eq!((answer.status, &answer.json()["code"]), (401, &json!("invalid_token")));
}

both! {
    async fn one_of_twenty_redemptions_wins_and_keeps_nothing(world: World) {
        let browser = world.signed_in(ALICE).await;
        let code = world.code(&browser, "desk-agent", &[]).await;
        let world = Arc::new(world);
        let mut attempts = JoinSet::new();
        for _ in 0..20 {
            let (world, code) = (world.clone(), code.clone());
            attempts.spawn(async move { world.token("desk-agent", &code_grant(&code)).await });
        }
        let answers = attempts.join_all().await;
        let (won, lost): (Vec<_>, Vec<_>) = answers.into_iter().partition(|(status, _)| *status == 200);
        assert_eq!(won.len(), 1, "{lost:?}");
        for answer in &lost {
            refused(answer, "invalid_grant");
        }
        // Who of the twenty was the client nobody can tell, so nobody keeps anything.
        assert_eq!(alive(&world, "desk-agent", &won[0].1).await, (false, false));
        assert_eq!(world.database.column("SELECT hash FROM access_token").await.len(), 1);
        let told = world.database.column("SELECT kind FROM journal WHERE kind = 'code.reused'").await;
        assert_eq!(told.len(), 1, "whichever way the reuse was noticed");
    }
}

#[tokio::test]
async fn what_does_not_fit_gives_nothing_and_costs_nothing() {
    let world = World::start(Engine::Sqlite).await;
    let browser = world.signed_in(ALICE).await;
    let code = world.code(&browser, "desk-agent", &[]).await;
    let wrong = "A".repeat(43);
    let long = "A".repeat(129);
    let cases: &[(&str, Form<'_>, &str)] = &[
        ("another code", &[("code", "x")], "invalid_grant"),
        ("no code", &[("code", "")], "invalid_request"),
        ("another redirect_uri", &[("redirect_uri", "http://127.0.0.1:8766/callback")], "invalid_grant"),
        ("no redirect_uri", &[("redirect_uri", "")], "invalid_request"),
        ("wrong verifier", &[("code_verifier", &wrong)], "invalid_grant"),
        ("long verifier", &[("code_verifier", &long)], "invalid_grant"),
        ("challenge as verifier", &[("code_verifier", crate::harness::CHALLENGE)], "invalid_grant"),
        ("no verifier", &[("code_verifier", "")], "invalid_request"),
        ("code twice", &[("code", &code), ("code", &code)], "invalid_request"),
        ("verifier twice", &[("code_verifier", VERIFIER), ("code_verifier", VERIFIER)], "invalid_request"),
        (
            "grant_type twice",
            &[("grant_type", "authorization_code"), ("grant_type", "refresh_token")],
            "invalid_request",
        ),
        ("scope twice", &[("scope", "openid"), ("scope", "email")], "invalid_request"),
        ("no grant_type", &[("grant_type", "")], "invalid_request"),
        ("another grant_type", &[("grant_type", "password")], "unsupported_grant_type"),
    ];
    for (name, changes, expected) in cases {
        let answer = world.token("desk-agent", &changed(&code_grant(&code), changes)).await;
        assert_eq!((answer.0, &answer.1["error"]), (400, &json!(expected)), "{name}: {}", answer.1);
    }
    refused(&world.token("travel-agent", &code_grant(&code)).await, "invalid_grant");
    assert_eq!(world.database.column("SELECT hash FROM access_token").await.len(), 0);
    let (status, body) = world.token("desk-agent", &changed(&code_grant(&code), &[("foo", "bar")])).await;
    assert_eq!(status, 200, "the right client still gets its tokens, whatever else is said: {body}");
}

#[tokio::test]
async fn a_verifier_shorter_than_the_rfc_allows_is_refused_even_if_it_matches() {
    let world = World::start(Engine::Sqlite).await;
    let browser = world.signed_in(ALICE).await;
    let short = "v".repeat(42);
    let challenge = avouch::secret::sha256(short.as_bytes());
    let code = world.code(&browser, "desk-agent", &[("code_challenge", &challenge)]).await;
    refused(
        &world.token("desk-agent", &changed(&code_grant(&code), &[("code_verifier", &short)])).await,
        "invalid_grant",
    );
}

#[tokio::test]
async fn a_code_lives_sixty_seconds() {
    let world = World::start(Engine::Sqlite).await;
    let browser = world.signed_in(ALICE).await;
    let (early, late) = (world.code(&browser, "desk-agent", &[]).await, world.code(&browser, "desk-agent", &[]).await);
    world.clock.advance(Seconds(59));
    assert_eq!(world.token("desk-agent", &code_grant(&early)).await.0, 200);
    world.clock.advance(Seconds(1));
    refused(&world.token("desk-agent", &code_grant(&late)).await, "invalid_grant");
}

both! {
    async fn an_ended_session_ends_its_codes(world: World) {
        let browser = world.signed_in(ALICE).await;
        let code = world.code(&browser, "desk-agent", &[]).await;
        let page = browser.get("/connections").await;
        assert_eq!(browser.submit(&page, "/logout", &[]).await.status, 303);
        refused(&world.token("desk-agent", &code_grant(&code)).await, "invalid_grant");
        assert_eq!(world.database.column("SELECT hash FROM access_token").await.len(), 0);
    }
}

#[tokio::test]
async fn a_loopback_client_redeems_with_the_port_it_used() {
    let world = World::start(Engine::Sqlite).await;
    let browser = world.signed_in(ALICE).await;
    let uri = "http://127.0.0.1:51004/callback";
    let answer = browser.get(&World::authorize_path("console", &[("redirect_uri", uri)])).await;
    assert!(answer.location().starts_with(uri), "RFC 8252 section 7.3");
    let code = crate::harness::query(&answer.location(), "code").unwrap();
    refused(
        &world.token("console", &changed(&code_grant(&code), &[("redirect_uri", CALLBACK)])).await,
        "invalid_grant",
    );
    assert_eq!(world.token("console", &changed(&code_grant(&code), &[("redirect_uri", uri)])).await.0, 200);
}

both! {
    async fn an_id_token_is_a_subject_only_while_its_session_lives(world: World) {
        let browser = world.signed_in(ALICE).await;
        let tokens = world.tokens(&browser, "desk-agent").await;
        let id_token = tokens["id_token"].as_str().unwrap();
        let subject = [("subject_token", id_token), ("subject_token_type", ID_TOKEN)];
        assert_eq!(world.exchange("desk-agent", &tokens, &subject).await.1["error"], "consent_required");
        let page = browser.get("/connections").await;
        browser.submit(&page, "/logout", &[]).await;
        assert_eq!(world.exchange("desk-agent", &tokens, &subject).await.1["error"], "invalid_grant");
    }
}

both! {
    async fn an_id_token_dies_with_what_it_was_issued_with(world: World) {
        let browser = world.signed_in(ALICE).await;
        let code = world.code(&browser, "desk-agent", &[]).await;
        let (_, tokens) = world.token("desk-agent", &code_grant(&code)).await;
        let subject = [("subject_token", tokens["id_token"].as_str().unwrap()), ("subject_token_type", ID_TOKEN)];
        world.agree(&browser, "desk-agent", &tokens, "always", &subject).await;
        assert_eq!(world.exchange("desk-agent", &tokens, &subject).await.0, 200);
        assert_eq!(world.token("desk-agent", &code_grant(&code)).await.0, 400, "the code comes back: somebody has it");
        assert_eq!(world.exchange("desk-agent", &tokens, &subject).await.1["error"], "invalid_grant");
        // Another sign-in in the same session is none of it.
        let again = world.tokens(&browser, "desk-agent").await;
        let subject = [("subject_token", again["id_token"].as_str().unwrap()), ("subject_token_type", ID_TOKEN)];
        assert_eq!(world.exchange("desk-agent", &again, &subject).await.0, 200);
    }
}
