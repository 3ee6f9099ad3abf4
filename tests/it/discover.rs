//! What is understood of a service that publishes its metadata, over HTTP: where it is looked for, and what it may cost.

use std::path::Path;

use serde_json::{Value, json};

use crate::harness::{Engine, FakeService, Published, World, run, text};

const SERVER: &str = "/.well-known/oauth-authorization-server";
const OPENID: &str = "/.well-known/openid-configuration";
const RESOURCE: &str = "/.well-known/oauth-protected-resource";

async fn discover(world: &World, url: &str) -> Value {
    let answer = world.api_json("POST", "/services/discover", &world.admin_token(), &json!({ "url": url })).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    answer.json()
}

/// What auth.md v0.1 publishes, at an origin.
fn v01(issuer: &str) -> Value {
    json!({
        "issuer": issuer,
        "agent_auth": {
            "register_uri": format!("{issuer}/agent/auth"), "revocation_uri": format!("{issuer}/agent/auth/revoke"),
            "identity_types_supported": ["identity_assertion"],
            "identity_assertion": {"assertion_types_supported": ["urn:ietf:params:oauth:token-type:id-jag"]},
            "events_supported": ["https://schemas.workos.com/events/agent/auth/identity/assertion/revoked"],
        },
    })
}

fn why(understood: &Value, path: &str) -> String {
    let documents = understood["documents"].as_array().unwrap();
    let of = documents.iter().find(|d| d["document"].as_str().unwrap().ends_with(path));
    of.map(|d| format!("{}: {}", d["verdict"].as_str().unwrap(), d["why"].as_str().unwrap())).unwrap_or_default()
}

/// Each of the documents that were found in the wild, moved to this machine, host by host.
#[tokio::test]
async fn real_documents_as_a_service_publishes_them() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/metadata");
    let mut files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|file| file.unwrap().path()).collect();
    files.sort();
    let mut read = 0;
    for file in files.iter().filter(|file| file.extension().is_some_and(|e| e == "json")) {
        let name = file.file_stem().unwrap().to_str().unwrap();
        let body: Value = serde_json::from_str(&std::fs::read_to_string(file).unwrap()).unwrap();
        let named = body["issuer"].as_str().or(body["resource"].as_str()).unwrap();
        let origin = url::Url::parse(named).unwrap().origin().ascii_serialization();
        let world = World::start(Engine::Sqlite).await;
        let here = &world.service.url;
        let moved = body
            .to_string()
            .replace(&format!("{origin}/"), &format!("{here}/"))
            .replace(&format!("{origin}\""), &format!("{here}\""));
        let path = named[origin.len()..].trim_end_matches('/').to_owned();
        let place = if name.starts_with("as") { SERVER } else { RESOURCE };
        world.service.publish(&format!("{place}{path}"), Published::Json(serde_json::from_str(&moved).unwrap()));
        let understood = discover(&world, &named.replace(&origin, here)).await;
        let proven = name.starts_with("as");
        assert_eq!(understood["issuer"].is_string(), proven, "{name}: {understood}");
        assert_eq!(understood["documents"][0]["verdict"], if proven { "proves" } else { "missing" }, "{name}");
        // What it says of other hosts leads nowhere.
        let foreign = understood["notices"]
            .as_array()
            .unwrap()
            .iter()
            .find(|n| !n["value"]["endpoint"].as_str().unwrap().starts_with(here.as_str()));
        assert_eq!(foreign, None, "{name}");
        read += 1;
    }
    assert_eq!(read, 19);
}

#[tokio::test]
async fn every_place_is_looked_at_and_each_is_told_of() {
    let world = World::start(Engine::Sqlite).await;
    let here = world.service.url.clone();
    let journal = world.database.column("SELECT COUNT(*) FROM journal").await;
    world.service.publish_server(v01(&here));
    let understood = discover(&world, &here).await;
    assert_eq!(understood["dialect"]["value"], "auth.md v0.1", "{understood}");
    assert_eq!(understood["dialect"]["document"], json!(format!("{here}{SERVER}")));
    assert_eq!(understood["dialect"]["member"], "agent_auth.register_uri");
    assert_eq!(understood["notices"][0]["value"]["endpoint"], json!(format!("{here}/agent/auth/revoke")));
    let mut fetched = world.service.fetched.lock().unwrap().clone();
    fetched.sort();
    assert_eq!(fetched, [SERVER, RESOURCE, OPENID]);

    // Below a path: inserted, appended, and as OpenID Connect has it.
    let tenant = format!("{here}/t");
    for (n, path) in [format!("{SERVER}/t"), format!("/t{SERVER}"), format!("/t{OPENID}")].into_iter().enumerate() {
        world.service.documents.lock().unwrap().clear();
        world.service.publish(&path, Published::Json(v01(&tenant)));
        world.clock.advance(avouch::domain::time::Seconds(31));
        let understood = discover(&world, &tenant).await;
        assert_eq!(understood["issuer"], json!(tenant), "{path}: {understood}");
        assert_eq!(understood["documents"][n]["verdict"], "proves", "{path}");
    }
    assert_eq!(world.database.column("SELECT COUNT(*) FROM journal").await, journal, "nothing is stored");
}

#[tokio::test]
async fn what_a_resource_names_is_followed_once() {
    let world = World::start(Engine::Sqlite).await;
    let (api, auth, other) = (&world.service, FakeService::start().await, FakeService::start().await);
    let resource = |servers: Value| {
        Published::Json(json!({"resource": api.url, "resource_name": "Notes", "authorization_servers": servers}))
    };
    api.publish(RESOURCE, resource(json!([auth.url])));
    auth.publish_server(v01(&auth.url));
    let understood = discover(&world, &api.url).await;
    assert_eq!((&understood["issuer"], &understood["asked"]), (&json!(auth.url), &json!(api.url)));
    assert_eq!(understood["name"]["value"], "Notes");
    assert_eq!(why(&understood, RESOURCE), "read: it is a resource's, and names this authorization server");

    // A document that names another issuer proves nothing, and what it leads to is not looked at.
    auth.publish_server(v01(&other.url));
    auth.publish(RESOURCE, Published::Json(json!({"resource": auth.url, "authorization_servers": [other.url]})));
    other.publish_server(v01(&other.url));
    world.clock.advance(avouch::domain::time::Seconds(31));
    let understood = discover(&world, &api.url).await;
    assert_eq!(understood["issuer"], Value::Null, "{understood}");
    assert!(why(&understood, SERVER).starts_with("proves nothing: it names another issuer"), "{understood}");
    assert_eq!(other.fetches(), 0);
}

/// What is wrong with a document, and what is said of it.
#[tokio::test]
async fn bad_documents_prove_nothing_and_cost_little() {
    let world = World::start(Engine::Sqlite).await;
    let here = world.service.url.clone();
    let good = v01(&here).to_string();
    let kind = |kind: &str| vec![("content-type", kind.to_owned())];
    let json_kind = kind("application/json");
    let long = format!("{good}{}", " ".repeat(64 * 1024));
    let redirect = [json_kind.clone(), vec![("location", format!("{here}{OPENID}"))]].concat();
    let cases = [
        ("huge", Published::Answer(200, json_kind.clone(), long), "it is longer than 64 KiB"),
        ("endless", Published::Endless, "it is longer than 64 KiB"),
        (
            "a page",
            Published::Answer(200, kind("text/html"), "<!doctype html>".into()),
            "it is served as \"text/html\", not as application/json",
        ),
        (
            "a static host",
            Published::Answer(200, kind("application/octet-stream"), good.clone()),
            "it is served as \"application/octet-stream\"",
        ),
        ("nothing said", Published::Answer(200, vec![], good.clone()), "it is served without a content type"),
        (
            "a redirect",
            Published::Answer(302, redirect, String::new()),
            "the server answered 302, and redirects are not followed",
        ),
        ("an error", Published::Answer(500, json_kind.clone(), good.clone()), "the server answered 500"),
        ("cut off", Published::Answer(200, json_kind.clone(), good[..40].into()), "it is not JSON"),
        ("a list", Published::Json(json!([v01(&here)])), "it is not a JSON object"),
        ("deep", Published::Answer(200, json_kind.clone(), "[".repeat(4000)), "it is not JSON"),
        (
            "many",
            Published::Answer(200, json_kind.clone(), format!("[{}0]", "0,".repeat(30_000))),
            "it has more than 4,096 values",
        ),
        (
            "another issuer",
            Published::Json(v01("https://bank.example")),
            "it names another issuer, \"https://bank.example\"",
        ),
        ("no issuer", Published::Json(json!({"agent_auth": {}})), "it names no issuer"),
    ];
    for (name, document, expected) in cases {
        world.service.documents.lock().unwrap().clear();
        world.service.publish(SERVER, document);
        // It would be found if a redirect were followed.
        world.service.publish("/elsewhere", Published::Json(v01(&here)));
        world.clock.advance(avouch::domain::time::Seconds(31));
        let understood = discover(&world, &here).await;
        assert_eq!((&understood["issuer"], &understood["dialect"]["value"]), (&Value::Null, &json!("none")), "{name}");
        assert!(why(&understood, SERVER).contains(expected), "{name}: {understood}");
    }
    // All of them hang at once, and one answer is given.
    for path in [SERVER, OPENID, RESOURCE] {
        world.service.publish(path, Published::Hanging);
    }
    world.clock.advance(avouch::domain::time::Seconds(31));
    let understood = discover(&world, &here).await;
    assert_eq!(why(&understood, SERVER), "missing: no complete answer came in time");
    for (url, expected) in [
        ("http://169.254.169.254", "its address is not allowed"),
        ("https://169.254.169.254/latest", "its address is not allowed"),
        ("https://nobody.invalid", "its name does not resolve"),
    ] {
        let answer = world.api_json("POST", "/services/discover", &world.admin_token(), &json!({ "url": url })).await;
        if answer.status == 400 {
            assert!(answer.body.contains("audience: it must be https"), "{}", answer.body);
            continue;
        }
        assert!(
            why(&answer.json(), SERVER).contains(expected) || answer.body.contains(expected),
            "{url}: {}",
            answer.body
        );
    }
}

#[tokio::test]
async fn only_an_administrator_has_a_service_looked_at() {
    let world = World::start(Engine::Sqlite).await;
    let (_, tokens, ..) = world.delegated().await;
    let body = json!({ "url": world.service.url });
    for (bearer, status) in [(tokens["access_token"].as_str().unwrap(), 403), ("nobody", 401)] {
        let answer = world.api_json("POST", "/services/discover", bearer, &body).await;
        assert_eq!(answer.status, status, "{}", answer.body);
    }
    for (body, code) in [
        (json!({"url": "/relative"}), "invalid_target"),
        (json!({"url": "http://s.example"}), "invalid_target"),
        (json!({"uri": "x"}), "invalid_request"),
        (json!({}), "invalid_request"),
    ] {
        let answer = world.api_json("POST", "/services/discover", &world.admin_token(), &body).await;
        assert_eq!((answer.status, &answer.json()["code"]), (400, &json!(code)), "{}", answer.body);
    }
    assert_eq!(world.service.fetches(), 0);
}

/// As an operator types it, without any server.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_the_command_line() {
    let folder = tempfile::TempDir::new().unwrap();
    let service = FakeService::start().await;
    let look = |args: &[&str]| {
        let output = run(folder.path(), &[&["service", "discover"], args].concat());
        (output.status.code().unwrap(), text(&output.stdout), text(&output.stderr))
    };
    let url = service.url.clone();
    let (code, said, _) = look(&[&url]);
    assert_eq!(code, 1, "{said}");
    assert!(said.contains("missing") && said.contains("the server answered 404"), "{said}");
    service.publish_server(v01(&url));
    let (code, said, error) = look(&[&url]);
    assert_eq!(code, 0, "{said}{error}");
    assert!(said.contains("protocol           auth.md v0.1"), "{said}");
    assert!(
        said.contains(&format!("agent_auth.register_uri of {url}{SERVER}: register_uri is the name of v0.1")),
        "{said}"
    );
    let (code, said, _) = look(&[&url, "--json"]);
    assert_eq!((code, &serde_json::from_str::<Value>(&said).unwrap()["issuer"]), (0, &json!(url)));
    let (code, _, error) = look(&["not a url"]);
    assert_eq!(code, 2, "{error}");
    assert!(!folder.path().join("data").exists() && !folder.path().join("keys").exists(), "nothing was made");
    // On a machine that serves the world nothing of it is opened.
    std::fs::write(folder.path().join("avouch.toml"), "issuer = 'https://id.example'").unwrap();
    let (code, said, _) = look(&[&url]);
    assert_eq!(code, 1, "{said}");
    assert!(said.contains("its address is not allowed"), "{said}");
}
