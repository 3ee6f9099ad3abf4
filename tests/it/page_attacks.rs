//! Other people's websites against the pages: frames, and forms that send themselves. In a real browser, which adds the cookies and headers.

use crate::browser::BrowserError;
use crate::harness::{ALICE, hidden_fields};
use crate::pages::Stage;

type Seen = Result<(), BrowserError>;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_page_is_shown_in_a_frame() -> Seen {
    let stage = Stage::start().await;
    let Stage { browser, agent, .. } = &stage;
    let tokens = stage.arrive("desk-agent", ALICE).await?;
    let question = stage.asked(&tokens, &[]).await;
    // The frame works: it shows a page that allows it.
    agent.show("/frame", format!("<!doctype html><iframe src='{}/inside' sandbox=''></iframe>", agent.near));
    browser.goto(&format!("{}/frame", agent.near)).await?;
    browser.enter_frame().await?;
    assert!(browser.source().await?.contains("Elsewhere"));

    let pages = [question, stage.page("/connections"), stage.sign_in_link("travel-agent"), stage.page("/login")];
    for page in pages {
        // The same site shares its cookies, so that the page itself has to refuse; another site has not even those.
        for origin in [&agent.near, &agent.far] {
            agent.show(
                "/frame",
                format!("<!doctype html><title>Bait</title><iframe src=\"{}\"></iframe>", page.replace('&', "&amp;")),
            );
            browser.goto(&format!("{origin}/frame")).await?;
            assert_eq!(browser.title().await?, "Bait");
            browser.enter_frame().await?;
            assert_eq!(browser.evaluate("location.protocol").await?, "chrome-error:", "{page} is framed by {origin}");
            assert!(browser.find("form").await.is_err(), "{page} is framed by {origin}");
            browser.leave_frames().await?;
            let console = browser.console().await?;
            assert!(console.iter().any(|line| line.contains("frame-ancestors")), "{page}: {console:?}");
        }
    }
    Ok(())
}

/// A page that sends a form as soon as it is opened.
fn bait(action: &str, fields: &[(String, String)]) -> String {
    let input = |(name, value): &(String, String)| {
        let value = value.replace('&', "&amp;").replace('"', "&quot;");
        format!("<input type=hidden name=\"{name}\" value=\"{value}\">")
    };
    let inputs: String = fields.iter().map(input).collect();
    format!(
        "<!doctype html><title>Bait</title><form method=post action=\"{action}\">{inputs}</form><script>document.forms[0].submit()</script>"
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_form_of_another_website_changes_nothing() -> Seen {
    let stage = Stage::start().await;
    let Stage { world, browser, agent } = &stage;
    let tokens = stage.arrive("desk-agent", ALICE).await?;
    browser.goto(&stage.asked(&tokens, &[]).await).await?;
    browser.click("[value=always]").await?;
    browser.follow("button[value=allow]").await?;
    let minted = world.exchange("desk-agent", &tokens, &[]).await;
    assert_eq!(minted.0, 200, "{}", minted.1);
    let other = [("audience", "https://other.example")];
    browser.goto(&stage.asked(&tokens, &other).await).await?;
    browser.follow("button[value=deny]").await?;
    let denied = world.database.column("SELECT id FROM consent WHERE mode = 'denied'").await.remove(0);
    let delegation = world.database.column("SELECT id FROM delegation").await.remove(0);

    // What an attacker can at worst know: every hidden field of the pages, tokens included.
    let question = stage.asked(&tokens, &[("scope", "api.write")]).await;
    let path = |url: &str| url.strip_prefix(&world.issuer()).unwrap().to_owned();
    browser.goto(&question).await?;
    let mut agree = hidden_fields(&browser.source().await?, &path(&question));
    browser.goto(&stage.sign_in_link("travel-agent")).await?;
    let mut sign_in = hidden_fields(&browser.source().await?, "/authorize/decision");
    let known = |name: &str| agree.iter().find(|(n, _)| n == name).cloned().unwrap();
    let token = vec![known("csrf")];
    let with =
        |fields: &[(&str, &str)]| fields.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect::<Vec<_>>();
    agree.extend(with(&[("scope", "api.write"), ("mode", "always"), ("decision", "allow")]));
    sign_in.extend(with(&[("decision", "allow")]));
    let forms = [
        (path(&question), agree),
        ("/authorize/decision".to_owned(), sign_in),
        (format!("/connections/{delegation}/stop"), token.clone()),
        (format!("/connections/denials/{denied}/revise"), token.clone()),
        ("/logout".to_owned(), token),
    ];

    let before = rows(&stage).await;
    for (action, fields) in &forms {
        for origin in [&agent.near, &agent.far] {
            agent.show("/bait", bait(&stage.page(action), fields));
            browser.goto(&format!("{origin}/bait")).await?;
            let left = async |b: &crate::browser::Browser| Ok(b.url().await?.starts_with(&world.issuer()));
            browser.wait_until("the form is answered", left).await?;
            let page = browser.source().await?;
            // The same site sends the session's cookie along, and is refused; another site does not, and meets the sign-in page.
            let refused = page.contains("That did not come from our page");
            assert!(
                refused || (origin == &agent.far && page.contains("action=\"/login\"")),
                "{action} from {origin}: {page}"
            );
            assert_eq!(rows(&stage).await, before, "{action} from {origin}");
        }
    }
    // The browser was signed in all the while.
    browser.goto(&stage.page("/connections")).await?;
    assert_eq!(browser.text("h1").await?, "Connections");
    Ok(())
}

/// Everything that one of the forms would change.
async fn rows(stage: &Stage) -> Vec<String> {
    let mut rows = Vec::new();
    for sql in [
        "SELECT id || COALESCE(CAST(ended_at AS TEXT), '') FROM consent ORDER BY id",
        "SELECT id || COALESCE(CAST(ended_at AS TEXT), '') FROM delegation ORDER BY id",
        "SELECT id || COALESCE(CAST(ended_at AS TEXT), '') FROM session ORDER BY id",
        "SELECT id || COALESCE(CAST(closed_at AS TEXT), '') FROM ticket ORDER BY id",
        "SELECT id FROM signin_consent ORDER BY id",
        "SELECT id FROM journal ORDER BY id",
    ] {
        rows.extend(stage.world.database.column(sql).await);
    }
    rows
}
