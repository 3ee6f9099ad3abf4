//! Issuers by path: what leads to one, what does not, and how its pages and cookies keep to it.

use avouch::domain::display_name::DisplayName;
use avouch::domain::issuer::IssuerId;
use avouch::flow::issuers_admin::{self, Looks};
use avouch::http::{Where, paths};
use serde_json::Value;

use crate::harness::{ALICE, Answer, Engine, PASSWORD, World, both};

const DOCUMENTS: [&str; 5] = [
    "/.well-known/openid-configuration",
    "/.well-known/oauth-authorization-server",
    "/.well-known/jwks.json",
    "/jwks.json",
    "/agent-auth.json",
];

/// Adds an issuer with keys of its own, and with the users of the default one.
pub(crate) async fn add(world: &World, id: &str) {
    let looks = Looks { name: DisplayName::parse(&format!("Agents of {id}")).unwrap(), colour: None, logo: None };
    issuers_admin::add(&world.host, &IssuerId::parse(id).unwrap(), &looks).await.unwrap();
    let columns = "email, email_verified_at, name, password_hash, origin, version, decisions, created_at";
    let copy = format!(
        "INSERT INTO account (id, issuer_id, sub, {columns})
         SELECT '{id}' || id, '{id}', '{id}' || sub, {columns} FROM account WHERE issuer_id = 'default'"
    );
    world.database.column(&copy).await;
}

async fn get(world: &World, path: &str) -> Answer {
    Answer::read(world.http.get(format!("{}{path}", world.url)).send().await.unwrap()).await
}

/// Asks for a path as it is written here: a client library would tidy it up first.
async fn raw(world: &World, method: &str, path: &str) -> (u16, String) {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let address = world.url.strip_prefix("http://").unwrap();
    let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
    let request =
        format!("{method} {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let status = answer.split(' ').nth(1).unwrap().parse().unwrap();
    (status, answer)
}

/// An answer without what differs between any two.
fn undated(answer: &str) -> String {
    let lines = answer.lines().filter(|line| !line.starts_with("date:") && !line.starts_with("x-request-id:"));
    lines.collect::<Vec<_>>().join("\n")
}

both! {
    async fn both_forms_of_a_well_known_path_lead_to_one_document(world: World) {
        add(&world, "acme").await;
        add(&world, "beta").await;
        for id in ["acme", "beta"] {
            let issuer = format!("{}/{id}", world.issuer());
            for name in ["openid-configuration", "oauth-authorization-server"] {
                let appended = get(&world, &format!("/{id}/.well-known/{name}")).await;
                let inserted = get(&world, &format!("/.well-known/{name}/{id}")).await;
                assert_eq!((appended.status, inserted.status), (200, 200), "{id} {name}");
                assert_eq!(appended.body, inserted.body, "{id} {name}");
                let metadata = appended.json();
                assert_eq!(metadata["issuer"], issuer, "RFC 8414 section 3.3");
                for (member, value) in metadata.as_object().unwrap() {
                    let ours = value.as_str().is_none_or(|url| !url.starts_with("http") || url.starts_with(&issuer));
                    assert!(ours, "{id} {member} {value}");
                }
            }
            let cimd = get(&world, &format!("/{id}/agent-auth.json")).await.json();
            assert_eq!(cimd["client_id"], format!("{issuer}/agent-auth.json"));
            assert_eq!(cimd["client_name"], format!("Agents of {id}"));
            assert_eq!(cimd["jwks_uri"], format!("{issuer}/.well-known/jwks.json"));
        }
        let mut kids: Vec<Value> = Vec::new();
        let mut etags = Vec::new();
        for base in ["", "/acme", "/beta"] {
            let jwks = get(&world, &format!("{base}/.well-known/jwks.json")).await;
            assert_eq!(jwks.body, get(&world, &format!("{base}/jwks.json")).await.body);
            kids.push(jwks.json()["keys"][0]["kid"].clone());
            etags.push(jwks.header("etag").to_owned());
        }
        kids.dedup();
        etags.dedup();
        assert_eq!((kids.len(), etags.len()), (3, 3), "each has keys of its own");
    }
}

#[tokio::test]
async fn no_other_spelling_leads_to_an_issuer() {
    let world = World::start(Engine::Sqlite).await;
    add(&world, "acme").await;
    let long = format!("/{}", "a".repeat(64));
    for document in DOCUMENTS.into_iter().chain(["/token", "/login", "/connections", "/api/v1/delegations"]) {
        for wrong in [
            "/ACME",
            "/Acme",
            "/%61cme",
            "/acm%65",
            "//acme",
            "/./acme",
            "/acme/.",
            "/acme/",
            "/x/../acme",
            "/acme/..",
            "/acme/acme",
            "/acme/default",
            "/default",
            "/acme.",
            "/acme;x",
            "/acme%2f",
            "/acme%00",
            "/-acme",
            "/acme_",
            "/a",
            &long,
        ] {
            let path = format!("{wrong}{document}");
            let (status, answer) = raw(&world, "GET", &path).await;
            assert!(answer.contains("x-request-id: "), "{path}: {answer}");
            assert_eq!(status, 404, "{path}: {answer}");
        }
    }
    for document in DOCUMENTS {
        for wrong in
            ["/ACME", "/%61cme", "//acme", "/acme/", "/acme/x", "/./acme", "/acme/../acme", "/default", "/token", "/"]
        {
            let path = format!("{document}{wrong}");
            let (status, answer) = raw(&world, "GET", &path).await;
            assert_eq!(status, 404, "{path}");
            assert!(answer.contains(r#"{"error":"not_found","#), "{path}: {answer}");
        }
    }
    // Only the two that RFC 8414 and OpenID Connect Discovery name are also found the other way round.
    for document in &DOCUMENTS[2..] {
        assert_eq!(raw(&world, "GET", &format!("{document}/acme")).await.0, 404, "{document}");
    }
}

/// Every route, with something in the place of what varies, as a path issuer's.
fn under(id: &str) -> Vec<String> {
    paths()
        .into_iter()
        .map(|(_, path)| format!("/{id}{}", path.replace("{ticket}", "x").replace("{id}", "x")))
        .collect()
}

both! {
    async fn a_disabled_issuer_cannot_be_told_from_one_that_never_was(world: World) {
        add(&world, "acme").await;
        assert_eq!(get(&world, "/acme/jwks.json").await.status, 200);
        let mut tx = world.host.database.of("acme".into()).begin().await.unwrap();
        tx.touch_issuer().await.unwrap();
        tx.commit().await.unwrap();
        world.database.column("UPDATE issuer SET disabled_at = 1 WHERE id = 'acme'").await;
        avouch::flow::issuers::refresh(&world.host).await.unwrap();
        let inserted = DOCUMENTS[..2].iter().map(|document| (format!("{document}/acme"), format!("{document}/none")));
        let every = under("acme").into_iter().zip(under("none")).chain(inserted).chain([("/acme/x/y".into(), "/none/x/y".into())]);
        for (disabled, unknown) in every {
            for method in ["GET", "POST", "DELETE", "OPTIONS"] {
                let (status, there) = raw(&world, method, &disabled).await;
                let (_, nowhere) = raw(&world, method, &unknown).await;
                assert_eq!(status, 404, "{method} {disabled}: {there}");
                assert_eq!(undated(&there), undated(&nowhere), "{method} {disabled}");
            }
        }
    }
}

#[tokio::test]
async fn operations_and_styles_are_at_the_root_only() {
    let world = World::start(Engine::Sqlite).await;
    add(&world, "acme").await;
    let mut seen = 0;
    for (at, path) in paths() {
        let path = path.replace("{name}", "0a7d5c.css");
        if at == Where::Root {
            seen += 1;
            // What only an administrator may see is there all the same.
            let there = get(&world, &path).await.status;
            assert!(there == 200 || (there == 401 && path.starts_with("/api/")), "{path} {there}");
            for method in ["GET", "POST"] {
                assert_eq!(raw(&world, method, &format!("/acme{path}")).await.0, 404, "{method} /acme{path}");
            }
        }
    }
    assert!(seen >= 4);
    for wrong in ["0a7d5c", "0a7d5.css", "red.css", "0a7d5c;}.css", "%230a7d5c.css"] {
        assert_eq!(raw(&world, "GET", &format!("/assets/colour/{wrong}")).await.0, 404, "{wrong}");
    }
}

#[test]
fn no_route_can_be_an_issuers_id() {
    assert!(paths().len() > 15);
    for (_, path) in paths() {
        let segment = path.split('/').nth(1).unwrap();
        assert!(
            segment.is_empty() || IssuerId::parse(segment).is_err(),
            "/{segment} is in use and could be an issuer's id"
        );
    }
}

both! {
    async fn two_issuers_keep_apart_in_one_browser(world: World) {
        add(&world, "acme").await;
        let browser = world.browser();
        let asked = browser.get("/acme/connections").await;
        assert_eq!((asked.status, asked.location().as_str()), (303, "/acme/login?to=%2Facme%2Fconnections"));
        let page = browser.get(&asked.location()).await;
        assert!(page.body.contains("Sign in to Agents of acme"), "{}", page.body);
        assert!(page.header("set-cookie").contains("; Path=/acme; HttpOnly"), "{}", page.header("set-cookie"));
        let typed = [("email", ALICE), ("password", PASSWORD)];
        let answer = browser.submit(&page, "/acme/login", &typed).await;
        assert_eq!((answer.status, answer.location().as_str()), (303, "/acme/connections"));
        assert!(answer.header("set-cookie").contains("; Path=/acme; HttpOnly"), "{}", answer.header("set-cookie"));
        let acme = browser.cookie_pair("avouch-session").unwrap();

        let inside = browser.get("/acme/connections").await;
        assert_eq!(inside.status, 200);
        for link in ["href=\"/", "action=\"/"] {
            for (at, _) in inside.body.match_indices(link) {
                let rest = &inside.body[at + link.len() - 1..];
                let own = rest.starts_with("/acme/") || rest.starts_with("/assets/");
                assert!(own, "{}", rest.split('"').next().unwrap());
            }
        }
        // The same browser, which here sends every cookie everywhere, is nobody at the root, and can be somebody there as well.
        assert_eq!(browser.get("/connections").await.location(), "/login?to=%2Fconnections");
        let page = browser.get("/login").await;
        let answer = browser.submit(&page, "/login", &typed).await;
        assert_eq!((answer.status, answer.location().as_str()), (303, "/connections"), "{}", answer.body);
        assert!(answer.header("set-cookie").contains("; Path=/; HttpOnly"));
        assert_eq!(browser.get("/connections").await.status, 200);
        assert_eq!(browser.get("/acme/connections").await.status, 200);

        // A form of one is nothing at the other.
        let root = browser.get("/connections").await;
        let token = crate::harness::hidden_fields(&root.body, "/logout").remove(0).1;
        assert_eq!(browser.post("/acme/logout", &[("csrf", &token)]).await.status, 403);
        let out = browser.submit(&inside, "/acme/logout", &[]).await;
        assert_eq!((out.status, out.location().as_str()), (303, "/acme/login"));
        let name = acme.split_once('=').unwrap().0;
        assert_eq!(out.header("set-cookie"), format!("{name}=; Path=/acme; HttpOnly; SameSite=Lax; Max-Age=0"));
        assert_eq!(browser.get("/acme/connections").await.status, 303);
        assert_eq!(browser.get("/connections").await.status, 200, "the other session lives on");
    }
}

#[tokio::test]
async fn the_way_back_stays_with_the_issuer() {
    let world = World::start(Engine::Sqlite).await;
    add(&world, "acme").await;
    for (to, expected) in [
        ("/acme/consent/x", "/acme/consent/x"),
        ("/acme/connections", "/acme/connections"),
        ("/connections", "/acme/connections"),
        ("/consent/x", "/acme/connections"),
        ("/acmeconsent/x", "/acme/connections"),
        ("/beta/connections", "/acme/connections"),
        ("/acme//evil.example", "/acme/connections"),
        ("/acme/../connections", "/acme/connections"),
        ("//acme/connections", "/acme/connections"),
        ("https://evil.example/acme/connections", "/acme/connections"),
    ] {
        let browser = world.browser();
        let query = crate::harness::encode(&[("to", to)]);
        let page = browser.get(&format!("/acme/login?{query}")).await;
        let answer = browser.submit(&page, "/acme/login", &[("email", ALICE), ("password", PASSWORD)]).await;
        assert_eq!((answer.status, answer.location().as_str()), (303, expected), "{to}");
    }
}
