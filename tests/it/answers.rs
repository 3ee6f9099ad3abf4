//! What services answer to notices, in the terms of each format, and what comes of it.

use avouch::domain::time::{Seconds, Timestamp};
use serde_json::{Value, json};

use crate::harness::{ALICE, Behaviour, FakeService, World, both, claims, declarations, run, text};

const DAY: i64 = 86_400;

/// A provider whose service takes notices as `lines` say, and a withdrawal there of which one notice is owed now.
async fn owing(world: &World, lines: &str) -> World {
    let old = format!("revocation_uri = \"{}/agent/auth/revoke\"\n", world.service.url);
    let world = world.replica(&declarations(&world.service.url).replace(&old, lines)).await;
    crate::delivery::one_owed(&world).await;
    world
}

async fn one(world: &World, column: &str) -> String {
    world.database.column(&format!("SELECT {column} FROM delivery")).await.remove(0)
}

async fn wait(world: &World) -> i64 {
    Timestamp(one(world, "due_at").await.parse().unwrap()).0 - world.clock.now().0
}

both! {
    async fn a_no_for_good_ends_it_and_others_are_tried_again(world: World) {
        let url = world.service.url.clone();
        let world = owing(&world, &format!("events_endpoint = \"{url}/events\"\n")).await;
        let again: Vec<(u16, Vec<u8>)> = vec![
            (500, br#"{"err":"invalid_request"}"#.to_vec()),
            (401, br#"{"err":"authentication_failed"}"#.to_vec()),
            (403, br#"{"err":"access_denied"}"#.to_vec()),
            (404, br#"{"err":"invalid_request"}"#.to_vec()),
            (429, br#"{"err":"invalid_request"}"#.to_vec()),
            (400, b"<h1>Bad Request</h1>".to_vec()),
            (400, vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3]),
            (400, b"[".repeat(16 * 1024)),
            (400, br#"{"err":["invalid_request"]}"#.to_vec()),
            // It says so, but only after more than is read.
            (400, [b"{\"a\":\"".to_vec(), b"x".repeat(1 << 20), br#"","err":"invalid_request"}"#.to_vec()].concat()),
            (410, b"gone".to_vec()),
        ];
        for (n, (status, body)) in again.into_iter().enumerate() {
            world.service.behave(Behaviour::Says(status, body));
            world.settle().await;
            assert_eq!((world.service.received().len(), one(&world, "state").await.as_str()), (n + 1, "queued"), "{status}");
            world.clock.advance(Seconds(wait(&world).await));
        }
        world.service.behave(Behaviour::Says(400, br#"{"err":"invalid_audience","description":"who is that?"}"#.to_vec()));
        world.settle().await;
        assert_eq!(one(&world, "state").await, "refused");
        let tried = world.service.received().len();
        world.clock.advance(Seconds(8 * DAY));
        world.settle().await;
        assert_eq!(world.service.received().len(), tried, "and is not tried again");
    }
}

both! {
    /// The service has a key set from before the key that signed: it is told again once it has to have fetched another one.
    async fn an_unknown_key_waits_until_the_key_set_is_fetched(world: World) {
        let url = world.service.url.clone();
        let world = owing(&world, &format!("events_endpoint = \"{url}/events\"\n")).await;
        world.service.behave(Behaviour::Says(400, br#"{"err":"invalid_key"}"#.to_vec()));
        world.settle().await;
        assert_eq!((one(&world, "state").await.as_str(), wait(&world).await), ("queued", 300));
        world.clock.advance(Seconds(300));
        world.service.behave(Behaviour::Status(202));
        world.settle().await;
        assert_eq!(one(&world, "state").await, "delivered");
    }
}

both! {
    async fn a_replay_is_heard_at_once_with_a_fresh_jti(world: World) {
        let url = world.service.url.clone();
        let world = owing(&world, &format!("revocation_uri = \"{url}/revoke\"\n")).await;
        world.service.behave(Behaviour::Status(503));
        for _ in 0..5 {
            world.settle().await;
            world.clock.advance(Seconds(wait(&world).await));
        }
        world.service.behave(Behaviour::Says(400, br#"{"error":"replay_detected","message":"jti"}"#.to_vec()));
        world.settle().await;
        assert!((4..=6).contains(&wait(&world).await), "{}", wait(&world).await);
        world.clock.advance(Seconds(6));
        world.settle().await;
        assert!(wait(&world).await >= 2400, "who says so again is told by the schedule: {}", wait(&world).await);
        let jtis: std::collections::HashSet<String> =
            world.service.received().iter().map(|notice| claims(notice)["jti"].to_string()).collect();
        assert_eq!(jtis.len(), world.service.received().len());
    }
}

both! {
    async fn how_long_a_notice_is_tried_is_configured(world: World) {
        let declared = format!("[notices]\ngive_up_after = \"10d\"\n{}", declarations(&world.service.url));
        let world = world.replica(&declared).await;
        crate::delivery::one_owed(&world).await;
        let began = world.clock.now();
        world.service.behave(Behaviour::Status(404));
        world.clock.advance(Seconds(10 * DAY - 3601));
        world.settle().await;
        assert_eq!(one(&world, "state").await, "queued");
        while one(&world, "state").await == "queued" {
            world.clock.advance(Seconds(wait(&world).await));
            world.settle().await;
        }
        assert_eq!(one(&world, "state").await, "refused");
        assert!(world.clock.now().0 - began.0 >= 10 * DAY - 3601, "{}", world.clock.now());
    }
}

both! {
    /// An endpoint of which nobody says that it takes notices: its 200 may be that of RFC 7009, which is given to any token.
    async fn a_200_that_proves_nothing_is_shown_so(world: World) {
        let shop = FakeService::start().await;
        shop.publish_server(json!({"issuer": shop.url, "agent_auth": {
            "register_uri": format!("{}/agent/auth", shop.url), "revocation_uri": format!("{}/oauth/revoke", shop.url),
            "identity_types_supported": ["identity_assertion"],
        }}));
        let world = world.replica(&declarations(&world.service.url).replace("https://other.example", &shop.url)).await;
        let alice = world.signed_in(ALICE).await;
        let tokens = world.tokens(&alice, "desk-agent").await;
        let asked = [("audience", shop.url.as_str()), ("scope", "")];
        world.agree(&alice, "desk-agent", &tokens, "always", &asked).await;
        assert_eq!(world.exchange("desk-agent", &tokens, &asked).await.0, 200);
        world.clock.advance(Seconds(420));
        world.api("DELETE", "/delegations?client_id=desk-agent", &world.admin_token()).await;
        world.settle().await;
        assert_eq!(shop.received().len(), 1);

        let admin = world.admin_token();
        let listed = world.api("GET", "/deliveries?state=unproven", &admin).await.json();
        let notice = listed["items"][0].clone();
        assert_eq!((&notice["state"], &notice["last_status"]), (&json!("unproven"), &json!(200)), "{listed}");
        let page = alice.get("/connections").await.body;
        assert!(page.contains("but nothing shows that it understood"), "{page}");
        assert!(page.contains("it answered 200, which does not show that it understood"), "{page}");
        let service = world.api("GET", "/services", &admin).await.json();
        let told: Vec<&Value> = service["items"].as_array().unwrap().iter().flat_map(|item| item["notices"].as_array().unwrap()).collect();
        assert!(told.iter().any(|notice| notice["unproven"] == true), "{service}");
        let config = world.database.path("avouch.toml");
        let command = run(world.database.path("").as_path(), &["delivery", "list", "--state", "unproven", "--config", config.to_str().unwrap()]);
        assert!(text(&command.stdout).contains("unproven"), "{}", text(&command.stderr));
        let metrics = world.browser().get("/metrics").await.body;
        assert!(metrics.contains("format=\"logout+jwt\",state=\"unproven\""), "{metrics}");

        // Tried again by hand, it says what only a receiver of notices says.
        let retry = format!("/deliveries/{}/retry", notice["id"].as_str().unwrap());
        assert_eq!(world.api("POST", &retry, &admin).await.status, 202);
        shop.behave(Behaviour::Says(200, br#"{"revoked":1}"#.to_vec()));
        world.settle().await;
        assert_eq!(one(&world, "state").await, "delivered");
    }
}
