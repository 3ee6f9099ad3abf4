//! What a request is answered with that no handler takes, or that a handler cannot do: in the form of the path it was sent to.

use reqwest::Method;
use serde_json::json;

use crate::harness::{ALICE, Answer, Engine, World, both};

/// A path, and what it may be asked with.
const PROTOCOL: [(&str, &str); 8] = [
    ("/.well-known/openid-configuration", "GET,HEAD"),
    ("/.well-known/oauth-authorization-server", "GET,HEAD"),
    ("/.well-known/jwks.json", "GET,HEAD"),
    ("/jwks.json", "GET,HEAD"),
    ("/agent-auth.json", "GET,HEAD"),
    ("/token", "POST"),
    ("/userinfo", "GET,HEAD,POST"),
    ("/revoke", "POST"),
];
const PAGES: [(&str, &str); 6] = [
    ("/authorize", "GET,HEAD,POST"),
    ("/authorize/decision", "POST"),
    ("/login", "GET,HEAD,POST"),
    ("/logout", "POST"),
    ("/consent/x", "GET,HEAD,POST"),
    ("/connections", "GET,HEAD"),
];
const API: [(&str, &str); 4] = [
    ("/api/v1/delegations", "GET,HEAD,DELETE"),
    ("/api/v1/delegations/x", "GET,HEAD,DELETE"),
    ("/api/v1/deliveries", "GET,HEAD"),
    ("/api/v1/keys/fetchers", "GET,HEAD"),
];

/// Where issuers are.
const BASES: [&str; 2] = ["", "/acme"];

async fn two_issuers() -> World {
    let world = World::start(Engine::Sqlite).await;
    crate::paths::add(&world, "acme").await;
    world
}

async fn send(world: &World, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
    let method = Method::from_bytes(method.as_bytes()).unwrap();
    let mut request = world.http.request(method, format!("{}{path}", world.url)).body(body.to_owned());
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    Answer::read(request.send().await.unwrap()).await
}

/// Asserts the form of RFC 6749 section 5.2.
fn oauth(answer: &Answer, status: u16, code: &str, about: &str) {
    assert_eq!(
        (answer.status, answer.header("content-type")),
        (status, "application/json"),
        "{about}: {}",
        answer.body
    );
    assert_eq!(answer.json()["error"], code, "{about}");
    let description = answer.json()["error_description"].as_str().unwrap().to_owned();
    assert!(
        description.bytes().all(|b| (b' '..=b'~').contains(&b) && b != b'"' && b != b'\\'),
        "{about}: {description}"
    );
    assert_eq!(answer.header("cache-control"), "no-store", "{about}");
}

/// Asserts the form of RFC 9457.
fn problem(answer: &Answer, status: u16, code: &str, about: &str) {
    assert_eq!((answer.status, answer.header("content-type")), (status, "application/problem+json"), "{about}");
    assert_eq!((&answer.json()["code"], &answer.json()["status"]), (&json!(code), &json!(status)), "{about}");
}

/// Asserts that it is a page.
fn page(answer: &Answer, status: u16, about: &str) {
    assert_eq!((answer.status, answer.header("content-type")), (status, "text/html; charset=utf-8"), "{about}");
    assert!(answer.header("content-security-policy").starts_with("default-src 'none'"), "{about}");
}

fn sorted(allow: &str) -> Vec<String> {
    let mut methods: Vec<String> = allow.split(',').map(|method| method.trim().to_owned()).collect();
    methods.sort();
    methods
}

#[tokio::test]
async fn a_method_that_is_none_of_the_path() {
    let world = two_issuers().await;
    for ((path, allow), base) in
        PROTOCOL.into_iter().chain(PAGES).chain(API).flat_map(|path| BASES.map(|base| (path, base)))
    {
        for method in ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"] {
            let about = format!("{method} {base}{path}");
            if allow.split(',').any(|allowed| allowed == method) {
                continue;
            }
            let answer = send(&world, method, &format!("{base}{path}"), &[], "").await;
            assert_eq!(sorted(answer.header("allow")), sorted(allow), "{about}: RFC 9110 section 15.5.6");
            match path {
                _ if method == "HEAD" => assert_eq!(answer.status, 405, "{about}"),
                // Browsers ask so before they send what another origin's page wants to.
                _ if method == "OPTIONS" && PROTOCOL.iter().any(|(protocol, _)| *protocol == path) => {
                    assert_eq!(answer.status, 204, "{about}");
                }
                _ if PROTOCOL.iter().any(|(protocol, _)| *protocol == path) => {
                    oauth(&answer, 405, "method_not_allowed", &about);
                }
                _ if path.starts_with("/api/") => problem(&answer, 405, "method_not_allowed", &about),
                _ => page(&answer, 405, &about),
            }
        }
    }
}

/// Fetch standard, section 3.3: what pages of other origins may use, errors included, and what never.
#[tokio::test]
async fn other_origins_reach_what_needs_no_cookie_and_nothing_else() {
    let world = two_issuers().await;
    let from = [("origin", "https://app.example")];
    let preflight = [
        ("origin", "https://app.example"),
        ("access-control-request-method", "POST"),
        ("access-control-request-headers", "authorization,content-type,mcp-protocol-version,dpop"),
    ];
    for base in BASES {
        for (path, methods) in PROTOCOL {
            let at = format!("{base}{path}");
            let asked = send(&world, "OPTIONS", &at, &preflight, "").await;
            assert_eq!((asked.status, asked.body.as_str()), (204, ""), "{at}");
            assert_eq!(asked.header("access-control-allow-origin"), "*", "{at}");
            assert_eq!(sorted(asked.header("access-control-allow-methods")), sorted(methods), "{at}");
            let allowed: Vec<_> = asked.header("access-control-allow-headers").split(", ").collect();
            assert_eq!(allowed, ["authorization", "content-type", "mcp-protocol-version", "dpop"], "{at}");
            for method in ["GET", "POST", "DELETE"] {
                let answer = send(&world, method, &at, &from, "").await;
                assert_eq!(answer.header("access-control-allow-origin"), "*", "{method} {at}: {}", answer.status);
                assert_eq!(answer.header("access-control-allow-credentials"), "", "{method} {at}");
            }
        }
        for (path, _) in
            PAGES.into_iter().chain(API).chain(["/introspect", "/end_session", "/nothing"].map(|path| (path, "")))
        {
            for method in ["OPTIONS", "GET", "POST"] {
                let answer = send(&world, method, &format!("{base}{path}"), &preflight, "").await;
                let shared = answer.headers.keys().any(|name| name.as_str().starts_with("access-control-"));
                assert!(!shared, "{method} {base}{path}");
            }
        }
    }
}

#[tokio::test]
async fn a_path_where_nothing_is() {
    let world = two_issuers().await;
    let html = [("accept", "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8")];
    let json = [("accept", "application/json, text/plain, */*")];
    for path in [
        "/token/",
        "/token/x",
        "/.well-known/webfinger",
        "/.well-known/openid-configuration/",
        "/userinfo/x",
        "/jwks.json/x",
    ] {
        for accept in [&html, &json] {
            for base in BASES {
                oauth(&send(&world, "GET", &format!("{base}{path}"), accept, "").await, 404, "not_found", path);
            }
        }
    }
    for path in ["/api", "/api/v2/delegations", "/healthz/x", "/api/v1/delegations/x/y"] {
        for base in BASES {
            problem(&send(&world, "GET", &format!("{base}{path}"), &html, "").await, 404, "not_found", path);
        }
    }
    for path in ["/nothing/x", "//login", "/login/", "/connections/x", "/consent", "/LOGIN", "/%6cogin", "/Token"] {
        for base in BASES {
            let path = format!("{base}{path}");
            page(&send(&world, "GET", &path, &html, "").await, 404, &path);
            page(&send(&world, "GET", &path, &[], "").await, 404, &path);
            problem(&send(&world, "GET", &path, &json, "").await, 404, "not_found", &path);
        }
    }
}

#[tokio::test]
async fn a_body_that_is_no_form_or_too_large() {
    let world = two_issuers().await;
    let form = [("content-type", "application/x-www-form-urlencoded")];
    let large = format!("grant_type={}", "x".repeat(72 * 1024));
    for base in BASES {
        let [token, authorize, login] = ["token", "authorize", "login"].map(|name| format!("{base}/{name}"));
        oauth(&send(&world, "POST", &token, &form, &large).await, 413, "invalid_request", "too large");
        let huge = "x".repeat(10 * 1024 * 1024);
        oauth(&send(&world, "POST", &token, &form, &huge).await, 413, "invalid_request", "huge");
        let expect = [form[0], ("expect", "100-continue")];
        oauth(&send(&world, "POST", &token, &expect, &large).await, 413, "invalid_request", "asked beforehand");
        let answer = chunked(&world, &token, &large).await;
        assert!(answer.starts_with("HTTP/1.1 413 ") && answer.contains(r#"{"error":"invalid_request","#), "{answer}");
        for kind in ["", "text/plain", "application/json", "multipart/form-data; boundary=x"] {
            let kind = [("content-type", kind)];
            let kind = if kind[0].1.is_empty() { &kind[..0] } else { &kind[..] };
            oauth(&send(&world, "POST", &token, kind, "grant_type=x").await, 415, "invalid_request", "no form");
            page(&send(&world, "POST", &authorize, kind, "client_id=x").await, 415, "no form, for people");
            page(&send(&world, "POST", &login, kind, "email=x").await, 415, "no form, for people");
        }
        page(&send(&world, "POST", &login, &form, &large).await, 413, "too large, for people");
        // As large as it may be.
        let most = format!("grant_type={}", "x".repeat(64 * 1024 - "grant_type=".len()));
        oauth(&send(&world, "POST", &token, &form, &most).await, 401, "invalid_client", "large enough");
    }
}

/// The answer to a request as it stands.
async fn raw(world: &World, request: &str) -> String {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let mut stream = tokio::net::TcpStream::connect(world.url.strip_prefix("http://").unwrap()).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

/// The answer to a form whose length is not said beforehand.
async fn chunked(world: &World, path: &str, form: &str) -> String {
    let head = format!(
        "POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-www-form-urlencoded\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
    );
    raw(world, &format!("{head}{:x}\r\n{form}\r\n0\r\n\r\n", form.len())).await
}

both! {
    async fn head_has_no_effects(world: World) {
        let browser = world.signed_in(ALICE).await;
        let path = World::authorize_path("console", &[]);
        let before = world.database.column("SELECT COUNT(*) FROM token_family").await;
        let answer = browser.head(&path).await;
        assert_eq!(answer.status, 303);
        assert!(answer.location().starts_with("/login?"), "no code: {}", answer.location());
        let silent = browser.head(&World::authorize_path("console", &[("prompt", "none")])).await;
        assert!(silent.location().contains("error=login_required"), "{}", silent.location());
        assert_eq!(world.database.column("SELECT COUNT(*) FROM token_family").await, before);
        // With GET it is a code.
        assert!(browser.get(&path).await.location().contains("code="));
        assert_ne!(world.database.column("SELECT COUNT(*) FROM token_family").await, before);
    }
}

both! {
    async fn a_fault_says_nothing_but_the_requests_id(world: World) {
        crate::paths::add(&world, "acme").await;
        let browser = world.signed_in(ALICE).await;
        world.database.column("ALTER TABLE client RENAME TO client_gone").await;
        world.database.column("ALTER TABLE delegation RENAME TO delegation_gone").await;
        let form = [("content-type", "application/x-www-form-urlencoded")];
        for base in BASES {
            let answer =
                send(&world, "POST", &format!("{base}/token"), &form, "client_id=desk-agent&client_secret=x").await;
            oauth(&answer, 500, "server_error", base);
            let id = answer.header("x-request-id");
            assert_eq!(answer.json()["request_id"], id, "{base}");
            assert!(answer.json()["error_description"].as_str().unwrap().contains(id), "{base}");
        }

        let answer = send(&world, "GET", "/api/v1/delegations", &[("authorization", &format!("Bearer {}", world.admin_token()))], "").await;
        problem(&answer, 500, "server_error", "API");
        assert_eq!(answer.json()["request_id"], answer.header("x-request-id"));

        let answer = browser.get("/connections").await;
        page(&answer, 500, "a page");
        assert!(answer.body.contains(answer.header("x-request-id")));
        assert!(!answer.body.contains("_gone") && !answer.body.contains("no such table"), "nothing of ours");
    }
}

#[tokio::test]
async fn every_answer_names_its_request() {
    let world = World::start(Engine::Sqlite).await;
    let mut seen = std::collections::BTreeSet::new();
    let planted = [("x-request-id", "11111111111111111111111111111111")];
    for (method, path) in [
        ("GET", "/.well-known/jwks.json"),
        ("GET", "/login"),
        ("GET", "/connections"),
        ("POST", "/token"),
        ("GET", "/nothing/x"),
        ("GET", "/api/v1/delegations"),
        ("GET", "/healthz"),
        ("GET", "/readyz"),
        ("HEAD", "/login"),
    ] {
        let answer = send(&world, method, path, &planted, "").await;
        let id = answer.header("x-request-id").to_owned();
        assert!(id.len() == 16 && id.bytes().all(|b| b.is_ascii_hexdigit()), "{method} {path}: {id:?}");
        assert_ne!(id, planted[0].1, "{method} {path}: ours, not theirs");
        assert!(seen.insert(id), "{method} {path}");
    }
}

/// RFC 9112 section 3.2.
#[tokio::test]
async fn a_request_names_one_host() {
    let world = two_issuers().await;
    let ask = async |path: &str, rest: &str| {
        raw(&world, &format!("GET {path} HTTP/1.{rest}\r\nConnection: close\r\n\r\n")).await
    };
    for path in ["/healthz", "/jwks.json", "/acme/login", "/api/v1/delegations", "/nothing/x"] {
        for hosts in [
            "1",
            "1\r\nHost: localhost\r\nHost: localhost",
            "1\r\nHost: localhost\r\nhost: evil.example",
            "1\r\nHost:",
            "1\r\nHost: localhost/x",
            "1\r\nHost: user@localhost",
            "1\r\nHost: local host",
            "0\r\nHost: localhost\r\nHost: localhost",
        ] {
            let answer = ask(path, hosts).await;
            assert!(
                answer.starts_with("HTTP/1.1 400 ") || answer.starts_with("HTTP/1.0 400 "),
                "{path} {hosts}: {answer}"
            );
            assert!(answer.contains("x-request-id"), "{path} {hosts}: {answer}");
        }
    }
    let answer = ask("/token", "1").await;
    assert!(
        answer.contains(r#"{"error":"invalid_request","error_description":"a request must have one Host"#),
        "{answer}"
    );
    for hosts in ["0", "0\r\nHost: localhost", "1\r\nHost: localhost", "1\r\nHost: [::1]:4000"] {
        assert!(ask("/healthz", hosts).await.contains(" 200 OK"), "{hosts}");
    }
}

#[tokio::test]
async fn a_page_opened_at_another_host_is_the_issuers() {
    let world = two_issuers().await;
    let issuer = world.issuer();
    let port = issuer.rsplit(':').next().unwrap();
    let html = ("accept", "text/html");
    let at = async |method: &str, path: &str, host: &str| send(&world, method, path, &[("host", host), html], "").await;
    let path = "/acme/login?to=%2Facme%2Fconnections";
    for host in [format!("127.0.0.1:{port}"), format!("[::1]:{port}"), format!("LOCALHOST.:{port}")] {
        for method in ["GET", "HEAD"] {
            let answer = at(method, path, &host).await;
            assert_eq!((answer.status, answer.location()), (303, format!("{issuer}{path}")), "{method} {host}");
        }
        for path in ["/", "/connections", "/consent/x", "/authorize?client_id=desk-agent&x=%20", "/nothing"] {
            assert_eq!(at("GET", path, &host).await.location(), format!("{issuer}{path}"), "{host}");
        }
        assert_eq!(at("POST", "/login", &host).await.status, 415, "a form is judged by its origin");
        for path in ["/jwks.json", "/.well-known/openid-configuration", "/healthz"] {
            assert_eq!(at("GET", path, &host).await.status, 200, "machines go by any name: {path} {host}");
        }
        assert_eq!(at("GET", "/api/v1/delegations", &host).await.status, 401);
    }
    // Its own name, in any spelling; and one that a proxy made up, which no browser named.
    for host in [format!("localhost:{port}"), format!("LocalHost:{port}"), "127.0.0.1:1".into(), "backend".into()] {
        assert_eq!(at("GET", path, &host).await.status, 200, "{host}");
    }
}

/// Behind a proxy, what the browser named is what the proxy says; the `Host` is between the two.
#[tokio::test]
async fn an_https_page_opened_at_another_host_is_the_issuers() {
    let path = "/login?to=%2Fconnections";
    let proxied = crate::sign_in::behind_tls("trusted_proxies = [\"127.0.0.1\"]").await;
    let direct = crate::sign_in::behind_tls("").await;
    let at = async |world: &World, headers: &[(&str, &str)]| {
        let answer = send(world, "GET", path, headers, "").await;
        (answer.status, answer.location())
    };
    for named in ["www.id.example", "id.example.evil", "203.0.113.7:8443"] {
        let answer = at(&proxied, &[("host", "backend"), ("x-forwarded-host", named)]).await;
        assert_eq!(answer, (303, format!("https://id.example{path}")), "{named}");
        assert_eq!(at(&direct, &[("host", "backend"), ("x-forwarded-host", named)]).await.0, 200, "says anybody");
        assert_eq!(at(&direct, &[("host", named)]).await.0, 200, "a host of the proxy's making would come back");
        assert_eq!(at(&proxied, &[("host", named)]).await.0, 200, "{named}");
    }
    for named in ["id.example", "ID.example", "id.example:443", "id.example:8080"] {
        assert_eq!(at(&proxied, &[("host", "backend"), ("x-forwarded-host", named)]).await.0, 200, "{named}");
    }
}

/// RFC 6797 section 7.1.
#[tokio::test]
async fn an_https_issuer_is_only_ever_asked_by_https() {
    let world = crate::sign_in::behind_tls("").await;
    for (method, path) in
        [("GET", "/login"), ("GET", "/jwks.json"), ("POST", "/token"), ("GET", "/nothing/x"), ("GET", "/healthz")]
    {
        let answer = send(&world, method, path, &[], "").await;
        assert_eq!(answer.header("strict-transport-security"), "max-age=31536000", "{method} {path}");
    }
    let world = World::start(Engine::Sqlite).await;
    assert_eq!(send(&world, "GET", "/login", &[], "").await.header("strict-transport-security"), "");
}

#[tokio::test]
async fn too_many_attempts_say_when_to_come_back() {
    let world = World::start(Engine::Sqlite).await;
    let browser = world.browser();
    for _ in 0..20 {
        let form = browser.get("/login").await;
        let answer = browser.submit(&form, "/login", &[("email", ALICE), ("password", "wrong")]).await;
        if answer.status == 429 {
            let seconds: u64 = answer.header("retry-after").parse().unwrap();
            assert!(answer.body.contains(&format!("in {seconds} seconds")), "{}", answer.body);
            return;
        }
    }
    panic!("never throttled");
}
