//! What libraries send that nobody here wrote, and how far they are met.

use serde_json::json;

use avouch::flow::issuers;

use crate::harness::{
    ALICE, Answer, BOB, Browser, CALLBACK, Engine, ID_TOKEN, PASSWORD, SECRET, World, both, changed, claims,
    code_grant, declarations, query,
};

fn error(location: &str) -> (String, String) {
    let part = |name| query(location, name).unwrap_or_else(|| panic!("no {name} in {location}"));
    (part("error"), part("error_description"))
}

#[tokio::test]
async fn scopes_that_are_not_understood_are_left_out() {
    let world = World::start(Engine::Sqlite).await;
    let browser = world.signed_in(ALICE).await;
    for (client, scope, granted) in [
        ("desk-agent", "openid address groups email", "email openid"),
        ("desk-agent", "openid api.read", "openid"),
        ("jwt-agent", "openid offline_access", "openid"),
        ("desk-agent", "openid delegations delegations:write", "openid"),
    ] {
        let code = world.code(&browser, client, &[("scope", scope)]).await;
        let (status, tokens) = world.token(client, &code_grant(&code)).await;
        assert_eq!((status, &tokens["scope"]), (200, &json!(granted)), "{client} {scope}: {tokens}");
        assert_eq!(tokens.get("refresh_token").is_some(), client == "desk-agent");
    }
    let page = browser.get(&World::authorize_path("travel-agent", &[("scope", "openid groups")])).await;
    assert!(
        page.status == 200 && !page.body.contains("groups</code>"),
        "the page shows what is granted: {}",
        page.body
    );
    let only = browser.get(&World::authorize_path("desk-agent", &[("scope", "api.read")])).await.location();
    let (code, description) = error(&only);
    assert!(code == "invalid_scope" && description.contains("token exchange"), "{description}");
}

/// An empty scope is no scope (RFC 6749 section 3.3): nothing says that it was granted.
#[tokio::test]
async fn who_asks_for_no_scope_gets_none() {
    let world = World::start(Engine::Sqlite).await;
    let browser = world.signed_in(ALICE).await;
    let code = world.code(&browser, "desk-agent", &[("scope", "")]).await;
    let (_, first) = world.token("desk-agent", &code_grant(&code)).await;
    let refresh = [("grant_type", "refresh_token"), ("refresh_token", first["refresh_token"].as_str().unwrap())];
    let (_, second) = world.token("desk-agent", &refresh).await;
    for tokens in [first, second] {
        assert!(tokens["access_token"].is_string() && tokens.get("scope").is_none(), "{tokens}");
        assert!(tokens.get("id_token").is_none(), "{tokens}");
    }
    let (_, third) =
        world.token("desk-agent", &code_grant(&world.code(&browser, "desk-agent", &[("scope", "")]).await)).await;
    let request = world.http.post(format!("{}/introspect", world.url)).basic_auth("desk-agent", Some(SECRET));
    let form = format!("token={}", third["access_token"].as_str().unwrap());
    let request = request.header("content-type", "application/x-www-form-urlencoded").body(form);
    let told = Answer::read(request.send().await.unwrap()).await.json();
    assert!(told["active"] == true && told.get("scope").is_none(), "{told}");
}

fn with_lax_agent(service: &str) -> String {
    format!(
        "{}\n[[clients]]\nclient_id = \"lax-agent\"\nclient_secret = \"{SECRET}\"\nrequire_pkce = false\n\
         redirect_uris = [\"{CALLBACK}\", \"https://agent.example/a/../cb?x\"]\n",
        declarations(service)
    )
}

#[tokio::test]
async fn a_nonce_in_place_of_pkce() {
    let world = World::with(Engine::Sqlite, with_lax_agent).await;
    let browser = world.signed_in(ALICE).await;
    let without = [("code_challenge", ""), ("code_challenge_method", "")];
    let code = world.code(&browser, "lax-agent", &without).await;
    let verifier = changed(&code_grant(&code), &[]);
    let (status, answer) = world.token("lax-agent", &verifier).await;
    assert_eq!((status, &answer["error"]), (400, &json!("invalid_grant")), "RFC 9700 section 4.8.2: {answer}");
    let (status, tokens) = world.token("lax-agent", &changed(&code_grant(&code), &[("code_verifier", "")])).await;
    assert_eq!(status, 200, "{tokens}");
    assert_eq!(claims(tokens["id_token"].as_str().unwrap())["nonce"], "no");

    for (case, more, expected) in [
        ("no nonce", ("nonce", ""), "nonce must be given where there is no code_challenge"),
        ("no ID token", ("scope", "email"), "scope must have openid where there is no code_challenge"),
    ] {
        let path = World::authorize_path("lax-agent", &[&without[..], &[more]].concat());
        assert_eq!(error(&browser.get(&path).await.location()), ("invalid_request".into(), expected.into()), "{case}");
    }
    // A challenge that is given counts, and who has not been excused is not.
    let code = world.code(&browser, "lax-agent", &[]).await;
    let (_, answer) = world.token("lax-agent", &changed(&code_grant(&code), &[("code_verifier", "")])).await;
    assert_eq!(answer["error"], "invalid_request");
    assert_eq!(world.token("lax-agent", &code_grant(&code)).await.0, 200);
    let strict = browser.get(&World::authorize_path("desk-agent", &without)).await.location();
    assert_eq!(error(&strict).1, "code_challenge is missing");
}

#[tokio::test]
async fn an_answer_goes_to_the_text_that_was_compared() {
    let world = World::with(Engine::Sqlite, with_lax_agent).await;
    let browser = world.signed_in(ALICE).await;
    let uri = "https://agent.example/a/../cb?x";
    let page = browser.get(&World::authorize_path("lax-agent", &[("redirect_uri", uri)])).await;
    let location = browser.submit(&page, "/authorize/decision", &[("decision", "allow")]).await.location();
    assert!(location.starts_with(&format!("{uri}&code=")), "{location}");
    for near in
        ["https://agent.example/cb?x", "https://agent.example/a/%2e%2e/cb?x", "https://agent.example:443/a/../cb?x"]
    {
        let page = browser.get(&World::authorize_path("lax-agent", &[("redirect_uri", near)])).await;
        assert_eq!((page.status, page.header("location")), (400, ""), "{near}");
    }
    for near in ["http://0x7f.1:1/callback", "http://127.0.0.1:1/a/../callback", "http://127.0.0.1:1/call\tback"] {
        let page = browser.get(&World::authorize_path("desk-agent", &[("redirect_uri", near)])).await;
        assert_eq!((page.status, page.header("location")), (400, ""), "{near}");
    }
}

/// The whole way: sign-in page, consent page, code, ID token.
async fn with_state(world: &World, state: &str, nonce: &str) {
    let browser = world.browser();
    let path = World::authorize_path("desk-agent", &[("state", state), ("nonce", nonce)]);
    let sent = browser.get(&path).await;
    assert!(sent.location().starts_with("/login?"), "{}", sent.location());
    let page = browser.get(&sent.location()).await;
    assert_eq!(page.status, 200, "{}", page.body);
    let wrong = browser.submit(&page, "/login", &[("email", ALICE), ("password", "wrong")]).await;
    assert_eq!(wrong.status, 422, "{}", wrong.body);
    let back = browser.submit(&wrong, "/login", &[("email", ALICE), ("password", PASSWORD)]).await;
    let mut answer = browser.get(&back.location()).await;
    if answer.status == 200 {
        answer = browser.submit(&answer, "/authorize/decision", &[("decision", "allow")]).await;
    }
    let location = answer.location();
    assert_eq!(query(&location, "state").as_deref(), Some(state), "{} {}", answer.status, answer.body);
    let (status, tokens) = world.token("desk-agent", &code_grant(&query(&location, "code").unwrap())).await;
    assert_eq!(status, 200, "{tokens}");
    let id_token = tokens["id_token"].as_str().unwrap();
    assert_eq!(claims(id_token)["nonce"], nonce);
    let exchange = [("subject_token", id_token), ("subject_token_type", ID_TOKEN)];
    let (_, asked) = world.exchange("desk-agent", &tokens, &exchange).await;
    assert!(["consent_required", "slow_down"].contains(&asked["error"].as_str().unwrap()), "{asked}");
    let hinted = World::authorize_path("desk-agent", &[("id_token_hint", id_token), ("prompt", "none")]);
    assert!(query(&browser.get(&hinted).await.location(), "code").is_some(), "it is a hint as well");
}

#[tokio::test]
async fn state_and_nonce_of_eight_kibibytes() {
    let world = World::start(Engine::Sqlite).await;
    let json = r#"{"a":1},"#.repeat(1024);
    let base64 = "ab+/".repeat(2048);
    let pile = "é".repeat(4096);
    for (state, nonce) in
        [("x".repeat(8192), "y".repeat(8192)), (base64.clone(), base64), (json, "n".into()), (pile, "n".into())]
    {
        with_state(&world, &state, &nonce).await;
    }
    let browser = world.browser();
    let both = "%".repeat(8192);
    let path = World::authorize_path("desk-agent", &[("state", &both), ("nonce", &both)]);
    let (code, description) = error(&browser.get(&path).await.location());
    assert_eq!(
        (code.as_str(), description.as_str()),
        ("invalid_request", "the request is longer than 60 KiB, encoded as part of an address")
    );
}

async fn id_token(world: &World, browser: &Browser, client_id: &str) -> String {
    world.tokens(browser, client_id).await["id_token"].as_str().unwrap().to_owned()
}

both! {
    async fn a_hint_names_who_is_meant(world: World) {
        let (alice, bob) = (world.signed_in(ALICE).await, world.signed_in(BOB).await);
        let (of_alice, of_bob) = (id_token(&world, &alice, "desk-agent").await, id_token(&world, &bob, "desk-agent").await);
        let elsewhere = id_token(&world, &alice, "travel-agent").await;
        let ask = async |hint: &str, prompt: &str| {
            alice.get(&World::authorize_path("desk-agent", &[("id_token_hint", hint), ("prompt", prompt)])).await.location()
        };
        // However old it is.
        world.clock.advance(avouch::domain::time::Seconds(7200));
        assert!(query(&ask(&of_alice, "none").await, "code").is_some());
        assert_eq!(error(&ask(&of_bob, "none").await).0, "login_required");
        let page = ask(&of_bob, "").await;
        assert!(page.starts_with("/login?"), "{page}");
        let form = alice.get(&page).await;
        let back = alice.submit(&form, "/login", &[("email", BOB), ("password", PASSWORD)]).await.location();
        assert!(query(&alice.get(&back).await.location(), "code").is_some(), "the one who is meant");

        let forged = format!("{}A", &of_alice[..of_alice.len() - 2]);
        let access = world.tokens(&alice, "desk-agent").await["access_token"].as_str().unwrap().to_owned();
        for (case, hint) in [("garbage", "x"), ("forged", &forged), ("another client's", &elsewhere), ("no ID token", &access)] {
            for prompt in ["none", ""] {
                assert_eq!(error(&ask(hint, prompt).await).0, "invalid_request", "{case}");
            }
            let nobody = world.browser().get(&World::authorize_path("desk-agent", &[("id_token_hint", hint)])).await;
            assert_eq!(error(&nobody.location()).0, "invalid_request", "{case}, to somebody who is not signed in");
        }
    }
}

#[tokio::test]
async fn who_cannot_prove_who_they_are_is_never_approved_silently() {
    let declare = |service: &str| {
        format!(
            "{}\n[[clients]]\nclient_id = \"web-app\"\nredirect_uris = [\"https://app.example/cb\", \"com.example.app:/cb\", \"http://[::1]/cb\", \"http://localhost:9/cb\"]\n",
            declarations(service)
        )
    };
    let world = World::with(Engine::Sqlite, declare).await;
    let browser = world.signed_in(ALICE).await;
    let path = |client: &str, uri: &str, prompt: &str| {
        World::authorize_path(client, &[("redirect_uri", uri), ("prompt", prompt)])
    };
    for (client, uri, silent) in [
        ("public-app", CALLBACK, false),
        ("public-app", "http://127.0.0.1:1/callback", false),
        ("web-app", "com.example.app:/cb", false),
        ("web-app", "http://[::1]:7/cb", false),
        ("web-app", "http://localhost:9/cb", false),
        ("web-app", "https://app.example/cb", true),
        ("desk-agent", "http://127.0.0.1:1/callback", true),
    ] {
        let page = browser.get(&path(client, uri, "consent")).await;
        let agreed = browser.submit(&page, "/authorize/decision", &[("decision", "allow")]).await.location();
        assert!(query(&agreed, "code").is_some(), "{client} {uri}: {agreed}");
        let again = browser.get(&path(client, uri, "")).await;
        assert_eq!(again.status, if silent { 303 } else { 200 }, "{client} {uri}");
        let none = browser.get(&path(client, uri, "none")).await.location();
        let refused = query(&none, "error").as_deref() == Some("consent_required");
        assert_eq!((refused, query(&none, "code").is_some()), (!silent, silent), "{client} {uri}: {none}");
    }
    assert!(browser.get("/connections").await.body.contains("Public App"), "and the user sees what they agreed to");
}

/// The authentication methods that an issuer's metadata names.
async fn methods(world: &World) -> serde_json::Value {
    let answer = world.http.get(format!("{}/.well-known/openid-configuration", world.url)).send().await.unwrap();
    Answer::read(answer).await.json()["token_endpoint_auth_methods_supported"].clone()
}

async fn none_is_named(engine: Engine) {
    let without = |service: &str| {
        let declared = declarations(service);
        let (before, after) = declared.split_once("[[clients]]\nclient_id = \"public-app\"").unwrap();
        format!("{before}{}", &after[after.find("[[clients]]").unwrap()..])
    };
    let confidential = json!(["client_secret_basic", "client_secret_post", "private_key_jwt"]);
    let all = json!(["client_secret_basic", "client_secret_post", "private_key_jwt", "none"]);
    let world = World::with(engine, without).await;
    assert_eq!(methods(&world).await, confidential);
    let other = world.replica(&declarations(&world.service.url)).await;
    issuers::refresh(&other.host).await.unwrap();
    assert_eq!(methods(&other).await, all);
    issuers::refresh(&world.host).await.unwrap();
    assert_eq!(methods(&world).await, all, "and the first process has heard of it");
    world.replica(&without(&world.service.url)).await;
    for process in [&world, &other] {
        issuers::refresh(&process.host).await.unwrap();
        assert_eq!(methods(process).await, confidential);
    }
}

#[tokio::test]
async fn none_is_named_where_a_public_client_is_on_sqlite() {
    none_is_named(Engine::Sqlite).await;
}

#[tokio::test]
async fn none_is_named_where_a_public_client_is_on_postgres() {
    none_is_named(Engine::Postgres).await;
}

#[tokio::test]
async fn each_issuer_names_its_own() {
    let world = World::with(Engine::Sqlite, |service| {
        let acme = crate::harness::twins(service);
        acme.replace("[[clients]]\nissuer = \"acme\"\nclient_id = \"public-app\"", "[[clients]]\nissuer = \"acme\"\nclient_id = \"public-app\"\nclient_secret = \"example-only-4f9a1c7be02d58a36e1b7790cd24ab5f8e\"")
    })
    .await;
    let acme = world.under("acme").await;
    assert!(methods(&world).await.as_array().unwrap().contains(&json!("none")));
    assert!(!methods(&acme).await.as_array().unwrap().contains(&json!("none")));
}
