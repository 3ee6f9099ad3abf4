//! What every page must be, whatever is on it: within a telephone's width in both schemes, with the headers that protect it, silent on the
//! console, and harmless with the names that others chose.

use avouch::domain::time::Seconds;
use serde_json::json;

use crate::browser::BrowserError;
use crate::harness::{ALICE, Answer, Behaviour, Browser, Engine, PASSWORD, World, both, declarations, hidden_fields};
use crate::pages::Stage;

type Seen = Result<(), BrowserError>;

/// Names that try to be markup, to turn the text around, to pass for somebody else, and not to end.
const HOSTILE: &str = "<script>document.title='owned'</script><img src=x onerror=\"document.title='owned'\">";
const TURNED: &str = "\u{5d0}\u{5d1}\u{5d2} {{7*7}} &amp; \"'` \u{5d3}\u{5d4}";
const LONG: &str = "Donaudampfschifffahrtselektrizitätenhauptbetriebswerkbauunterbeamtengesellschaft";
const LONG_EMAIL: &str =
    "alice.with.a.name.that.never.ends.and.no.place.to.break@mail.department.subsidiary.example.com";
const LONG_SCOPE: &str =
    "https://api.department.subsidiary.example.com/auth/very.long.scope.name.without.any.break/read-write";
const LONG_HOST: &str = "accounts.identity.department.of.a.subsidiary.with.a.long.name.example.com:8443";

/// The usual declarations with such names and a third service, of which little is known.
fn hostile(usual: &str) -> String {
    // As long as a name may be.
    let name = |text: &str| format!("name = {}", json!(text.chars().take(100).collect::<String>()));
    usual
        .replace(ALICE, LONG_EMAIL)
        .replace("name = \"Alice Example\"", &name(&format!("{TURNED}{LONG}")))
        .replace("client_name = \"Desk Agent\"", &format!("client_{}", name(&format!("{HOSTILE}{LONG}"))))
        .replace("client_name = \"Travel Agent\"", &format!("client_{}", name(&TURNED.repeat(8))))
        .replace("name = \"Fake Service\"", &name(&format!("{HOSTILE}{TURNED}{LONG}")))
        .replace("scopes = [\"api.read\", \"api.write\"]", &format!("scopes = [\"api.read\", {}]", json!(LONG_SCOPE)))
        .replace("https://other.example", &format!("https://{LONG_HOST}\", \"https://{LONG_HOST}/waiting"))
}

impl Stage {
    /// Looks at the page that is shown, wide and as narrow as it gets, in both schemes.
    async fn look(&self, name: &str) -> Seen {
        let browser = &self.browser;
        for (width, dark) in [(320, false), (320, true), (1200, true), (1200, false)] {
            browser.set_viewport(width, 700).await?;
            browser.dark(dark).await?;
            let scrolled = browser.evaluate("document.documentElement.scrollWidth").await?;
            assert!(scrolled.as_u64().is_some_and(|w| w <= u64::from(width)), "{name} is {scrolled} wide at {width}");
            // The bodies of both schemes differ, so the stylesheet is there and knows them.
            let ground = browser.evaluate("getComputedStyle(document.body).backgroundColor").await?;
            assert_eq!(ground, if dark { "rgb(20, 22, 26)" } else { "rgb(246, 246, 244)" }, "{name}");
            // Nothing is cut off inside a box that hides it.
            let cut = "[...document.querySelectorAll('main *, header *')].filter(e => !e.closest('.unseen') && !e.closest('svg, input') && e.clientWidth > 0 \
                       && getComputedStyle(e).display !== 'inline' && e.scrollWidth > e.clientWidth + 1).map(e => e.outerHTML.slice(0, 80))";
            assert_eq!(browser.evaluate(cut).await?, json!([]), "{name} at {width}");
        }
        assert!(!browser.title().await?.contains("owned"), "{name} runs a name");
        assert_eq!(browser.evaluate("document.scripts.length + document.images.length").await?, 0, "{name}");
        // A status that a page is meant to have is told there as well.
        let console = browser.console().await?;
        let wrong: Vec<_> =
            console.iter().filter(|line| !line.contains("the server responded with a status of 4")).collect();
        assert!(wrong.is_empty(), "{name}: {wrong:?}");
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_page_fits_and_no_name_breaks_it() -> Seen {
    let stage = Stage::with(hostile).await;
    let Stage { world, browser, .. } = &stage;
    browser.goto(&stage.sign_in_link("desk-agent")).await?;
    stage.look("login").await?;
    stage.sign_in(LONG_EMAIL, "wrong").await?;
    stage.look("login after a mistake").await?;
    stage.sign_in(LONG_EMAIL, PASSWORD).await?;
    stage.look("sign-in consent").await?;
    assert!(browser.text("h1").await?.contains(HOSTILE), "a name is shown as it is");
    browser.follow("button[value=allow]").await?;
    let tokens = stage.tokens("desk-agent").await?;

    let scope = format!("api.read {LONG_SCOPE}");
    let asked = [("scope", scope.as_str()), ("agent_context_id", TURNED), ("agent_platform", LONG)];
    browser.goto(&stage.asked(&tokens, &asked).await).await?;
    stage.look("consent").await?;
    // What stands beside a name that turns the text around keeps its place: each name is an island.
    let isolated = "[...document.querySelectorAll('main b, main h1, main q')].every(e => e.matches('.host') || e.querySelector('bdi'))";
    assert_eq!(browser.evaluate(isolated).await?, true);
    browser.click("[value=always]").await?;
    browser.follow("button[value=allow]").await?;
    stage.look("allowed").await?;
    assert_eq!(world.exchange("desk-agent", &tokens, &asked).await.0, 200);
    let other = format!("https://{LONG_HOST}");
    browser.goto(&stage.asked(&tokens, &[("audience", &other)]).await).await?;
    stage.look("consent for a service nobody knows").await?;
    browser.follow("button[value=deny]").await?;
    stage.look("denied").await?;
    let waiting = format!("https://{LONG_HOST}/waiting");
    stage.asked(&tokens, &[("audience", &waiting), ("scope", LONG_SCOPE)]).await;

    browser.goto(&stage.sign_in_link("travel-agent")).await?;
    browser.follow("button[value=allow]").await?;
    let travel = stage.tokens("travel-agent").await?;
    let (_, body) = world.exchange("travel-agent", &travel, &[("scope", LONG_SCOPE)]).await;
    browser.goto(body["consent_uri"].as_str().expect("a question")).await?;
    browser.follow("button[value=allow]").await?;

    browser.goto(&stage.page("/connections")).await?;
    stage.look("connections").await?;
    browser.follow("article a[href$='/stop']").await?;
    stage.look("stop").await?;
    browser.follow("button.danger").await?;
    stage.look("stopped").await?;
    browser.goto(&stage.page("/nothing/is/here")).await?;
    stage.look("error").await?;
    browser.goto(&stage.page(&format!("/authorize?client_id={LONG}"))).await?;
    stage.look("error of an agent").await?;
    Ok(())
}

/// The headers of RFC 9700 section 4.16 and their relatives.
fn guarded(name: &str, page: &Answer) {
    assert!(page.body.starts_with("<!doctype html>"), "{name} is a page: {}", page.body);
    let policy = page.header("content-security-policy");
    for rule in ["default-src 'none'", "style-src 'self'", "base-uri 'none'", "frame-ancestors 'none'"] {
        assert!(policy.split("; ").any(|given| given == rule), "{name}: {rule} is not in {policy}");
    }
    assert!(!policy.contains("unsafe"), "{name}: {policy}");
    for (header, value) in [
        ("x-frame-options", "DENY"),
        ("x-content-type-options", "nosniff"),
        ("cache-control", "no-store"),
        ("referrer-policy", "same-origin"),
        ("content-type", "text/html; charset=utf-8"),
    ] {
        assert_eq!(page.header(header), value, "{name}: {header}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_page_carries_its_headers() {
    let world = World::with(Engine::Sqlite, declarations).await;
    let stranger = world.browser();
    guarded("login", &stranger.get("/login").await);
    let wrong = stranger.get("/login").await;
    let wrong = stranger.submit(&wrong, "/login", &[("email", ALICE), ("password", "wrong")]).await;
    assert_eq!(wrong.status, 422);
    guarded("wrong password", &wrong);

    let alice: Browser = world.signed_in(ALICE).await;
    let sign_in = World::authorize_path("desk-agent", &[]);
    guarded("sign-in consent", &alice.get(&sign_in).await);
    let tokens = world.tokens(&alice, "desk-agent").await;
    let (_, body) = world.exchange("desk-agent", &tokens, &[]).await;
    let link = body["consent_uri"].as_str().expect("a question").strip_prefix(&world.issuer()).unwrap().to_owned();
    let question = alice.get(&link).await;
    guarded("consent", &question);
    let nothing = alice.submit(&question, &link, &[("decision", "allow"), ("mode", "once")]).await;
    assert_eq!(nothing.status, 400);
    guarded("nothing left ticked", &nothing);
    let answer = [("decision", "allow"), ("mode", "always"), ("scope", "api.read")];
    assert_eq!(alice.submit(&question, &link, &answer).await.status, 303);
    guarded("closed", &alice.get(&link).await);
    let twice = alice.submit(&question, &link, &answer).await;
    assert_eq!(twice.status, 409);
    assert!(twice.body.contains("You allowed it"), "a second click tells what the first one did");
    guarded("clicked twice", &twice);
    assert_eq!(world.database.column("SELECT id FROM consent").await.len(), 1);
    assert_eq!(world.exchange("desk-agent", &tokens, &[]).await.0, 200);
    guarded("connections", &alice.get("/connections").await);
    let id = world.database.column("SELECT id FROM delegation").await.remove(0);
    guarded("stop", &alice.get(&format!("/connections/{id}/stop")).await);
    let bob = world.signed_in(crate::harness::BOB).await;
    let wrong = bob.get(&link).await;
    assert_eq!(wrong.status, 403);
    guarded("another account", &wrong);
    guarded("error", &alice.get("/authorize").await);
    assert_eq!(alice.get("/consent/nothing").await.status, 404);
    guarded("not found", &alice.get("/consent/nothing").await);
    let forged = alice.post("/connections/x/stop", &[("csrf", "x")]).await;
    assert_eq!(forged.status, 403);
    guarded("cross-site", &forged);

    // The stylesheet may be kept for good; a redirect by nobody.
    let sheet = alice.get(avouch::http::pages::stylesheet_path()).await;
    assert_eq!((sheet.status, sheet.header("content-type")), (200, "text/css; charset=utf-8"));
    assert!(sheet.header("cache-control").contains("immutable"), "{}", sheet.header("cache-control"));
    assert_eq!(sheet.header("x-content-type-options"), "nosniff");
    let redirect = stranger.get("/connections").await;
    assert_eq!((redirect.status, redirect.header("cache-control")), (303, "no-store"));
}

both! {
    /// The words of the page that come from several tables at once.
    async fn the_connections_page_tells_what_happened(world: World) {
        let alice = world.browser();
        let page = alice.get("/login").await;
        let token = hidden_fields(&page.body, "/login").into_iter().find(|(name, _)| name == "csrf").unwrap().1;
        let fields = [("csrf", token.as_str()), ("email", ALICE), ("password", PASSWORD)];
        let firefox = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0";
        let answer = alice.post_with("/login", &fields, &[("user-agent", firefox)]).await;
        assert_eq!(answer.status, 303, "{}", answer.body);
        let tokens = world.tokens(&alice, "desk-agent").await;
        for _ in 0..5 {
            world.agree(&alice, "desk-agent", &tokens, "once", &[]).await;
            assert_eq!(world.exchange("desk-agent", &tokens, &[]).await.0, 200);
        }
        let page = alice.get("/connections").await.body;
        assert!(page.contains("Used. Agents have to ask again"), "{page}");
        assert_eq!(page.matches("This once, used just now (15 Jan 2027, 08:00 UTC)").count(), 3);
        assert!(page.contains("and 2 earlier"));
        assert_eq!(page.matches("agreed just now (15 Jan 2027, 08:00 UTC), Firefox on Linux").count(), 3);
        assert!(page.contains("08:00 UTC) by Desk Agent; 5 times in all"));
        assert!(!page.contains("What the service was told"));

        world.agree(&alice, "desk-agent", &tokens, "always", &[]).await;
        let id = world.database.column("SELECT id FROM delegation").await.remove(0);
        let path = format!("/connections/{id}/stop");
        let stop = alice.get(&path).await;
        assert!(stop.body.contains("keep trying for 7 days"), "{}", stop.body);
        assert_eq!(alice.submit(&stop, &path, &[]).await.status, 303);
        let page = alice.get("/connections").await.body;
        assert!(page.contains("is being told<"), "{page}");
        world.service.behave(Behaviour::Status(503));
        world.settle().await;
        let page = alice.get("/connections").await.body;
        assert!(page.contains(": it answered 503<") && page.contains("next try; we go on until 22 Jan 2027"), "{page}");
        world.service.behave(Behaviour::Status(200));
        world.clock.advance(Seconds(60));
        world.settle().await;
        // What is still to come is no reason to wait.
        let page = alice.get("/connections").await.body;
        let (state, details) = page.split_once("<summary>What the service was told</summary>").expect("it was told");
        assert!(state.contains("<span>Stopped and confirmed</span>"), "{state}");
        assert!(details.contains("is told a second time"), "{details}");

        // What nobody used has nothing to be told of, and the page promises nothing else.
        world.agree(&alice, "desk-agent", &tokens, "always", &[("audience", "https://other.example")]).await;
        let id = world.database.column("SELECT id FROM delegation WHERE mint_count = 0").await.remove(0);
        let stop = alice.get(&format!("/connections/{id}/stop")).await.body;
        assert!(stop.contains("there is nothing to end there") && !stop.contains("7 days"), "{stop}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_question_and_its_answers_are_on_the_first_screen() -> Seen {
    let three = |ours: &str| ours.replace("\"api.write\"]", "\"api.write\", \"api.admin\"]");
    let stage = Stage::with(three).await;
    let browser = &stage.browser;
    let tokens = stage.arrive("desk-agent", ALICE).await?;
    browser.set_viewport(1280, 900).await?;
    browser.goto(&stage.asked(&tokens, &[("scope", "api.read api.write api.admin")]).await).await?;
    if let Some(folder) = std::env::var_os("SCREENSHOTS") {
        browser.screenshot(&std::path::Path::new(&folder).join("question.png")).await?;
    }
    for answer in ["allow", "deny"] {
        let bottom = format!("innerHeight - document.querySelector('[value={answer}]').getBoundingClientRect().bottom");
        let left = browser.evaluate(&bottom).await?.as_f64().unwrap();
        assert!(left >= 0.0, "{answer} is {} px below the first screen", -left);
    }
    Ok(())
}
