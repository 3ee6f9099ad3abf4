//! A key that somebody else may have: one call, and it signs nowhere.

use avouch::domain::ids::Kid;
use avouch::domain::rotation::KeyState;
use avouch::domain::time::Seconds;
use avouch::flow::compromise::{self, Order};
use avouch::flow::rotate::Reason;
use serde_json::{Value, json};

use crate::harness::{NOW, both, declarations};
use crate::keys::{DAY, key_set, look, post, signed_by, states};

both! {
    async fn a_revoked_key_signs_nowhere_and_is_in_no_set(world: World) {
        let (_, tokens, _, assertion) = world.delegated().await;
        let other = world.replica(&declarations(&world.service.url)).await;
        let stale = world.replica(&declarations(&world.service.url)).await;
        assert_eq!(key_set(&stale).await.0.len(), 1, "it has loaded its keys");
        assert_eq!(signed_by(&other, &tokens).await, signed_by(&world, &tokens).await);
        let kid = key_set(&world).await.0.remove(0);
        let order = |dry_run| Order {
            kid: Kid::from(kid.as_str()),
            reason: Reason::parse("a stolen backup").unwrap(),
            withdraw_since: Some(NOW),
            dry_run,
        };
        let id = &*world.app.issuer.id;
        let before = world.database.column("SELECT COUNT(*) FROM journal").await;
        let would = compromise::run(&world.host, id, &order(true), |_, _| {}).await.unwrap();
        assert_eq!((would.alive, would.withdrawn, would.dry_run), (3, 1, true));
        assert!(would.successor.unwrap().kid.is_none(), "it would have to be made");
        assert_eq!(world.database.column("SELECT COUNT(*) FROM journal").await, before, "nothing happened");

        let revoke = format!("{kid}/revoke");
        assert_eq!(post(&world, &revoke, &json!({})).await.status, 400, "without a reason");
        assert_eq!(world.api("POST", &format!("/keys/{revoke}"), tokens["access_token"].as_str().unwrap()).await.status, 403);
        let report = post(&world, &revoke, &json!({"reason": "a stolen backup"})).await;
        assert_eq!((report.status, &report.json()["alive"]), (200, &json!(3)), "{}", report.body);
        let successor = report.json()["successor"].as_str().unwrap().to_owned();
        assert_eq!(key_set(&world).await, (vec![successor.clone()], "public, max-age=30".into()));

        // The other server has not looked yet: the transaction does.
        let (status, minted) = other.exchange("desk-agent", &tokens, &[]).await;
        assert_eq!(status, 200, "{minted}");
        let header = jsonwebtoken::decode_header(minted["access_token"].as_str().unwrap()).unwrap();
        assert_eq!(header.kid.as_deref(), Some(successor.as_str()));
        // Nor does it take an ID token by that key, whoever made it.
        let forged = [
            ("subject_token", tokens["id_token"].as_str().unwrap()),
            ("subject_token_type", "urn:ietf:params:oauth:token-type:id_token"),
        ];
        let stale = stale.exchange("desk-agent", &tokens, &forged).await;
        assert_eq!((stale.0, &stale.1["error"]), (400, &json!("invalid_grant")), "{}", stale.1);
        let refreshed = [("grant_type", "refresh_token"), ("refresh_token", tokens["refresh_token"].as_str().unwrap())];
        let late = world.replica(&declarations(&world.service.url)).await;
        let (status, tokens) = late.token("desk-agent", &refreshed).await;
        assert_eq!(status, 200, "{tokens}");
        let header = jsonwebtoken::decode_header(tokens["id_token"].as_str().unwrap()).unwrap();
        assert_eq!(header.kid.as_deref(), Some(successor.as_str()));

        let bodies = world.database.column("SELECT body FROM journal WHERE kind LIKE 'key.%' ORDER BY id").await;
        assert_eq!(bodies.len(), 4, "{bodies:?}");
        assert!(bodies[1].contains("a stolen backup"), "{bodies:?}");
        assert!(bodies[3].contains(r#""early":"emergency""#), "{bodies:?}");
        assert_eq!(world.database.column("SELECT COALESCE(sealed, '-') FROM signing_key WHERE state = 'revoked'").await, ["-"]);
        // Started again, it goes on with what is left.
        let again = compromise::run(&world.host, id, &order(false), |_, _| {}).await.unwrap();
        assert_eq!((again.alive, again.withdrawn, again.state_before), (3, 1, KeyState::Revoked));
        let text = again.markdown();
        let jti = crate::harness::claims(&assertion)["jti"].as_str().unwrap().to_owned();
        for part in ["# A signing key was revoked", "a stolen backup", "What to tell services", "desk-agent", &jti, &kid] {
            assert!(text.contains(part), "{part}: {text}");
        }
        let (status, refused) = world.exchange("desk-agent", &tokens, &[]).await;
        assert_eq!((status, &refused["error"]), (400, &json!("consent_required")), "the delegation is withdrawn");
    }
}

both! {
    async fn a_server_that_has_not_heard_tells_services_by_the_key_that_signs(world: World) {
        let (_, tokens, id, _) = world.delegated().await;
        let other = world.replica(&declarations(&world.service.url)).await;
        let kid = signed_by(&other, &tokens).await;
        let report = post(&world, &format!("{kid}/revoke"), &json!({"reason": "a stolen backup"})).await.json();
        assert_eq!(world.api("DELETE", &format!("/delegations/{id}"), &world.admin_token()).await.status, 202);
        other.settle().await;
        let told = world.service.received();
        let kids: Vec<_> = told.iter().map(|notice| jsonwebtoken::decode_header(notice).unwrap().kid).collect();
        assert_eq!(kids, [report["successor"].as_str().map(str::to_owned)]);
    }
}

both! {
    async fn a_pending_key_takes_over_from_a_revoked_one(world: World) {
        let pending = post(&world, "prepare", &json!({})).await.json()["kid"].as_str().unwrap().to_owned();
        let first = states(&world).await.into_iter().find(|(_, state)| state == "active").unwrap().0;
        world.clock.advance(DAY + Seconds(5));
        let report = post(&world, &format!("{first}/revoke"), &json!({"reason": "why"})).await.json();
        assert_eq!(report["successor"], json!(pending));
        let body = world.database.column("SELECT body FROM journal WHERE kind = 'key.activated' ORDER BY id DESC LIMIT 1").await;
        assert!(!body[0].contains("early"), "it was published long enough: {body:?}");
        // One that does not sign changes nothing for the others.
        let third = post(&world, "prepare", &json!({})).await.json()["kid"].as_str().unwrap().to_owned();
        let report = post(&world, &format!("{third}/revoke"), &json!({"reason": "why"})).await.json();
        assert_eq!(report["successor"], Value::Null);
        look(&world).await;
        assert_eq!(key_set(&world).await.0, [pending]);
        assert_eq!(post(&world, "prepare", &json!({})).await.status, 201, "and another one can be prepared");
        assert_eq!(post(&world, "nothing/revoke", &json!({"reason": "why"})).await.status, 404);
    }
}
