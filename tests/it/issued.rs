//! What issued tokens are worth: userinfo, introspection, revocation; and no token is taken where another kind belongs.

use avouch::domain::time::Seconds;
use serde_json::{Value, json};

use crate::harness::{
    ACCESS_TOKEN, ALICE, Answer, Browser, CALLBACK, EXCHANGE, Engine, ID_JAG, ID_TOKEN, NOW, SECRET, VERIFIER, World,
    both, code_grant, encode, hidden_fields, twins,
};

/// Posts a form as a client that has a secret.
async fn post_as(world: &World, client_id: &str, path: &str, form: &[(&str, &str)]) -> Answer {
    let request = world.http.post(format!("{}{path}", world.url)).basic_auth(client_id, Some(SECRET));
    let request = request.header("content-type", "application/x-www-form-urlencoded").body(encode(form));
    Answer::read(request.send().await.unwrap()).await
}

async fn introspect(world: &World, token: &str) -> Value {
    let answer = post_as(world, "desk-agent", "/introspect", &[("token", token), ("token_type_hint", "foo")]).await;
    assert_eq!((answer.status, answer.header("cache-control")), (200, "no-store"), "{}", answer.body);
    answer.json()
}

async fn user_info(world: &World, method: &str, token: &str) -> Answer {
    let method = reqwest::Method::from_bytes(method.as_bytes()).unwrap();
    let request = world.http.request(method, format!("{}/userinfo", world.url)).bearer_auth(token);
    Answer::read(request.send().await.unwrap()).await
}

fn text(tokens: &Value, name: &str) -> String {
    tokens[name].as_str().unwrap().to_owned()
}

/// Every issuer, also one by path.
async fn everywhere(engine: Engine) -> Vec<World> {
    let world = World::with(engine, twins).await;
    let acme = world.under("acme").await;
    vec![world, acme]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn user_info_says_what_the_scopes_allow() {
    for world in everywhere(Engine::Sqlite).await {
        let browser = world.signed_in(ALICE).await;
        for (scope, members) in [
            ("openid", json!({})),
            ("openid email", json!({"email": ALICE, "email_verified": true})),
            ("openid profile phone", json!({"name": "Alice Example"})),
        ] {
            let code = world.code(&browser, "desk-agent", &[("scope", scope)]).await;
            let (_, tokens) = world.token("desk-agent", &code_grant(&code)).await;
            let mut expected = members;
            expected["sub"] = crate::harness::claims(&text(&tokens, "id_token"))["sub"].clone();
            for method in ["GET", "POST"] {
                let answer = user_info(&world, method, &text(&tokens, "access_token")).await;
                assert_eq!((answer.status, answer.json()), (200, expected.clone()), "{scope}");
                assert_eq!(answer.header("cache-control"), "no-store");
            }
            let form = encode(&[("access_token", &text(&tokens, "access_token"))]);
            let send = async |request: reqwest::RequestBuilder| {
                let request = request.header("content-type", "application/x-www-form-urlencoded").body(form.clone());
                Answer::read(request.send().await.unwrap()).await
            };
            let at = format!("{}/userinfo", world.url);
            assert_eq!(send(world.http.post(&at)).await.json(), expected, "RFC 6750 section 2.2");
            let both = send(world.http.post(&at).bearer_auth(text(&tokens, "access_token"))).await;
            assert_eq!((both.status, &both.json()["error"]), (400, &json!("invalid_request")));
        }
        let code = world.code(&browser, "desk-agent", &[("scope", "email")]).await;
        let (_, tokens) = world.token("desk-agent", &code_grant(&code)).await;
        let answer = user_info(&world, "GET", &text(&tokens, "access_token")).await;
        let challenge = r#"Bearer error="insufficient_scope", scope="openid""#;
        assert_eq!((answer.status, answer.header("www-authenticate")), (403, challenge));
        let nobody = Answer::read(world.http.get(format!("{}/userinfo", world.url)).send().await.unwrap()).await;
        assert_eq!((nobody.status, nobody.header("www-authenticate")), (401, "Bearer"));
        world.clock.advance(Seconds(3600));
        let answer = user_info(&world, "GET", &text(&tokens, "access_token")).await;
        let challenge = r#"Bearer error="invalid_token""#;
        assert_eq!((answer.status, answer.header("www-authenticate")), (401, challenge), "expired");
    }
}

both! {
    async fn a_client_sees_its_own_tokens(world: World) {
        let browser = world.signed_in(ALICE).await;
        let tokens = world.tokens(&browser, "desk-agent").await;
        let sub = crate::harness::claims(&text(&tokens, "id_token"))["sub"].clone();
        let iss = world.issuer();
        let access = introspect(&world, &text(&tokens, "access_token")).await;
        let scope = "email openid profile";
        assert_eq!(access, json!({"active": true, "scope": scope, "client_id": "desk-agent", "token_type": "Bearer",
            "exp": NOW + Seconds(3600), "iat": NOW, "sub": sub, "iss": iss}));
        let refresh = introspect(&world, &text(&tokens, "refresh_token")).await;
        assert_eq!(refresh, json!({"active": true, "scope": scope, "client_id": "desk-agent",
            "exp": NOW + Seconds(30 * 24 * 3600), "sub": sub, "iss": iss}));

        let inactive = json!({"active": false});
        let others = world.tokens(&browser, "travel-agent").await;
        for name in ["access_token", "refresh_token"] {
            assert_eq!(introspect(&world, &text(&others, name)).await, inactive, "another client's {name}");
        }
        let form = [("grant_type", "refresh_token"), ("refresh_token", &text(&tokens, "refresh_token"))];
        let (_, second) = world.token("desk-agent", &form).await;
        assert_eq!(introspect(&world, &text(&tokens, "refresh_token")).await, inactive, "used");
        assert_eq!(introspect(&world, &text(&second, "refresh_token")).await["active"], true);
        let page = browser.get("/connections").await;
        browser.submit(&page, "/logout", &[]).await;
        for name in ["access_token", "refresh_token"] {
            assert_eq!(introspect(&world, &text(&second, name)).await, inactive, "signed out: {name}");
        }
        // It outlives the session, and no more than its thirty days.
        let browser = world.signed_in(ALICE).await;
        let code = world.code(&browser, "desk-agent", &[("scope", "openid offline_access")]).await;
        let (_, offline) = world.token("desk-agent", &code_grant(&code)).await;
        world.clock.advance(Seconds(30 * 24 * 3600 - 1));
        assert_eq!(introspect(&world, &text(&offline, "refresh_token")).await["active"], true);
        world.clock.advance(Seconds(1));
        assert_eq!(introspect(&world, &text(&offline, "refresh_token")).await, inactive, "expired");
        // The client first, and never one that cannot prove who it is.
        let at = format!("{}/introspect", world.url);
        for form in [vec![("token", "x")], vec![("token", "x"), ("client_id", "public-app")]] {
            let request = world.http.post(&at).header("content-type", "application/x-www-form-urlencoded");
            let answer = Answer::read(request.body(encode(&form)).send().await.unwrap()).await;
            assert_eq!((answer.status, &answer.json()["error"]), (401, &json!("invalid_client")));
        }
        assert_eq!(post_as(&world, "desk-agent", "/introspect", &[]).await.status, 400);
    }
}

both! {
    async fn a_client_gives_a_token_back(world: World) {
        let browser = world.signed_in(ALICE).await;
        let tokens = world.tokens(&browser, "desk-agent").await;
        let revoke = async |client: &str, token: &str| {
            let answer = post_as(&world, client, "/revoke", &[("token", token)]).await;
            (answer.status, serde_json::from_str::<Value>(&answer.body).unwrap()["error"].as_str().unwrap_or_default().to_owned())
        };
        let good = (200, String::new());
        let alive = async |tokens: &Value, name: &str| introspect(&world, &text(tokens, name)).await["active"] == true;
        assert_eq!(revoke("desk-agent", "x").await, good, "nobody knows it");
        for name in ["access_token", "refresh_token"] {
            assert_eq!(revoke("travel-agent", &text(&tokens, name)).await, (400, "invalid_grant".into()), "another client's");
            assert!(alive(&tokens, name).await, "{name}");
        }
        assert_eq!(revoke("desk-agent", &text(&tokens, "access_token")).await, good);
        assert_eq!(revoke("desk-agent", &text(&tokens, "access_token")).await, good, "again");
        assert!(!alive(&tokens, "access_token").await && alive(&tokens, "refresh_token").await);
        assert_eq!(user_info(&world, "GET", &text(&tokens, "access_token")).await.status, 401);
        assert_eq!(world.exchange("desk-agent", &tokens, &[]).await.1["error"], "invalid_grant");

        let form = [("grant_type", "refresh_token"), ("refresh_token", &text(&tokens, "refresh_token"))];
        let (_, second) = world.token("desk-agent", &form).await;
        assert!(alive(&second, "access_token").await);
        assert_eq!(revoke("desk-agent", &text(&second, "refresh_token")).await, good);
        let id = [("subject_token", &*text(&second, "id_token")), ("subject_token_type", ID_TOKEN)];
        assert!(!alive(&second, "access_token").await && !alive(&second, "refresh_token").await);
        assert_eq!(world.exchange("desk-agent", &second, &id).await.1["error"], "invalid_grant", "the whole sign-in");
        let kinds = world.database.column("SELECT kind FROM journal WHERE kind LIKE '%.revoked' ORDER BY kind").await;
        assert_eq!(kinds, ["access_token.revoked", "refresh_token.revoked"]);

        // A public client gives its own back.
        let tokens = world.tokens(&browser, "public-app").await;
        let request = world.http.post(format!("{}/revoke", world.url)).header("content-type", "application/x-www-form-urlencoded");
        let form = encode(&[("token", &text(&tokens, "refresh_token")), ("client_id", "public-app")]);
        assert_eq!(request.body(form).send().await.unwrap().status(), 200);
        assert_eq!(user_info(&world, "GET", &text(&tokens, "access_token")).await.status, 401);
        let nobody = world.http.post(format!("{}/revoke", world.url)).header("content-type", "application/x-www-form-urlencoded");
        assert_eq!(nobody.body("token=x").send().await.unwrap().status(), 401);
    }
}

/// One of each kind of thing that proves something, all good at this moment.
const KINDS: [&str; 10] = [
    "ID token",
    "access token",
    "refresh token",
    "code",
    "ID-JAG",
    "client assertion",
    "admin token",
    "session cookie",
    "client secret",
    "CSRF token",
];

async fn things(world: &World, browser: &Browser) -> Vec<String> {
    let tokens = world.tokens(browser, "desk-agent").await;
    if world.exchange("desk-agent", &tokens, &[]).await.0 != 200 {
        world.clock.advance(Seconds(5));
        world.agree(browser, "desk-agent", &tokens, "always", &[]).await;
    }
    let (status, minted) = world.exchange("desk-agent", &tokens, &[]).await;
    assert_eq!(status, 200, "{minted}");
    let page = browser.get("/connections").await;
    let csrf = hidden_fields(&page.body, &format!("{}/logout", world.app.issuer.url.base()));
    vec![
        text(&tokens, "id_token"),
        text(&tokens, "access_token"),
        text(&tokens, "refresh_token"),
        world.code(browser, "desk-agent", &[]).await,
        text(&minted, "access_token"),
        world.client_assertion(&json!({})),
        world.admin_token(),
        browser.cookie("avouch-session").unwrap(),
        SECRET.to_owned(),
        csrf.into_iter().find(|(name, _)| name == "csrf").unwrap().1,
    ]
}

/// Everywhere such a thing can be put, and the kinds that are taken there.
pub(crate) const PLACES: [(&str, &[&str]); 18] = [
    ("GET /userinfo, bearer", &["access token"]),
    ("POST /userinfo, access_token", &["access token"]),
    ("GET /api/v1/delegations, bearer", &["admin token"]),
    ("POST /token, code", &["code"]),
    ("POST /token, refresh_token", &["refresh token"]),
    ("POST /token, subject_token as access token", &["access token"]),
    ("POST /token, subject_token as ID token", &["ID token"]),
    ("POST /token, client_assertion", &["client assertion"]),
    ("POST /token, client_secret", &["client secret"]),
    ("POST /token, basic", &["client secret"]),
    ("POST /token, bearer", &[]),
    ("POST /introspect, token", &["access token", "refresh token"]),
    ("POST /introspect, bearer", &[]),
    ("POST /revoke, token", &["access token", "refresh token"]),
    ("POST /revoke, client_secret", &["client secret"]),
    ("GET /authorize, id_token_hint", &["ID token"]),
    ("GET /connections, session cookie", &["session cookie"]),
    ("POST /logout, csrf", &["CSRF token"]),
];

/// Whether a thing is taken at a place.
pub(crate) async fn is_taken(world: &World, browser: &Browser, place: &str, thing: &str) -> bool {
    let (request, parameter) = place.split_once(", ").unwrap();
    let (method, path) = request.split_once(' ').unwrap();
    let url = format!("{}{path}", world.url);
    let exchange = |kind: &'static str| {
        let audience = world.service.url.as_str();
        vec![
            ("grant_type", EXCHANGE),
            ("requested_token_type", ID_JAG),
            ("audience", audience),
            ("scope", "api.read"),
            ("subject_token", thing),
            ("subject_token_type", kind),
        ]
    };
    let form = match parameter {
        "access_token" => vec![("access_token", thing)],
        "code" => vec![
            ("grant_type", "authorization_code"),
            ("code", thing),
            ("redirect_uri", CALLBACK),
            ("code_verifier", VERIFIER),
        ],
        "refresh_token" => vec![("grant_type", "refresh_token"), ("refresh_token", thing)],
        "subject_token as access token" => exchange(ACCESS_TOKEN),
        "subject_token as ID token" => exchange(ID_TOKEN),
        "client_assertion" => vec![
            ("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"),
            ("client_assertion", thing),
        ],
        "client_secret" => vec![("client_id", "travel-agent"), ("client_secret", thing), ("token", "x")],
        "csrf" => vec![("csrf", thing)],
        "token" | "bearer" => vec![("token", thing)],
        _ => vec![],
    };
    match parameter {
        "id_token_hint" => {
            let path = World::authorize_path("desk-agent", &[("id_token_hint", thing), ("prompt", "none")]);
            return crate::harness::query(&browser.get(&path).await.location(), "code").is_some();
        }
        "csrf" => return browser.post(path, &form).await.status == 303,
        _ => {}
    }
    let method = reqwest::Method::from_bytes(method.as_bytes()).unwrap();
    let mut request = world.http.request(method.clone(), url);
    match parameter {
        "bearer" => request = request.bearer_auth(thing),
        "basic" => request = request.basic_auth("desk-agent", Some(thing)),
        "session cookie" => request = request.header("cookie", format!("{}={thing}", world.session_cookie())),
        "client_assertion" | "client_secret" | "access_token" => {}
        _ => request = request.basic_auth("desk-agent", Some(SECRET)),
    }
    if method == "POST" {
        request = request.header("content-type", "application/x-www-form-urlencoded").body(encode(&form));
    }
    let answer = Answer::read(request.send().await.unwrap()).await;
    assert!(answer.status < 500, "{place}: {}", answer.body);
    match (path, parameter) {
        // Who the client is was believed when the rest of the request is what is wrong.
        ("/token" | "/revoke" | "/introspect", "client_assertion" | "client_secret" | "basic" | "bearer") => {
            answer.status != 401
        }
        ("/introspect", _) => answer.json()["active"] == true,
        ("/revoke", _) => {
            assert_eq!(answer.status, 200, "{place}: {}", answer.body);
            !world.database.column("SELECT kind FROM journal WHERE kind LIKE '%.revoked'").await.is_empty()
        }
        _ => answer.status == 200,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_kind_of_token_is_taken_for_another() {
    for world in everywhere(Engine::Sqlite).await {
        let browser = world.signed_in(ALICE).await;
        for (place, expected) in PLACES {
            for (n, kind) in KINDS.into_iter().enumerate() {
                world.database.column("DELETE FROM journal WHERE kind LIKE '%.revoked' RETURNING kind").await;
                let thing = things(&world, &browser).await.swap_remove(n);
                let taken = is_taken(&world, &browser, place, &thing).await;
                assert_eq!(taken, expected.contains(&kind), "{place}: {kind} at {}", world.url);
            }
        }
    }
}
