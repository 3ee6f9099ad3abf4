//! Clients are told that a user signed out (OpenID Connect Back-Channel Logout 1.0).

use avouch::domain::time::Seconds;
use avouch::flow::sweep;
use serde_json::{Value, json};

use crate::harness::{
    ALICE, BOB, Behaviour, Browser, Engine, PASSWORD, World, both, claims, code_grant, declarations, run, text, twice,
};

const EVENT: &str = "http://schemas.openid.net/event/backchannel-logout";
const DAY: i64 = 86_400;

/// desk-agent and travel-agent want to be told, the latter with RS256.
pub(crate) fn told(service: &str) -> String {
    let said = |client_id: &str, more: &str| {
        format!("client_id = \"{client_id}\"\nbackchannel_logout_uri = \"{service}/out?of={client_id}\"\n{more}")
    };
    let more = "backchannel_logout_session_required = true\nid_token_signed_response_alg = \"RS256\"";
    declarations(service)
        .replace("client_id = \"desk-agent\"", &said("desk-agent", ""))
        .replace("client_id = \"travel-agent\"", &said("travel-agent", more))
}

async fn world(engine: Engine) -> World {
    World::with(engine, told).await
}

/// Declares a test that runs on both engines, in a world where clients want to be told.
macro_rules! on_both {
    ($(#[$doc:meta])* async fn $name:ident($world:ident: World) $body:block) => {
        mod $name {
            use super::*;

            async fn body($world: World) $body

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn sqlite() {
                body(world(Engine::Sqlite).await).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn postgres() {
                body(world(Engine::Postgres).await).await;
            }
        }
    };
}

pub(crate) async fn sign_out(browser: &Browser) {
    let page = browser.get("/connections").await;
    assert_eq!(browser.submit(&page, "/logout", &[]).await.status, 303);
}

/// The claims of an ID token that a client gets for a browser's user.
async fn id_token(world: &World, browser: &Browser, client_id: &str) -> Value {
    claims(world.tokens(browser, client_id).await["id_token"].as_str().unwrap())
}

/// The logout tokens that were received since, by client and session.
fn tokens(world: &World) -> Vec<String> {
    let mut all: Vec<String> = world
        .service
        .notices
        .lock()
        .unwrap()
        .drain(..)
        .map(|(kind, body)| {
            assert_eq!(kind, "application/x-www-form-urlencoded");
            let fields: Vec<(String, String)> = url::form_urlencoded::parse(body.as_bytes()).into_owned().collect();
            assert_eq!((fields.len(), fields[0].0.as_str()), (1, "logout_token"), "{body}");
            fields[0].1.clone()
        })
        .collect();
    all.sort_by_key(|token| (claims(token)["aud"].to_string(), claims(token)["sid"].to_string()));
    all
}

/// Which client was told of which session.
fn who(world: &World) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    tokens(world).iter().map(|token| claims(token)).map(|said| (text(&said["aud"]), text(&said["sid"]))).collect()
}

fn sid(id_token: &Value) -> String {
    id_token["sid"].as_str().unwrap().to_owned()
}

on_both! {
    async fn a_sign_out_tells_every_client_of_the_session(world: World) {
        let (here, there) = (world.signed_in(ALICE).await, world.signed_in(ALICE).await);
        let desk = id_token(&world, &here, "desk-agent").await;
        let again = id_token(&world, &here, "desk-agent").await;
        let travel = id_token(&world, &here, "travel-agent").await;
        world.tokens(&here, "jwt-agent").await;
        let elsewhere = id_token(&world, &there, "desk-agent").await;
        assert!(desk["sid"] == again["sid"] && desk["sid"] != elsewhere["sid"]);
        world.settle().await;
        assert!(tokens(&world).is_empty());
        sign_out(&here).await;
        world.settle().await;
        let received = tokens(&world);
        assert_eq!(received.len(), 2, "each client once, that session's alone, and none that did not ask for it");
        assert!(world.service.header("cache-control").iter().all(|value| value == "no-store"));
        let now = world.clock.now();
        let mut jtis = vec![desk["jti"].clone()];
        for (token, (of, alg)) in received.iter().zip([(&desk, "ES256"), (&travel, "RS256")]) {
            let header = jsonwebtoken::decode_header(token).unwrap();
            assert_eq!((header.typ.as_deref(), format!("{:?}", header.alg)), (Some("logout+jwt"), alg.to_owned()));
            let said = claims(token);
            let names: Vec<&String> = said.as_object().unwrap().keys().collect();
            assert_eq!(names, ["aud", "events", "exp", "iat", "iss", "jti", "sid", "sub"], "and no nonce");
            for claim in ["iss", "sub", "aud", "sid"] {
                assert_eq!(said[claim], of[claim], "{claim}");
            }
            assert_eq!((&said["iat"], &said["exp"]), (&json!(now), &json!(now + Seconds(120))));
            assert_eq!(said["events"], json!({ EVENT: {} }));
            assert!(!jtis.contains(&said["jti"]));
            jtis.push(said["jti"].clone());
        }
        let owed = world.database.column("SELECT COUNT(*) FROM journal WHERE kind = 'logout.owed' AND client_id IS NOT NULL").await;
        assert_eq!(owed, ["2"]);
        sign_out(&there).await;
        world.settle().await;
        assert_eq!(who(&world), [("desk-agent".to_owned(), sid(&elsewhere))]);
        assert_eq!(world.database.column("SELECT DISTINCT state FROM delivery").await, ["delivered"]);
    }
}

on_both! {
    /// Every way in which a session ends, or a client's part of it.
    async fn whatever_ends_a_session_tells_its_clients(world: World) {
        let desk = |id: &Value| vec![("desk-agent".to_owned(), sid(id))];
        // Somebody else signs in with the same browser.
        let browser = world.signed_in(ALICE).await;
        let alice = id_token(&world, &browser, "desk-agent").await;
        let page = browser.get("/login?prompt=login").await;
        browser.submit(&page, "/login", &[("email", BOB), ("password", PASSWORD)]).await;
        let bobs = id_token(&world, &browser, "desk-agent").await;
        assert_ne!(alice["sid"], bobs["sid"]);
        world.settle().await;
        assert_eq!(who(&world), desk(&alice));

        // The user ends it in another browser.
        let (here, there) = (world.signed_in(ALICE).await, world.signed_in(ALICE).await);
        let ended = id_token(&world, &there, "desk-agent").await;
        let page = here.get("/connections").await;
        let path = format!("/connections/sessions/{}/end", sid(&ended));
        assert_eq!(here.submit(&page, &path, &[]).await.status, 303);
        world.settle().await;
        assert_eq!(who(&world), desk(&ended));

        // The user ends what a client has: that client alone is told, of each session that signed it in.
        let one = id_token(&world, &here, "desk-agent").await;
        let travel = id_token(&world, &here, "travel-agent").await;
        let third = world.signed_in(ALICE).await;
        let two = id_token(&world, &third, "desk-agent").await;
        let key = world.database.column("SELECT id FROM client WHERE client_id = 'desk-agent'").await.remove(0);
        let page = here.get("/connections").await;
        assert_eq!(here.submit(&page, &format!("/connections/sign-ins/{key}/end"), &[]).await.status, 303);
        world.settle().await;
        let mut both = [desk(&one), desk(&two)].concat();
        both.sort();
        assert_eq!(who(&world), both);

        // The password changes, and then the user is gone: everybody is told of all that is left.
        let declared = told(&world.service.url);
        let changed = declared.replacen(PASSWORD, "another battery staple horse", 1);
        let after = world.replica(&changed).await;
        after.settle().await;
        let mut all = [both.clone(), vec![("travel-agent".to_owned(), sid(&travel))]].concat();
        all.sort();
        assert_eq!(who(&world), all);
        let gone = world.replica(&changed.replace(BOB, "carol@example.com")).await;
        gone.settle().await;
        assert_eq!(who(&world), desk(&bobs));
        assert_eq!(world.database.column("SELECT COUNT(*) FROM delivery WHERE state <> 'delivered'").await, ["0"]);
    }
}

on_both! {
    /// A session lives for longer than the tokens of it.
    async fn a_client_is_told_long_after_its_tokens_have_gone(world: World) {
        let browser = world.signed_in(ALICE).await;
        let id = id_token(&world, &browser, "travel-agent").await;
        world.database.column("DELETE FROM refresh_token RETURNING hash").await;
        world.database.column("UPDATE token_family SET expires_at = created_at RETURNING id").await;
        world.clock.advance(Seconds(3 * DAY));
        sweep::run(&world.host).await.unwrap();
        assert_eq!(world.database.column("SELECT COUNT(*) FROM token_family").await, ["0"]);
        sign_out(&browser).await;
        world.settle().await;
        assert_eq!(who(&world), [("travel-agent".to_owned(), sid(&id))]);

        // One that ends by itself tells nobody, and is forgotten with its clients.
        let late = world.signed_in(ALICE).await;
        id_token(&world, &late, "travel-agent").await;
        world.clock.advance(Seconds(60 * DAY));
        sweep::run(&world.host).await.unwrap();
        world.settle().await;
        assert!(who(&world).is_empty());
        assert_eq!(world.database.column("SELECT COUNT(*) FROM session_client").await, ["0"]);
        assert_eq!(world.database.column("SELECT COUNT(*) FROM session").await, ["0"]);
    }
}

on_both! {
    async fn what_clients_answer(world: World) {
        let sessions = async || {
            let browser = world.signed_in(ALICE).await;
            world.tokens(&browser, "desk-agent").await;
            sign_out(&browser).await;
        };
        let state = async || world.database.column("SELECT state FROM delivery ORDER BY created_at DESC, id DESC").await.remove(0);
        let received = || world.service.received().len();
        // A 400 is final, whatever comes with it.
        world.service.behave(Behaviour::Says(400, br#"{"error":"logout_failed"}"#.to_vec()));
        sessions().await;
        world.settle().await;
        assert_eq!((state().await.as_str(), received()), ("refused", 1));
        let admin = world.admin_token();
        let listed = world.api("GET", "/deliveries?state=refused", &admin).await.json()["items"][0].clone();
        assert_eq!((&listed["format"], &listed["aud"], &listed["delegation_id"]), (&json!("backchannel-logout"), &json!("desk-agent"), &Value::Null));
        let id = listed["id"].as_str().unwrap();
        let ended = world.database.column("SELECT id FROM session WHERE ended_at IS NOT NULL").await;
        assert_eq!(listed["sid"], json!(ended[0]));
        let config = world.database.path("avouch.toml");
        let shown = run(world.database.path("").as_path(), &["delivery", "show", id, "--config", config.to_str().unwrap()]);
        let shown = text(&shown.stdout);
        assert!(shown.contains("client       desk-agent") && shown.contains("logout_failed"), "{shown}");

        // By hand it is tried once more, and is another token.
        world.service.behave(Behaviour::Status(204));
        assert_eq!(world.api("POST", &format!("/deliveries/{id}/retry"), &admin).await.status, 202);
        world.settle().await;
        assert_eq!((state().await.as_str(), received()), ("delivered", 2));
        let whole = world.api("GET", &format!("/deliveries/{id}"), &admin).await.json();
        assert_eq!(whole["tried"].as_array().unwrap().len(), 2, "{whole}");
        let twice: Vec<Value> = tokens(&world).iter().map(|token| claims(token)["jti"].clone()).collect();
        assert_ne!(twice[0], twice[1]);

        // A client that is down hears of it for a day.
        world.clock.advance(Seconds(1));
        world.service.behave(Behaviour::Status(503));
        sessions().await;
        let began = world.clock.now();
        world.settle().await;
        while state().await == "queued" {
            let due = world.database.column("SELECT due_at FROM delivery WHERE state = 'queued'").await[0].parse::<i64>().unwrap();
            world.clock.advance(Seconds(due - world.clock.now().0));
            world.settle().await;
        }
        assert_eq!(state().await, "given_up");
        assert!((DAY - 3601..DAY).contains(&(world.clock.now() - began).0));
        assert!((30..50).contains(&received()), "{}", received());
    }
}

on_both! {
    /// The address and the algorithm are those of the moment, and what was owed to a client that is gone goes to where it was.
    async fn a_client_is_told_where_it_wants_to_be_told_now(world: World) {
        let browser = world.signed_in(ALICE).await;
        world.tokens(&browser, "desk-agent").await;
        world.service.behave(Behaviour::Status(404));
        sign_out(&browser).await;
        world.settle().await;
        world.service.behave(Behaviour::Status(200));
        tokens(&world);
        let moved = told(&world.service.url).replace("/out?of=desk-agent", "/elsewhere");
        let after = world.replica(&moved).await;
        world.clock.advance(Seconds(6));
        after.settle().await;
        assert_eq!(who(&world).len(), 1);
        let endpoint = world.database.column("SELECT endpoint FROM delivery WHERE state = 'delivered'").await;
        assert_eq!(endpoint, [format!("{}/elsewhere", world.service.url)]);

        let browser = after.signed_in(ALICE).await;
        after.tokens(&browser, "desk-agent").await;
        sign_out(&browser).await;
        let gone = after.replica(&moved.replace("desk-agent", "other-agent")).await;
        gone.settle().await;
        assert_eq!(who(&world).iter().map(|(aud, _)| aud.as_str()).collect::<Vec<_>>(), ["desk-agent"]);
    }
}

/// A token says the issuer that signed the user in, also where several share a server.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_issuer_speaks_for_itself() {
    let world = World::with(Engine::Sqlite, |service| twice(&told(service))).await;
    let acme = world.under("acme").await;
    let browser = acme.signed_in(ALICE).await;
    let id = id_token(&acme, &browser, "desk-agent").await;
    sign_out(&browser).await;
    acme.settle().await;
    let token = tokens(&world).remove(0);
    assert_eq!((&claims(&token)["iss"], &claims(&token)["sub"]), (&json!(acme.issuer()), &id["sub"]));
    let header = jsonwebtoken::decode_header(&token).unwrap();
    let keys = acme.http.get(format!("{}/.well-known/jwks.json", acme.issuer())).send().await.unwrap();
    assert!(keys.text().await.unwrap().contains(&header.kid.unwrap()), "by a key of its own");
}

both! {
    /// Without the scope `openid` a client knows no session, and is told of none.
    async fn who_knows_no_session_is_told_of_none(world: World) {
        let world = world.replica(&told(&world.service.url)).await;
        let browser = world.signed_in(ALICE).await;
        let code = world.code(&browser, "desk-agent", &[("scope", "email"), ("nonce", "")]).await;
        assert_eq!(world.token("desk-agent", &code_grant(&code)).await.0, 200);
        sign_out(&browser).await;
        world.settle().await;
        assert!(who(&world).is_empty());
    }
}
