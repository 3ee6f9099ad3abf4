//! Clocks that were wrong, and servers whose clocks differ: a stored time that is ahead harms nobody.

use avouch::domain::time::Seconds;
use serde_json::{Value, json};

use crate::harness::{ALICE, Browser, PASSWORD, World, both, claims, query};
use crate::sign_in::attempt;

both! {
    async fn a_block_of_a_wrong_clock_is_none(world: World) {
        let browser = world.browser();
        world.clock.advance(Seconds(3600));
        for _ in 0..6 {
            attempt(&browser, ALICE, "wrong").await;
        }
        assert_eq!(attempt(&browser, ALICE, PASSWORD).await.status, 429);
        world.clock.advance(Seconds(-3600));
        assert_eq!(attempt(&browser, ALICE, "wrong").await.status, 422, "nobody has to wait");
        for _ in 0..3 {
            assert_eq!(attempt(&browser, ALICE, "wrong").await.status, 422, "and it is counted from zero again");
        }
        assert_eq!(attempt(&browser, ALICE, PASSWORD).await.status, 303);
    }
}

/// The address of a question, asked by another chat.
async fn asked(world: &World, tokens: &Value, chat: &str) -> String {
    let (_, body) = world.exchange("desk-agent", tokens, &[("agent_context_id", chat)]).await;
    body["consent_uri"].as_str().unwrap_or_else(|| panic!("{body}")).strip_prefix(&world.issuer()).unwrap().to_owned()
}

async fn answer(browser: &Browser, path: &str, decision: &[(&str, &str)]) {
    let page = browser.get(path).await;
    let answer = browser.submit(&page, path, decision).await;
    assert_eq!(answer.status, 303, "{}", answer.body);
}

const NO: [(&str, &str); 1] = [("decision", "deny")];
const YES: [(&str, &str); 3] = [("decision", "allow"), ("mode", "always"), ("scope", "api.read")];

both! {
    /// The clock goes back between two answers, or the second one is given at a server whose clock is behind.
    async fn the_last_word_counts_whatever_the_clock_says(world: World) {
        let browser = world.signed_in(ALICE).await;
        let tokens = world.tokens(&browser, "desk-agent").await;
        let mut questions = Vec::new();
        for chat in ["one", "two", "three"] {
            questions.push(asked(&world, &tokens, chat).await);
        }
        answer(&browser, &questions[0], &YES).await;
        assert_eq!(world.exchange("desk-agent", &tokens, &[]).await.0, 200);
        world.clock.advance(Seconds(-5));
        answer(&browser, &questions[1], &NO).await;
        let (status, body) = world.exchange("desk-agent", &tokens, &[]).await;
        assert_eq!((status, &body["error"]), (400, &json!("access_denied")), "{body}");
        world.clock.advance(Seconds(-5));
        answer(&browser, &questions[2], &YES).await;
        let (status, body) = world.exchange("desk-agent", &tokens, &[]).await;
        assert_eq!(status, 200, "{body}");
        // And none of them in another second.
        assert_eq!(world.database.column("SELECT decisions FROM account WHERE decisions > 0").await, ["3"]);
    }
}

both! {
    async fn a_sign_in_that_is_ahead(world: World) {
        let (browser, tokens, ..) = world.delegated().await;
        world.clock.advance(Seconds(-60));
        let now = world.clock.now();
        let (status, body) = world.exchange("desk-agent", &tokens, &[]).await;
        assert_eq!(status, 200, "clocks of servers may differ a little: {body}");
        let assertion = claims(body["access_token"].as_str().unwrap());
        assert_eq!((&assertion["auth_time"], &assertion["iat"]), (&json!(now), &json!(now)));
        let refresh = [("grant_type", "refresh_token"), ("refresh_token", tokens["refresh_token"].as_str().unwrap())];
        let (status, tokens) = world.token("desk-agent", &refresh).await;
        assert_eq!(status, 200, "{tokens}");
        assert_eq!(claims(tokens["id_token"].as_str().unwrap())["auth_time"], json!(now));

        world.clock.advance(Seconds(-1));
        let (status, body) = world.exchange("desk-agent", &tokens, &[]).await;
        let expected = (400, &json!("insufficient_user_authentication"), &json!(0));
        assert_eq!((status, &body["error"], &body["max_age"]), expected, "{body}");
        let silently = browser.get(&World::authorize_path("desk-agent", &[("prompt", "none")])).await;
        assert_eq!(query(&silently.location(), "error").as_deref(), Some("login_required"));
        let path = World::authorize_path("desk-agent", &[]);
        let page = browser.get(&path).await;
        assert!(page.status == 303 && page.location().contains("/login"), "{} {}", page.status, page.location());
        let page = browser.get("/login?again=1").await;
        assert_eq!(browser.submit(&page, "/login", &[("email", ALICE), ("password", PASSWORD)]).await.status, 303);
        assert!(query(&browser.get(&path).await.location(), "code").is_some());
        assert_eq!(world.exchange("desk-agent", &tokens, &[]).await.0, 200);
    }
}

both! {
    async fn an_agent_that_asked_in_the_future_may_ask_now(world: World) {
        let browser = world.signed_in(ALICE).await;
        let tokens = world.tokens(&browser, "desk-agent").await;
        world.clock.advance(Seconds(600));
        asked(&world, &tokens, "one").await;
        world.clock.advance(Seconds(-600));
        let (_, body) = world.exchange("desk-agent", &tokens, &[("agent_context_id", "one")]).await;
        assert_eq!(body["error"], "consent_required", "{body}");
    }
}
