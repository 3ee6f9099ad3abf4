//! Guessing passwords gets slower: by e-mail, by address, at once, and on every server.

use avouch::domain::time::Seconds;
use std::sync::Arc;

use tokio::task::JoinSet;

use crate::harness::{ALICE, BOB, Engine, PASSWORD, World, both, declarations, hidden_fields};
use crate::sign_in::attempt;

both! {
    async fn guessing_gets_slower(world: World) {
        let browser = world.browser();
        for _ in 0..5 {
            assert_eq!(attempt(&browser, ALICE, "wrong").await.status, 422);
        }
        let blocked = attempt(&browser, ALICE, PASSWORD).await;
        assert_eq!(blocked.status, 429, "even the right password");
        assert!(blocked.body.contains("Too many attempts. You can try again in 5 seconds."), "{}", blocked.body);
        assert_eq!(attempt(&browser, " ALICE@example.COM ", PASSWORD).await.status, 429, "the same e-mail by another spelling");
        let replica = world.replica(&declarations(&world.service.url)).await;
        assert_eq!(attempt(&replica.browser(), ALICE, PASSWORD).await.status, 429, "the replicas share the count");
        assert_eq!(attempt(&browser, BOB, PASSWORD).await.status, 303, "nobody else has to wait");

        world.clock.advance(Seconds(4));
        assert_eq!(attempt(&browser, ALICE, PASSWORD).await.status, 429);
        world.clock.advance(Seconds(1));
        assert_eq!(attempt(&browser, ALICE, "wrong").await.status, 422);
        let blocked = attempt(&browser, ALICE, PASSWORD).await;
        assert!(blocked.body.contains("in 10 seconds."), "twice as long: {}", blocked.body);
        world.clock.advance(Seconds(10));
        assert_eq!(attempt(&browser, ALICE, PASSWORD).await.status, 303);
        for _ in 0..5 {
            assert_eq!(attempt(&browser, ALICE, "wrong").await.status, 422, "counted from zero again");
        }
        assert_eq!(attempt(&browser, ALICE, PASSWORD).await.status, 429);
        world.clock.advance(Seconds(901));
        for _ in 0..4 {
            assert_eq!(attempt(&browser, ALICE, "wrong").await.status, 422, "what is long ago is forgotten");
        }
        assert_eq!(attempt(&browser, ALICE, PASSWORD).await.status, 303);
    }
}

both! {
    async fn thirty_guesses_at_once_are_thirty_guesses(world: World) {
        let browser = Arc::new(world.browser());
        let page = browser.get("/login").await;
        let mut fields = hidden_fields(&page.body, "/login");
        fields.extend([("email".into(), ALICE.into()), ("password".into(), "wrong".into())]);
        let fields = Arc::new(fields);
        let mut attempts = JoinSet::new();
        for _ in 0..30 {
            let (browser, fields) = (browser.clone(), fields.clone());
            attempts.spawn(async move {
                let fields: Vec<(&str, &str)> = fields.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
                browser.post("/login", &fields).await.status
            });
        }
        let mut answers = attempts.join_all().await;
        answers.sort_unstable();
        let expected = [vec![422; 5], vec![429; 25]].concat();
        assert_eq!(answers, expected, "five were looked at");
        assert_eq!(attempt(&browser, ALICE, PASSWORD).await.status, 429);
        world.clock.advance(Seconds(5));
        assert_eq!(attempt(&browser, ALICE, PASSWORD).await.status, 303);
    }
}

#[tokio::test]
async fn guessing_many_e_mails_from_one_address_gets_slower() {
    let world = World::start(Engine::Sqlite).await;
    let browser = world.browser();
    // Counted rather than tried: each try would cost a password hash.
    attempt(&browser, "n0@example.com", "wrong").await;
    let fifty = "UPDATE throttle SET failures = 49 RETURNING name";
    assert_eq!(world.database.column(fifty).await.len(), 2, "an e-mail and an address");
    assert_eq!(attempt(&browser, "n1@example.com", "wrong").await.status, 422);
    assert_eq!(attempt(&browser, ALICE, PASSWORD).await.status, 429);
    world.clock.advance(Seconds(5));
    assert_eq!(attempt(&browser, ALICE, PASSWORD).await.status, 303);
    assert_eq!(attempt(&browser, "n2@example.com", "wrong").await.status, 422);
    assert_eq!(attempt(&browser, BOB, PASSWORD).await.status, 429, "one known password washes nothing away");
}
