//! The sandbox as a process, and its page in a real browser: what happens is seen as it happens, and the same without scripts; nothing of a token does anything.

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::browser::{Browser, BrowserError};
use crate::harness::{Serving, run, text};

type Seen = Result<(), BrowserError>;

/// Claims that try to be markup, to turn the text around, and not to end.
const HOSTILE: &str =
    "</code><script>document.title='owned'</script><img src=x onerror=\"document.title='owned'\">\u{202e}";

struct Stage {
    folder: TempDir,
    issuer: Serving,
    sandbox: Serving,
    http: reqwest::Client,
}

impl Stage {
    fn with(args: &[&str]) -> Self {
        let folder = TempDir::new().unwrap();
        let issuer = Serving::start(folder.path(), &["harness", "--port", "0"]);
        let sandbox = Serving::start(folder.path(), &[&["sandbox", "--port", "0"], args].concat());
        Self { folder, issuer, sandbox, http: reqwest::Client::builder().no_proxy().build().unwrap() }
    }

    async fn post(&self, url: String, content_type: &str, body: String) -> Value {
        let answer = self.http.post(url).header("content-type", content_type).body(body).send().await.unwrap();
        serde_json::from_str(&answer.text().await.unwrap()).unwrap_or_default()
    }

    /// Mints an assertion with such wishes, and presents it.
    async fn present(&self, wishes: Value) -> Value {
        let mut asked = json!({"audience": self.sandbox.url});
        asked.as_object_mut().unwrap().extend(wishes.as_object().unwrap().clone());
        let asked = self.post(format!("{}/harness/assertions", self.issuer.url), "application/json", asked.to_string());
        let body = json!({"type": "identity_assertion", "assertion_type": "urn:ietf:params:oauth:token-type:id-jag",
            "assertion": asked.await["assertion"], "requested_credential_type": "api_key"});
        self.post(format!("{}/agent/auth", self.sandbox.url), "application/json", body.to_string()).await
    }

    async fn withdraw(&self) -> Value {
        let to = format!("{}/agent/auth/revoke", self.sandbox.url);
        let body = json!({"audience": self.sandbox.url, "format": "logout+jwt", "deliver_to": to});
        self.post(format!("{}/harness/notices", self.issuer.url), "application/json", body.to_string()).await
    }
}

/// Waits until the page shows so many tokens, and the newest says so.
async fn shows(browser: &Browser, tokens: u64, verdict: &str) -> Seen {
    let what = format!("{tokens} tokens, the newest {verdict}");
    browser
        .wait_until(&what, async |b| {
            let seen = b.evaluate(
                "[document.querySelectorAll('.token').length, document.querySelector('.verdict')?.textContent]",
            );
            Ok(seen.await? == json!([tokens, verdict]))
        })
        .await
}

/// Side by side on a screen, both at the top: under the questions, where there are any.
async fn side_by_side(browser: &Browser, name: &str) -> Seen {
    browser.set_viewport(1280, 900).await?;
    let tops =
        "['questions', 'tokens', 'registrations'].map(id => document.getElementById(id).getBoundingClientRect())";
    let gaps = format!(
        "(([q, t, r]) => [t.top - r.top, t.top - document.querySelector('header').getBoundingClientRect().bottom - q.height])({tops})"
    );
    let gaps = browser.evaluate(&gaps).await?;
    let (apart, below) = (gaps[0].as_f64().unwrap(), gaps[1].as_f64().unwrap());
    assert!(apart.abs() < 1.0 && (0.0..60.0).contains(&below), "{name}: {gaps}");
    Ok(())
}

/// As narrow as a telephone and as wide as a screen, in both schemes.
async fn looks(browser: &Browser, name: &str, scripts: u64) -> Seen {
    for (width, height, dark) in [(320, 900, false), (320, 900, true), (1280, 900, true), (1280, 900, false)] {
        browser.set_viewport(width, height).await?;
        browser.dark(dark).await?;
        let scrolled = browser.evaluate("document.documentElement.scrollWidth").await?;
        assert!(scrolled.as_u64().is_some_and(|w| w <= u64::from(width)), "{name} is {scrolled} wide at {width}");
        let ground = browser.evaluate("getComputedStyle(document.body).backgroundColor").await?;
        assert_eq!(ground, if dark { "rgb(19, 18, 25)" } else { "rgb(245, 244, 250)" }, "{name}");
    }
    assert!(!browser.title().await?.contains("owned"), "{name} runs a claim");
    assert_eq!(
        browser.evaluate("[document.scripts.length, document.images.length]").await?,
        json!([scripts, 0]),
        "{name}"
    );
    let console = browser.console().await?;
    assert!(console.is_empty(), "{name}: {console:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_happens_is_seen_as_it_happens() -> Seen {
    let mut stage = Stage::with(&[]);
    let browser = Browser::start().await;
    browser.goto(&stage.sandbox.url).await?;
    looks(&browser, "the empty page", 1).await?;
    side_by_side(&browser, "the empty page").await?;
    browser.wait_until("it is connected", async |b| Ok(b.text("#live").await? == "Live")).await?;

    let credential = stage.present(json!({"claims": {"sub": "lab-user"}})).await;
    assert!(credential["credential"].is_string(), "{credential}");
    shows(&browser, 1, "accepted").await?;
    assert_eq!(browser.evaluate("document.querySelectorAll('.checks .passed').length").await?, 22);
    assert!(browser.text("#registrations").await?.contains("API key"));

    // What somebody looks at stays as it is, with the focus, while the next one comes.
    browser.evaluate("document.querySelector('#token-1 summary').focus()").await?;
    browser.keys("\u{e007}").await?;
    assert_eq!(browser.evaluate("document.querySelector('#token-1').open").await?, false, "by the keyboard");
    browser.keys("\u{e007}").await?;
    stage
        .present(json!({"flaw": "aud-of-another-service", "claims": {"name": HOSTILE, HOSTILE: HOSTILE.repeat(40)}}))
        .await;
    shows(&browser, 2, "invalid_audience").await?;
    assert_eq!(browser.evaluate("document.activeElement.parentElement.id").await?, "token-1");
    let failed = "[...document.querySelectorAll('#token-2 .failed b')].map(e => e.textContent)";
    assert_eq!(browser.evaluate(failed).await?, json!(["aud"]));
    assert_eq!(browser.evaluate("document.querySelectorAll('#token-2 .left').length").await?, 14);
    let said = browser.text("#token-2").await?;
    assert!(said.contains("<script>document.title='owned'</script>") && said.contains(r"\u{202e}"), "{said}");
    looks(&browser, "the page with a hostile token", 1).await?;
    side_by_side(&browser, "the page with tokens").await?;

    stage.withdraw().await;
    shows(&browser, 3, "taken").await?;
    browser
        .wait_until("it is withdrawn", async |b| Ok(b.text("#registrations").await?.contains("withdrawn at")))
        .await?;
    assert!(browser.text("#events").await?.contains("registration.revoked"));

    // Without scripts the same, on reload.
    let all = "['tokens', 'registrations', 'events'].map(id => document.getElementById(id).innerText).join()";
    browser.evaluate("document.querySelectorAll('.token').forEach(e => { e.open = e.id === 'token-3' })").await?;
    let live = browser.evaluate(all).await?;
    browser.scripts(false).await?;
    browser.reload().await?;
    browser.scripts(true).await?;
    assert_eq!(browser.evaluate(all).await?, live);
    assert_eq!(browser.text("#live").await?, "Show what is new");

    // An open stream is no reason to stay.
    browser.reload().await?;
    browser.wait_until("it is connected again", async |b| Ok(b.text("#live").await? == "Live")).await?;
    stage.sandbox.signal("TERM");
    assert_eq!(stage.sandbox.ended().await, Some(0));
    browser.wait_until("it says so", async |b| Ok(b.text("#live").await?.starts_with("Not connected"))).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_address_comes_as_often_as_it_was_told() {
    let stage = Stage::with(&["--rate-limit", "1/h"]);
    assert!(stage.present(json!({})).await["credential"].is_string());
    assert_eq!(stage.present(json!({})).await["error"], "rate_limited");
    let said = run(stage.folder.path(), &["sandbox", "--rate-limit", "1/d"]);
    assert!(said.status.code() == Some(2) && text(&said.stderr).contains("such as 60/h"), "{}", text(&said.stderr));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_registration_is_claimed_by_its_user_in_a_browser() -> Seen {
    let stage = Stage::with(&[]);
    let sandbox = &stage.sandbox.url;
    let send = async |path: &str, body: Value| {
        stage.post(format!("{sandbox}{path}"), "application/json", body.to_string()).await
    };
    let made = send("/agent/auth", json!({"type": "anonymous", "requested_credential_type": "api_key"})).await;
    let browser = Browser::start().await;
    browser.goto(sandbox).await?;
    send("/agent/auth/claim", json!({"claim_token": made["claim_token"], "email": "alice@example.com"})).await;
    browser
        .wait_until("somebody is asked", async |b| Ok(b.text("#questions").await?.contains("alice@example.com")))
        .await?;
    side_by_side(&browser, "the page with a question").await?;
    browser.follow("#questions a").await?;
    looks(&browser, "the page of the e-mail", 0).await?;
    browser.follow("button[value=yes]").await?;
    looks(&browser, "the page with the code", 0).await?;
    let code = browser.text(".code").await?;
    let done = send("/agent/auth/claim/complete", json!({"claim_token": made["claim_token"], "otp": code})).await;
    assert_eq!(done["status"], "claimed", "{done}");
    Ok(())
}
