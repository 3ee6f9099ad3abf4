//! Guessing passwords gets slower: for each guesser, by user, by address, at once, and on every server; and nobody's guesses keep out a
//! browser that has signed its user in before.

use avouch::domain::time::Seconds;
use std::sync::Arc;

use tokio::task::JoinSet;

use avouch::domain::refusal::Refusal;
use avouch::error::Error;
use avouch::flow::{known_browser, sweep};
use tracing::level_filters::LevelFilter;

use crate::harness::{ALICE, BOB, Browser, Engine, Log, NOW, PASSWORD, World, both, declarations, hidden_fields};
use crate::sign_in::{attempt, behind_tls};

both! {
    async fn guessing_gets_slower(world: World) {
        let browser = world.browser();
        for _ in 0..5 {
            assert_eq!(attempt(&browser, ALICE, "wrong").await.status, 422);
        }
        let blocked = attempt(&browser, ALICE, PASSWORD).await;
        assert_eq!(blocked.status, 429, "even the right password");
        assert!(blocked.body.contains("Too many attempts. You can try again in 5 seconds."), "{}", blocked.body);
        assert_eq!(attempt(&browser, " ALICE@example.COM ", PASSWORD).await.status, 429, "the same e-mail by another spelling");
        let replica = world.replica(&declarations(&world.service.url)).await;
        assert_eq!(attempt(&replica.browser(), ALICE, PASSWORD).await.status, 429, "the replicas share the count");
        assert_eq!(attempt(&browser, BOB, PASSWORD).await.status, 303, "nobody else has to wait");

        world.clock.advance(Seconds(4));
        assert_eq!(attempt(&browser, ALICE, PASSWORD).await.status, 429);
        world.clock.advance(Seconds(1));
        assert_eq!(attempt(&browser, ALICE, "wrong").await.status, 422);
        let blocked = attempt(&browser, ALICE, PASSWORD).await;
        assert!(blocked.body.contains("in 10 seconds."), "twice as long: {}", blocked.body);
        world.clock.advance(Seconds(10));
        assert_eq!(attempt(&browser, ALICE, PASSWORD).await.status, 303);
        for _ in 0..5 {
            assert_eq!(attempt(&browser, ALICE, "wrong").await.status, 422, "counted from zero again");
        }
        assert_eq!(attempt(&browser, ALICE, PASSWORD).await.status, 429);
        world.clock.advance(Seconds(901));
        for _ in 0..4 {
            assert_eq!(attempt(&browser, ALICE, "wrong").await.status, 422, "what is long ago is forgotten");
        }
        assert_eq!(attempt(&browser, ALICE, PASSWORD).await.status, 303);
    }
}

both! {
    async fn thirty_guesses_at_once_are_thirty_guesses(world: World) {
        let browser = Arc::new(world.browser());
        let page = browser.get("/login").await;
        let mut fields = hidden_fields(&page.body, "/login");
        fields.extend([("email".into(), ALICE.into()), ("password".into(), "wrong".into())]);
        let fields = Arc::new(fields);
        let mut attempts = JoinSet::new();
        for _ in 0..30 {
            let (browser, fields) = (browser.clone(), fields.clone());
            attempts.spawn(async move {
                let fields: Vec<(&str, &str)> = fields.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
                browser.post("/login", &fields).await.status
            });
        }
        let mut answers = attempts.join_all().await;
        answers.sort_unstable();
        let expected = [vec![422; 5], vec![429; 25]].concat();
        assert_eq!(answers, expected, "five were looked at");
        assert_eq!(attempt(&browser, ALICE, PASSWORD).await.status, 429);
        world.clock.advance(Seconds(5));
        assert_eq!(attempt(&browser, ALICE, PASSWORD).await.status, 303);
    }
}

#[tokio::test]
async fn guessing_many_e_mails_from_one_address_gets_slower() {
    let world = World::start(Engine::Sqlite).await;
    let browser = world.browser();
    // Counted rather than tried: each try would cost a password hash.
    attempt(&browser, "n0@example.com", "wrong").await;
    let fifty = "UPDATE throttle SET failures = 49 RETURNING name";
    assert_eq!(world.database.column(fifty).await.len(), 3, "an e-mail from an address, the e-mail, the address");
    assert_eq!(attempt(&browser, "n1@example.com", "wrong").await.status, 422);
    assert_eq!(attempt(&browser, ALICE, PASSWORD).await.status, 429);
    world.clock.advance(Seconds(5));
    assert_eq!(attempt(&browser, ALICE, PASSWORD).await.status, 303);
    assert_eq!(attempt(&browser, "n2@example.com", "wrong").await.status, 422);
    assert_eq!(attempt(&browser, BOB, PASSWORD).await.status, 429, "one known password washes nothing away");
}

/// A browser in which nothing is left of a sign-in but that it was there.
pub(crate) async fn known(world: &World, email: &str) -> Browser {
    let browser = world.signed_in(email).await;
    browser.forget_all_but("avouch-known-browser");
    browser
}

/// Guesses until the guesser has to wait.
async fn guess(browser: &Browser, email: &str) {
    for _ in 0..5 {
        assert_eq!(attempt(browser, email, "wrong").await.status, 422);
    }
    assert_eq!(attempt(browser, email, PASSWORD).await.status, 429);
}

both! {
    async fn no_guesses_of_others_keep_a_known_browser_out(world: World) {
        let [mine, other] = [known(&world, ALICE).await, known(&world, ALICE).await];
        let stranger = world.browser();
        guess(&stranger, ALICE).await;
        // As after very many, by whatever they are counted.
        let longest = format!("UPDATE throttle SET failures = 1000, failed_at = {NOW}, blocked_until = {NOW} + 900 RETURNING name");
        assert_eq!(world.database.column(&longest).await.len(), 3);
        assert_eq!(attempt(&stranger, ALICE, PASSWORD).await.status, 429);
        assert_eq!(attempt(&mine, ALICE, PASSWORD).await.status, 303);
        assert_eq!(attempt(&world.browser(), ALICE, PASSWORD).await.status, 429, "that helps no stranger");
        let replica = world.replica(&declarations(&world.service.url)).await;
        mine.forget_all_but("avouch-known-browser");
        assert_eq!(attempt(&mine.at(&replica), ALICE, PASSWORD).await.status, 303, "it is known on every server");

        // Its own guesses count, and those of no other one.
        guess(&mine, ALICE).await;
        world.clock.advance(Seconds(4));
        assert_eq!(attempt(&mine, ALICE, PASSWORD).await.status, 429);
        assert_eq!(attempt(&other, ALICE, PASSWORD).await.status, 303);
        world.clock.advance(Seconds(1));
        assert_eq!(attempt(&mine, ALICE, PASSWORD).await.status, 303);
        guess(&mine, ALICE).await;
        // A block that a wrong clock has written.
        world.database.column(&format!("UPDATE throttle SET blocked_until = {NOW} + 100000")).await;
        assert_eq!(attempt(&mine, ALICE, PASSWORD).await.status, 303, "longer than the longest is none");
    }
}

both! {
    async fn a_browser_is_known_for_those_it_has_signed_in(world: World) {
        let [alices, bobs] = [known(&world, ALICE).await, known(&world, BOB).await];
        guess(&world.browser(), ALICE).await;
        assert_eq!(attempt(&bobs, ALICE, PASSWORD).await.status, 429, "bob's is not known for alice");
        let cookie = alices.cookie("avouch-known-browser").unwrap();
        let parts: Vec<&str> = cookie.split('.').collect();
        let [name, until, password, tag] = parts[..] else { panic!("one user: {cookie}") };
        let later = (until.parse::<i64>().unwrap() + 1).to_string();
        let bobs_tag = bobs.cookie("avouch-known-browser").unwrap().split('.').nth(3).unwrap().to_owned();
        for forged in [
            format!("{name}x.{until}.{password}.{tag}"),
            format!("{name}.{later}.{password}.{tag}"),
            format!("{name}.{until}.{name}.{tag}"),
            format!("{name}.{until}.{password}.{bobs_tag}"),
            format!("{name}.{until}.{password}."),
            format!("{name}.{until}.{password}"),
            format!("x.{cookie}"),
            "...".to_owned(),
        ] {
            bobs.plant("avouch-known-browser", &forged);
            assert_eq!(attempt(&bobs, ALICE, PASSWORD).await.status, 429, "{forged}");
        }
        // Both sign in at one browser; then it is known for both.
        assert_eq!(attempt(&alices, BOB, PASSWORD).await.status, 303);
        guess(&world.browser(), BOB).await;
        alices.forget_all_but("avouch-known-browser");
        for email in [ALICE, BOB] {
            assert_eq!(attempt(&alices, email, PASSWORD).await.status, 303, "{email}");
        }
        assert_eq!(alices.cookie("avouch-known-browser").unwrap().split('.').count(), 8, "each once");
        // A copy of what it kept guesses by itself.
        assert!(!alices.cookie("avouch-known-browser").unwrap().contains(name));
        world.clock.advance(Seconds(400 * 86_400));
        guess(&world.browser(), ALICE).await;
        assert_eq!(attempt(&alices, ALICE, PASSWORD).await.status, 429, "nor is it known for ever");
    }
}

both! {
    async fn another_password_makes_a_browser_unknown(world: World) {
        let browser = known(&world, ALICE).await;
        guess(&world.browser(), ALICE).await;
        let changed = declarations(&world.service.url).replacen(PASSWORD, "another password", 1);
        let world = world.replica(&changed).await;
        let browser = browser.at(&world);
        assert_eq!(attempt(&browser, ALICE, "another password").await.status, 429);
        world.clock.advance(Seconds(5));
        assert_eq!(attempt(&browser, ALICE, "another password").await.status, 303);
        guess(&world.browser(), ALICE).await;
        browser.forget_all_but("avouch-known-browser");
        assert_eq!(attempt(&browser, ALICE, "another password").await.status, 303, "known again");
        browser.forget_all_but("avouch-known-browser");
        world.clock.advance(known_browser::LIFETIME);
        guess(&world.browser(), ALICE).await;
        assert_eq!(attempt(&browser, ALICE, "another password").await.status, 429, "it was too long ago");
    }
}

both! {
    async fn many_addresses_guess_little_more_than_one(world: World) {
        // NOW is the beginning of an hour.
        assert_eq!(NOW.0 % 3600, 0);
        let address = |n| world.browser().at_address(n);
        for n in 2..5 {
            guess(&address(n), ALICE).await;
        }
        assert_eq!(attempt(&address(5), ALICE, PASSWORD).await.status, 303, "few guesses elsewhere block nobody");
        // Counted rather than tried: each try would cost a password hash.
        world.database.column("UPDATE throttle SET failures = 98 WHERE failures = 15").await;
        assert_eq!(attempt(&address(6), ALICE, "wrong").await.status, 422);
        assert_eq!(attempt(&address(7), ALICE, "wrong").await.status, 422);
        assert_eq!(attempt(&address(8), ALICE, PASSWORD).await.status, 429, "a hundred from anywhere");
        assert_eq!(attempt(&address(8), BOB, PASSWORD).await.status, 303);
        let all = format!("UPDATE throttle SET failures = 120, blocked_until = {NOW} + 900 WHERE failures = 100");
        world.database.column(&all).await;
        world.clock.advance(Seconds(899));
        assert_eq!(attempt(&address(8), ALICE, PASSWORD).await.status, 429);
        world.database.column(&format!("UPDATE throttle SET blocked_until = {NOW} + 4400 WHERE failures = 120")).await;
        world.clock.advance(Seconds(2700));
        assert_eq!(attempt(&address(8), ALICE, PASSWORD).await.status, 429);
        world.clock.advance(Seconds(1));
        assert_eq!(attempt(&address(8), ALICE, PASSWORD).await.status, 303, "another hour");
    }
}

/// Behind a proxy that nobody has declared all have one address.
#[tokio::test]
async fn an_address_that_everybody_has_is_not_counted() {
    let rows = async |world: &World| world.database.column("SELECT name FROM throttle").await.len();
    for (extra, headers, counted, warned) in [
        ("", &[("x-forwarded-for", "203.0.113.7")][..], 1, true),
        ("", &[("forwarded", "for=203.0.113.7")], 1, true),
        ("", &[("x-forwarded-proto", "https")], 1, true),
        ("", &[], 3, false),
        ("trusted_proxies = [\"127.0.0.1\"]", &[("x-forwarded-for", "203.0.113.7")], 3, false),
        ("trusted_proxies = [\"10.0.0.0/8\"]", &[("x-forwarded-for", "203.0.113.7")], 3, true),
    ] {
        let (log, guard) = Log::keep(LevelFilter::WARN);
        let world = behind_tls(extra).await;
        let browser = world.browser();
        for status in [422, 422, 422, 422, 422, if counted == 1 { 422 } else { 429 }] {
            let page = browser.get("/login").await;
            let mut fields = hidden_fields(&page.body, "/login");
            fields.extend([("email".into(), ALICE.into()), ("password".into(), "wrong".into())]);
            let fields: Vec<(&str, &str)> = fields.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
            let headers = [&[("origin", "https://id.example"), ("sec-fetch-site", "same-origin")], headers].concat();
            assert_eq!(browser.post_with("/login", &fields, &headers).await.status, status, "{extra} {headers:?}");
        }
        drop(guard);
        assert_eq!(rows(&world).await, counted, "{extra} {headers:?}");
        let said = log.text().matches("trusted_proxies").count();
        assert_eq!(said, usize::from(warned), "once: {extra} {headers:?} {}", log.text());
    }
}

both! {
    async fn the_line_of_strangers_is_bounded_and_keeps_out_nobody_who_is_known(world: World) {
        let browser = known(&world, ALICE).await;
        // More strangers than come in and wait: one of them is refused, and as long as the others stay, so is whoever follows.
        let (go, held) = tokio::sync::watch::channel(false);
        let mut strangers = JoinSet::new();
        for _ in 0..100 {
            let (host, mut held) = (world.host.clone(), held.clone());
            strangers.spawn(async move {
                let place = host.hashing.place(None).await;
                if place.is_ok() {
                    held.wait_for(|go| *go).await.unwrap();
                }
                matches!(place, Err(Error::Refused(Refusal::Busy)))
            });
        }
        assert!(strangers.join_next().await.unwrap().unwrap());
        let before = world.database.column("SELECT name FROM throttle").await.len();
        let refused = attempt(&world.browser(), BOB, PASSWORD).await;
        assert_eq!((refused.status, refused.header("retry-after")), (503, "1"));
        assert!(refused.body.contains("Please try again.") && refused.body.contains(BOB), "{}", refused.body);
        assert_eq!(world.database.column("SELECT name FROM throttle").await.len(), before, "it costs no write");
        assert_eq!(attempt(&browser, ALICE, PASSWORD).await.status, 303);
        go.send(true).unwrap();
        strangers.join_all().await;
        assert_eq!(attempt(&world.browser(), BOB, PASSWORD).await.status, 303);
    }
}

both! {
    async fn what_was_counted_is_swept_after_an_hour(world: World) {
        attempt(&world.browser(), ALICE, "wrong").await;
        for (later, rows) in [(3600, 3), (1, 0)] {
            world.clock.advance(Seconds(later));
            sweep::run(&world.host).await.unwrap();
            assert_eq!(world.database.column("SELECT name FROM throttle").await.len(), rows);
        }
    }
}
