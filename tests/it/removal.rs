//! What ends with a client, a service or a password that the configuration no longer has, and does not come back with it.

use avouch::domain::time::Seconds;
use avouch::flow::withdraw_many;
use serde_json::{Value, json};

use crate::bulk::others;
use crate::harness::{ALICE, PASSWORD, World, answer_form, both, code_grant, declarations};

/// Replicas look at a client again after two seconds.
async fn again(world: &World, declared: &str) -> World {
    let replica = world.replica(declared).await;
    world.clock.advance(Seconds(2));
    replica
}

fn refresh(tokens: &Value) -> [(&'static str, &str); 2] {
    [("grant_type", "refresh_token"), ("refresh_token", tokens["refresh_token"].as_str().unwrap())]
}

both! {
    async fn what_a_client_was_given_ends_with_it(world: World) {
        let ours = declarations(&world.service.url);
        let browser = world.signed_in(ALICE).await;
        let code = world.code(&browser, "console", &[("scope", "openid delegations")]).await;
        let (_, console) = world.token("console", &crate::harness::code_grant(&code)).await;
        let console = console["access_token"].as_str().unwrap().to_owned();
        let tokens = world.tokens(&browser, "desk-agent").await;
        let (_, asked) = world.exchange("desk-agent", &tokens, &[]).await;
        let question = asked["consent_uri"].as_str().unwrap().strip_prefix(&world.issuer()).unwrap().to_owned();
        let page = browser.get(&question).await;
        assert_eq!(world.api("GET", "/delegations", &console).await.status, 200);

        let renamed = |id: &str| format!("client_id = \"{id}\"");
        let gone = ours.replace(&renamed("desk-agent"), &renamed("desk-two")).replace(&renamed("console"), &renamed("console-two"));
        let without = again(&world, &gone).await;
        for server in [&world, &without] {
            assert_eq!(server.api("GET", "/delegations", &console).await.status, 401, "its tokens");
        }
        assert_eq!(browser.submit(&page, &question, &answer_form(&page, "always")).await.status, 409, "its questions");
        assert_eq!(world.database.column("SELECT id FROM consent").await.len(), 0);

        // Back again it begins anew.
        let back = again(&world, &ours).await;
        assert_eq!(back.api("GET", "/delegations", &console).await.status, 401);
        let (status, body) = back.token("desk-agent", &refresh(&tokens)).await;
        assert_eq!((status, &body["error"]), (400, &json!("invalid_grant")), "{body}");
        let answer = browser.at(&back).get(&World::authorize_path("desk-agent", &[("prompt", "none")])).await;
        assert!(answer.location().contains("error=consent_required"), "{}", answer.location());
    }
}

both! {
    async fn nobody_is_asked_about_a_service_that_is_gone(world: World) {
        let ours = declarations(&world.service.url);
        let browser = world.signed_in(ALICE).await;
        let tokens = world.tokens(&browser, "desk-agent").await;
        let (_, asked) = world.exchange("desk-agent", &tokens, &[]).await;
        let question = asked["consent_uri"].as_str().unwrap().strip_prefix(&world.issuer()).unwrap().to_owned();
        let page = browser.get(&question).await;
        let moved = ours.replace(&format!("audience = \"{}\"", world.service.url), "audience = \"https://moved.example\"");
        again(&world, &moved).await;
        let back = again(&world, &ours).await;
        let browser = browser.at(&back);
        assert_eq!(browser.submit(&page, &question, &answer_form(&page, "always")).await.status, 409);
        assert!(browser.get(&question).await.body.contains("This question has expired"));
    }
}

both! {
    async fn whoever_signed_in_by_another_password_no_longer_is(world: World) {
        let ours = declarations(&world.service.url);
        let (browser, tokens, ..) = world.delegated().await;
        let code = world.code(&browser, "desk-agent", &[("scope", "openid offline_access")]).await;
        let (_, away) = world.token("desk-agent", &code_grant(&code)).await;
        assert_eq!(browser.get("/connections").await.status, 200);
        world.replica(&ours).await;
        assert_eq!(browser.get("/connections").await.status, 200, "the same password changes nothing");
        world.replica(&ours.replacen(PASSWORD, "another password altogether", 1)).await;
        assert_eq!(browser.get("/connections").await.status, 303);
        for tokens in [&tokens, &away] {
            let (status, body) = world.token("desk-agent", &refresh(tokens)).await;
            assert_eq!((status, &body["error"]), (400, &json!("invalid_grant")), "{body}");
            assert_eq!(world.exchange("desk-agent", tokens, &[]).await.1["error"], "invalid_grant");
        }
        let told = world.database.column("SELECT account_id FROM journal WHERE kind = 'account.password_changed'").await;
        assert!(told.len() >= 2, "the first passwords, and the change: {told:?}");
    }
}

both! {
    /// Another server may not have heard yet that the client is disabled, and gives it something meanwhile.
    async fn what_a_client_is_given_too_late_is_worth_nothing(world: World) {
        let (_, tokens, ..) = world.delegated().await;
        let user_info = async || {
            let request = world.http.get(format!("{}/userinfo", world.url)).bearer_auth(tokens["access_token"].as_str().unwrap());
            request.send().await.unwrap().status()
        };
        assert_eq!(user_info().await, 200);
        world.database.column("UPDATE client SET stopped_at = 1 WHERE client_id = 'desk-agent' RETURNING id").await;
        assert_eq!(user_info().await, 401);
        let (status, body) = world.token("desk-agent", &refresh(&tokens)).await;
        assert_eq!((status, &body["error"]), (400, &json!("invalid_grant")), "{body}");
    }
}

/// A configuration without the service, without the agent, and without the user.
fn less(ours: &str, service: &str) -> [String; 3] {
    [
        ours.replace(&format!("audience = \"{service}\""), "audience = \"https://moved.example\""),
        ours.replace("client_id = \"desk-agent\"", "client_id = \"desk-two\""),
        ours.replace(ALICE, "other@example.com"),
    ]
}

both! {
    /// The server ends before it has withdrawn what stood: any other goes on with that.
    async fn what_stood_under_what_is_gone_is_withdrawn_by_whoever_comes_to_it(world: World) {
        let ours = declarations(&world.service.url);
        for (n, less) in less(&ours, &world.service.url).iter().enumerate() {
            let (_, tokens, id, _) = world.delegated().await;
            world.ended_after_start(less).await;
            world.clock.advance(Seconds(2));
            let status = async || world.api("GET", &format!("/delegations/{id}"), &world.admin_token()).await.json();
            assert_eq!(status().await["status"], "active", "nothing is withdrawn in the transaction that removes");
            assert_ne!(world.exchange("desk-agent", &tokens, &[]).await.0, 200, "and nothing is minted all the same");
            avouch::delivery::run_until_idle(&world.host).await;
            assert_eq!(status().await["status"], "withdrawing", "{n}: the second notice is due later");
            let told = world.database.column("SELECT id FROM delivery WHERE state = 'delivered'").await.len();
            assert_eq!(told, n + 1);
            assert_eq!(world.database.column("SELECT name FROM removed").await.len(), 0);
            again(&world, &ours).await;
        }
    }
}

both! {
    /// It is declared again before anybody has withdrawn what stood: nothing of before counts.
    async fn what_comes_back_at_once_begins_anew(world: World) {
        let ours = declarations(&world.service.url);
        for less in &less(&ours, &world.service.url) {
            let (_, _, id, _) = world.delegated().await;
            world.ended_after_start(less).await;
            assert_eq!(world.database.column("SELECT name FROM removed").await.len(), 1);
            world.ended_after_start(&ours).await;
            withdraw_many::under_removed(&world.host).await.unwrap();
            world.clock.advance(Seconds(2));
            let record = world.api("GET", &format!("/delegations/{id}"), &world.admin_token()).await.json();
            assert_eq!(record["status"], "withdrawing", "{record}");
            assert_eq!(world.database.column("SELECT name FROM removed").await.len(), 0);
            again(&world, &ours).await;
            let browser = world.signed_in(ALICE).await;
            let tokens = world.tokens(&browser, "desk-agent").await;
            assert_eq!(world.exchange("desk-agent", &tokens, &[]).await.1["error"], "consent_required");
        }
    }
}

both! {
    /// By the algorithm that it knows, though nobody declares it any more.
    async fn a_service_that_is_gone_is_told_as_it_was(world: World) {
        let named = format!("audience = \"{}\"", world.service.url);
        let rs256 = declarations(&world.service.url).replace(&named, &format!("{named}\nsigning_alg = \"RS256\""));
        let world = again(&world, &rs256).await;
        world.delegated().await;
        again(&world, &less(&rs256, &world.service.url)[0]).await;
        avouch::delivery::run_until_idle(&world.host).await;
        let told = world.service.received();
        assert_eq!(told.len(), 1);
        assert_eq!(jsonwebtoken::decode_header(&told[0]).unwrap().alg, jsonwebtoken::Algorithm::RS256);
    }
}

both! {
    /// It is declared again when a part of what stood has been withdrawn: the rest is as well, and what is agreed to since stands.
    async fn what_comes_back_in_the_middle_of_its_withdrawal_begins_anew_too(world: World) {
        let ours = declarations(&world.service.url);
        let (_, _, id, _) = world.delegated().await;
        others(&world, 40).await;
        let theirs = "origin = 'admin' WHERE id IN (SELECT account_id FROM delegation) AND email <> 'alice@example.com'";
        assert_eq!(world.database.column(&format!("UPDATE account SET {theirs} RETURNING id")).await.len(), 40);
        let admin = world.admin_token();
        let count = async |what: &str| world.database.column(&format!("SELECT COUNT(*) FROM {what}")).await.remove(0);
        for less in &less(&ours, &world.service.url)[..2] {
            world.ended_after_start(less).await;
            let some = world.database.column("SELECT id FROM delegation WHERE ended_at IS NULL ORDER BY id LIMIT 10").await;
            for id in &some {
                assert_eq!(world.api("DELETE", &format!("/delegations/{id}"), &admin).await.status, 202);
            }
            let told = count("journal WHERE kind = 'withdrawal'").await;
            assert_eq!((count("removed").await, count("delegation WHERE ended_at IS NULL").await.as_str()), ("1".into(), "31"));
            world.ended_after_start(&ours).await;
            assert_eq!((count("removed").await, count("delegation WHERE ended_at IS NULL").await.as_str()), ("1".into(), "31"));
            let (browser, place) = (world.signed_in(ALICE).await, "/clients/desk-agent");
            if less.contains("desk-two") {
                assert_eq!(world.api("GET", place, &admin).await.json()["status"], "withdrawing", "a start waits for nothing");
                assert_eq!(browser.get(&World::authorize_path("desk-agent", &[])).await.status, 400, "and gives nothing");
            }
            withdraw_many::under_removed(&world.host).await.unwrap();
            assert_eq!(world.api("GET", place, &admin).await.json()["status"], "active");
            assert_eq!((count("removed").await, count("delegation WHERE ended_at IS NULL").await), ("0".into(), "0".into()));
            assert_eq!(count("journal WHERE kind = 'withdrawal'").await, (told.parse::<i64>().unwrap() + 31).to_string());

            world.clock.advance(Seconds(2));
            let back = again(&world, &ours).await;
            let browser = back.signed_in(ALICE).await;
            let tokens = back.tokens(&browser, "desk-agent").await;
            back.agree(&browser, "desk-agent", &tokens, "always", &[]).await;
            assert_eq!(back.exchange("desk-agent", &tokens, &[]).await.0, 200);
            withdraw_many::under_removed(&world.host).await.unwrap();
            let record = world.api("GET", &format!("/delegations/{id}"), &admin).await.json();
            assert_eq!(record["status"], "active", "{record}");
            // The others agree again too.
            world.database.column("UPDATE delegation SET ended_at = NULL RETURNING id").await;
            world.database.column("UPDATE consent SET ended_at = NULL, over_at = NULL RETURNING id").await;
        }
    }
}

both! {
    /// An answer to a question, and the removal of whom or what it is about, in the same moment: either the answer comes too late, or what was
    /// agreed to is withdrawn. On PostgreSQL the removal has its turn first and the answer waits for it.
    async fn what_is_agreed_beside_a_removal_does_not_outlive_it(world: World) {
        let ours = declarations(&world.service.url);
        let rows = ["service", "client WHERE client_id = 'desk-agent'", "account WHERE email = 'alice@example.com'"];
        for (less, row) in less(&ours, &world.service.url).iter().zip(rows) {
            let browser = world.signed_in(ALICE).await;
            let tokens = world.tokens(&browser, "desk-agent").await;
            let (_, asked) = world.exchange("desk-agent", &tokens, &[]).await;
            let question = asked["consent_uri"].as_str().unwrap().strip_prefix(&world.issuer()).unwrap().to_owned();
            let page = browser.get(&question).await;
            // SQLite has one writer; who of those that wait comes next is not known.
            let writer = if world.host.database.is_private() { Some(world.app.store.begin().await.unwrap()) } else { None };
            let holder = if writer.is_none() { Some(world.hold_where(row).await) } else { None };
            let pid = holder.as_ref().map(|(_, pid)| *pid);
            let waiting = async |count| {
                if let Some(pid) = pid {
                    world.waiting(pid, count).await;
                }
            };
            let answer = async {
                waiting(1).await;
                browser.submit(&page, &question, &answer_form(&page, "always")).await.status
            };
            let release = async {
                waiting(2).await;
                drop((writer, holder));
            };
            let (replica, status, ()) = tokio::join!(world.replica(less), answer, release);
            assert!([303, 400, 409].contains(&status), "{row}: {status}");
            let agreed = world.database.column("SELECT id FROM consent").await.len();
            assert!(pid.is_none() || agreed == 0, "{row}: it was too late");
            withdraw_many::under_removed(&replica.host).await.unwrap();
            let stands = "SELECT id FROM consent WHERE ended_at IS NULL OR over_at IS NULL";
            assert!(world.database.column(stands).await.is_empty(), "{row}");
            again(&world, &ours).await;
        }
    }
}
