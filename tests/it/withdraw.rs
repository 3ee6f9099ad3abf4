//! Withdrawal: by whom, of what, what it leaves behind, and when the service hears of it.

use avouch::domain::delegation::Part;
use avouch::domain::journal::Why;
use avouch::domain::time::Seconds;
use avouch::flow::{withdraw, withdraw_many};
use serde_json::{Value, json};

use crate::harness::{ALICE, BOB, Behaviour, Browser, Engine, NOW, World, answer_form, both, claims, declarations};

/// Seconds after an assertion's `exp` (300 after it was minted) at which the second notice is due.
const DEAD: Seconds = Seconds(300 + 120);

/// As usual, but both users have verified addresses.
fn both_verified(service: &str) -> String {
    declarations(service)
        .replace(&format!("email = \"{BOB}\"\n"), &format!("email = \"{BOB}\"\nemail_verified = true\n"))
}

/// A user's token for the API, through the first-party client.
async fn api_token(world: &World, browser: &Browser, scope: &str) -> String {
    let code = world.code(browser, "console", &[("scope", scope)]).await;
    let (status, body) = world.token("console", &crate::harness::code_grant(&code)).await;
    assert_eq!(status, 200, "{body}");
    body["access_token"].as_str().unwrap().to_owned()
}

async fn delegation(world: &World, id: &str) -> Value {
    world.api("GET", &format!("/delegations/{id}"), &world.admin_token()).await.json()
}

async fn number(world: &World, sql: &str) -> i64 {
    world.database.column(sql).await[0].parse().unwrap()
}

both! {
    async fn an_operator_withdraws(world: World) {
        let (_, tokens, id, _) = world.delegated().await;
        let path = format!("/delegations/{id}");
        let answer = world.api("DELETE", &path, &world.admin_token()).await;
        assert_eq!(answer.status, 202, "{}", answer.body);
        assert_eq!(answer.header("cache-control"), "no-store");
        let body = answer.json();
        assert_eq!((&body["status"], &body["ended_at"]), (&json!("withdrawing"), &json!("2027-01-15T08:00:00Z")));
        let deliveries = body["deliveries"].as_array().unwrap();
        assert_eq!(deliveries.len(), 2, "one now, one when nothing minted before can be redeemed: {body}");
        for delivery in deliveries {
            assert_eq!((&delivery["state"], &delivery["attempts"]), (&json!("queued"), &json!(0)));
            assert_eq!(delivery["endpoint"], format!("{}/agent/auth/revoke", world.service.url));
        }
        let due = world.database.column("SELECT due_at FROM delivery ORDER BY due_at").await;
        assert_eq!(due, [NOW.to_string(), (NOW + DEAD).to_string()]);
        assert_eq!(number(&world, "SELECT COUNT(*) FROM consent WHERE ended_at IS NULL").await, 0);
        let told = world.database.column("SELECT body FROM journal WHERE kind = 'withdrawal'").await;
        let told: Value = serde_json::from_str(&told[0]).unwrap();
        assert_eq!((&told["why"], &told["aud"]), (&json!("admin"), &json!(world.service.url)));
        assert_eq!(told["notices"].as_array().unwrap().len(), 2);
        let (status, refused) = world.exchange("desk-agent", &tokens, &[]).await;
        assert_eq!((status, &refused["error"]), (400, &json!("consent_required")));

        // Once more: the same answer, and nothing of it twice.
        let again = world.api("DELETE", &path, &world.admin_token()).await;
        assert_eq!((again.status, again.json()), (202, body));
        assert_eq!(number(&world, "SELECT COUNT(*) FROM journal WHERE kind = 'withdrawal'").await, 1);
        assert_eq!(number(&world, "SELECT COUNT(*) FROM delivery").await, 2);
    }
}

both! {
    async fn a_user_withdraws_through_the_api_only_what_is_theirs(world: World) {
        let (alice, _, id, _) = world.delegated().await;
        let path = format!("/delegations/{id}");
        let bob = api_token(&world, &world.signed_in(BOB).await, "openid delegations").await;
        for method in ["GET", "DELETE"] {
            let answer = world.api(method, &path, &bob).await;
            assert_eq!((answer.status, &answer.json()["code"]), (404, &json!("not_found")), "{method}");
        }
        assert_eq!(delegation(&world, &id).await["status"], "active", "somebody else's is not touched");

        let token = api_token(&world, &alice, "openid delegations").await;
        assert_eq!(world.api("GET", &path, &token).await.json()["sub"], delegation(&world, &id).await["sub"]);
        let answer = world.api("DELETE", &path, &token).await;
        assert_eq!((answer.status, &answer.json()["status"]), (202, &json!("withdrawing")));
        let told = world.database.column("SELECT body FROM journal WHERE kind = 'withdrawal'").await;
        assert!(told.len() == 1 && told[0].contains(r#""why":"user""#), "{told:?}");
    }
}

#[tokio::test]
async fn a_user_withdraws_on_the_page_only_what_is_theirs() {
    let world = World::start(Engine::Sqlite).await;
    let (alice, tokens, id, _) = world.delegated().await;
    let path = format!("/connections/{id}/stop");
    let page = alice.get(&path).await;
    assert_eq!(page.status, 200);
    assert!(page.body.contains("Desk Agent") && page.body.contains("Fake Service"), "{}", page.body);

    let bob = world.signed_in(BOB).await;
    assert_eq!(bob.get(&path).await.status, 404);
    let bobs = bob.get("/connections").await;
    let token = crate::harness::hidden_fields(&bobs.body, "/logout").into_iter().find(|(n, _)| n == "csrf").unwrap().1;
    assert_eq!(bob.post(&path, &[("csrf", &token)]).await.status, 404, "with a form token of his own");
    let out = world.browser().post(&path, &[("csrf", &token)]).await;
    assert_eq!((out.status, out.location().as_str()), (303, "/login"), "signed out");
    assert_eq!(alice.post(&path, &[]).await.status, 403, "without the token of her own page");
    assert_eq!(delegation(&world, &id).await["status"], "active");
    assert_eq!(number(&world, "SELECT COUNT(*) FROM delivery").await, 0);

    let answer = alice.submit(&page, &path, &[]).await;
    assert_eq!((answer.status, answer.location()), (303, "/connections".into()));
    assert!(alice.get("/connections").await.body.contains("Stopped; the service has not confirmed it yet"));
    assert_eq!(alice.submit(&page, &path, &[]).await.status, 303, "pressed twice");
    assert_eq!(number(&world, "SELECT COUNT(*) FROM delivery").await, 2);
    let (_, refused) = world.exchange("desk-agent", &tokens, &[]).await;
    assert_eq!(refused["error"], "consent_required");
    world.settle().await;
    world.clock.advance(DEAD);
    world.settle().await;
    let page = alice.get("/connections").await;
    assert!(page.body.contains("Stopped and confirmed just now ("), "{}", page.body);
}

#[tokio::test]
async fn nobody_waits_for_the_service() {
    let world = World::start(Engine::Sqlite).await;
    let (_, _, id, _) = world.delegated().await;
    world.service.behave(Behaviour::Hang);
    let worker = tokio::spawn(avouch::delivery::run(world.host.clone(), world.stop.subscribe()));
    let answer = world.api("DELETE", &format!("/delegations/{id}"), &world.admin_token()).await;
    assert_eq!((answer.status, &answer.json()["status"]), (202, &json!("withdrawing")));
    crate::harness::eventually("the attempt", async || !world.service.received().is_empty()).await;
    // The service has it and says nothing; everyone else is answered all the same.
    assert_eq!(delegation(&world, &id).await["status"], "withdrawing");
    let attempts = world.database.column("SELECT COUNT(*) FROM journal WHERE kind = 'delivery.attempt'").await;
    assert_eq!(attempts, ["0"], "the answer came before the attempt was over");
    worker.abort();
}

both! {
    async fn what_is_agreed_again_is_active_again(world: World) {
        let (browser, tokens, id, _) = world.delegated().await;
        world.api("DELETE", &format!("/delegations/{id}"), &world.admin_token()).await;
        world.agree(&browser, "desk-agent", &tokens, "always", &[]).await;
        let (status, minted) = world.exchange("desk-agent", &tokens, &[]).await;
        assert_eq!(status, 200, "{minted}");
        let record = delegation(&world, &id).await;
        assert_eq!((&record["status"], &record["ended_at"], &record["mint_count"]), (&json!("active"), &Value::Null, &json!(2)));
        let consents = record["consents"].as_array().unwrap();
        assert_eq!(consents.iter().filter(|c| c["ended_at"].is_null()).count(), 1, "the old one stays ended: {record}");
        assert_eq!(consents.len(), 2);
        let minted = claims(minted["access_token"].as_str().unwrap());
        assert_eq!(minted["sub"], record["sub"], "what was first emitted is what is emitted");

        let answer = world.api("DELETE", &format!("/delegations/{id}"), &world.admin_token()).await.json();
        assert_eq!((&answer["status"], answer["deliveries"].as_array().unwrap().len()), (&json!("withdrawing"), 4));
        let (_, refused) = world.exchange("desk-agent", &tokens, &[]).await;
        assert_eq!(refused["error"], "consent_required");
    }
}

#[tokio::test]
async fn one_notice_is_enough_when_nothing_can_be_redeemed_any_more() {
    for (after, notices) in [(DEAD - Seconds(1), 2), (DEAD, 1)] {
        let world = World::start(Engine::Sqlite).await;
        let (_, _, id, _) = world.delegated().await;
        world.clock.advance(after);
        let answer = world.api("DELETE", &format!("/delegations/{id}"), &world.admin_token()).await.json();
        assert_eq!(answer["deliveries"].as_array().unwrap().len(), notices, "{after} s after the mint");
        world.settle().await;
        assert_eq!(world.service.received().len(), 1);
        world.clock.advance(Seconds(1));
        world.settle().await;
        assert_eq!(world.service.received().len(), notices);
        assert_eq!(delegation(&world, &id).await["status"], "withdrawn");
    }
}

#[tokio::test]
async fn what_was_never_used_owes_no_notice() {
    let world = World::start(Engine::Sqlite).await;
    let browser = world.signed_in(ALICE).await;
    let tokens = world.tokens(&browser, "desk-agent").await;
    world.agree(&browser, "desk-agent", &tokens, "always", &[]).await;
    let id = world.database.column("SELECT id FROM delegation").await.remove(0);
    let answer = world.api("DELETE", &format!("/delegations/{id}"), &world.admin_token()).await;
    assert_eq!((answer.status, &answer.json()["status"]), (202, &json!("withdrawn")));
    assert_eq!(answer.json()["deliveries"], json!([]));
    let (_, refused) = world.exchange("desk-agent", &tokens, &[]).await;
    assert_eq!(refused["error"], "consent_required");
    world.settle().await;
    assert_eq!(world.service.received(), [""; 0]);
}

#[tokio::test]
async fn a_service_that_takes_no_notices() {
    let world = World::with(Engine::Sqlite, |service| {
        let declared = declarations(service);
        declared.lines().filter(|line| !line.starts_with("revocation_uri")).collect::<Vec<_>>().join("\n")
    })
    .await;
    let (browser, tokens, id, _) = world.delegated().await;
    let page = browser.get(&format!("/connections/{id}/stop")).await;
    assert!(page.body.contains("cannot be told") || page.body.contains("yourself"), "it says so first: {}", page.body);
    let answer = world.api("DELETE", &format!("/delegations/{id}"), &world.admin_token()).await;
    assert_eq!((answer.status, &answer.json()["status"]), (202, &json!("withdrawn")));
    assert_eq!(answer.json()["deliveries"], json!([]));
    let (_, refused) = world.exchange("desk-agent", &tokens, &[]).await;
    assert_eq!(refused["error"], "consent_required");
    assert!(browser.get("/connections").await.body.contains("cannot be told"));
}

both! {
    async fn a_time_that_lapses_ends_it_and_owes_a_notice(world: World) {
        let browser = world.signed_in(ALICE).await;
        let tokens = world.tokens(&browser, "desk-agent").await;
        world.agree(&browser, "desk-agent", &tokens, "until:3600", &[]).await;
        assert_eq!(world.exchange("desk-agent", &tokens, &[]).await.0, 200);
        let id = world.database.column("SELECT id FROM delegation").await.remove(0);
        world.clock.advance(Seconds(3599));
        world.settle().await;
        assert_eq!(delegation(&world, &id).await["status"], "active");
        world.clock.advance(Seconds(1));
        let worker = tokio::spawn(avouch::delivery::run(world.host.clone(), world.stop.subscribe()));
        crate::harness::eventually("the end", async || delegation(&world, &id).await["status"] == "withdrawn").await;
        world.stop.send_replace(true);
        worker.await.unwrap();
        assert_eq!(world.service.received().len(), 1);
        let told = world.database.column("SELECT body FROM journal WHERE kind = 'withdrawal'").await;
        assert!(told.len() == 1 && told[0].contains(r#""why":"lapsed""#), "{told:?}");
        assert_eq!(withdraw_many::lapse(&world.host).await.unwrap(), 0, "once");
    }
}

/// As many as one look takes, and more, which cannot be ended, and one that can.
async fn a_neighbour_that_cannot_be_read(engine: Engine) {
    let world = World::with(engine, crate::harness::twins).await;
    let acme = world.under("acme").await;
    for world in [&acme, &world] {
        let browser = world.signed_in(ALICE).await;
        let tokens = world.tokens(&browser, "desk-agent").await;
        world.agree(&browser, "desk-agent", &tokens, "until:3600", &[]).await;
        world.clock.advance(Seconds(1));
    }
    let of = |table: &str, columns: &str, own: &str| {
        let tens = "(VALUES (0), (1), (2), (3), (4), (5), (6), (7), (8), (9))";
        format!(
            "INSERT INTO {table} (id, {columns}) SELECT id || '-' || a.column1 || b.column1, {own} FROM {table} CROSS JOIN {tens} AS a
             CROSS JOIN {tens} AS b WHERE issuer_id = 'acme'"
        )
    };
    let (delegation, consent) = (
        "issuer_id, account_id, iss, sub, created_at, mint_count, last_exp",
        "issuer_id, account_id, client_id, aud, mode, until_at, asked_scope, scope, resources, claims, ground, request_key, number, created_at",
    );
    world
        .database
        .column(&of(
            "delegation",
            &format!("{delegation}, aud"),
            &format!("{delegation}, aud || a.column1 || b.column1"),
        ))
        .await;
    let own = format!("{consent}, delegation_id || '-' || a.column1 || b.column1");
    world.database.column(&of("consent", &format!("{consent}, delegation_id"), &own)).await;
    world.database.column("UPDATE delegation SET sub = '' WHERE issuer_id = 'acme'").await;
    world.clock.advance(Seconds(3600));
    assert_eq!(withdraw_many::lapse(&world.host).await.unwrap(), 1);
    let left = world.database.column("SELECT DISTINCT issuer_id FROM consent WHERE ended_at IS NULL").await;
    assert_eq!(left, ["acme"]);
}

#[tokio::test]
async fn what_cannot_be_ended_does_not_keep_the_others_from_their_end_sqlite() {
    a_neighbour_that_cannot_be_read(Engine::Sqlite).await;
}

#[tokio::test]
async fn what_cannot_be_ended_does_not_keep_the_others_from_their_end_postgres() {
    a_neighbour_that_cannot_be_read(Engine::Postgres).await;
}

both! {
    async fn a_time_that_lapses_leaves_what_else_stands(world: World) {
        let (browser, tokens, id, _) = world.delegated().await;
        let other = world.tokens(&browser, "travel-agent").await;
        world.agree(&browser, "travel-agent", &other, "until:3600", &[]).await;
        assert_eq!(world.exchange("travel-agent", &other, &[]).await.0, 200);
        world.clock.advance(Seconds(3600));
        world.settle().await;
        assert_eq!(world.service.received().len(), 1, "the service hears of it");
        let record = delegation(&world, &id).await;
        assert_eq!(record["status"], "active");
        for consent in record["consents"].as_array().unwrap() {
            assert_eq!(consent["ended_at"].is_null(), consent["client_id"] == "desk-agent", "{record}");
        }
        // The access tokens lived for an hour; sign in again, nobody is asked again.
        let browser = world.signed_in(ALICE).await;
        let tokens_again = world.tokens(&browser, "desk-agent").await;
        assert_eq!(world.exchange("desk-agent", &tokens_again, &[]).await.0, 200, "{tokens}");
        let other = world.tokens(&browser, "travel-agent").await;
        assert_eq!(world.exchange("travel-agent", &other, &[]).await.1["error"], "consent_required");
    }
}

both! {
    async fn one_clients_end_leaves_the_others(world: World) {
        let (browser, _, id, _) = world.delegated().await;
        let other = world.tokens(&browser, "travel-agent").await;
        world.agree(&browser, "travel-agent", &other, "always", &[]).await;
        let key = world.database.column("SELECT id FROM client WHERE client_id = 'desk-agent'").await.remove(0);
        let client = Part::OfClient(key.into());
        for times in 1..=2 {
            let mut tx = world.app.store.begin().await.unwrap();
            withdraw::end(&world.app, &mut tx, &[&id], &client, Why::Admin).await.unwrap();
            tx.commit().await.unwrap();
            assert_eq!(delegation(&world, &id).await["status"], "active");
            assert_eq!(number(&world, "SELECT COUNT(*) FROM delivery").await, 2, "ended {times} times");
        }
        assert_eq!(world.exchange("travel-agent", &other, &[]).await.0, 200);
    }
}

/// Two users at one service: an end is one user's.
#[tokio::test]
async fn another_users_delegation_stands() {
    let world = World::with(Engine::Sqlite, both_verified).await;
    let (_, _, id, _) = world.delegated().await;
    let bob = world.signed_in(BOB).await;
    let tokens = world.tokens(&bob, "desk-agent").await;
    world.agree(&bob, "desk-agent", &tokens, "always", &[]).await;
    world.api("DELETE", &format!("/delegations/{id}"), &world.admin_token()).await;
    assert_eq!(world.exchange("desk-agent", &tokens, &[]).await.0, 200);
    world.settle().await;
    let told = claims(&world.service.received()[0]);
    assert_eq!(told["sub"], delegation(&world, &id).await["sub"]);
}

both! {
    /// Whatever was minted beside a withdrawal, the second notice comes when it is dead; and after the answer nothing is minted.
    async fn mints_and_a_withdrawal_at_the_same_time(world: World) {
        let (_, tokens, id, _) = world.delegated().await;
        let before = async {
            for _ in 0..3 {
                world.exchange("desk-agent", &tokens, &[]).await;
                world.clock.advance(Seconds(1));
            }
        };
        let path = format!("/delegations/{id}");
        let admin = world.admin_token();
        let withdrawn = async {
            let answer = world.api("DELETE", &path, &admin).await;
            let minted = number(&world, "SELECT COUNT(*) FROM journal WHERE kind = 'assertion'").await;
            (answer.status, minted)
        };
        let ((), (status, minted)) = tokio::join!(before, withdrawn);
        assert_eq!(status, 202);
        for _ in 0..3 {
            assert_eq!(world.exchange("desk-agent", &tokens, &[]).await.0, 400);
        }
        assert_eq!(number(&world, "SELECT COUNT(*) FROM journal WHERE kind = 'assertion'").await, minted);
        let last = number(&world, "SELECT MAX(at) FROM journal WHERE kind = 'assertion'").await;
        assert_eq!(number(&world, "SELECT MAX(due_at) FROM delivery").await, last + DEAD.0);
    }
}

/// Against a service that keeps the rules: a credential obtained between the first notice and the assertion's `exp` is dead in the end.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_credential_redeemed_after_the_first_notice_dies_by_the_second() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let origin = format!("http://localhost:{}", listener.local_addr().unwrap().port());
    let world = World::with(Engine::Sqlite, |_| declarations(&origin)).await;
    let options = avouch::lab::sandbox::Options::strict(world.clock.clone(), avouch::rng::Rng::seeded(99));
    let sandbox = avouch::lab::sandbox::new(origin.clone(), options).unwrap();
    tokio::spawn(avouch::http::serve::serve(listener, sandbox.router(), world.stop.subscribe()));

    let browser = world.signed_in(ALICE).await;
    let tokens = world.tokens(&browser, "desk-agent").await;
    let there = [("audience", origin.as_str())];
    let (_, asked) = world.exchange("desk-agent", &tokens, &there).await;
    let path = asked["consent_uri"].as_str().unwrap().strip_prefix(&world.issuer()).unwrap().to_owned();
    let page = browser.get(&path).await;
    browser.submit(&page, &path, &answer_form(&page, "always")).await;
    let (status, minted) = world.exchange("desk-agent", &tokens, &there).await;
    assert_eq!(status, 200, "{minted}");
    let (_, second) = world.exchange("desk-agent", &tokens, &there).await;
    let redeem = async |assertion: &Value| {
        let body = json!({"type": "identity_assertion", "assertion_type": crate::harness::ID_JAG, "assertion": assertion,
            "requested_credential_type": "api_key"});
        let request = world.http.post(format!("{origin}/agent/auth")).header("content-type", "application/json");
        let answer = crate::harness::Answer::read(request.body(body.to_string()).send().await.unwrap()).await;
        assert_eq!(answer.status, 200, "{}", answer.body);
        answer.json()["credential"].as_str().unwrap().to_owned()
    };
    let call = async |key: &str| {
        world.http.get(format!("{origin}/api/resource")).bearer_auth(key).send().await.unwrap().status().as_u16()
    };

    let early = redeem(&minted["access_token"]).await;
    assert_eq!(call(&early).await, 200);
    let id = world.database.column("SELECT id FROM delegation").await.remove(0);
    world.api("DELETE", &format!("/delegations/{id}"), &world.admin_token()).await;
    world.settle().await;
    assert_eq!(call(&early).await, 401, "dead by the first notice");
    world.clock.advance(Seconds(200));
    let late = redeem(&second["access_token"]).await;
    assert_eq!(call(&late).await, 200, "alive: the service had no reason to refuse");
    assert_eq!(delegation(&world, &id).await["status"], "withdrawing");
    world.clock.advance(DEAD - Seconds(200));
    world.settle().await;
    assert_eq!(call(&late).await, 401, "dead by the second notice");
    assert_eq!(delegation(&world, &id).await["status"], "withdrawn");
}
