//! What a sign-in to an agent lasts for: until the user signs out, or while they are away; and how the user ends either.

use avouch::domain::authorize::REFRESH_LIFETIME;
use avouch::domain::session::LIFETIME;
use avouch::domain::time::Seconds;
use avouch::flow::sweep;
use serde_json::{Value, json};

use crate::harness::{
    ALICE, Answer, BOB, Browser, Engine, ID_TOKEN, PASSWORD, World, both, claims, code_grant, declarations,
    hidden_fields,
};

const DAY: i64 = 24 * 3600;
const OFFLINE: &[(&str, &str)] = &[("scope", "openid offline_access")];

/// The tokens of a sign-in with `offline_access`.
async fn offline_tokens(world: &World, browser: &Browser, client_id: &str) -> Value {
    let code = world.code(browser, client_id, OFFLINE).await;
    let (status, tokens) = world.token(client_id, &code_grant(&code)).await;
    assert_eq!((status, &tokens["scope"]), (200, &json!("offline_access openid")), "{tokens}");
    tokens
}

async fn refresh(world: &World, client_id: &str, tokens: &Value) -> (u16, Value) {
    let form = [("grant_type", "refresh_token"), ("refresh_token", tokens["refresh_token"].as_str().unwrap())];
    world.token(client_id, &form).await
}

/// Whether access token and ID token are good as subject tokens: the service is asked for, or not.
async fn subjects(world: &World, tokens: &Value) -> [bool; 2] {
    let id = [("subject_token", tokens["id_token"].as_str().unwrap()), ("subject_token_type", ID_TOKEN)];
    let by_access_token = world.exchange("desk-agent", tokens, &[]).await.1;
    let by_id_token = world.exchange("desk-agent", tokens, &id).await.1;
    [by_access_token, by_id_token].map(|answer| answer["error"] != "invalid_grant")
}

async fn sign_out(browser: &Browser) {
    let page = browser.get("/connections").await;
    assert_eq!(browser.submit(&page, "/logout", &[]).await.status, 303);
}

/// The paths of the buttons on `/connections` that end something of a kind.
fn ends(page: &Answer, kind: &str) -> Vec<String> {
    let start = format!("action=\"/connections/{kind}/");
    let forms = page.body.split(&start).skip(1).filter_map(|rest| rest.split('"').next());
    forms.map(|rest| format!("/connections/{kind}/{rest}")).collect()
}

both! {
    async fn with_offline_access_it_outlives_the_session(world: World) {
        let browser = world.signed_in(ALICE).await;
        let bound = world.tokens(&browser, "desk-agent").await;
        let tokens = offline_tokens(&world, &browser, "desk-agent").await;
        sign_out(&browser).await;
        assert_eq!(refresh(&world, "desk-agent", &bound).await.1["error"], "invalid_grant");
        assert_eq!(world.exchange("desk-agent", &bound, &[]).await.1["error"], "invalid_grant");
        assert_eq!(subjects(&world, &tokens).await, [true; 2]);

        // Long after the session would have ended by itself, with the time of that sign-in.
        world.clock.advance(Seconds(15 * DAY));
        let (status, later) = refresh(&world, "desk-agent", &tokens).await;
        assert_eq!(status, 200, "{later}");
        let (before, after) = (claims(tokens["id_token"].as_str().unwrap()), claims(later["id_token"].as_str().unwrap()));
        assert_eq!((&before["auth_time"], &before["sid"]), (&after["auth_time"], &after["sid"]));
        assert_eq!(subjects(&world, &later).await, [true; 2]);
        world.clock.advance(Seconds(5));
        let again = world.signed_in(ALICE).await;
        let answered = world.agree(&again, "desk-agent", &later, "once", &[]).await;
        assert!(answered.starts_with("/consent/"), "a question of it is answered in another session");
        let (status, minted) = world.exchange("desk-agent", &later, &[]).await;
        assert_eq!(status, 200, "{minted}");
        assert_eq!(claims(minted["access_token"].as_str().unwrap())["auth_time"], before["auth_time"]);

        // A refresh token that nobody uses is over after 30 days.
        world.clock.advance(Seconds(30 * DAY));
        assert_eq!(refresh(&world, "desk-agent", &later).await.1["error"], "invalid_grant");
    }
}

both! {
    async fn the_user_ends_it_on_the_page(world: World) {
        let browser = world.signed_in(ALICE).await;
        let tokens = offline_tokens(&world, &browser, "desk-agent").await;
        let code = world.code(&browser, "desk-agent", OFFLINE).await;
        let other = world.tokens(&browser, "travel-agent").await;
        let page = browser.get("/connections").await;
        let text = page.body.split("Agents you stay signed in to").nth(1).unwrap();
        assert!(text.contains("while you are away") && text.contains("until you sign out"), "{text}");
        let path = ends(&page, "sign-ins").remove(0);
        assert!(text.find("Desk Agent") < text.find("Travel Agent"), "by name");

        // Nobody else ends it, and nobody without the page's token.
        let bob = world.signed_in(BOB).await;
        let bobs = bob.get("/connections").await;
        assert!(ends(&bobs, "sign-ins").is_empty());
        let csrf = hidden_fields(&bobs.body, "/logout").remove(0).1;
        assert_eq!(bob.post(&path, &[("csrf", &csrf)]).await.status, 404);
        assert_eq!(browser.post(&path, &[("csrf", &csrf)]).await.status, 403);
        assert_eq!(subjects(&world, &tokens).await, [true; 2]);

        assert_eq!(browser.submit(&page, &path, &[]).await.location(), "/connections");
        assert_eq!(subjects(&world, &tokens).await, [false; 2]);
        assert_eq!(refresh(&world, "desk-agent", &tokens).await.1["error"], "invalid_grant");
        assert_eq!(world.token("desk-agent", &code_grant(&code)).await.1["error"], "invalid_grant");
        assert_eq!(refresh(&world, "travel-agent", &other).await.0, 200, "another agent is not concerned");
        let asked = browser.get(&World::authorize_path("desk-agent", OFFLINE)).await;
        assert_eq!(asked.status, 200, "and the user is asked again: {}", asked.location());
        assert_eq!(ends(&browser.get("/connections").await, "sign-ins").len(), 1);
        assert_eq!(browser.submit(&page, &path, &[]).await.status, 404, "over is over");
        let ended = world.database.column("SELECT client_id FROM journal WHERE kind = 'sign_in.ended'").await;
        assert_eq!(ended.len(), 1);
    }
}

both! {
    async fn each_session_is_listed_and_ended(world: World) {
        let here = world.signed_in(ALICE).await;
        world.clock.advance(Seconds(60));
        let there = world.signed_in(ALICE).await;
        let tokens = world.tokens(&there, "desk-agent").await;
        let page = here.get("/connections").await;
        let buttons = ends(&page, "sessions");
        assert_eq!((buttons.len(), page.body.matches("this browser").count()), (2, 1));
        let bob = world.signed_in(BOB).await;
        let csrf = hidden_fields(&bob.get("/connections").await.body, "/logout").remove(0).1;
        assert_eq!(bob.post(&buttons[0], &[("csrf", &csrf)]).await.status, 404, "somebody else's");
        assert_eq!(there.get("/connections").await.status, 200);

        assert_eq!(here.submit(&page, &buttons[0], &[]).await.location(), "/connections");
        assert_eq!(there.get("/connections").await.status, 303, "the latest stands first");
        assert_eq!(refresh(&world, "desk-agent", &tokens).await.1["error"], "invalid_grant");
        assert_eq!(ends(&here.get("/connections").await, "sessions"), buttons[1..]);
        assert_eq!(here.submit(&page, &buttons[1], &[]).await.location(), "/connections");
        assert_eq!(here.get("/connections").await.status, 303, "this one as well");
        let kinds = world.database.column("SELECT kind FROM journal WHERE kind = 'session.ended'").await;
        assert_eq!(kinds.len(), 2);
    }
}

#[tokio::test]
async fn the_page_says_for_how_long() {
    let world = World::start(Engine::Sqlite).await;
    let browser = world.signed_in(ALICE).await;
    for (scope, expected, other) in [
        ("openid", "Until you sign out", "While you are away"),
        ("openid offline_access", "While you are away, until you end it under Connections", "Until you sign out"),
    ] {
        let page = browser.get(&World::authorize_path("desk-agent", &[("scope", scope)])).await;
        assert!(page.body.contains(expected) && !page.body.contains(other), "{scope}: {}", page.body);
    }
    // Leave to stay until the user signs out is no leave to stay longer.
    world.code(&browser, "desk-agent", &[("scope", "openid")]).await;
    let longer = browser.get(&World::authorize_path("desk-agent", OFFLINE)).await;
    assert_eq!(longer.status, 200);
    let silent = [("scope", "openid offline_access"), ("prompt", "none")];
    let refused = browser.get(&World::authorize_path("desk-agent", &silent)).await.location();
    assert!(refused.contains("error=consent_required"), "{refused}");
}

#[tokio::test]
async fn a_disabled_user_is_out_for_good() {
    let world = World::start(Engine::Sqlite).await;
    let browser = world.signed_in(ALICE).await;
    let tokens = offline_tokens(&world, &browser, "desk-agent").await;
    let declared = declarations(&world.service.url);
    world.replica(&declared.replace(ALICE, "carol@example.com")).await;
    assert_eq!(subjects(&world, &tokens).await, [false; 2]);
    let again = world.replica(&declared).await;
    let page = again.browser();
    let form = page.get("/login").await;
    assert_eq!(page.submit(&form, "/login", &[("email", ALICE), ("password", PASSWORD)]).await.status, 303);
    assert_eq!(subjects(&again, &tokens).await, [false; 2]);
    assert_eq!(refresh(&again, "desk-agent", &tokens).await.1["error"], "invalid_grant");
}

both! {
    /// What is over for good is deleted, in the order in which one rests on the other; the journal and the decisions stay.
    async fn what_is_over_is_swept(world: World) {
        let browser = world.signed_in(ALICE).await;
        world.tokens(&browser, "desk-agent").await;
        let kept = world.signed_in(ALICE).await;
        let offline = offline_tokens(&world, &kept, "desk-agent").await;
        let count = async |table: &str| world.database.column(&format!("SELECT COUNT(*) FROM {table}")).await.remove(0);
        let swept = async || {
            sweep::run(&world.host).await.unwrap();
            let mut counts = Vec::new();
            for table in ["session", "token_family", "authorization_code", "access_token", "refresh_token"] {
                counts.push(count(table).await);
            }
            counts
        };
        assert_eq!(swept().await, ["2", "2", "2", "2", "2"]);
        world.clock.advance(LIFETIME + Seconds(DAY - 400));
        assert_eq!(swept().await[0], "2", "a day passes first");
        assert_eq!(refresh(&world, "desk-agent", &offline).await.0, 200);
        world.clock.advance(Seconds(17 * DAY));
        assert_eq!(swept().await[..2], ["1", "1"], "tokens rest on the other");
        world.clock.advance(REFRESH_LIFETIME + Seconds(DAY));
        assert_eq!(swept().await, ["0", "0", "0", "0", "0"]);
        assert_eq!(count("journal WHERE kind = 'session.opened'").await, "2");
    }
}
