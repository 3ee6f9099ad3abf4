//! The pages as a person uses them: a real Chromium, from the agent's link to the withdrawal.

use avouch::domain::time::Seconds;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::browser::{Browser, BrowserError};
use crate::harness::{ALICE, BOB, Behaviour, CALLBACK, Engine, PASSWORD, VERIFIER, World, declarations, query, twice};

type Seen = Result<(), BrowserError>;

/// Keys without a character (W3C WebDriver section 17.4.2).
const TAB: &str = "\u{E004}";
const ENTER: &str = "\u{E007}";
const SPACE: &str = " ";

/// Somebody else's website on an origin of its own: an agent's, or an attacker's.
pub(crate) struct Website {
    /// With the name `localhost`: another origin than ours, but the same site.
    pub(crate) near: String,
    /// With the address: another site.
    pub(crate) far: String,
    pages: Arc<Mutex<BTreeMap<String, String>>>,
}

impl Website {
    /// Every path shows a page that says so if its scripts run.
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let pages: Arc<Mutex<BTreeMap<String, String>>> = Arc::default();
        let shown = pages.clone();
        let router = axum::Router::new().fallback(move |uri: axum::http::Uri| {
            let page = shown.lock().unwrap().get(uri.path()).cloned();
            let usual = "<!doctype html><title>Elsewhere</title><script>document.title = 'Scripted'</script>";
            std::future::ready(axum::response::Html(page.unwrap_or_else(|| usual.to_owned())))
        });
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { near: format!("http://localhost:{port}"), far: format!("http://127.0.0.1:{port}"), pages }
    }

    /// Puts a page there.
    pub(crate) fn show(&self, path: &str, html: impl Into<String>) {
        self.pages.lock().unwrap().insert(path.to_owned(), html.into());
    }
}

/// A provider, a browser, and the website of the agent that sends the user there.
pub(crate) struct Stage {
    pub(crate) world: World,
    pub(crate) browser: Browser,
    pub(crate) agent: Website,
}

impl Stage {
    pub(crate) async fn start() -> Self {
        Self::with(str::to_owned).await
    }

    /// The usual declarations, changed.
    pub(crate) async fn with(change: impl Fn(&str) -> String) -> Self {
        let agent = Website::start().await;
        let callback = format!("{}/callback", agent.far);
        let declare = |service: &str| change(&declarations(service).replace(CALLBACK, &callback));
        let (world, browser) = tokio::join!(World::with(Engine::Sqlite, declare), Browser::start());
        Self { world, browser, agent }
    }

    pub(crate) fn page(&self, path: &str) -> String {
        format!("{}{path}", self.world.issuer())
    }

    fn callback(&self) -> String {
        format!("{}/callback", self.agent.far)
    }

    /// The link by which an agent sends its user to sign in.
    pub(crate) fn sign_in_link(&self, client_id: &str) -> String {
        self.page(&World::authorize_path(client_id, &[("redirect_uri", &self.callback())]))
    }

    /// Types the e-mail and password of a user into the sign-in page that is shown.
    pub(crate) async fn sign_in(&self, email: &str, password: &str) -> Seen {
        let browser = &self.browser;
        browser.evaluate("document.querySelector('[name=email]').select()").await?;
        browser.find("[name=email]").await?.type_into(email).await?;
        browser.find("[name=password]").await?.type_into(password).await?;
        browser.follow("form[action$='/login'] button").await
    }

    /// The tokens for the code that the browser has brought back to the agent.
    pub(crate) async fn tokens(&self, client_id: &str) -> Result<Value, BrowserError> {
        let url = self.browser.url().await?;
        assert!(url.starts_with(&self.callback()), "{url}");
        assert_eq!(query(&url, "state").as_deref(), Some("st"));
        assert_eq!(query(&url, "iss"), Some(self.world.issuer()));
        let (code, callback) = (query(&url, "code").expect("a code"), self.callback());
        let form = [("grant_type", "authorization_code"), ("code", &code), ("redirect_uri", &callback)];
        let (status, body) = self.world.token(client_id, &[&form[..], &[("code_verifier", VERIFIER)]].concat()).await;
        assert_eq!(status, 200, "{body}");
        Ok(body)
    }

    /// Signs in from an agent's link and agrees to that, each with a click.
    pub(crate) async fn arrive(&self, client_id: &str, email: &str) -> Result<Value, BrowserError> {
        self.browser.goto(&self.sign_in_link(client_id)).await?;
        self.sign_in(email, PASSWORD).await?;
        self.browser.follow("button[value=allow]").await?;
        self.tokens(client_id).await
    }

    /// What the exchange answers: the link to the question.
    pub(crate) async fn asked(&self, tokens: &Value, changes: &[(&str, &str)]) -> String {
        let (status, body) = self.world.exchange("desk-agent", tokens, changes).await;
        assert_eq!((status, &body["error"]), (400, &json!("consent_required")), "{body}");
        body["consent_uri"].as_str().unwrap().to_owned()
    }

    pub(crate) async fn error(&self, tokens: &Value, changes: &[(&str, &str)]) -> String {
        let (_, body) = self.world.exchange("desk-agent", tokens, changes).await;
        body["error"].as_str().unwrap_or("none").to_owned()
    }
}

async fn journey(scripts: bool) -> Seen {
    let stage = Stage::start().await;
    let Stage { world, browser, agent } = &stage;
    let host = world.service.url.strip_prefix("http://").unwrap();
    browser.scripts(scripts).await?;

    // The agent's link leads to the sign-in page; a wrong password stays there and says so.
    browser.goto(&stage.sign_in_link("desk-agent")).await?;
    assert!(browser.url().await?.starts_with(&stage.page("/login?")));
    assert!(browser.text("main").await?.contains("to continue to Desk Agent"));
    stage.sign_in(ALICE, "not the password").await?;
    assert_eq!(browser.text("[role=alert]").await?, "E-mail or password is wrong.");
    assert!(browser.cookies().await?.iter().all(|cookie| !cookie["name"].as_str().unwrap().contains("avouch-session")));
    stage.sign_in(ALICE, PASSWORD).await?;

    // The sign-in consent leads on, by a redirect after its post, to the agent's own origin.
    assert_eq!(browser.text("h1").await?, "Sign in to Desk Agent as alice@example.com?");
    assert!(browser.text("dl").await?.contains(agent.far.strip_prefix("http://").unwrap()));
    browser.follow("button[value=allow]").await?;
    assert_eq!(browser.title().await?, if scripts { "Scripted" } else { "Elsewhere" });
    let tokens = stage.tokens("desk-agent").await?;

    // A question that is answered by ticking everything off is asked again, and nothing is recorded.
    let link = stage.asked(&tokens, &[]).await;
    browser.goto(&link).await?;
    browser.click("[name=scope]").await?;
    browser.follow("button[value=allow]").await?;
    assert!(browser.text("[role=alert]").await?.contains("at least one of these"));
    assert_eq!(world.database.column("SELECT id FROM consent").await.len(), 0);

    // Once: the shortest is what is chosen when nothing is.
    browser.goto(&link).await?;
    let question = format!("Let Desk Agent tell {host} that you are alice@example.com?");
    assert_eq!(browser.text("h1").await?, question);
    for shown in ["Fake Service", "Your name, Alice Example", "api.read", "10 minutes", "or this service here before"] {
        assert!(browser.text("main").await?.contains(shown), "{shown}");
    }
    browser.follow("button[value=allow]").await?;
    assert_eq!(browser.text("h1").await?, "You allowed it");
    assert_eq!(browser.text(".state").await?, "This once");
    assert_eq!(world.exchange("desk-agent", &tokens, &[]).await.0, 200);
    let reload = browser.url().await?;
    browser.goto(&reload).await?;
    assert_eq!(browser.text("h1").await?, "You allowed it", "a closed question stays closed");

    // Until, and less than was asked for.
    let both = [("scope", "api.read api.write")];
    browser.goto(&stage.asked(&tokens, &both).await).await?;
    browser.click("[value='until:86400']").await?;
    browser.click("[name=scope][value='api.write']").await?;
    browser.follow("button[value=allow]").await?;
    assert_eq!(browser.text(".state").await?, "Until 16 Jan 2027, 08:00 UTC (in 1 day)");
    let (status, minted) = world.exchange("desk-agent", &tokens, &both).await;
    assert_eq!((status, &minted["scope"]), (200, &json!("api.read")), "{minted}");

    // Deny, for another service; then let it ask again.
    let other = [("audience", "https://other.example")];
    browser.goto(&stage.asked(&tokens, &other).await).await?;
    assert!(browser.text("[role=note]").await?.contains("not what is open there already"));
    browser.follow("button[value=deny]").await?;
    assert_eq!(browser.text("h1").await?, "You denied it");
    assert_eq!(stage.error(&tokens, &other).await, "access_denied");
    browser.follow("main a[href='/connections']").await?;
    let denied = browser.text("section[aria-labelledby=denied] li").await?;
    assert!(denied.starts_with("Desk Agent set up by Avouch about other.example · api.read\n"), "{denied}");
    browser.follow("section[aria-labelledby=denied] button").await?;
    assert!(browser.find("section[aria-labelledby=denied]").await.is_err());
    let again = stage.asked(&tokens, &other).await;
    browser.goto(&stage.page("/connections")).await?;
    browser.follow("section[aria-labelledby=pending] a").await?;
    assert_eq!(browser.url().await?, again);
    browser.goto(&stage.page("/connections")).await?;

    // Stop it: nothing is minted from then on, and the page tells how the service took it.
    assert_eq!(browser.text("article .state").await?, "Active until 16 Jan 2027, 08:00 UTC (in 1 day)");
    let agreed =
        "Until 16 Jan 2027, 08:00 UTC (in 1 day) · api.read\nagreed just now (15 Jan 2027, 08:00 UTC), Chrome on Linux";
    let article = browser.text("article").await?;
    assert!(article.contains(agreed) && article.contains("08:00 UTC) by Desk Agent; 2 times in all"), "{article}");
    browser.follow("article a[href$='/stop']").await?;
    assert!(browser.text("[role=note]").await?.contains("every agent"));
    assert!(browser.text("main").await?.contains("Desk Agent"));
    browser.follow("button.danger").await?;
    assert_eq!(browser.url().await?, stage.page("/connections"));
    assert_eq!(browser.text("article .state").await?, "Stopped; the service has not confirmed it yet");
    assert_eq!(stage.error(&tokens, &[]).await, "consent_required");
    world.service.behave(Behaviour::Status(503));
    world.settle().await;
    world.service.behave(Behaviour::Status(200));
    world.clock.advance(Seconds(10));
    world.settle().await;
    browser.goto(&stage.page("/connections")).await?;
    assert_eq!(browser.text("article .state").await?, "Stopped and confirmed");
    browser.click("article summary").await?;
    assert_eq!(
        browser.text("article .timeline").await?.lines().collect::<Vec<_>>(),
        [
            "15 Jan 2027, 08:00:00 UTC (just now) stopped here: no agent can use it from now on".to_owned(),
            format!("15 Jan 2027, 08:00:00 UTC (just now) tried to tell {host}: it answered 503"),
            format!("15 Jan 2027, 08:00:10 UTC (just now) {host} confirmed"),
            format!(
                "15 Jan 2027, 08:07:00 UTC (in 6 minutes) {host} is told a second time: what an agent got just before the stop could be used until then"
            ),
        ]
    );
    world.clock.advance(Seconds(410));
    world.settle().await;
    assert_eq!(world.service.received().len(), 3);
    browser.goto(&stage.page("/connections")).await?;
    assert_eq!(browser.text("article .state").await?, "Stopped and confirmed just now (15 Jan 2027, 08:07 UTC)");
    browser.goto(&link).await?;
    assert!(!browser.text("main").await?.contains("may tell"), "what was allowed then is not said to hold now");

    // And out.
    browser.follow("form[action='/logout'] button").await?;
    assert!(browser.url().await?.starts_with(&stage.page("/login")));
    browser.goto(&stage.page("/connections")).await?;
    assert_eq!(browser.text("h1").await?, "Sign in to Avouch");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_user_signs_in_agrees_refuses_and_stops() -> Seen {
    journey(true).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_of_it_works_without_scripts() -> Seen {
    journey(false).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_issuers_are_signed_into_side_by_side() -> Seen {
    let verified = |ours: &str| ours.replace(&format!("{BOB}\"\n"), &format!("{BOB}\"\nemail_verified = true\n"));
    let stage = Stage::with(|ours| twice(&verified(ours))).await;
    stage.arrive("desk-agent", ALICE).await?;
    let Stage { world: root, browser, agent } = stage;
    let acme = Stage { world: root.under("acme").await, browser, agent };
    let browser = &acme.browser;
    let tokens = acme.arrive("desk-agent", BOB).await?;
    browser.goto(&acme.asked(&tokens, &[]).await).await?;
    assert!(browser.text("h1").await?.contains(BOB), "whoever signed in here");
    browser.follow("button[value=allow]").await?;

    // Each page has its own looks, its own user and its own connections.
    let looks = async |page: &str| -> Result<(String, Value), BrowserError> {
        browser.goto(page).await?;
        let accent = "getComputedStyle(document.documentElement).getPropertyValue('--accent')";
        Ok((browser.text(".bar").await?, browser.evaluate(accent).await?))
    };
    let (at_root, at_acme) = (format!("{}/connections", root.issuer()), acme.page("/connections"));
    let ((bar, accent), (other_bar, other_accent)) = (looks(&at_root).await?, looks(&at_acme).await?);
    assert!(bar.contains("Avouch") && bar.contains(ALICE), "{bar}");
    assert!(other_bar.contains("Acme Agents") && other_bar.contains(BOB), "{other_bar}");
    assert!(accent != other_accent && other_accent != "", "{accent} {other_accent}");
    assert!(browser.find("article").await.is_ok(), "what was agreed to at acme");
    let names = async |page: &str| -> Result<Vec<Value>, BrowserError> {
        browser.goto(page).await?;
        let cookies = browser.cookies().await?.into_iter();
        Ok(cookies
            .filter(|c| c["name"].as_str().unwrap().starts_with("avouch-session"))
            .map(|c| c["path"].clone())
            .collect())
    };
    assert_eq!(names(&at_root).await?, ["/"], "a session at acme is not even sent to the root");
    assert!(browser.find("article").await.is_err(), "nothing was agreed to at the root");

    // Signed out of one, one is still signed in to the other.
    browser.follow("form[action='/logout'] button").await?;
    browser.goto(&at_root).await?;
    assert_eq!(browser.text("h1").await?, "Sign in to Avouch");
    assert!(looks(&at_acme).await?.0.contains(BOB));
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_account_sees_nothing_of_a_question_and_can_switch() -> Seen {
    let stage = Stage::start().await;
    let browser = &stage.browser;
    let tokens = stage.arrive("desk-agent", ALICE).await?;
    let link = stage.asked(&tokens, &[("agent_context_id", "Reconcile October")]).await;
    browser.click_away(&stage).await?;

    // Signed out, the link asks to sign in and says nothing else.
    browser.goto(&link).await?;
    let secrets = [stage.world.service.url.as_str(), "Fake Service", "Reconcile", "Desk Agent", "api.read", ALICE];
    let silent = async || -> Seen {
        let page = browser.source().await?;
        assert!(secrets.iter().all(|secret| !page.contains(secret)), "{page}");
        Ok(())
    };
    silent().await?;
    stage.sign_in(BOB, PASSWORD).await?;
    assert_eq!(browser.url().await?, link);
    assert_eq!(browser.text("h1").await?, "This is for another account");
    silent().await?;
    browser.follow("main a.yes").await?;
    silent().await?;
    stage.sign_in(ALICE, PASSWORD).await?;
    assert_eq!(browser.url().await?, link);
    assert!(browser.text("h1").await?.starts_with("Let Desk Agent tell"));
    assert!(browser.text("main").await?.contains("Reconcile October"));
    assert!(browser.text(".bar").await?.contains(ALICE));
    browser.follow("button[value=allow]").await?;
    assert_eq!(browser.text("h1").await?, "You allowed it");
    Ok(())
}

impl Browser {
    /// Signs out on the page that shows the connections.
    async fn click_away(&self, stage: &Stage) -> Seen {
        self.goto(&stage.page("/connections")).await?;
        self.follow("form[action='/logout'] button").await
    }

    /// Strikes Tab until a control of this value or name has the focus, and looks whether that can be seen.
    async fn tab_to(&self, css: &str) -> Seen {
        for _ in 0..30 {
            self.keys(TAB).await?;
            let ring = "getComputedStyle(document.activeElement)";
            let seen = format!("{ring}.outlineStyle !== 'none' && parseFloat({ring}.outlineWidth) >= 2");
            assert_eq!(self.evaluate(&seen).await?, true, "the focus is not seen on the way to {css}");
            if self.evaluate(&format!("document.activeElement.matches({css:?})")).await? == true {
                return Ok(());
            }
        }
        panic!("Tab never reaches {css}")
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_keyboard_is_enough() -> Seen {
    let stage = Stage::start().await;
    let browser = &stage.browser;
    // The cursor is where something is missing, and Enter sends the form.
    browser.goto(&stage.sign_in_link("desk-agent")).await?;
    browser.keys(&format!("{ALICE}{TAB}{PASSWORD}{ENTER}")).await?;
    browser.wait_until("the sign-in is asked about", async |b| Ok(b.find("[value=allow]").await.is_ok())).await?;
    browser.tab_to("[value=deny]").await?;
    browser.tab_to("[value=allow]").await?;
    browser.keys(ENTER).await?;
    browser.wait_until("the agent is reached", async |b| Ok(b.url().await?.contains("/callback?"))).await?;
    let tokens = stage.tokens("desk-agent").await?;

    browser.goto(&stage.asked(&tokens, &[("scope", "api.read api.write")]).await).await?;
    browser.tab_to("[name=scope][value='api.read']").await?;
    browser.keys(SPACE).await?;
    browser.tab_to("[name=mode]:checked").await?;
    browser.keys("\u{E015}").await?; // arrow down: the next duration
    browser.tab_to("[value=deny]").await?;
    browser.tab_to("[value=allow]").await?;
    browser.keys(ENTER).await?;
    browser.wait_until("it is allowed", async |b| Ok(b.text("h1").await? == "You allowed it")).await?;
    assert_eq!(browser.text(".state").await?, "Until 15 Jan 2027, 09:00 UTC (in 1 hour)");

    browser.goto(&stage.page("/connections")).await?;
    assert!(browser.text("article").await?.contains("api.write"));
    browser.tab_to("a[href$='/stop']").await?;
    browser.keys(ENTER).await?;
    browser.wait_until("it is asked once more", async |b| Ok(b.url().await?.ends_with("/stop"))).await?;
    browser.tab_to("button.danger").await?;
    browser.keys(ENTER).await?;
    browser.wait_until("it is stopped", async |b| Ok(b.text("article .state").await?.starts_with("Stopped"))).await?;

    // Enter in a field of the question denies: what nobody looked at is never allowed.
    let link = stage.asked(&tokens, &[]).await;
    browser.goto(&link).await?;
    browser.tab_to("[name=scope]").await?;
    browser.keys(ENTER).await?;
    browser.wait_until("it is denied", async |b| Ok(b.text("h1").await? == "You denied it")).await?;
    Ok(())
}
