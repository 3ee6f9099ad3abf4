//! The authorization endpoint: where answers go, what is asked of the user, and what is refused.

use avouch::domain::time::Seconds;
use serde_json::json;

use crate::harness::{
    ALICE, Answer, BOB, CALLBACK, CHALLENGE, Engine, NOW, PASSWORD, World, both, claims, code_grant, encode, query,
};

/// Names and values.
type Form<'a> = &'a [(&'a str, &'a str)];

/// The answer for the client: a redirect to it with the state and issuer of every answer (RFC 9207), and what `name` says.
fn told(world: &World, answer: &Answer, name: &str) -> String {
    assert_eq!(answer.status, 303, "{}", answer.body);
    let location = answer.location();
    assert!(location.starts_with(&format!("{CALLBACK}?")), "{location}");
    assert_eq!(query(&location, "iss"), Some(world.issuer()), "{location}");
    assert_eq!(query(&location, "state").as_deref(), Some("st"), "{location}");
    query(&location, name).unwrap_or_else(|| panic!("no {name} in {location}"))
}

/// An answer for nobody but the user: it goes nowhere (RFC 9700 section 4.11).
fn a_page(answer: &Answer, name: &str) {
    assert_eq!(answer.status, 400, "{name}");
    assert!(!answer.headers.contains_key("location"), "{name}");
    assert!(answer.header("content-type").starts_with("text/html"), "{name}");
}

async fn codes(world: &World) -> usize {
    world.database.column("SELECT hash FROM authorization_code").await.len()
}

#[tokio::test]
async fn the_answer_names_its_issuer_and_state() {
    let world = World::start(Engine::Sqlite).await;
    let browser = world.signed_in(ALICE).await;
    let path = World::authorize_path("console", &[]);
    let answer = browser.get(&path).await;
    assert_eq!(told(&world, &answer, "code").len(), 43);
    assert_eq!(answer.header("cache-control"), "no-store");
    assert_eq!(answer.header("referrer-policy"), "no-referrer");

    // The same as a form (OpenID Connect Core section 3.1.2.1), whoever sends it: it asks, and changes nothing by itself.
    let form: Vec<(String, String)> =
        url::form_urlencoded::parse(path.split_once('?').unwrap().1.as_bytes()).into_owned().collect();
    let form: Vec<(&str, &str)> = form.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
    told(&world, &browser.post("/authorize", &form).await, "code");
    let elsewhere = [("origin", "https://agent.example"), ("sec-fetch-site", "cross-site")];
    told(&world, &browser.post_with("/authorize", &form, &elsewhere).await, "code");
    let text =
        world.http.post(format!("{}/authorize", world.url)).header("content-type", "text/plain").body(encode(&form));
    let answer = Answer::read(text.send().await.unwrap()).await;
    assert_eq!((answer.status, answer.location().as_str()), (415, ""), "no form");

    // Without a state there is none in the answer.
    let location = browser.get(&World::authorize_path("console", &[("state", "")])).await.location();
    assert_eq!(query(&location, "state"), None);
    let state = "ü & = # / ?";
    let location = browser.get(&World::authorize_path("console", &[("state", state)])).await.location();
    assert_eq!(query(&location, "state").as_deref(), Some(state));
}

#[tokio::test]
async fn nothing_is_sent_where_it_may_not_go() {
    let world = World::start(Engine::Sqlite).await;
    let browser = world.signed_in(ALICE).await;
    let cases: &[(&str, &[(&str, &str)])] = &[
        ("unknown client", &[("client_id", "nobody")]),
        ("no client", &[("client_id", "")]),
        ("client twice", &[("client_id", "console"), ("client_id", "console")]),
        ("no redirect_uri", &[("redirect_uri", "")]),
        ("redirect_uri twice", &[("redirect_uri", CALLBACK), ("redirect_uri", "https://evil.example/")]),
        ("another site", &[("redirect_uri", "https://evil.example/callback")]),
        ("another path", &[("redirect_uri", "http://127.0.0.1:8765/callback/")]),
        ("a longer path", &[("redirect_uri", "http://127.0.0.1:8765/callback/../evil")]),
        ("a query", &[("redirect_uri", "http://127.0.0.1:8765/callback?x=1")]),
        ("a fragment", &[("redirect_uri", "http://127.0.0.1:8765/callback#x")]),
        ("userinfo", &[("redirect_uri", "http://evil@127.0.0.1:8765/callback")]),
        ("another host", &[("redirect_uri", "http://127.0.0.1.evil.example:8765/callback")]),
        ("a name for the address", &[("redirect_uri", "http://localhost:8765/callback")]),
        ("another scheme", &[("redirect_uri", "https://127.0.0.1:8765/callback")]),
        ("no URL", &[("redirect_uri", "callback")]),
        ("a script", &[("redirect_uri", "javascript:alert(1)")]),
        // Even a request that is wrong in other ways: the error must not travel either.
        (
            "wrong in every way",
            &[("redirect_uri", "https://evil.example/"), ("response_type", "token"), ("prompt", "none")],
        ),
    ];
    for (name, changes) in cases {
        let answer = browser.get(&World::authorize_path("console", changes)).await;
        a_page(&answer, name);
        // A person is told what to do, and whoever wrote the request what was wrong with it.
        let (said, folded) = answer.body.split_once("<details><summary>Technical details</summary>").expect(name);
        assert!(said.contains("The agent or link that sent you here made a mistake."), "{name}: {said}");
        assert!(!said.contains("redirect_uri") && folded.contains("<code>"), "{name}: {folded}");
        a_page(&world.browser().get(&World::authorize_path("console", changes)).await, name);
    }
    assert_eq!(codes(&world).await, 0);
}

#[tokio::test]
async fn what_is_wrong_is_told_to_the_client() {
    let world = World::start(Engine::Sqlite).await;
    let browser = world.signed_in(ALICE).await;
    let long = "x".repeat(8193);
    let cases: &[(&str, Form<'_>, &str)] = &[
        ("no response_type", &[("response_type", "")], "invalid_request"),
        ("implicit", &[("response_type", "token")], "unsupported_response_type"),
        ("hybrid", &[("response_type", "code id_token")], "unsupported_response_type"),
        ("no PKCE", &[("code_challenge", ""), ("code_challenge_method", "")], "invalid_request"),
        ("no challenge", &[("code_challenge", "")], "invalid_request"),
        ("no method, which means plain", &[("code_challenge_method", "")], "invalid_request"),
        ("plain", &[("code_challenge_method", "plain")], "invalid_request"),
        ("lower case", &[("code_challenge_method", "s256")], "invalid_request"),
        ("a short challenge", &[("code_challenge", "abc")], "invalid_request"),
        ("a padded challenge", &[("code_challenge", "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-c=")], "invalid_request"),
        ("response_mode", &[("response_mode", "fragment")], "invalid_request"),
        ("request object", &[("request", "e30.e30.")], "request_not_supported"),
        ("request_uri", &[("request_uri", "https://agent.example/r")], "request_uri_not_supported"),
        ("rich authorization", &[("authorization_details", "[]")], "invalid_request"),
        ("a bound code", &[("dpop_jkt", "x")], "invalid_request"),
        ("only unknown scopes", &[("scope", "api.read groups")], "invalid_scope"),
        ("no scope tokens", &[("scope", "openid \"x\"")], "invalid_scope"),
        ("delegations", &[("scope", "delegations")], "invalid_scope"),
        ("delegations:write", &[("scope", "delegations:write")], "invalid_scope"),
        ("unknown prompt", &[("prompt", "create")], "invalid_request"),
        ("none and more", &[("prompt", "none login")], "invalid_request"),
        ("none and consent", &[("prompt", "none consent")], "invalid_request"),
        ("max_age", &[("max_age", "soon")], "invalid_request"),
        ("negative max_age", &[("max_age", "-1")], "invalid_request"),
        ("a NUL", &[("nonce", "a\0b")], "invalid_request"),
        ("long nonce", &[("nonce", &long)], "invalid_request"),
        ("scope twice", &[("scope", "openid"), ("scope", "openid email")], "invalid_request"),
        ("nonce twice", &[("nonce", "a"), ("nonce", "b")], "invalid_request"),
        ("challenge twice", &[("code_challenge", CHALLENGE), ("code_challenge", CHALLENGE)], "invalid_request"),
        ("prompt twice", &[("prompt", "none"), ("prompt", "login")], "invalid_request"),
        ("something unknown twice", &[("foo", "1"), ("foo", "2")], "invalid_request"),
    ];
    for (name, changes, expected) in cases {
        for who in [&browser, &world.browser()] {
            let answer = who.get(&World::authorize_path("desk-agent", changes)).await;
            assert_eq!(told(&world, &answer, "error"), *expected, "{name}");
            assert!(!told(&world, &answer, "error_description").is_empty());
            assert_eq!(query(&answer.location(), "code"), None, "{name}");
        }
    }
    for (client, scope) in [("console", "delegations:write"), ("jwt-agent", "offline_access")] {
        let answer = browser.get(&World::authorize_path(client, &[("scope", scope)])).await;
        assert_eq!(told(&world, &answer, "error"), "invalid_scope", "{client} {scope}");
    }
    // Of two states neither is repeated.
    for changes in [[("state", long.as_str()), ("foo", "")], [("state", "a"), ("state", "b")]] {
        let location = browser.get(&World::authorize_path("desk-agent", &changes)).await.location();
        assert_eq!(query(&location, "error").as_deref(), Some("invalid_request"));
        assert_eq!(query(&location, "iss"), Some(world.issuer()));
    }
    assert_eq!(codes(&world).await, 0);
    assert_eq!(world.database.column("SELECT id FROM signin_consent").await.len(), 0);
}

#[tokio::test]
async fn unknown_and_empty_parameters_do_not_matter() {
    let world = World::start(Engine::Sqlite).await;
    let browser = world.signed_in(ALICE).await;
    let more = "&foo=bar&ui_locales=de&display=page&prompt=&max_age=&request=&response_mode=&nonce=&login_hint=&state=";
    let answer = browser.get(&format!("{}{more}", World::authorize_path("console", &[]))).await;
    told(&world, &answer, "code");
    let offline = World::authorize_path("console", &[("scope", "openid offline_access"), ("response_mode", "query")]);
    told(&world, &browser.get(&offline).await, "code");
}

#[tokio::test]
async fn nobody_is_signed_in_yet() {
    let world = World::start(Engine::Sqlite).await;
    let browser = world.browser();
    let answer = browser.get(&World::authorize_path("console", &[("prompt", "none")])).await;
    assert_eq!(told(&world, &answer, "error"), "login_required");

    let path = World::authorize_path("console", &[("login_hint", ALICE)]);
    let answer = browser.get(&path).await;
    assert_eq!(answer.status, 303);
    let login = answer.location();
    let login_url = format!("{}{login}", world.url);
    assert!(login.starts_with("/login?"), "{login}");
    assert_eq!(query(&login_url, "email").as_deref(), Some(ALICE));
    let page = browser.get(&login).await;
    assert!(page.body.contains("Console"), "it says who waits: {}", page.body);
    let answer = browser.submit(&page, "/login", &[("email", ALICE), ("password", PASSWORD)]).await;
    assert_eq!(answer.status, 303, "{}", answer.body);
    assert!(answer.location().starts_with("/authorize?"), "{}", answer.location());
    told(&world, &browser.get(&answer.location()).await, "code");
}

/// Follows the way through the sign-in page and back.
async fn sign_in_again(browser: &crate::harness::Browser, sent: &Answer) -> Answer {
    assert_eq!(sent.status, 303, "{}", sent.body);
    assert!(sent.location().starts_with("/login?"), "{}", sent.location());
    let page = browser.get(&sent.location()).await;
    let answer = browser.submit(&page, "/login", &[("email", ALICE), ("password", PASSWORD)]).await;
    assert_eq!(answer.status, 303, "{}", answer.body);
    browser.get(&answer.location()).await
}

#[tokio::test]
async fn prompts() {
    let world = World::start(Engine::Sqlite).await;
    let browser = world.signed_in(ALICE).await;
    let ask = async |prompt: &str| browser.get(&World::authorize_path("desk-agent", &[("prompt", prompt)])).await;
    assert_eq!(told(&world, &ask("none").await, "error"), "consent_required");
    world.code(&browser, "desk-agent", &[]).await;
    told(&world, &ask("none").await, "code");
    assert_eq!(ask("consent").await.status, 200, "asked although the user has agreed");
    let console = World::authorize_path("console", &[("prompt", "consent")]);
    told(&world, &browser.get(&console).await, "code");

    world.clock.advance(Seconds(100));
    for prompt in ["login", "select_account"] {
        let answer = sign_in_again(&browser, &ask(prompt).await).await;
        let (status, tokens) = world.token("desk-agent", &code_grant(&told(&world, &answer, "code"))).await;
        assert_eq!(status, 200, "{tokens}");
        let id = claims(tokens["id_token"].as_str().unwrap());
        assert_eq!(id["auth_time"], (NOW + Seconds(100)).0, "{prompt}: the sign-in that just happened");
    }
    let asked = sign_in_again(&browser, &ask("login consent").await).await;
    assert_eq!(asked.status, 200, "signed in, and asked");
    told(&world, &browser.submit(&asked, "/authorize/decision", &[("decision", "allow")]).await, "code");
}

#[tokio::test]
async fn max_age() {
    let world = World::start(Engine::Sqlite).await;
    let browser = world.signed_in(ALICE).await;
    let ask = async |changes: &[(&str, &str)]| browser.get(&World::authorize_path("console", changes)).await;
    world.clock.advance(Seconds(60));
    told(&world, &ask(&[("max_age", "60")]).await, "code");
    world.clock.advance(Seconds(1));
    let silent = ask(&[("max_age", "60"), ("prompt", "none")]).await;
    assert_eq!(told(&world, &silent, "error"), "login_required");
    let answer = sign_in_again(&browser, &ask(&[("max_age", "60")]).await).await;
    told(&world, &answer, "code");

    // Zero is `prompt=login` by another name (OpenID Connect Core section 3.1.2.1): asked even now, and not a second time for taking a
    // second to come back.
    let again = ask(&[("max_age", "0")]).await;
    let silent = ask(&[("max_age", "0"), ("prompt", "none")]).await;
    assert_eq!(told(&world, &silent, "error"), "login_required");
    let page = browser.get(&again.location()).await;
    let answer = browser.submit(&page, "/login", &[("email", ALICE), ("password", PASSWORD)]).await;
    world.clock.advance(Seconds(2));
    told(&world, &browser.get(&answer.location()).await, "code");
}

both! {
    async fn leave_to_sign_in_is_asked_for_once(world: World) {
        let consents = async || world.database.column("SELECT scope FROM signin_consent ORDER BY scope").await;
        let browser = world.signed_in(ALICE).await;
        let ask = async |client: &str, scope: &str| browser.get(&World::authorize_path(client, &[("scope", scope)])).await;
        let page = ask("desk-agent", "openid email").await;
        assert_eq!(page.status, 200);
        for word in ["Desk Agent", "127.0.0.1:8765", "See your e-mail address", ALICE] {
            assert!(page.text().contains(word), "{word}");
        }
        assert!(!page.body.contains("See your phone number"));

        let denied = browser.submit(&page, "/authorize/decision", &[("decision", "deny")]).await;
        assert_eq!(told(&world, &denied, "error"), "access_denied");
        let mut hidden = crate::harness::hidden_fields(&page.body, "/authorize/decision");
        hidden.push(("decision".into(), "perhaps".into()));
        let odd: Vec<(&str, &str)> = hidden.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
        a_page(&browser.post("/authorize/decision", &odd).await, "neither yes nor no");
        a_page(&browser.post("/authorize/decision", &odd[..odd.len() - 1]).await, "no answer");
        assert_eq!((consents().await.len(), codes(&world).await), (0, 0));

        let page = ask("desk-agent", "openid email").await;
        assert_eq!(page.status, 200, "a no is no yes");
        told(&world, &browser.submit(&page, "/authorize/decision", &[("decision", "allow")]).await, "code");
        assert_eq!(consents().await, ["email openid"]);
        for scope in ["openid email", "email openid", "openid", "email"] {
            told(&world, &ask("desk-agent", scope).await, "code");
        }
        assert_eq!(ask("desk-agent", "openid email profile").await.status, 200, "more than was agreed to");
        assert_eq!(ask("travel-agent", "openid email").await.status, 200, "another client");
        let bob = world.signed_in(BOB).await;
        assert_eq!(bob.get(&World::authorize_path("desk-agent", &[("scope", "openid")])).await.status, 200, "another user");
        told(&world, &ask("console", "openid email profile").await, "code");
        assert_eq!(consents().await.len(), 1, "the platform's own client needs none");

        world.code(&browser, "desk-agent", &[("scope", "openid profile")]).await;
        told(&world, &ask("desk-agent", "openid email profile").await, "code");
        assert_eq!(consents().await, ["email openid", "openid profile"]);
    }
}

#[tokio::test]
async fn the_answer_on_the_page_is_judged_like_a_request() {
    let world = World::start(Engine::Sqlite).await;
    let browser = world.signed_in(ALICE).await;
    let page = browser.get(&World::authorize_path("desk-agent", &[])).await;
    let fields = crate::harness::hidden_fields(&page.body, "/authorize/decision");
    let csrf = &fields.iter().find(|(name, _)| name == "csrf").unwrap().1;
    let decide = async |request: &str| {
        browser.post("/authorize/decision", &[("csrf", csrf), ("request", request), ("decision", "allow")]).await
    };
    let of =
        |changes: &[(&str, &str)]| World::authorize_path("desk-agent", changes).split_once('?').unwrap().1.to_owned();
    a_page(&decide(&of(&[("redirect_uri", "https://evil.example/")])).await, "a foreign redirect_uri");
    a_page(&decide(&of(&[("client_id", "nobody")])).await, "an unknown client");
    let answer = decide(&of(&[("scope", "delegations")])).await;
    assert_eq!(told(&world, &answer, "error"), "invalid_scope");
    let answer = decide(&of(&[("code_challenge", "")])).await;
    assert_eq!(told(&world, &answer, "error"), "invalid_request");
    world.clock.advance(Seconds(10));
    let stale = decide(&of(&[("max_age", "5")])).await;
    assert!(stale.location().starts_with("/login?"), "a yes in a session that is too old: {}", stale.location());
    assert_eq!(codes(&world).await, 0);
    assert_eq!(world.database.column("SELECT id FROM signin_consent").await.len(), 0);
}

#[tokio::test]
async fn delegations_is_for_first_party_clients() {
    let world = World::start(Engine::Sqlite).await;
    let browser = world.signed_in(ALICE).await;
    let code = world.code(&browser, "console", &[("scope", "openid delegations")]).await;
    let (_, tokens) = world.token("console", &code_grant(&code)).await;
    assert_eq!(tokens["scope"], "delegations openid");
    let answer = world.api("GET", "/delegations", tokens["access_token"].as_str().unwrap()).await;
    assert_eq!((answer.status, &answer.json()["items"]), (200, &json!([])));
    let plain = world.tokens(&browser, "console").await;
    let answer = world.api("GET", "/delegations", plain["access_token"].as_str().unwrap()).await;
    assert_eq!((answer.status, &answer.json()["code"]), (403, &json!("insufficient_scope")));
}

#[tokio::test]
async fn a_registered_query_is_kept() {
    let declare = |service: &str| {
        format!(
            "{}\n[[clients]]\nclient_id = \"query\"\nclient_name = \"Query\"\nfirst_party = true\nclient_secret = \"{}\"\n\
             redirect_uris = [\"https://agent.example/cb?tenant=1\", \"com.example.app:/cb\"]\n",
            crate::harness::declarations(service),
            crate::harness::SECRET
        )
    };
    let world = World::with(Engine::Sqlite, declare).await;
    let browser = world.signed_in(ALICE).await;
    for uri in ["https://agent.example/cb?tenant=1", "com.example.app:/cb"] {
        let location = browser.get(&World::authorize_path("query", &[("redirect_uri", uri)])).await.location();
        assert!(location.starts_with(uri), "{location}");
        assert!(query(&location, "code").is_some() && query(&location, "iss").is_some(), "{location}");
    }
    let other = encode(&[("redirect_uri", "https://agent.example/cb")]);
    a_page(&browser.get(&format!("/authorize?client_id=query&{other}")).await, "without the registered query");
}
