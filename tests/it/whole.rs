//! The main job through real HTTP: sign in, agree, mint, withdraw, tell.

use avouch::domain::claims::REVOKED_EVENT;
use avouch::domain::time::Seconds;
use serde_json::json;

use crate::harness::{ALICE, NOW, both, claims};

both! {
    async fn the_whole_loop(world: World) {
        let (_, tokens, id, assertion) = world.delegated().await;
        let minted = claims(&assertion);
        assert_eq!(minted["iss"], world.issuer());
        assert_eq!(minted["aud"], world.service.url);
        assert_eq!(minted["email"], ALICE);
        assert_eq!(minted["auth_time"], NOW.0);

        let answer = world.api("DELETE", &format!("/delegations/{id}"), &world.admin_token()).await;
        assert_eq!(answer.status, 202, "{}", answer.body);
        assert_eq!(answer.json()["status"], "withdrawing");
        let (status, body) = world.exchange("desk-agent", &tokens, &[]).await;
        assert_eq!((status, &body["error"]), (400, &json!("consent_required")), "nothing is minted under it any more");

        world.settle().await;
        let notices = world.service.notices.lock().unwrap().clone();
        assert_eq!(notices.len(), 1);
        assert_eq!(notices[0].0, "application/logout+jwt");
        let notice = claims(&notices[0].1);
        assert_eq!((&notice["iss"], &notice["sub"], &notice["aud"]), (&minted["iss"], &minted["sub"], &minted["aud"]));
        assert_eq!(notice["events"], json!({ REVOKED_EVENT: {} }));
        assert_eq!(notice["exp"], (NOW + Seconds(120)).0);

        // What was minted before may be redeemed until it is dead: a second notice follows then.
        world.clock.advance(Seconds(300 + 119));
        world.settle().await;
        assert_eq!(world.service.received().len(), 1);
        world.clock.advance(Seconds(1));
        world.settle().await;
        let received = world.service.received();
        assert_eq!(received.len(), 2);
        assert_ne!(claims(&received[0])["jti"], claims(&received[1])["jti"]);
        let delegation = world.api("GET", &format!("/delegations/{id}"), &world.admin_token()).await.json();
        assert_eq!(delegation["status"], "withdrawn");
    }
}
