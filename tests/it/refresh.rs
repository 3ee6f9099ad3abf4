//! The refresh token grant: rotation, and what a token that comes back means: a lost answer, or a theft.

use avouch::domain::time::{Seconds, Timestamp};
use std::sync::Arc;

use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::harness::{ALICE, Engine, NOW, World, both, changed, claims, declarations};

async fn refresh(world: &World, client_id: &str, token: &Value, changes: &[(&str, &str)]) -> (u16, Value) {
    let usual = [("grant_type", "refresh_token"), ("refresh_token", token.as_str().unwrap())];
    world.token(client_id, &changed(&usual, changes)).await
}

fn refused(answer: &(u16, Value), code: &str) {
    assert_eq!((answer.0, &answer.1["error"]), (400, &json!(code)), "{}", answer.1);
}

/// Lets a token expire before its session does, which ends the sooner of the two.
async fn expire(world: &World, token: &Value, at: Timestamp) {
    let hash = avouch::secret::token_hash(token.as_str().unwrap());
    let sql = format!("UPDATE refresh_token SET expires_at = {at} WHERE hash = '{hash}' RETURNING hash");
    assert_eq!(world.database.column(&sql).await, [hash]);
}

async fn mints(world: &World, tokens: &Value) -> bool {
    world.exchange("desk-agent", tokens, &[]).await.1["error"] != "invalid_grant"
}

async fn reuses(world: &World) -> usize {
    world.database.column("SELECT kind FROM journal WHERE kind = 'refresh_token.reused'").await.len()
}

both! {
    async fn each_token_is_used_once_and_its_reuse_ends_the_family(world: World) {
        let browser = world.signed_in(ALICE).await;
        let untouched = world.tokens(&browser, "desk-agent").await;
        let first = world.tokens(&browser, "desk-agent").await;
        world.clock.advance(Seconds(100));
        let (status, second) = refresh(&world, "desk-agent", &first["refresh_token"], &[]).await;
        assert_eq!(status, 200, "{second}");
        assert_ne!(first["refresh_token"], second["refresh_token"]);
        assert_ne!(first["access_token"], second["access_token"]);
        assert_eq!(first["scope"], second["scope"]);
        let (before, after) = (claims(first["id_token"].as_str().unwrap()), claims(second["id_token"].as_str().unwrap()));
        for same in ["iss", "sub", "aud", "sid", "auth_time"] {
            assert_eq!(before[same], after[same], "OpenID Connect Core section 12.2: {same}");
        }
        assert_eq!((&after["iat"], after.get("nonce")), (&json!(NOW + Seconds(100)), None));
        assert!(mints(&world, &first).await && mints(&world, &second).await, "both generations are alive");

        // A thief who asks for more than there is, or another client, is told so; only the token's reuse by its client ends it.
        refused(&refresh(&world, "travel-agent", &first["refresh_token"], &[]).await, "invalid_grant");
        assert!(mints(&world, &second).await);
        world.clock.advance(Seconds(11));
        refused(&refresh(&world, "desk-agent", &first["refresh_token"], &[]).await, "invalid_grant");
        assert!(!mints(&world, &first).await && !mints(&world, &second).await);
        refused(&refresh(&world, "desk-agent", &second["refresh_token"], &[]).await, "invalid_grant");
        assert_eq!(reuses(&world).await, 1);
        assert!(mints(&world, &untouched).await, "another sign-in's tokens are not concerned");
    }
}

#[tokio::test]
async fn reuse_is_noticed_whatever_else_the_request_says() {
    let world = World::start(Engine::Sqlite).await;
    let browser = world.signed_in(ALICE).await;
    let first = world.tokens(&browser, "desk-agent").await;
    let (_, second) = refresh(&world, "desk-agent", &first["refresh_token"], &[]).await;
    let wider = [("scope", "openid phone")];
    world.clock.advance(Seconds(11));
    refused(&refresh(&world, "desk-agent", &first["refresh_token"], &wider).await, "invalid_grant");
    assert!(!mints(&world, &second).await);

    // Nor does it matter that the used token would have expired by now.
    let first = world.tokens(&browser, "desk-agent").await;
    let (_, second) = refresh(&world, "desk-agent", &first["refresh_token"], &[]).await;
    expire(&world, &first["refresh_token"], world.clock.now()).await;
    world.clock.advance(Seconds(11));
    assert!(mints(&world, &second).await);
    refused(&refresh(&world, "desk-agent", &first["refresh_token"], &[]).await, "invalid_grant");
    assert!(!mints(&world, &second).await);
}

#[tokio::test]
async fn scopes_narrow_and_never_widen() {
    let world = World::start(Engine::Sqlite).await;
    let browser = world.signed_in(ALICE).await;
    let tokens = world.tokens(&browser, "desk-agent").await;
    let cases: &[(&[(&str, &str)], &str)] = &[
        (&[("scope", "openid phone")], "invalid_scope"),
        (&[("scope", "delegations")], "invalid_scope"),
        (&[("scope", "openid \"")], "invalid_scope"),
        (&[("scope", "openid"), ("scope", "email")], "invalid_request"),
        (&[("refresh_token", "")], "invalid_request"),
        (&[("refresh_token", "x")], "invalid_grant"),
        (&[("refresh_token", tokens["access_token"].as_str().unwrap())], "invalid_grant"),
    ];
    for (changes, expected) in cases {
        refused(&refresh(&world, "desk-agent", &tokens["refresh_token"], changes).await, expected);
    }
    let (status, narrow) = refresh(&world, "desk-agent", &tokens["refresh_token"], &[("scope", "email")]).await;
    assert_eq!((status, &narrow["scope"]), (200, &json!("email")), "a refusal used nothing up: {narrow}");
    assert!(narrow.get("id_token").is_none(), "without openid there is no ID token");
    let (status, whole) = refresh(&world, "desk-agent", &narrow["refresh_token"], &[]).await;
    assert_eq!(
        (status, &whole["scope"]),
        (200, &json!("email openid profile")),
        "RFC 6749 section 6: the grant stays what it was"
    );
}

#[tokio::test]
async fn a_token_lives_no_longer_than_its_session() {
    let world = World::start(Engine::Sqlite).await;
    let browser = world.signed_in(ALICE).await;
    let tokens = world.tokens(&browser, "desk-agent").await;
    world.clock.advance(Seconds(14 * 24 * 3600 - 1));
    let (status, second) = refresh(&world, "desk-agent", &tokens["refresh_token"], &[]).await;
    assert_eq!(status, 200, "{second}");
    world.clock.advance(Seconds(1));
    refused(&refresh(&world, "desk-agent", &second["refresh_token"], &[]).await, "invalid_grant");
}

#[tokio::test]
async fn an_expired_token_is_refused_and_accuses_nobody() {
    let world = World::start(Engine::Sqlite).await;
    let browser = world.signed_in(ALICE).await;
    let tokens = world.tokens(&browser, "desk-agent").await;
    expire(&world, &tokens["refresh_token"], NOW + Seconds(10)).await;
    world.clock.advance(Seconds(10));
    refused(&refresh(&world, "desk-agent", &tokens["refresh_token"], &[]).await, "invalid_grant");
    assert!(mints(&world, &tokens).await, "the family is not ended for it");
    assert_eq!(reuses(&world).await, 0);
}

both! {
    async fn an_answer_that_was_lost_is_given_again(world: World) {
        let browser = world.signed_in(ALICE).await;
        let first = world.tokens(&browser, "desk-agent").await;
        let (_, lost) = refresh(&world, "desk-agent", &first["refresh_token"], &[]).await;
        refused(&refresh(&world, "travel-agent", &first["refresh_token"], &[]).await, "invalid_grant");
        refused(&refresh(&world, "desk-agent", &first["refresh_token"], &[("scope", "phone")]).await, "invalid_scope");
        world.clock.advance(Seconds(10));
        let (status, second) = refresh(&world, "desk-agent", &first["refresh_token"], &[]).await;
        assert_eq!(status, 200, "{second}");
        assert!(second["refresh_token"] != lost["refresh_token"] && second["access_token"] != lost["access_token"]);
        assert!(mints(&world, &second).await && reuses(&world).await == 0);

        // Once either of them is used, the other is what a thief would have, and so is the one before both.
        let (status, third) = refresh(&world, "desk-agent", &lost["refresh_token"], &[]).await;
        assert_eq!(status, 200, "whichever of the two arrived: {third}");
        refused(&refresh(&world, "desk-agent", &second["refresh_token"], &[]).await, "invalid_grant");
        assert!(!mints(&world, &third).await && reuses(&world).await == 1);
        refused(&refresh(&world, "desk-agent", &third["refresh_token"], &[]).await, "invalid_grant");
    }
}

both! {
    async fn only_the_last_token_may_be_sent_again_and_only_for_a_moment(world: World) {
        let browser = world.signed_in(ALICE).await;
        // Its successor was used.
        let first = world.tokens(&browser, "desk-agent").await;
        let (_, second) = refresh(&world, "desk-agent", &first["refresh_token"], &[]).await;
        let (_, third) = refresh(&world, "desk-agent", &second["refresh_token"], &[]).await;
        refused(&refresh(&world, "desk-agent", &first["refresh_token"], &[]).await, "invalid_grant");
        assert!(!mints(&world, &third).await);
        // Too late, also when it was sent again in time before.
        let first = world.tokens(&browser, "desk-agent").await;
        refresh(&world, "desk-agent", &first["refresh_token"], &[]).await;
        world.clock.advance(Seconds(9));
        let (_, second) = refresh(&world, "desk-agent", &first["refresh_token"], &[]).await;
        assert!(mints(&world, &second).await);
        world.clock.advance(Seconds(2));
        refused(&refresh(&world, "desk-agent", &first["refresh_token"], &[]).await, "invalid_grant");
        assert!(!mints(&world, &second).await);
        assert_eq!(reuses(&world).await, 2);
    }
}

/// Twenty at the same time.
async fn twenty(world: &Arc<World>, token: &Value) -> (Vec<(u16, Value)>, Vec<(u16, Value)>) {
    let mut attempts = JoinSet::new();
    for _ in 0..20 {
        let (world, token) = (world.clone(), token.clone());
        attempts.spawn(async move { refresh(&world, "desk-agent", &token, &[]).await });
    }
    attempts.join_all().await.into_iter().partition(|(status, _)| *status == 200)
}

both! {
    async fn of_those_that_came_of_one_token_at_once_one_goes_on(world: World) {
        let browser = world.signed_in(ALICE).await;
        let first = world.tokens(&browser, "desk-agent").await;
        let world = Arc::new(world);
        let (won, lost) = twenty(&world, &first["refresh_token"]).await;
        assert_eq!(won.len(), 20, "{lost:?}");
        // All twenty pairs at once: one goes on, another one is a theft.
        let mut attempts = JoinSet::new();
        for (_, pair) in won {
            let world = world.clone();
            attempts.spawn(async move { refresh(&world, "desk-agent", &pair["refresh_token"], &[]).await });
        }
        let went_on = attempts.join_all().await.into_iter().filter(|(status, _)| *status == 200).count();
        assert_eq!((went_on, reuses(&world).await), (1, 1));
        assert!(!mints(&world, &first).await);
    }
}

async fn one_wins_where_no_token_may_be_sent_again(engine: Engine) {
    let turned_off = |service: &str| format!("[grants]\nrefresh_retry = \"0s\"\n{}", declarations(service));
    let world = Arc::new(World::with(engine, turned_off).await);
    let browser = world.signed_in(ALICE).await;
    let tokens = world.tokens(&browser, "desk-agent").await;
    let (won, lost) = twenty(&world, &tokens["refresh_token"]).await;
    assert_eq!(won.len(), 1, "{lost:?}");
    for answer in &lost {
        refused(answer, "invalid_grant");
    }
    assert!(!mints(&world, &won[0].1).await);
    refused(&refresh(&world, "desk-agent", &won[0].1["refresh_token"], &[]).await, "invalid_grant");
    assert_eq!(world.database.column("SELECT hash FROM access_token").await.len(), 2, "the others keep nothing");
    assert_eq!(reuses(&world).await, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_wins_where_no_token_may_be_sent_again_on_sqlite() {
    one_wins_where_no_token_may_be_sent_again(Engine::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_wins_where_no_token_may_be_sent_again_on_postgres() {
    one_wins_where_no_token_may_be_sent_again(Engine::Postgres).await;
}

both! {
    async fn an_ended_session_ends_its_refresh_tokens(world: World) {
        let browser = world.signed_in(ALICE).await;
        let tokens = world.tokens(&browser, "desk-agent").await;
        let page = browser.get("/connections").await;
        assert_eq!(browser.submit(&page, "/logout", &[]).await.status, 303);
        refused(&refresh(&world, "desk-agent", &tokens["refresh_token"], &[]).await, "invalid_grant");
        assert_eq!(world.database.column("SELECT hash FROM access_token").await.len(), 1);
    }
}

#[tokio::test]
async fn a_client_that_was_not_registered_for_it_does_not_refresh() {
    let world = World::start(Engine::Sqlite).await;
    let answer = refresh(&world, "jwt-agent", &json!("x"), &[]).await;
    refused(&answer, "unauthorized_client");
}
