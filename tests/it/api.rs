//! `/api/v1/delegations`: who may call, what a list is, and what bad input is told.

use avouch::domain::time::Seconds;
use serde_json::{Value, json};

use crate::harness::{ALICE, Answer, BOB, Engine, World, both, code_grant, declarations};

/// Both users have verified addresses, and one agent may go to six services.
fn many(service: &str) -> String {
    let others: Vec<String> = (0..5).map(|n| format!("\"https://s{n}.example\"")).collect();
    declarations(service)
        .replace(&format!("email = \"{BOB}\"\n"), &format!("email = \"{BOB}\"\nemail_verified = true\n"))
        .replace("\"https://other.example\"", &others.join(", "))
}

/// A world in which alice delegated to six services and bob to one.
pub(crate) async fn seven(engine: Engine) -> World {
    let world = World::with(engine, many).await;
    let alice = world.signed_in(ALICE).await;
    let tokens = world.tokens(&alice, "desk-agent").await;
    let own = world.service.url.clone();
    let mut audiences: Vec<String> = (0..5).map(|n| format!("https://s{n}.example")).collect();
    audiences.insert(0, own);
    for audience in &audiences {
        world.agree(&alice, "desk-agent", &tokens, "always", &[("audience", audience)]).await;
        // Rows of one second have no order among them.
        world.clock.advance(Seconds(1));
    }
    let other = world.tokens(&alice, "travel-agent").await;
    world.agree(&alice, "travel-agent", &other, "always", &[]).await;
    let bob = world.signed_in(BOB).await;
    let tokens = world.tokens(&bob, "desk-agent").await;
    world.agree(&bob, "desk-agent", &tokens, "always", &[]).await;
    world
}

pub(crate) async fn user_token(world: &World, email: &str, scope: &str) -> String {
    let browser = world.signed_in(email).await;
    let code = world.code(&browser, "console", &[("scope", scope)]).await;
    let (status, body) = world.token("console", &code_grant(&code)).await;
    assert_eq!(status, 200, "{body}");
    body["access_token"].as_str().unwrap().to_owned()
}

async fn list(world: &World, query: &str, token: &str) -> (Vec<Value>, Value) {
    let answer = world.api("GET", &format!("/delegations{query}"), token).await;
    assert_eq!((answer.status, answer.header("content-type")), (200, "application/json"), "{query} {}", answer.body);
    assert_eq!(answer.header("cache-control"), "no-store");
    let body = answer.json();
    assert_eq!(body.as_object().unwrap().keys().collect::<Vec<_>>(), ["items", "next"]);
    (body["items"].as_array().unwrap().clone(), body["next"].clone())
}

pub(crate) fn problem(answer: &Answer, status: u16, code: &str, about: &str) {
    assert_eq!(answer.status, status, "{about}: {}", answer.body);
    assert_eq!(answer.header("content-type"), "application/problem+json", "{about}");
    assert_eq!(answer.header("cache-control"), "no-store", "{about}");
    let body = answer.json();
    assert_eq!((&body["code"], &body["status"]), (&json!(code), &json!(status)), "{about}");
    assert!(body["title"].is_string() && body["detail"].is_string() && body["type"].is_string(), "{about} {body}");
}

#[tokio::test]
async fn lists() {
    let world = seven(Engine::Sqlite).await;
    let admin = world.admin_token();
    let (all, next) = list(&world, "", &admin).await;
    assert_eq!((all.len(), &next), (7, &Value::Null));
    let mut names: Vec<&String> = all[0].as_object().unwrap().keys().collect();
    names.sort();
    assert_eq!(
        names,
        [
            "aud",
            "created_at",
            "ended_at",
            "id",
            "iss",
            "last_used_at",
            "mint_count",
            "pending_notices",
            "status",
            "sub"
        ]
    );
    let alice = all[0]["sub"].as_str().unwrap();
    let bob = all.iter().find(|d| d["sub"] != alice).unwrap()["sub"].as_str().unwrap();
    assert!(!all[0].to_string().contains(ALICE), "who it is stays inside");

    let own = crate::harness::encode(&[("aud", &world.service.url)]);
    for (query, expected) in [
        (format!("?sub={alice}"), 6),
        (format!("?sub={bob}"), 1),
        (format!("?{own}"), 2),
        (format!("?{own}&sub={bob}"), 1),
        ("?aud=https%3A%2F%2Fs3.example".to_owned(), 1),
        ("?aud=https%3A%2F%2Fs3.example%2F".to_owned(), 0),
        ("?client_id=desk-agent".to_owned(), 7),
        ("?client_id=travel-agent".to_owned(), 1),
        ("?client_id=nobody".to_owned(), 0),
        ("?status=active".to_owned(), 7),
        ("?status=withdrawn".to_owned(), 0),
        ("?sub=&status=".to_owned(), 7),
    ] {
        assert_eq!(list(&world, &query, &admin).await.0.len(), expected, "{query}");
    }
    let id = all[6]["id"].as_str().unwrap();
    world.api("DELETE", &format!("/delegations/{id}"), &admin).await;
    assert_eq!(list(&world, "?status=withdrawn", &admin).await.0.len(), 1, "it was never used: nothing is owed");
    assert_eq!(list(&world, "?status=active", &admin).await.0.len(), 6);
    assert_eq!(list(&world, "?status=withdrawing", &admin).await.0.len(), 0);

    let token = user_token(&world, ALICE, "openid delegations").await;
    let (own, _) = list(&world, "", &token).await;
    assert!(own.len() == 6 && own.iter().all(|d| d["sub"] == alice), "a user sees their own: {own:?}");
    assert_eq!(list(&world, &format!("?sub={bob}"), &token).await.0.len(), 0);
}

mod pages_of_a_list {
    use super::*;

    async fn body(engine: Engine) {
        let world = seven(engine).await;
        let admin = world.admin_token();
        let (all, _) = list(&world, "?limit=200", &admin).await;
        for size in [1, 2, 3, 6, 7] {
            let (mut seen, mut cursor) = (Vec::new(), String::new());
            loop {
                let (items, next) = list(&world, &format!("?limit={size}&cursor={cursor}"), &admin).await;
                assert!(items.len() <= size);
                seen.extend(items);
                let Some(next) = next.as_str() else { break };
                next.clone_into(&mut cursor);
            }
            assert_eq!(seen, all, "pages of {size}");
        }
    }

    #[tokio::test]
    async fn sqlite() {
        body(Engine::Sqlite).await;
    }

    #[tokio::test]
    async fn postgres() {
        body(Engine::Postgres).await;
    }
}

both! {
    async fn bad_queries(world: World) {
        let admin = world.admin_token();
        for query in [
            "?limit=0", "?limit=201", "?limit=-1", "?limit=x", "?limit=%2B5", "?limit=99999999999999999999", "?status=ended", "?nonsense=1",
            "?subject=x", "?sub=a&sub=b", "?limit=1&limit=1", "?cursor=nonsense", "?cursor=%27", "?sub=%00", "?sub=%C3%BC", "?aud=a%00b", "?client_id=%00", "?client_id=a%20b",
        ] {
            problem(&world.api("GET", &format!("/delegations{query}"), &admin).await, 400, "invalid_request", query);
        }
        for method in ["GET", "DELETE"] {
            for id in ["nobody", "%00", "%FF", "0", "..%2F..%2Fetc", "%27%20OR%201%3D1"] {
                let answer = world.api(method, &format!("/delegations/{id}"), &admin).await;
                problem(&answer, 404, "not_found", &format!("{method} {id}"));
            }
        }
        problem(&world.api("PATCH", "/delegations/x", &admin).await, 405, "method_not_allowed", "PATCH");
        problem(&world.api("GET", "/nothing", &admin).await, 404, "not_found", "no such resource");
    }
}

#[tokio::test]
async fn who_may_call() {
    let world = World::start(Engine::Sqlite).await;
    let (alice, tokens, id, _) = world.delegated().await;
    let call = async |header: Option<&str>| {
        let mut request = world.http.get(format!("{}/api/v1/delegations", world.url));
        if let Some(header) = header {
            request = request.header("authorization", header);
        }
        Answer::read(request.send().await.unwrap()).await
    };
    // RFC 6750 section 3.1: who sent no token is told no error.
    for header in [None, Some("Basic YTpi"), Some("Bearer"), Some("")] {
        let answer = call(header).await;
        problem(&answer, 401, "invalid_token", &format!("{header:?}"));
        assert_eq!(answer.header("www-authenticate"), "Bearer", "{header:?}");
    }
    let admin = world.admin_token();
    let twice = world.http.get(format!("{}/api/v1/delegations", world.url)).bearer_auth(&admin).bearer_auth(&admin);
    let twice = Answer::read(twice.send().await.unwrap()).await;
    let id_token = tokens["id_token"].as_str().unwrap();
    let refresh = tokens["refresh_token"].as_str().unwrap_or("none");
    let cut = &admin[..admin.len() - 1];
    let mut answers = vec![("two headers", twice)];
    for wrong in ["nonsense", id_token, refresh, cut] {
        answers.push((wrong, world.api("GET", "/delegations", wrong).await));
    }
    for (about, answer) in &answers {
        problem(answer, 401, "invalid_token", about);
        assert_eq!(answer.header("www-authenticate"), r#"Bearer error="invalid_token""#, "{about}");
    }
    assert_eq!(call(Some(&format!("bearer  {admin}"))).await.status, 200, "the scheme in any case");

    // An agent's token, and one of the console's that was not granted the scope.
    let plain = user_token(&world, ALICE, "openid").await;
    for token in [tokens["access_token"].as_str().unwrap(), &plain] {
        for (method, path) in [
            ("GET", "/delegations".to_owned()),
            ("GET", format!("/delegations/{id}")),
            ("DELETE", format!("/delegations/{id}")),
        ] {
            let answer = world.api(method, &path, token).await;
            problem(&answer, 403, "insufficient_scope", method);
            let challenge = r#"Bearer error="insufficient_scope", scope="delegations""#;
            assert_eq!(answer.header("www-authenticate"), challenge);
        }
    }
    // An agent cannot get the scope at all.
    let asked = World::authorize_path("desk-agent", &[("scope", "delegations")]);
    let refused = alice.get(&asked).await.location();
    assert_eq!(crate::harness::query(&refused, "error").as_deref(), Some("invalid_scope"));

    // A signed out user's token is over.
    let browser = world.signed_in(ALICE).await;
    let code = world.code(&browser, "console", &[("scope", "openid delegations")]).await;
    let (_, body) = world.token("console", &code_grant(&code)).await;
    let token = body["access_token"].as_str().unwrap();
    assert_eq!(world.api("GET", "/delegations", token).await.status, 200);
    let page = browser.get("/connections").await;
    browser.submit(&page, "/logout", &[]).await;
    problem(&world.api("GET", "/delegations", token).await, 401, "invalid_token", "signed out");

    // Nor is a token of a client that is the platform's own no longer.
    let token = user_token(&world, ALICE, "openid delegations").await;
    assert_eq!(world.api("GET", "/delegations", &token).await.status, 200);
    world.replica(&declarations(&world.service.url).replace("first_party = true", "first_party = false")).await;
    problem(&world.api("GET", "/delegations", &token).await, 403, "insufficient_scope", "a client like any other");
    let record = world.api("GET", &format!("/delegations/{id}"), &admin).await.json();
    assert_eq!(record["status"], "active", "none of this changed anything");
}

#[tokio::test]
async fn a_record_in_full() {
    let world = World::start(Engine::Sqlite).await;
    let (_, _, id, assertion) = world.delegated().await;
    let minted = crate::harness::claims(&assertion);
    let body = world.api("GET", &format!("/delegations/{id}"), &world.admin_token()).await.json();
    assert_eq!((&body["sub"], &body["aud"], &body["iss"]), (&minted["sub"], &minted["aud"], &minted["iss"]));
    assert_eq!((&body["mint_count"], &body["last_used_at"]), (&json!(1), &json!("2027-01-15T08:00:00Z")));
    let consent = &body["consents"][0];
    assert_eq!(
        (&consent["client_id"], &consent["mode"], &consent["scope"]),
        (&json!("desk-agent"), &json!("always"), &json!("api.read"))
    );
    assert_eq!(
        (&consent["until"], &consent["ended_at"], &body["deliveries"]),
        (&Value::Null, &Value::Null, &json!([]))
    );
}

both! {
    /// PostgreSQL stores no NUL: whoever sends one is told so, and nobody else pays for it.
    async fn a_nul_character_is_nobodys_fault_but_its_senders(world: World) {
        let browser = world.signed_in(ALICE).await;
        for path in ["/connections/%00/stop", "/consent/%00", "/consent/%FF"] {
            assert_eq!(browser.get(path).await.status, 404, "{path}");
        }
        let page = world.browser().get("/login").await;
        let answer = world.browser().submit(&page, "/login", &[("email", "a\0@b"), ("password", "x")]).await;
        assert!((400..500).contains(&answer.status), "{}", answer.status);
        let form = [("grant_type", "authorization_code"), ("code", "a\0"), ("redirect_uri", "x"), ("code_verifier", "x")];
        let (status, body) = world.token("desk-agent", &form).await;
        assert_eq!((status, &body["error"]), (400, &json!("invalid_request")), "{body}");
        let (status, body) = world.token("desk\0agent", &code_grant("x")).await;
        assert_eq!((status, &body["error"]), (401, &json!("invalid_client")), "{body}");
        let assertion = world.client_assertion(&json!({"jti": "a\0"}));
        let form = [
            ("grant_type", "authorization_code"), ("code", "x"), ("redirect_uri", "x"), ("code_verifier", "x"),
            ("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"), ("client_assertion", &assertion),
        ];
        let request = world.http.post(format!("{}/token", world.url)).header("content-type", "application/x-www-form-urlencoded");
        let answer = Answer::read(request.body(crate::harness::encode(&form)).send().await.unwrap()).await;
        assert_eq!((answer.status, &answer.json()["error"]), (401, &json!("invalid_client")), "{}", answer.body);
    }
}
