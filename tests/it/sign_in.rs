//! Signing in and out: who gets a session, what guards it, and what ends with it.

use std::sync::Arc;

use avouch::clock::Clock;
use avouch::config::Config;
use avouch::domain::time::Seconds;
use avouch::flow::{issuers, start};
use avouch::host::DEFAULT_ISSUER;
use avouch::passwords;
use avouch::rng::Rng;
use avouch::secret::{Secret, token_hash};
use serde_json::json;
use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::harness::{
    ALICE, Answer, BOB, Browser, Database, Engine, FakeService, ID_TOKEN, NOW, PASSWORD, SECRET, World, both, claims,
    client, code_grant, declarations, encode, hidden_fields,
};

/// Names and values.
type Form<'a> = &'a [(&'a str, &'a str)];

pub(crate) async fn attempt(browser: &Browser, email: &str, password: &str) -> Answer {
    let page = browser.get("/login").await;
    browser.submit(&page, "/login", &[("email", email), ("password", password)]).await
}

async fn sessions(world: &World) -> usize {
    world.database.column("SELECT id FROM session").await.len()
}

/// Whether the browser is signed in, as its user sees it.
async fn inside(browser: &Browser) -> bool {
    browser.get("/connections").await.status == 200
}

both! {
    async fn whoever_is_wrong_gets_the_same_answer(world: World) {
        let browser = world.browser();
        let words = async |email: &str, password: &str| {
            let answer = attempt(&browser, email, password).await;
            assert_eq!(answer.status, 422, "{email}");
            assert!(!answer.headers.contains_key("set-cookie") && browser.cookie("avouch-session").is_none(), "{email}");
            if email.is_empty() { answer.body } else { answer.body.replace(email, "EMAIL") }
        };
        let wrong = words(ALICE, "wrong").await;
        assert!(wrong.contains("E-mail or password is wrong."));
        assert_eq!(words("nobody@example.com", "wrong").await, wrong, "unknown");
        assert_eq!(words("nobody@example.com", PASSWORD).await, wrong, "somebody else's password");
        assert_eq!(words(ALICE, "").await, wrong, "no password");
        assert_eq!(words(ALICE, &"x".repeat(1025)).await, wrong, "1025 bytes");
        assert_eq!(attempt(&browser, "", "").await.status, 422);
        assert_eq!(sessions(&world).await, 0);
        assert_eq!(world.database.column("SELECT kind FROM journal WHERE kind LIKE 'session.%'").await.len(), 0);
    }
}

both! {
    async fn one_text_typed_in_several_ways_is_one_text(world: World) {
        // As one keyboard writes them, and as another does; the space is one of typographers.
        let (email, typed) = ("zoe\u{308}@example.com", "ZO\u{cb}@Example.com");
        let (password, typed_password) = ("e\u{301}te\u{301}\u{a0}Ha\u{30a}ndl", "\u{e9}t\u{e9} H\u{e5}ndl");
        for (email, password, typed, typed_password) in
            [(email, password, typed, typed_password), (typed, typed_password, email, password)]
        {
            let hash = passwords::hash_password(&Secret::new(password), &[1; 16]).unwrap();
            for declared in [format!("password = \"{password}\""), format!("password_hash = \"{hash}\"")] {
                let user = format!("[[users]]\nemail = \"{email}\"\n{declared}\n");
                let world = world.replica(&user).await;
                for (email, password) in [(typed, typed_password), (email, password)] {
                    assert_eq!(attempt(&world.browser(), email, password).await.status, 303, "{email:?} {password:?}");
                }
                let wrong = typed_password.replace('H', "h");
                assert_eq!(attempt(&world.browser(), typed, &wrong).await.status, 422, "case counts");
                let accounts = "SELECT email FROM account WHERE disabled_at IS NULL";
                assert_eq!(world.database.column(accounts).await, ["zo\u{eb}@example.com"]);
            }
        }
    }
}

both! {
    async fn a_disabled_user_is_out(world: World) {
        let browser = world.signed_in(ALICE).await;
        let tokens = world.tokens(&browser, "desk-agent").await;
        // The next start no longer declares alice.
        let declared = declarations(&world.service.url).replace(ALICE, "carol@example.com");
        let after = world.replica(&declared).await;
        for server in [&world, &after] {
            assert_eq!(attempt(&server.browser(), ALICE, PASSWORD).await.status, 422, "the right password");
            assert_eq!(server.exchange("desk-agent", &tokens, &[]).await.1["error"], "invalid_grant");
            let form = [("grant_type", "refresh_token"), ("refresh_token", tokens["refresh_token"].as_str().unwrap())];
            assert_eq!(server.token("desk-agent", &form).await.1["error"], "invalid_grant");
        }
        assert!(!inside(&browser).await);
        assert_eq!(sessions(&world).await, 1, "none was opened");
        assert!(attempt(&world.browser(), "carol@example.com", PASSWORD).await.status == 303);
        // Declared again, the same person signs in again; what was ended stays ended.
        let again = world.replica(&declarations(&world.service.url)).await;
        assert_eq!(attempt(&again.browser(), ALICE, PASSWORD).await.status, 303);
        assert_eq!(again.exchange("desk-agent", &tokens, &[]).await.1["error"], "invalid_grant");
    }
}

#[tokio::test]
async fn cookies_of_a_loopback_issuer() {
    let world = World::start(Engine::Sqlite).await;
    let browser = world.browser();
    let page = browser.get("/login").await;
    let flags = "; Path=/; HttpOnly; SameSite=Lax; Max-Age=1209600";
    assert_eq!(page.header("set-cookie"), format!("{}{flags}", browser.cookie_pair("avouch-sign-in").unwrap()));
    assert!(!browser.get("/login").await.headers.contains_key("set-cookie"), "two tabs share it");
    let answer = browser.submit(&page, "/login", &[("email", ALICE), ("password", PASSWORD)]).await;
    assert_eq!((answer.status, answer.location().as_str()), (303, "/connections"));
    assert_eq!(answer.header("set-cookie"), format!("{}{flags}", browser.cookie_pair("avouch-session").unwrap()));
    assert_eq!(answer.header("cache-control"), "no-store");
    let known = answer.headers.get_all("set-cookie").iter().nth(1).unwrap().to_str().unwrap();
    let flags = "; Path=/; HttpOnly; SameSite=Lax; Max-Age=34560000";
    assert_eq!(known, format!("{}{flags}", browser.cookie_pair("avouch-known-browser").unwrap()));
}

/// A provider with an https issuer, as it stands behind a proxy that ends TLS.
pub(crate) async fn behind_tls(extra: &str) -> World {
    let database = Arc::new(Database::make(Engine::Sqlite).await);
    let hash = passwords::hash_password(&Secret::new(PASSWORD), &[1; 16]).unwrap();
    let text = format!(
        "issuer = \"https://id.example\"\n{extra}\ndatabase_url = \"{}\"\n[keys]\ndir = \"{}\"\n[[users]]\nemail = \"{ALICE}\"\npassword_hash = \"{hash}\"\n",
        database.url,
        database.keys()
    );
    let file = database.path("avouch.toml");
    std::fs::write(&file, text).unwrap();
    let config = Config::load(Some(&file), Vec::new()).unwrap_or_else(|e| panic!("{e}"));
    let clock = Clock::fixed(NOW);
    let (host, _) = start::open(&config, start::Accepted { removals: true, new: false }, clock.clone(), Rng::seeded(1))
        .await
        .unwrap();
    avouch::flow::declare::hash_passwords(host.clone(), config.users).await;
    let app = issuers::app(&host, DEFAULT_ISSUER).await.unwrap().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let (stop, stopped) = watch::channel(false);
    tokio::spawn(avouch::http::serve::serve(listener, avouch::http::router(host.clone()), stopped));
    let service = FakeService::start().await;
    World { host, app, url, clock, service, database, http: client(), stop }
}

#[tokio::test]
async fn cookies_of_an_https_issuer_cannot_be_planted() {
    let world = behind_tls("").await;
    let browser = world.browser();
    let flags = "; Path=/; HttpOnly; SameSite=Lax; Max-Age=1209600; Secure";
    let page = browser.get("/login").await;
    assert_eq!(page.header("set-cookie"), format!("{}{flags}", browser.cookie_pair("__Host-avouch-sign-in").unwrap()));
    let answer = browser.submit(&page, "/login", &[("email", ALICE), ("password", PASSWORD)]).await;
    assert_eq!(answer.status, 303, "{}", answer.body);
    let session = browser.cookie_pair("__Host-avouch-session").unwrap();
    assert_eq!(answer.header("set-cookie"), format!("{session}{flags}"));
    assert!(inside(&browser).await);

    // The plain name, which a page of a sister domain could set, means nothing here.
    let with = async |cookie: String| {
        let request = world.http.get(format!("{}/connections", world.url)).header("cookie", cookie);
        request.send().await.unwrap().status().as_u16()
    };
    assert_eq!(with(session.clone()).await, 200);
    assert_eq!(with(session.replace("__Host-", "")).await, 303);
    let page = browser.get("/connections").await;
    let out = browser.submit(&page, "/logout", &[]).await;
    let name = session.split_once('=').unwrap().0;
    assert_eq!(out.header("set-cookie"), format!("{name}=; Path=/; HttpOnly; SameSite=Lax; Max-Age=0; Secure"));
}

#[tokio::test]
async fn cookies_of_an_https_issuer_with_a_path() {
    let world = behind_tls("").await;
    crate::paths::add(&world, "acme").await;
    let browser = world.browser();
    let flags = "; Path=/acme; HttpOnly; SameSite=Lax; Max-Age=1209600; Secure";
    let page = browser.get("/acme/login").await;
    assert_eq!(
        page.header("set-cookie"),
        format!("{}{flags}", browser.cookie_pair("__Secure-avouch-sign-in").unwrap())
    );
    let answer = browser.submit(&page, "/acme/login", &[("email", ALICE), ("password", PASSWORD)]).await;
    assert_eq!(answer.status, 303, "{}", answer.body);
    let session = browser.cookie_pair("__Secure-avouch-session").unwrap();
    assert_eq!(answer.header("set-cookie"), format!("{session}{flags}"));
    assert_eq!(browser.get("/acme/connections").await.status, 200);
    // The origin is that of the issuer, without its path.
    let page = browser.get("/acme/connections").await;
    let fields = crate::harness::hidden_fields(&page.body, "/acme/logout");
    let fields: Vec<(&str, &str)> = fields.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
    for origin in ["https://id.example/acme", "https://id.example.evil", "http://id.example", "null"] {
        let headers = [("origin", origin), ("sec-fetch-site", "same-origin")];
        assert_eq!(browser.post_with("/acme/logout", &fields, &headers).await.status, 403, "{origin}");
    }
    assert_eq!(browser.post("/acme/logout", &fields).await.status, 303);
}

both! {
    async fn signing_in_again_renews_the_session(world: World) {
        let browser = world.signed_in(ALICE).await;
        let first = world.tokens(&browser, "desk-agent").await;
        let old = browser.cookie_pair("avouch-session").unwrap();
        world.clock.advance(Seconds(100));
        assert_eq!(attempt(&browser, ALICE, "wrong").await.status, 422);
        assert!(inside(&browser).await, "a typing mistake ends nothing");
        assert_eq!(attempt(&browser, ALICE, PASSWORD).await.status, 303);
        let new = browser.cookie_pair("avouch-session").unwrap();
        assert_ne!(old, new);
        let request = world.http.get(format!("{}/connections", world.url)).header("cookie", old);
        assert_eq!(request.send().await.unwrap().status(), 303, "the old cookie is dead");

        let second = world.tokens(&browser, "desk-agent").await;
        let (before, after) = (claims(first["id_token"].as_str().unwrap()), claims(second["id_token"].as_str().unwrap()));
        assert_eq!(before["sid"], after["sid"], "the same session");
        assert_eq!((&before["auth_time"], &after["auth_time"]), (&json!(NOW), &json!(NOW + Seconds(100))));
        assert_eq!(world.exchange("desk-agent", &first, &[]).await.1["error"], "consent_required", "what rests on it lives on");
        assert_eq!(sessions(&world).await, 1);

        // Somebody else at the same browser ends it.
        assert_eq!(attempt(&browser, BOB, PASSWORD).await.status, 303);
        assert_eq!(world.exchange("desk-agent", &second, &[]).await.1["error"], "invalid_grant");
        let kinds = world.database.column("SELECT kind FROM journal WHERE kind LIKE 'session.%' ORDER BY kind").await;
        assert_eq!(kinds, ["session.ended", "session.opened", "session.opened", "session.renewed"]);
    }
}

both! {
    async fn signing_out_ends_what_rests_on_the_session(world: World) {
        let (browser, tokens, ..) = world.delegated().await;
        let other = world.signed_in(ALICE).await;
        let elsewhere = world.tokens(&other, "desk-agent").await;
        let code = world.code(&browser, "desk-agent", &[]).await;
        let cookie = browser.cookie_pair("avouch-session").unwrap();
        let page = browser.get("/connections").await;
        let answer = browser.submit(&page, "/logout", &[]).await;
        assert_eq!((answer.status, answer.location().as_str()), (303, "/login"));
        assert_eq!(answer.header("set-cookie"), format!("{}=; Path=/; HttpOnly; SameSite=Lax; Max-Age=0", cookie.split_once('=').unwrap().0));
        let request = world.http.get(format!("{}/connections", world.url)).header("cookie", cookie);
        assert_eq!(request.send().await.unwrap().status(), 303, "whoever kept the cookie is out");

        let id = [("subject_token", tokens["id_token"].as_str().unwrap()), ("subject_token_type", ID_TOKEN)];
        let refresh = [("grant_type", "refresh_token"), ("refresh_token", tokens["refresh_token"].as_str().unwrap())];
        for (name, answer) in [
            ("access token", world.exchange("desk-agent", &tokens, &[]).await),
            ("ID token", world.exchange("desk-agent", &tokens, &id).await),
            ("refresh token", world.token("desk-agent", &refresh).await),
            ("code", world.token("desk-agent", &code_grant(&code)).await),
        ] {
            assert_eq!((answer.0, &answer.1["error"]), (400, &json!("invalid_grant")), "{name}: {}", answer.1);
        }
        assert!(inside(&other).await, "another browser's session is not concerned");
        assert_eq!(world.exchange("desk-agent", &elsewhere, &[]).await.0, 200);
        let gone = browser.post("/logout", &[]).await;
        assert_eq!((gone.status, gone.location().as_str()), (303, "/login"), "out is out");
    }
}

#[tokio::test]
async fn a_session_lasts_fourteen_days_however_often_it_is_renewed() {
    let world = World::start(Engine::Sqlite).await;
    let browser = world.signed_in(ALICE).await;
    world.clock.advance(Seconds(14 * 24 * 3600 - 1));
    assert!(inside(&browser).await);
    assert_eq!(attempt(&browser, ALICE, PASSWORD).await.status, 303);
    world.clock.advance(Seconds(1));
    assert!(!inside(&browser).await);
}

#[tokio::test]
async fn a_sign_in_leads_nowhere_else() {
    let world = World::start(Engine::Sqlite).await;
    let browser = world.browser();
    let go = async |to: &str| {
        let page = browser.get(&format!("/login?{}", encode(&[("to", to)]))).await;
        let asked = browser.submit(&page, "/login", &[("email", ALICE), ("password", PASSWORD)]).await.location();
        // And with the field of the form changed, which a page cannot guard.
        let fields = hidden_fields(&page.body, "/login");
        let csrf = &fields.iter().find(|(name, _)| name == "csrf").unwrap().1;
        let form = [("csrf", csrf.as_str()), ("to", to), ("email", ALICE), ("password", PASSWORD)];
        assert_eq!(browser.post("/login", &form).await.location(), asked, "{to:?}");
        asked
    };
    for evil in [
        "https://evil.example/",
        "//evil.example/",
        "/\\evil.example/",
        "\\\\evil.example/",
        "/%09/evil.example",
        "/\t/evil.example/",
        "javascript:alert(1)",
        "/logout",
        "/connections\r\nSet-Cookie: a=b",
    ] {
        assert_eq!(go(evil).await, "/connections", "{evil:?}");
    }
    assert_eq!(go("/consent/abc").await, "/consent/abc");
    let twice = browser.get("/login?to=/connections&to=//evil.example").await;
    assert_eq!((twice.status, twice.header("location")), (400, ""));
}

#[tokio::test]
async fn a_form_that_is_too_old_is_shown_again() {
    let world = World::start(Engine::Sqlite).await;
    let way_back = World::authorize_path("desk-agent", &[]);
    let sign_in = world.browser().get(&way_back).await.location();
    let person = [("email", ALICE), ("password", PASSWORD)];
    // As after a fortnight, and as where no cookies are kept; then with the token of another browser's page.
    let old = world.browser().get(&sign_in).await;
    let (forgetful, another) = (world.browser(), world.browser());
    another.get("/login").await;
    for browser in [forgetful, another] {
        let again = browser.submit(&old, "/login", &person).await;
        assert_eq!(again.status, 403, "nobody is signed in");
        assert!(browser.cookie("avouch-session").is_none());
        assert!(again.body.contains("Please sign in again.") && again.body.contains(ALICE), "{}", again.body);
        assert!(again.body.contains("Desk Agent"), "it knows what for: {}", again.body);
        assert!(!again.body.contains(PASSWORD));
        let in_again = browser.submit(&again, "/login", &person).await;
        assert_eq!((in_again.status, in_again.location()), (303, way_back.clone()), "the way back is kept");
    }
}

#[tokio::test]
async fn posts_from_other_sites_do_nothing() {
    let world = World::start(Engine::Sqlite).await;
    let browser = world.signed_in(ALICE).await;
    let home = browser.get("/connections").await;
    let ask = browser.get(&World::authorize_path("desk-agent", &[])).await;
    let stranger = world.signed_in(BOB).await;
    let login = world.browser();
    let login_page = login.get("/login").await;
    let (mine, theirs) = (world.issuer(), "https://evil.example".to_owned());
    let issuer_elsewhere = mine.replace("localhost", "127.0.0.1");
    let headers: [(&str, &[(&str, &str)]); 6] = [
        ("another origin", &[("origin", &theirs), ("sec-fetch-site", "cross-site")]),
        ("another origin, an old browser", &[("origin", &theirs)]),
        ("our other name", &[("origin", &issuer_elsewhere)]),
        ("an opaque origin", &[("origin", "null"), ("sec-fetch-site", "cross-site")]),
        ("a sister site", &[("origin", &mine), ("sec-fetch-site", "same-site")]),
        ("cross-site alone", &[("sec-fetch-site", "cross-site")]),
    ];
    let person = [("email", ALICE), ("password", PASSWORD)];
    let forms: [(&str, &Browser, &Answer, Form<'_>); 3] = [
        ("/logout", &browser, &home, &[]),
        ("/authorize/decision", &browser, &ask, &[("decision", "allow")]),
        ("/login", &login, &login_page, &person),
    ];
    for (path, who, page, typed) in forms {
        let hidden = hidden_fields(&page.body, path);
        let good: Vec<(&str, &str)> =
            hidden.iter().map(|(n, v)| (n.as_str(), v.as_str())).chain(typed.iter().copied()).collect();
        for (name, headers) in headers {
            assert_eq!(who.post_with(path, &good, headers).await.status, 403, "{path} {name}");
        }
        let without: Vec<(&str, &str)> = good.iter().filter(|(n, _)| *n != "csrf").copied().collect();
        assert_eq!(who.post(path, &without).await.status, 403, "{path} without the token");
        let mut another = without.clone();
        let csrf_of_bob = hidden_fields(&stranger.get("/connections").await.body, "/logout").remove(0).1;
        another.push(("csrf", &csrf_of_bob));
        assert_eq!(who.post(path, &another).await.status, 403, "{path} with another session's token");
        let mut twice = good.clone();
        twice.push(("csrf", "x"));
        assert_eq!(who.post(path, &twice).await.status, 400, "{path} with two tokens");
    }
    assert!(inside(&browser).await && !inside(&login).await);
    assert_eq!(sessions(&world).await, 2);
    for table in ["signin_consent", "authorization_code"] {
        assert_eq!(world.database.column(&format!("SELECT created_at FROM {table}")).await.len(), 0, "{table}");
    }
    assert_eq!(
        world.database.column("SELECT failures FROM throttle").await,
        ["0"; 5],
        "not even an attempt is counted"
    );
}

#[tokio::test]
async fn a_cookie_that_comes_twice_counts_for_nothing() {
    let world = World::start(Engine::Sqlite).await;
    let browser = world.signed_in(ALICE).await;
    let mine = browser.cookie_pair("avouch-session").unwrap();
    let theirs = world.signed_in(BOB).await.cookie_pair("avouch-session").unwrap();
    let empty = format!("{}=", mine.split_once('=').unwrap().0);
    let with = async |cookie: String| {
        let request = world.http.get(format!("{}/connections", world.url)).header("cookie", cookie);
        request.send().await.unwrap().status().as_u16()
    };
    assert_eq!(with(format!("a=b; {mine}; c=d")).await, 200);
    for other in [theirs.as_str(), mine.as_str(), &empty] {
        assert_eq!(with(format!("{mine}; {other}")).await, 303);
        assert_eq!(with(format!("{other}; {mine}")).await, 303);
    }
    let tied = browser.cookie_pair("avouch-sign-in").unwrap();
    let csrf = tied.split_once('=').unwrap().1;
    let form = encode(&[("csrf", csrf), ("email", ALICE), ("password", PASSWORD)]);
    let planted = format!("{tied}; {tied}");
    let request = world.http.post(format!("{}/login", world.url)).header("cookie", planted).body(form);
    let answer = request.header("content-type", "application/x-www-form-urlencoded").send().await.unwrap();
    let to = answer.headers()["location"].to_str().unwrap();
    assert!(to.starts_with("/login?"), "{to}");
    assert!(answer.headers().get_all("set-cookie").iter().next().is_none(), "nobody is signed in");
    assert_eq!(browser.get(to).await.status, 403);
}

#[tokio::test]
async fn no_bearer_is_in_the_database() {
    let world = World::start(Engine::Sqlite).await;
    let (browser, tokens, _, assertion) = world.delegated().await;
    let code = world.code(&browser, "desk-agent", &[]).await;
    attempt(&world.browser(), "guess@example.com", "wrong").await;
    let (session, admin) = (browser.cookie("avouch-session").unwrap(), world.admin_token());
    let forms = hidden_fields(&browser.get("/connections").await.body, "/logout");
    let csrf = &forms.iter().find(|(name, _)| name == "csrf").unwrap().1;
    let rows: Vec<u8> = ["avouch.db", "avouch.db-wal"]
        .iter()
        .flat_map(|name| std::fs::read(world.database.path(name)).unwrap_or_default())
        .collect();
    let stored = |text: &str| rows.windows(text.len()).any(|window| window == text.as_bytes());
    for (name, bearer) in [
        ("session", session.as_str()),
        ("code", &code),
        ("access token", tokens["access_token"].as_str().unwrap()),
        ("refresh token", tokens["refresh_token"].as_str().unwrap()),
        ("admin token", &admin),
        ("client secret", SECRET),
    ] {
        assert!(stored(&token_hash(bearer)), "{name}: its hash is");
        assert!(!stored(bearer), "{name}");
    }
    for (name, never) in [
        ("password", PASSWORD),
        ("ID token", tokens["id_token"].as_str().unwrap()),
        ("assertion", &assertion),
        ("what forms carry", csrf),
        ("an e-mail somebody guessed", "guess@example.com"),
    ] {
        assert!(!stored(never), "{name}");
    }
    let hashes = world.database.column("SELECT password_hash FROM account").await;
    assert!(hashes.iter().all(|hash| hash.starts_with("$argon2id$v=19$m=19456,t=2,p=1$")), "{hashes:?}");
}
