//! A form that is refused is shown again at an address of its own: Back and reload never send anything a second time.

use avouch::domain::time::Seconds;
use serde_json::json;

use crate::browser::BrowserError;
use crate::harness::{
    ALICE, Answer, BOB, Browser, Engine, PASSWORD, World, answer_form, both, declarations, encode, hidden_fields, query,
};
use crate::pages::Stage;

/// Posts a page's form, and does not go where the answer leads.
async fn post(world: &World, browser: &Browser, page: &Answer, path: &str, typed: &[(&str, &str)]) -> Answer {
    let hidden = hidden_fields(&page.body, path);
    let mut fields: Vec<(&str, &str)> = hidden.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    fields.extend_from_slice(typed);
    let request = world.http.post(format!("{}{path}", world.url)).header("cookie", browser.cookie_header());
    let request = request.header("content-type", "application/x-www-form-urlencoded").body(encode(&fields));
    Answer::read(request.send().await.unwrap()).await
}

both! {
    async fn a_wrong_password_leads_to_the_form(world: World) {
        let browser = world.browser();
        let page = browser.get("/login?to=%2Fconnections").await;
        let typed = [("email", ALICE), ("password", "a wrong password")];
        let sent = post(&world, &browser, &page, "/login", &typed).await;
        assert_eq!((sent.status, sent.body.as_str()), (303, ""));
        let to = sent.location();
        assert!(!to.contains("alice") && !to.contains("wrong"), "what was typed is not in the address: {to}");
        let shown = browser.get(&to).await;
        assert_eq!(shown.status, 422);
        assert!(shown.body.contains("E-mail or password is wrong.") && shown.body.contains(ALICE), "{}", shown.body);
        assert_eq!(browser.get(&to).await.status, 422, "as often as one likes");
        // Later it is a form like any other, and so is one whose note nobody made.
        world.clock.advance(Seconds(601));
        for to in [to.clone(), format!("{to}x"), "/login?note=".to_owned(), "/login?note=%00".to_owned()] {
            let page = browser.get(&to).await;
            assert_eq!(page.status, if to.ends_with("%00") { 400 } else { 200 }, "{to}");
            assert!(!page.body.contains("is wrong"), "{to}");
        }
        // It knows when the wait is over.
        let mut waiting = String::new();
        while !waiting.contains("Too many attempts") {
            let page = browser.get("/login").await;
            let to = post(&world, &browser, &page, "/login", &typed).await.location();
            let page = browser.get(&to).await;
            if page.status == 429 {
                assert_eq!(page.header("retry-after"), "5");
                world.clock.advance(Seconds(2));
                let later = browser.get(&to).await;
                assert_eq!((later.status, later.header("retry-after")), (429, "3"));
                world.clock.advance(Seconds(3));
                assert_eq!(browser.get(&to).await.status, 200, "the wait is over");
            }
            waiting = page.body;
        }
    }
}

both! {
    async fn a_refused_answer_leads_to_the_question(world: World) {
        let alice = world.signed_in(ALICE).await;
        let tokens = world.tokens(&alice, "desk-agent").await;
        let (status, body) = world.exchange("desk-agent", &tokens, &[("scope", "api.read api.write")]).await;
        assert_eq!((status, &body["error"]), (400, &json!("consent_required")), "{body}");
        let path = body["consent_uri"].as_str().unwrap().strip_prefix(&world.issuer()).unwrap().to_owned();
        let page = alice.get(&path).await;
        let nothing = [("mode", "until:86400"), ("decision", "allow")];
        let sent = post(&world, &alice, &page, &path, &nothing).await;
        let to = sent.location();
        assert!(sent.status == 303 && to.starts_with(&format!("{path}?note=")), "{} {to}", sent.status);
        let shown = alice.get(&to).await;
        assert_eq!(shown.status, 400);
        assert!(shown.body.contains("Leave at least one of these ticked"), "{}", shown.body);
        assert!(!shown.body.contains("value=\"api.read\" checked") && shown.body.contains("value=\"until:86400\" required checked"));

        // It is for this question and this session.
        let (_, other) = world.exchange("desk-agent", &tokens, &[("audience", "https://other.example")]).await;
        let elsewhere = other["consent_uri"].as_str().unwrap().strip_prefix(&world.issuer()).unwrap();
        let note = query(&format!("http://h{to}"), "note").unwrap();
        let answer = alice.get(&format!("{elsewhere}?note={note}")).await;
        assert!(answer.status == 200 && !answer.body.contains("Leave at least one"), "{}", answer.status);
        let again = world.signed_in(ALICE).await;
        let answer = again.get(&to).await;
        assert!(answer.status == 200 && !answer.body.contains("Leave at least one"), "{}", answer.status);
        assert_eq!(world.signed_in(BOB).await.get(&to).await.status, 403);

        // Answered meanwhile: a second answer changes nothing, and the first page's address tells what became of it.
        let both = answer_form(&page, "once");
        assert_eq!(post(&world, &alice, &page, &path, &both).await.location(), path);
        let late = post(&world, &alice, &page, &path, &answer_form(&page, "deny")).await.location();
        let late = alice.get(&late).await;
        assert_eq!(late.status, 409);
        assert!(late.body.contains("You had already answered this"), "{}", late.body);
        let first = alice.get(&to).await;
        assert!(first.status == 200 && first.body.contains("You allowed it") && !first.body.contains("already answered"), "{}", first.body);
    }
}

#[tokio::test]
async fn an_authorization_request_that_is_posted_asks_at_an_address() {
    let world = World::with(Engine::Sqlite, declarations).await;
    let browser = world.signed_in(ALICE).await;
    let path = World::authorize_path("desk-agent", &[]);
    let fields: Vec<(String, String)> =
        url::form_urlencoded::parse(path.split_once('?').unwrap().1.as_bytes()).into_owned().collect();
    let fields: Vec<(&str, &str)> = fields.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let sent = browser.post_with("/authorize", &fields, &[]).await;
    assert_eq!((sent.status, sent.location()), (303, path), "{}", sent.body);
    let page = browser.get(&sent.location()).await;
    assert!(page.status == 200 && page.body.contains("Sign in to "), "{}", page.body);
}

/// In a real browser, which would otherwise ask "Confirm Form Resubmission".
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn back_and_reload_send_nothing_again() -> Result<(), BrowserError> {
    let stage = Stage::start().await;
    let browser = &stage.browser;
    browser.goto(&stage.sign_in_link("desk-agent")).await?;
    for wrong in ["one", "two"] {
        stage.sign_in(ALICE, wrong).await?;
        assert_eq!(browser.text("[role=alert]").await?, "E-mail or password is wrong.");
    }
    browser.reload().await?;
    assert_eq!(browser.text("[role=alert]").await?, "E-mail or password is wrong.");
    stage.sign_in(ALICE, PASSWORD).await?;
    assert_eq!(browser.text("h1").await?, "Sign in to Desk Agent as alice@example.com?");
    for _ in 0..3 {
        browser.back().await?;
        assert_eq!(browser.text("h1").await?, "Sign in to Avouch");
    }
    assert!(browser.find("[role=alert]").await.is_err(), "the first page");
    let counted = stage.world.database.column("SELECT failures FROM throttle ORDER BY failures DESC").await;
    assert!(counted.first().is_none_or(|failures| failures == "2"), "{counted:?}");

    browser.goto(&stage.sign_in_link("desk-agent")).await?;
    browser.follow("button[value=allow]").await?;
    let tokens = stage.tokens("desk-agent").await?;
    let link = stage.asked(&tokens, &[("scope", "api.read api.write")]).await;
    browser.goto(&link).await?;
    browser.click("[value='until:86400']").await?;
    for scope in ["api.read", "api.write"] {
        browser.click(&format!("[name=scope][value='{scope}']")).await?;
    }
    browser.follow("button[value=allow]").await?;
    assert!(browser.text("[role=alert]").await?.contains("at least one of these"));
    browser.reload().await?;
    assert!(browser.text("[role=alert]").await?.contains("at least one of these"));
    browser.click("[name=scope][value='api.read']").await?;
    browser.follow("button[value=allow]").await?;
    assert_eq!(browser.text(".state").await?, "Until 16 Jan 2027, 08:00 UTC (in 1 day)", "the duration was kept");
    for _ in 0..2 {
        browser.back().await?;
        // Chromium may show the page as it was, from its memory.
        let heading = browser.text("h1").await?;
        assert!(heading == "You allowed it" || heading.starts_with("Let Desk Agent tell"), "{heading}");
    }
    Ok(())
}
