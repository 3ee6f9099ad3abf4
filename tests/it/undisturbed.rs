//! What one notice costs another: nothing, but where it stands for it.

use avouch::delivery;
use avouch::domain::time::Seconds;
use avouch::flow::notify::{self, Cursor};
use serde_json::{Value, json};

use crate::delivery::{WEEK, one_owed, owe};
use crate::harness::{Behaviour, Engine, World, both, claims, twins};

/// One issuer's keys do not open any more; its notice is the oldest of a host that is told for others as well.
async fn one_that_nobody_can_sign(engine: Engine) {
    let world = World::with(engine, twins).await;
    let acme = world.under("acme").await;
    for world in [&acme, &world] {
        one_owed(world).await;
    }
    world.database.column("UPDATE signing_key SET sealed = 'spoilt' WHERE issuer_id = 'acme'").await;
    world.host.issuers.remove("acme");
    delivery::run_until_idle(&world.host).await;
    let told = world.service.received();
    assert_eq!(told.iter().map(|notice| claims(notice)["iss"].clone()).collect::<Vec<_>>(), [json!(world.issuer())]);
    let left = "SELECT issuer_id || ' ' || state || ' ' || last_error FROM delivery WHERE state <> 'delivered'";
    assert_eq!(world.database.column(left).await, ["acme queued it could not be signed here"]);
    world.clock.advance(WEEK);
    delivery::run_until_idle(&world.host).await;
    assert_eq!(
        world.database.column(left).await,
        ["acme given_up it could not be signed here"],
        "nor is it tried for ever"
    );
}

#[tokio::test]
async fn a_notice_that_nobody_can_sign_holds_up_nobody_on_sqlite() {
    one_that_nobody_can_sign(Engine::Sqlite).await;
}

#[tokio::test]
async fn a_notice_that_nobody_can_sign_holds_up_nobody_on_postgres() {
    one_that_nobody_can_sign(Engine::Postgres).await;
}

both! {
    /// Of two servers the one whose clock is a second behind.
    async fn a_lease_holds_also_where_clocks_differ(world: World) {
        world.delegated().await;
        owe(&world, "https://s.example/revoke", 1).await;
        let claimed = async || notify::claim(&world.host, "w", 9, &mut Cursor::default(), &[]).await.unwrap().len();
        assert_eq!(claimed().await, 1);
        world.clock.advance(Seconds(-1));
        assert_eq!(claimed().await, 0);
        world.clock.advance(Seconds(-3600));
        world.database.column("UPDATE delivery SET due_at = 0").await;
        assert_eq!(claimed().await, 1, "an hour is no difference: that clock was wrong");
    }
}

both! {
    /// Agreed to again and stopped again while the service is away: what follows says all that the first would have said.
    async fn a_later_withdrawal_stands_for_an_earlier_one(world: World) {
        world.service.behave(Behaviour::Status(503));
        let (browser, tokens, id, _) = world.delegated().await;
        let stop = async || world.api("DELETE", &format!("/delegations/{id}"), &world.admin_token()).await.status;
        assert_eq!(stop().await, 202);
        delivery::run_until_idle(&world.host).await;
        world.agree(&browser, "desk-agent", &tokens, "always", &[]).await;
        assert_eq!(world.exchange("desk-agent", &tokens, &[]).await.0, 200, "nobody waits for the service");
        let page = browser.get("/connections").await.body;
        assert!(page.contains("has yet to hear of it"), "{page}");
        assert_eq!(stop().await, 202);
        let states = "SELECT round || ' ' || state FROM delivery ORDER BY created_at, id";
        let mut states = world.database.column(states).await;
        states.sort();
        assert_eq!(states, ["first cancelled", "first queued", "second cancelled", "second queued"]);
        let told = world.database.column("SELECT body FROM journal WHERE kind = 'withdrawal' ORDER BY id").await;
        let cancelled = |body: &str| serde_json::from_str::<Value>(body).unwrap()["cancelled"].as_array().map_or(0, Vec::len);
        assert_eq!(told.iter().map(|body| cancelled(body)).collect::<Vec<_>>(), [0, 2]);
        let gone = world.database.column("SELECT id FROM delivery WHERE state = 'cancelled'").await.remove(0);
        let answer = world.api("POST", &format!("/deliveries/{gone}/retry"), &world.admin_token()).await;
        assert_eq!(answer.status, 409, "{}", answer.body);
        world.service.behave(Behaviour::Status(200));
        world.clock.advance(Seconds(3600));
        delivery::run_until_idle(&world.host).await;
        assert_eq!(world.service.received().iter().filter(|n| !n.is_empty()).count(), 1 + 2, "the first try, and the two that stand");
        assert_eq!(world.api("GET", &format!("/delegations/{id}"), &world.admin_token()).await.json()["status"], "withdrawn");
    }
}
