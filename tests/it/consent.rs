//! Questions and answers: the ticket an agent shows, the page the user sees, and what their decision covers.

use std::sync::Arc;

use avouch::domain::scope::Scope;
use avouch::domain::time::Seconds;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::harness::{
    ALICE, Answer, BOB, Browser, Engine, NOW, World, answer_form, both, claims, declarations, eventually, hidden_fields,
};

/// Asks, and says where the user is asked.
async fn asked(world: &World, tokens: &Value, changes: &[(&str, &str)]) -> String {
    let (status, body) = world.exchange("desk-agent", tokens, changes).await;
    assert_eq!((status, &body["error"]), (400, &json!("consent_required")), "{body}");
    body["consent_uri"].as_str().unwrap().strip_prefix(&world.issuer()).unwrap().to_owned()
}

async fn error(world: &World, tokens: &Value, changes: &[(&str, &str)]) -> String {
    let (status, body) = world.exchange("desk-agent", tokens, changes).await;
    if status == 200 { "minted".to_owned() } else { body["error"].as_str().unwrap().to_owned() }
}

async fn start(world: &World) -> (Browser, Value) {
    let browser = world.signed_in(ALICE).await;
    let tokens = world.tokens(&browser, "desk-agent").await;
    (browser, tokens)
}

async fn answered(browser: &Browser, path: &str, mode: &str) -> Answer {
    let page = browser.get(path).await;
    assert_eq!(page.status, 200, "{}", page.body);
    browser.submit(&page, path, &answer_form(&page, mode)).await
}

async fn count(world: &World, table: &str) -> String {
    world.database.column(&format!("SELECT COUNT(*) FROM {table}")).await.remove(0)
}

both! {
    async fn the_same_request_is_the_same_question(world: World) {
        let (browser, tokens) = start(&world).await;
        let path = asked(&world, &tokens, &[]).await;
        for (seconds, expected) in [(0, "slow_down"), (4, "slow_down")] {
            world.clock.advance(Seconds(seconds));
            let (status, body) = world.exchange("desk-agent", &tokens, &[]).await;
            assert_eq!((status, &body["error"], &body["interval"]), (400, &json!(expected), &json!(5)), "{body}");
            // Whoever polled too fast has not lost the link, nor has a library that passes on nothing but the description.
            let link = format!("{}{path}", world.issuer());
            assert_eq!(body["consent_uri"], link, "{body}");
            assert!(body["expires_in"].as_i64().unwrap() <= 600, "{body}");
            assert!(body["error_description"].as_str().unwrap().contains(&link), "{body}");
        }
        world.clock.advance(Seconds(1));
        let (_, body) = world.exchange("desk-agent", &tokens, &[]).await;
        assert_eq!(body["consent_uri"], format!("{}{path}", world.issuer()), "{body}");
        assert!(body["error_description"].as_str().unwrap().contains(body["consent_uri"].as_str().unwrap()), "{body}");
        assert_eq!((&body["expires_in"], &body["interval"]), (&json!(595), &json!(5)));
        assert_eq!(error(&world, &tokens, &[]).await, "slow_down", "counted from the last answer");

        // Scope order does not matter; whatever else differs is another question.
        let api = format!("{}/api/", world.service.url);
        let mut questions = vec![path.clone()];
        for changes in [
            [("scope", "api.read api.write")],
            [("agent_context_id", "chat 1")],
            [("agent_platform", "desk")],
            [("resource", api.as_str())],
        ] {
            questions.push(asked(&world, &tokens, &changes).await);
        }
        assert_eq!(error(&world, &tokens, &[("scope", "api.write api.read")]).await, "slow_down");
        questions.sort();
        questions.dedup();
        assert_eq!(questions.len(), 5);
        // A sixth is not asked, and all five are found where the user can answer them.
        assert_eq!(error(&world, &tokens, &[("scope", "api.write")]).await, "slow_down");
        let page = browser.get("/connections").await;
        assert!(questions.iter().all(|path| page.body.contains(path.as_str())), "{}", page.body);
        // Another client and another session have their own.
        let travel = world.tokens(&browser, "travel-agent").await;
        let (_, body) = world.exchange("travel-agent", &travel, &[]).await;
        assert_eq!(body["error"], "consent_required");

        // After ten minutes each is over, and may be asked again.
        world.clock.advance(Seconds(595));
        let again = asked(&world, &tokens, &[]).await;
        assert!(!questions.contains(&again));
        let late = browser.get(&path).await;
        assert!(late.status == 200 && !late.body.contains("name=\"decision\""), "{}", late.body);
    }
}

both! {
    async fn five_questions_whatever_the_hurry(world: World) {
        let (_, tokens) = start(&world).await;
        let world = Arc::new(world);
        let mut tasks = JoinSet::new();
        for n in 0..20 {
            let (world, tokens) = (world.clone(), tokens.clone());
            tasks.spawn(async move { error(&world, &tokens, &[("agent_context_id", &format!("chat {n}"))]).await });
        }
        let mut answers = tasks.join_all().await;
        answers.sort();
        assert_eq!(answers, [vec!["consent_required"; 5], vec!["slow_down"; 15]].concat());
        assert_eq!(count(&world, "ticket").await, "5");
    }
}

both! {
    async fn denied_until_revised(world: World) {
        let (browser, tokens) = start(&world).await;
        let path = asked(&world, &tokens, &[]).await;
        assert_eq!(answered(&browser, &path, "deny").await.status, 303);
        assert_eq!(error(&world, &tokens, &[]).await, "access_denied");
        assert_eq!(error(&world, &tokens, &[("agent_context_id", "chat 2")]).await, "access_denied", "whatever chat asks");
        let other = world.tokens(&world.signed_in(ALICE).await, "desk-agent").await;
        assert_eq!(error(&world, &other, &[]).await, "access_denied", "nor in another session");
        // Asking for a little more or less right away would be nagging; another service is another matter.
        let others = [("scope", "api.write"), ("scope", ""), ("scope", "api.read api.write")];
        for changes in others {
            let (_, body) = world.exchange("desk-agent", &tokens, &[changes]).await;
            assert_eq!(body["error"], "access_denied", "{changes:?}");
            assert!(body["error_description"].as_str().unwrap().contains("in 3600 seconds"), "{body}");
        }
        assert!(browser.get(&path).await.body.contains("within an hour"));
        assert_eq!(error(&world, &tokens, &[("audience", "https://other.example")]).await, "consent_required");
        world.clock.advance(Seconds(3600));
        let tokens = world.tokens(&browser, "desk-agent").await;
        for changes in others {
            assert_eq!(error(&world, &tokens, &[changes]).await, "consent_required", "{changes:?}");
        }
        assert_eq!(error(&world, &tokens, &[]).await, "access_denied", "what was denied stays denied");
        assert_eq!(count(&world, "delegation").await, "0", "nothing to withdraw came of it");
        let page = browser.get("/connections").await;
        let consent = world.database.column("SELECT id FROM consent").await.remove(0);
        let revise = format!("/connections/denials/{consent}/revise");
        let bob = world.signed_in(BOB).await;
        let theirs = bob.submit(&bob.get("/connections").await, "/logout", &[]).await;
        assert_eq!(theirs.status, 303);
        let bob = world.signed_in(BOB).await;
        let csrf = hidden_fields(&bob.get("/connections").await.body, "/logout");
        let fields: Vec<(&str, &str)> = csrf.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
        assert_eq!(bob.post(&revise, &fields).await.status, 404, "somebody else's");
        assert_eq!(error(&world, &tokens, &[]).await, "access_denied");
        assert_eq!(browser.submit(&page, &revise, &[]).await.status, 303);
        assert_eq!(error(&world, &tokens, &[]).await, "consent_required", "asked again");
        world.clock.advance(Seconds(5));
        let path = asked(&world, &tokens, &[]).await;
        answered(&browser, &path, "deny").await;
        let new = [("scope", "api.write"), ("agent_context_id", "chat 3")];
        assert_eq!(error(&world, &tokens, &new).await, "access_denied");
        let page = browser.get("/connections").await;
        let consent = world.database.column("SELECT id FROM consent WHERE ended_at IS NULL").await.remove(0);
        browser.submit(&page, &format!("/connections/denials/{consent}/revise"), &[]).await;
        assert_eq!(error(&world, &tokens, &new).await, "consent_required", "within the hour, since the user lets it");
    }
}

both! {
    async fn how_far_a_consent_goes(world: World) {
        let (browser, tokens) = start(&world).await;
        // Once: this question, one time.
        let other = [("agent_context_id", "chat 2")];
        let waiting = asked(&world, &tokens, &other).await;
        world.agree(&browser, "desk-agent", &tokens, "once", &[]).await;
        assert_eq!(error(&world, &tokens, &other).await, "slow_down", "another chat's question still waits");
        assert_eq!(error(&world, &tokens, &[("scope", "")]).await, "consent_required", "nor does it cover another request");
        assert_eq!(error(&world, &tokens, &[]).await, "minted");
        assert_eq!(error(&world, &tokens, &[]).await, "consent_required");
        assert!(browser.get(&waiting).await.body.contains("name=\"decision\""));

        // Until: any chat, up to the second.
        assert_eq!(answered(&browser, &waiting, "until:3600").await.status, 303);
        world.clock.advance(Seconds(3599));
        let refreshed = world.tokens(&browser, "desk-agent").await;
        assert_eq!(error(&world, &refreshed, &[]).await, "minted");
        world.clock.advance(Seconds(1));
        assert_eq!(error(&world, &refreshed, &[]).await, "consent_required");
        assert_eq!(world.database.column("SELECT mode FROM consent WHERE ended_at IS NULL").await, ["until"]);
    }
}

both! {
    async fn unticked_scopes_do_not_leave(world: World) {
        let (browser, tokens) = start(&world).await;
        let both = [("scope", "api.read api.write")];
        let path = asked(&world, &tokens, &both).await;
        let page = browser.get(&path).await;
        let narrowed = [("scope", "api.read"), ("mode", "always"), ("decision", "allow")];
        assert_eq!(browser.submit(&page, &path, &narrowed).await.status, 303);
        let (status, body) = world.exchange("desk-agent", &tokens, &both).await;
        assert_eq!((status, &body["scope"]), (200, &json!("api.read")), "{body}");
        assert_eq!(claims(body["access_token"].as_str().unwrap())["scope"], "api.read");
        assert_eq!(error(&world, &tokens, &[("scope", "api.write")]).await, "consent_required", "nothing of that was given");
    }
}

/// A name, the fields of the form, and the status of the answer.
type Answered<'a> = (&'a str, Vec<(&'a str, &'a str)>, u16);

#[tokio::test]
async fn answers_that_do_not_fit() {
    let world = World::start(Engine::Sqlite).await;
    let (browser, tokens) = start(&world).await;
    let path = asked(&world, &tokens, &[("scope", "api.read api.write")]).await;
    let page = browser.get(&path).await;
    let hidden = hidden_fields(&page.body, &path);
    let field = |name: &str| hidden.iter().find(|(n, _)| n == name).unwrap().1.as_str();
    let (csrf, digest) = (("csrf", field("csrf")), ("digest", field("digest")));
    let allow = [("scope", "api.read"), ("mode", "always"), ("decision", "allow")];
    let with = |extra: &[(&'static str, &'static str)]| [&[csrf, digest], extra].concat();
    let cases: [Answered<'_>; 10] = [
        ("more than was asked", with(&[("scope", "admin"), ("mode", "always"), ("decision", "allow")]), 400),
        ("nothing ticked", with(&allow[1..]), 400),
        ("no mode", with(&[("scope", "api.read"), ("decision", "allow")]), 400),
        (
            "a time nobody offered",
            with(&[("scope", "api.read"), ("mode", "until:99999999"), ("decision", "allow")]),
            400,
        ),
        ("no decision", with(&allow[..2]), 400),
        ("two decisions", with(&[allow[0], allow[1], allow[2], ("decision", "deny")]), 400),
        ("no digest", [&[csrf], &allow[..]].concat(), 400),
        ("another digest", [&[csrf, ("digest", "AAAA")], &allow[..]].concat(), 400),
        ("no csrf", [&[digest], &allow[..]].concat(), 403),
        ("another csrf", [&[("csrf", "AAAA"), digest], &allow[..]].concat(), 403),
    ];
    for (name, fields, status) in cases {
        assert_eq!(browser.post(&path, &fields).await.status, status, "{name}");
    }
    let good = with(&allow);
    for headers in [
        [("origin", "https://evil.example"), ("sec-fetch-site", "same-origin")],
        [("origin", world.url.as_str()), ("sec-fetch-site", "cross-site")],
        [("origin", "null"), ("sec-fetch-site", "same-site")],
    ] {
        assert_eq!(browser.post_with(&path, &good, &headers).await.status, 403, "{headers:?}");
    }
    assert_eq!(browser.post("/consent/nothing", &good).await.status, 404);
    assert_eq!((count(&world, "consent").await, count(&world, "delegation").await), ("0".into(), "0".into()));
    assert_eq!(browser.post(&path, &good).await.status, 303, "they differ from this by one thing each");

    // Answered is answered; and what has expired cannot be.
    assert_eq!(browser.post(&path, &good).await.status, 409);
    let path = asked(&world, &tokens, &[("agent_context_id", "chat"), ("scope", "api.write")]).await;
    let page = browser.get(&path).await;
    world.clock.advance(Seconds(600));
    let answer = browser.submit(&page, &path, &[("scope", "api.write"), ("mode", "once"), ("decision", "allow")]).await;
    assert_eq!(answer.status, 409, "{}", answer.body);
    assert_eq!(count(&world, "consent").await, "1");
}

both! {
    async fn somebody_else_learns_nothing(world: World) {
        let (_, tokens) = start(&world).await;
        let path = asked(&world, &tokens, &[("agent_context_id", "secret plan")]).await;
        let stranger = world.browser();
        let answer = stranger.get(&path).await;
        assert_eq!((answer.status, answer.body.as_str()), (303, ""), "sign in first");
        let bob = world.signed_in(BOB).await;
        let page = bob.get(&path).await;
        let host = world.service.url.strip_prefix("http://").unwrap();
        for told in ["Desk Agent", "desk-agent", "Fake Service", host, "api.read", "secret plan", ALICE, "Alice"] {
            assert!(!page.body.contains(told), "{told}: {}", page.body);
        }
        assert!(page.body.contains("/login?to="), "and may switch");
        let csrf = hidden_fields(&page.body, "/logout");
        let mut fields: Vec<(&str, &str)> = csrf.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
        fields.extend([("digest", "AAAA"), ("decision", "deny")]);
        let answer = bob.post(&path, &fields).await;
        assert_eq!(answer.status, 404, "{}", answer.body);
        assert_eq!(bob.post("/consent/nothing", &fields).await.body.len(), answer.body.len(), "as if there were none");
        assert_eq!(count(&world, "consent").await, "0");
        for odd in ["/consent/%00", "/consent/%FF", "/connections/%00/stop"] {
            let status = bob.get(odd).await.status;
            assert!(status == 404 || status == 400, "{odd}: {status}");
        }
    }
}

both! {
    async fn two_clicks_are_one_consent(world: World) {
        let (browser, tokens) = start(&world).await;
        let path = asked(&world, &tokens, &[]).await;
        let page = browser.get(&path).await;
        let mut fields = hidden_fields(&page.body, &path);
        fields.extend([("scope", "api.read"), ("mode", "once"), ("decision", "allow")].map(|(n, v)| (n.to_owned(), v.to_owned())));
        let (browser, mut tasks) = (Arc::new(browser), JoinSet::new());
        for _ in 0..8 {
            let (browser, path, fields) = (browser.clone(), path.clone(), fields.clone());
            tasks.spawn(async move {
                let fields: Vec<(&str, &str)> = fields.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
                browser.post(&path, &fields).await.status
            });
        }
        let mut statuses = tasks.join_all().await;
        statuses.sort_unstable();
        assert_eq!(statuses, [vec![303], vec![409; 7]].concat());
        assert_eq!(count(&world, "consent").await, "1");
        assert_eq!(world.database.column("SELECT COUNT(*) FROM journal WHERE kind = 'consent.given'").await, ["1"]);
    }
}

both! {
    async fn what_was_shown_is_what_is_agreed_to(world: World) {
        let (browser, tokens) = start(&world).await;
        let path = asked(&world, &tokens, &[]).await;
        let page = browser.get(&path).await;
        // The service changes on another server between showing and posting.
        let renamed = declarations(&world.service.url).replace("name = \"Fake Service\"", "name = \"Other Service\"");
        let there = world.replica(&renamed).await;
        let answer = browser.submit(&page, &path, &answer_form(&page, "always")).await;
        assert_eq!(answer.status, 400, "{}", answer.body);
        assert_eq!(count(&world, "consent").await, "0");
        assert_eq!(answered(&browser, &path, "always").await.status, 303, "looked at again");
        drop(there);
    }
}

/// The user answers while the agent's request is on its way to asking: it is not asked a second time.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_that_overtakes_the_question() {
    let world = Arc::new(World::start(Engine::Postgres).await);
    let (browser, tokens) = start(&world).await;
    let path = asked(&world, &tokens, &[]).await;
    world.clock.advance(Seconds(5));
    // The request has read its facts when it waits for the account.
    let account =
        world.database.column("SELECT id FROM account WHERE email = 'alice@example.com'").await.remove(0).into();
    let client = world.database.column("SELECT id FROM client WHERE client_id = 'console'").await.remove(0);
    let waits = "SELECT COUNT(*) FROM pg_locks WHERE locktype = 'tuple' AND relation = 'account'::regclass";
    let mut held = world.app.store.begin().await.unwrap();
    // A row that references the account holds up whoever is about to ask, and no one who answers.
    held.add_signin_consent("held", &account, &client.into(), &Scope::stored("x"), NOW).await.unwrap();
    let poll = tokio::spawn({
        let (world, tokens) = (world.clone(), tokens.clone());
        async move { error(&world, &tokens, &[]).await }
    });
    eventually("the request waits", async || world.database.column(waits).await != ["0"]).await;
    assert_eq!(answered(&browser, &path, "once").await.status, 303);
    drop(held);
    assert_eq!(poll.await.unwrap(), "minted");
    assert_eq!(count(&world, "ticket").await, "1");
    assert_eq!(world.clock.now(), NOW + Seconds(5));
}
