//! A client has its user signed out (OpenID Connect RP-Initiated Logout 1.0).

use avouch::domain::time::Seconds;
use serde_json::Value;

use crate::harness::{ALICE, Answer, BOB, Browser, Engine, World, claims, encode, twice};
use crate::logout::told;

const BYE: &str = "https://agent.example/bye?a=1";

fn declared(service: &str) -> String {
    let desk = "client_id = \"desk-agent\"";
    told(service).replace(desk, &format!("{desk}\npost_logout_redirect_uris = [\"{BYE}\", \"com.example.app:/bye\"]"))
}

/// Declares a test that runs on both engines, in a world where clients may send users on and want to be told.
macro_rules! on_both {
    ($(#[$doc:meta])* async fn $name:ident($world:ident: World) $body:block) => {
        mod $name {
            use super::*;

            async fn body($world: World) $body

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn sqlite() {
                body(World::with(Engine::Sqlite, declared).await).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn postgres() {
                body(World::with(Engine::Postgres, declared).await).await;
            }
        }
    };
}

fn at(pairs: &[(&str, &str)]) -> String {
    format!("/end_session?{}", encode(pairs))
}

async fn id_token(world: &World, browser: &Browser, client_id: &str) -> String {
    world.tokens(browser, client_id).await["id_token"].as_str().unwrap().to_owned()
}

async fn is_signed_in(browser: &Browser) -> bool {
    browser.get("/connections").await.status == 200
}

async fn live(world: &World) -> usize {
    world.database.column("SELECT id FROM session WHERE ended_at IS NULL").await.len()
}

fn asks(page: &Answer) -> bool {
    page.status == 200 && page.body.contains("/end_session/decision")
}

on_both! {
    async fn an_id_token_of_the_session_ends_it(world: World) {
        let browser = world.signed_in(ALICE).await;
        let hint = id_token(&world, &browser, "desk-agent").await;
        world.tokens(&browser, "travel-agent").await;
        // However long ago it expired.
        world.clock.advance(Seconds(7200));
        let asked = at(&[("id_token_hint", &hint), ("post_logout_redirect_uri", BYE), ("state", "a&b c"), ("ui_locales", "de"), ("logout_hint", "x"), ("other", "1")]);
        assert_eq!(browser.head(&asked).await.status, 303);
        assert!(is_signed_in(&browser).await, "HEAD has no effects");
        let answer = browser.get(&asked).await;
        assert_eq!((answer.status, answer.location()), (303, format!("{BYE}&state=a%26b+c")));
        assert_eq!(browser.cookie("avouch-session").unwrap_or_default(), "");
        assert_eq!(live(&world).await, 0);
        assert!(!is_signed_in(&browser).await);
        world.settle().await;
        let told: Vec<Value> = world.service.received().iter().map(|form| claims(form.strip_prefix("logout_token=").unwrap())["aud"].clone()).collect();
        assert_eq!(told.len(), 2, "every client of the session, the one that asked among them: {told:?}");

        // Nobody is signed in any more: on at once, or a page that says so.
        let answer = browser.get(&asked).await;
        assert_eq!((answer.status, answer.location()), (303, format!("{BYE}&state=a%26b+c")));
        let nobody = browser.get("/end_session").await;
        assert!(nobody.status == 200 && nobody.body.contains("You are signed out"), "{}", nobody.body);
        assert_eq!(nobody.header("cache-control"), "no-store");
    }
}

on_both! {
    async fn whatever_else_there_is_is_asked_about(world: World) {
        let (here, there) = (world.signed_in(ALICE).await, world.signed_in(ALICE).await);
        let bob = world.signed_in(BOB).await;
        let others = [id_token(&world, &there, "desk-agent").await, id_token(&world, &bob, "desk-agent").await];
        let own = id_token(&world, &here, "desk-agent").await;
        let mut cases = vec![
            at(&[]),
            at(&[("client_id", "desk-agent"), ("post_logout_redirect_uri", BYE)]),
            at(&[("id_token_hint", "made.up.token"), ("post_logout_redirect_uri", "https://evil.example/")]),
            at(&[("id_token_hint", &format!("{}x", &own[..own.len() - 2])), ("client_id", "desk-agent")]),
        ];
        cases.extend(others.iter().map(|hint| at(&[("id_token_hint", hint), ("post_logout_redirect_uri", BYE)])));
        for asked in &cases {
            let page = here.get(asked).await;
            assert!(asks(&page), "{asked} {}", page.body);
            assert_eq!(live(&world).await, 3);
            let stays = here.submit(&page, "/end_session/decision", &[("decision", "stay")]).await;
            assert_eq!((stays.status, stays.location().as_str()), (303, "/connections"));
            assert!(is_signed_in(&here).await);
        }
        assert!(here.get(&cases[1]).await.body.contains("Desk Agent"), "who it is that asks");
        // Another site's page cannot say it for the user, nor anything else.
        let refused = here.post("/end_session/decision", &[("decision", "sign_out"), ("request", "")]).await;
        assert_eq!(refused.status, 403);
        let page = here.get(&cases[0]).await;
        assert_eq!(here.submit(&page, "/end_session/decision", &[("decision", "perhaps")]).await.status, 400);
        assert_eq!(live(&world).await, 3);

        let out = here.submit(&page, "/end_session/decision", &[("decision", "sign_out")]).await;
        assert!(out.status == 200 && out.body.contains("You are signed out"), "{}", out.body);
        assert!(!is_signed_in(&here).await && is_signed_in(&there).await, "of this browser");
        let page = there.get(&cases[1]).await;
        let out = there.submit(&page, "/end_session/decision", &[("decision", "sign_out")]).await;
        assert_eq!((out.status, out.location().as_str()), (303, BYE));
        assert_eq!(live(&world).await, 1);
        // One whose ID token nobody can verify stays where they are.
        let page = bob.get(&cases[2]).await;
        let out = bob.submit(&page, "/end_session/decision", &[("decision", "sign_out")]).await;
        assert_eq!((out.status, live(&world).await), (200, 0));
    }
}

on_both! {
    async fn only_what_is_registered_is_gone_on_to(world: World) {
        let browser = world.signed_in(ALICE).await;
        let hint = id_token(&world, &browser, "desk-agent").await;
        let travel = id_token(&world, &browser, "travel-agent").await;
        let uri = "post_logout_redirect_uri";
        for (pairs, says) in [
            (vec![("id_token_hint", hint.as_str()), (uri, "https://evil.example/")], "is not registered"),
            (vec![("id_token_hint", &hint), (uri, "https://agent.example/bye")], "is not registered"),
            (vec![("id_token_hint", &hint), (uri, "https://agent.example/bye?a=1&")], "is not registered"),
            (vec![("id_token_hint", &hint), (uri, "https://agent.example:443/bye?a=1")], "is not registered"),
            (vec![("id_token_hint", &hint), (uri, "HTTPS://agent.example/bye?a=1")], "is not registered"),
            (vec![("id_token_hint", &travel), (uri, BYE)], "is not registered"),
            (vec![("client_id", "travel-agent"), (uri, BYE)], "is not registered"),
            (vec![(uri, BYE)], "needs an id_token_hint or a client_id"),
            (vec![("id_token_hint", &hint), ("client_id", "travel-agent")], "is not the client"),
            (vec![("client_id", "nobody")], "this client is not known here"),
            (vec![("client_id", "a b")], "this client is not known here"),
            (vec![("id_token_hint", &hint), ("state", "1"), ("state", "2")], "state"),
        ] {
            let answer = browser.get(&at(&pairs)).await;
            assert_eq!(answer.status, 400, "{pairs:?} {}", answer.body);
            assert!(answer.body.contains(says) && answer.location().is_empty(), "{pairs:?} {}", answer.body);
            assert!(is_signed_in(&browser).await, "nothing is half done");
        }
        let app = "com.example.app:/bye";
        let answer = browser.get(&at(&[("id_token_hint", &hint), (uri, app), ("client_id", "desk-agent")])).await;
        assert_eq!((answer.status, answer.location().as_str()), (303, app));
    }
}

on_both! {
    /// A browser sends no cookie with a form of another site's: it is led to the address.
    async fn as_a_form(world: World) {
        let browser = world.signed_in(ALICE).await;
        let hint = id_token(&world, &browser, "desk-agent").await;
        let pairs = [("id_token_hint", hint.as_str()), ("post_logout_redirect_uri", BYE)];
        let sent = world.http.post(format!("{}/end_session", world.url)).header("origin", "https://agent.example");
        let sent = sent.header("content-type", "application/x-www-form-urlencoded").body(encode(&pairs));
        let led = Answer::read(sent.send().await.unwrap()).await;
        assert_eq!((led.status, led.location()), (303, at(&pairs)));
        assert_eq!(browser.get(&led.location()).await.location(), BYE);
        assert_eq!(live(&world).await, 0);
        let large = [("state", "x".repeat(62 * 1024))];
        let large: Vec<(&str, &str)> = large.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let sent = world.http.post(format!("{}/end_session", world.url)).header("content-type", "application/x-www-form-urlencoded");
        assert_eq!(sent.body(encode(&large)).send().await.unwrap().status(), 400);
    }
}

/// What another issuer of the server signed is no word of this one's user.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_issuer_for_itself() {
    let world = World::with(Engine::Sqlite, |service| twice(&declared(service))).await;
    let acme = world.under("acme").await;
    let (ours, theirs) = (world.signed_in(ALICE).await, acme.signed_in(ALICE).await);
    let hint = id_token(&acme, &theirs, "desk-agent").await;
    assert!(asks(&ours.get(&at(&[("id_token_hint", &hint)])).await));
    assert_eq!(theirs.get(&at(&[("id_token_hint", &hint), ("post_logout_redirect_uri", BYE)])).await.location(), BYE);
    assert_eq!(live(&world).await, 1);
}
