//! Issuers by path: declared, added, changed and disabled, and how soon other processes know.

use avouch::clock::Clock;
use avouch::config::Config;
use avouch::flow::{issuers, issuers_admin, start};
use avouch::rng::Rng;
use base64::Engine as _;
use serde_json::{Value, json};

use crate::harness::{ALICE, Answer, Engine, World, both, claims, declarations, twins};

pub(crate) async fn manage(world: &World, method: &str, path: &str, token: &str, body: &Value) -> Answer {
    let method = reqwest::Method::from_bytes(method.as_bytes()).unwrap();
    let request = world.http.request(method, format!("{}/api/v1/issuers{path}", world.url)).bearer_auth(token);
    let request = request.header("content-type", "application/json").body(body.to_string());
    Answer::read(request.send().await.unwrap()).await
}

fn picture() -> String {
    let mut bytes = Vec::new();
    let pixels = image::RgbImage::from_pixel(300, 300, image::Rgb([10, 125, 92]));
    pixels.write_to(&mut std::io::Cursor::new(&mut bytes), image::ImageFormat::Jpeg).unwrap();
    bytes.extend_from_slice(b"<svg onload=alert(1)>");
    base64::engine::general_purpose::STANDARD.encode(bytes)
}

both! {
    async fn an_issuer_by_the_api(world: World) {
        let root = world.admin_token();
        let new = json!({"id": "acme", "name": "Acme Agents", "colour": "#0A7D5C", "logo": picture()});
        let added = manage(&world, "POST", "", &root, &new).await;
        assert_eq!((added.status, added.header("location")), (201, "/api/v1/issuers/acme"), "{}", added.body);
        let acme = added.json();
        let url = format!("{}/acme", world.issuer());
        assert_eq!((&acme["issuer"], &acme["status"], &acme["colour"]), (&json!(url), &json!("active"), &json!("#0a7d5c")));
        let token = acme["admin_token"].as_str().unwrap().to_owned();

        // It works at once: its own metadata, keys, document, page and operator.
        let acme = world.under("acme").await;
        let get = async |path: &str| Answer::read(world.http.get(format!("{}{path}", acme.url)).send().await.unwrap()).await;
        assert_eq!(get("/.well-known/oauth-authorization-server").await.json()["issuer"], json!(url));
        let keys = |answer: Answer| answer.json()["keys"][0]["kid"].clone();
        let ours = Answer::read(world.http.get(format!("{}/jwks.json", world.url)).send().await.unwrap()).await;
        assert_ne!(keys(get("/jwks.json").await), keys(ours), "keys of its own");
        let document = get("/agent-auth.json").await.json();
        assert_eq!((&document["client_name"], &document["logo_uri"]), (&json!("Acme Agents"), &json!(format!("{url}/logo.png"))));
        let logo = Answer::read(world.http.get(format!("{}/logo.png", acme.url)).send().await.unwrap()).await;
        assert_eq!((logo.status, logo.header("content-type")), (200, "image/png"));
        assert_eq!(logo.header("content-security-policy"), "default-src 'none'; sandbox");
        let page = get("/login").await.body;
        assert!(page.contains("Acme Agents") && page.contains("/acme/logo.png?") && page.contains("/assets/colour/0a7d5c.css"), "{page}");
        assert_eq!(acme.api("GET", "/delegations", &token).await.status, 200);
        assert_eq!(acme.api("GET", "/delegations", &root).await.status, 200, "the root's token is good everywhere");
        assert_eq!(world.api("GET", "/delegations", &token).await.status, 401, "and no other is");

        // What is named changes, what is not stays.
        let changed = manage(&world, "PATCH", "/acme", &root, &json!({"name": "Acme", "logo": null})).await.json();
        assert_eq!((&changed["name"], &changed["logo"], &changed["colour"]), (&json!("Acme"), &json!(false), &json!("#0a7d5c")));
        assert_eq!(get("/logo.png").await.status, 404);
        assert!(get("/login").await.body.contains("Acme"));

        let gone = manage(&world, "DELETE", "/acme", &root, &json!({})).await;
        assert_eq!((gone.status, &gone.json()["status"]), (200, &json!("disabled")));
        for path in ["/.well-known/openid-configuration", "/jwks.json", "/login", "/token", "/api/v1/delegations"] {
            assert_eq!(get(path).await.status, 404, "{path}");
        }
        manage(&world, "PATCH", "/acme", &root, &json!({"disabled": false})).await;
        assert_eq!(get("/jwks.json").await.status, 200);
        let kinds = world.database.column("SELECT kind FROM journal WHERE issuer_id = 'acme' ORDER BY id").await;
        assert_eq!(kinds, ["issuer.created", "key.activated", "issuer.described", "issuer.disabled", "issuer.enabled"]);
    }
}

both! {
    async fn what_is_refused_changes_nothing(world: World) {
        let root = world.admin_token();
        let good = json!({"id": "acme", "name": "Acme"});
        let token = manage(&world, "POST", "", &root, &good).await.json()["admin_token"].as_str().unwrap().to_owned();
        let before = world.database.column("SELECT id || name || revision FROM issuer ORDER BY id").await;
        let big = base64::engine::general_purpose::STANDARD.encode(vec![0; 10 * 1024 * 1024]);
        let svg = base64::engine::general_purpose::STANDARD.encode("<svg xmlns='http://www.w3.org/2000/svg'/>");
        for (method, path, body, status, code) in [
            ("POST", "", good.clone(), 409, "issuer_exists"),
            ("POST", "", json!({"id": "login", "name": "X"}), 400, "invalid_request"),
            ("POST", "", json!({"id": "default", "name": "X"}), 400, "invalid_request"),
            ("POST", "", json!({"id": "Acme", "name": "X"}), 400, "invalid_request"),
            ("POST", "", json!({"id": "a%63me", "name": "X"}), 400, "invalid_request"),
            ("POST", "", json!({"id": "..", "name": "X"}), 400, "invalid_request"),
            ("POST", "", json!({"id": "a//b", "name": "X"}), 400, "invalid_request"),
            ("POST", "", json!({"id": "a".repeat(64), "name": "X"}), 400, "invalid_request"),
            ("POST", "", json!({"id": "new", "name": ""}), 400, "invalid_request"),
            ("POST", "", json!({"id": "new", "name": "Acme\u{202e}"}), 400, "invalid_request"),
            ("POST", "", json!({"id": "new", "name": "X", "colour": "red;}"}), 400, "invalid_request"),
            ("POST", "", json!({"id": "new", "name": "X", "css": "*{}"}), 400, "invalid_request"),
            ("POST", "", json!({"id": "new"}), 400, "invalid_request"),
            ("POST", "", json!([]), 400, "invalid_request"),
            ("POST", "", json!({"id": "new", "name": "X", "logo": svg}), 400, "invalid_request"),
            ("POST", "", json!({"id": "new", "name": "X", "logo": big}), 413, "invalid_request"),
            ("PATCH", "/nobody", json!({"name": "X"}), 404, "not_found"),
            ("PATCH", "/a%00b", json!({"name": "X"}), 404, "not_found"),
            ("PATCH", "/default", json!({"name": "X"}), 409, "issuer_default"),
            ("DELETE", "/default", json!({}), 409, "issuer_default"),
            ("PUT", "/acme", json!({}), 405, "method_not_allowed"),
        ] {
            let answer = manage(&world, method, path, &root, &body).await;
            assert_eq!((answer.status, &answer.json()["code"]), (status, &json!(code)), "{method} {path} {}", answer.body);
        }
        // Nobody but the root's administrator, and nowhere but at the root.
        for (method, path) in [("GET", ""), ("POST", ""), ("GET", "/acme"), ("PATCH", "/acme"), ("DELETE", "/acme")] {
            for (bearer, status) in [(token.as_str(), 401), ("nobody's", 401)] {
                assert_eq!(manage(&world, method, path, bearer, &good).await.status, status, "{method} {path}");
            }
            let under = world.under("acme").await;
            assert_eq!(manage(&under, method, path, &root, &good).await.status, 404, "{method} {path}");
        }
        assert_eq!(world.database.column("SELECT id || name || revision FROM issuer ORDER BY id").await, before);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn declared_issuers_come_and_go_with_the_file() {
    let world = World::with(Engine::Sqlite, twins).await;
    let acme = world.under("acme").await;
    acme.delegated().await;
    let root = world.admin_token();
    let refused = manage(&world, "PATCH", "/acme", &root, &json!({"name": "Mine"})).await;
    assert_eq!((refused.status, &refused.json()["code"]), (409, &json!("issuer_declared")));

    let without = world.replica(&declarations(&world.service.url)).await;
    assert!(issuers::app(&without.host, "acme").await.unwrap().is_none(), "it is no longer declared");
    assert_eq!(issuers_admin::find(&without.host, "acme").await.unwrap().name, "Acme Agents", "nothing is deleted");
    let active = "SELECT COUNT(*) FROM delegation WHERE issuer_id = 'acme' AND ended_at IS NULL";
    assert_eq!(world.database.column(active).await, ["1"], "what users agreed to is kept");
    let again = world.replica(&twins(&world.service.url)).await;
    assert!(issuers::app(&again.host, "acme").await.unwrap().is_some());

    // An administrator's word outlives a restart.
    manage(&again, "DELETE", "/acme", &root, &json!({})).await;
    let later = world.replica(&twins(&world.service.url)).await;
    assert!(issuers::app(&later.host, "acme").await.unwrap().is_none());
    manage(&later, "PATCH", "/acme", &root, &json!({"disabled": false})).await;
    assert!(issuers::app(&later.host, "acme").await.unwrap().is_some());
}

both! {
    async fn two_processes_add_one_id_at_once(world: World) {
        let other = world.replica(&declarations(&world.service.url)).await;
        let root = world.admin_token();
        let new = json!({"id": "acme", "name": "Acme"});
        let (a, b) = tokio::join!(manage(&world, "POST", "", &root, &new), manage(&other, "POST", "", &root, &new));
        let mut statuses = [a.status, b.status];
        statuses.sort_unstable();
        assert_eq!(statuses, [201, 409], "{} {}", a.body, b.body);
        assert_eq!(world.database.column("SELECT COUNT(*) FROM signing_key WHERE issuer_id = 'acme'").await, ["1"]);
    }
}

both! {
    async fn a_change_reaches_the_other_process(world: World) {
        let other = world.replica(&declarations(&world.service.url)).await;
        let root = world.admin_token();
        manage(&world, "POST", "", &root, &json!({"id": "acme", "name": "Acme"})).await;
        let there = async || issuers::app(&other.host, "acme").await.unwrap();
        assert!(there().await.is_some(), "what is new is found at once");
        issuers::refresh(&other.host).await.unwrap();
        let first = there().await.unwrap().issuer.clone();
        assert!(std::sync::Arc::ptr_eq(&first, &there().await.unwrap().issuer), "kept while nothing changes");
        issuers::refresh(&other.host).await.unwrap();
        assert!(std::sync::Arc::ptr_eq(&first, &there().await.unwrap().issuer));

        manage(&world, "PATCH", "/acme", &root, &json!({"name": "Acme 2"})).await;
        issuers::refresh(&other.host).await.unwrap();
        assert_eq!(there().await.unwrap().issuer.name, "Acme 2");
        let mut tx = world.host.database.of("acme".into()).begin().await.unwrap();
        tx.touch_issuer().await.unwrap();
        tx.commit().await.unwrap();
        issuers::refresh(&other.host).await.unwrap();
        assert_eq!(there().await.unwrap().issuer.name, "Acme 2");
        manage(&world, "DELETE", "/acme", &root, &json!({})).await;
        issuers::refresh(&other.host).await.unwrap();
        assert!(there().await.is_none(), "disabled there as well");
    }
}

/// A disabled issuer mints nothing, however late its process hears of it: the batch reads the row.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_minted_for_a_disabled_issuer() {
    let world = World::with(Engine::Sqlite, twins).await;
    let other = world.replica(&twins(&world.service.url)).await;
    let (acme, late) = (world.under("acme").await, other.under("acme").await);
    let (_, tokens, ..) = acme.delegated().await;
    assert_eq!(late.exchange("desk-agent", &tokens, &[]).await.0, 200);
    manage(&world, "DELETE", "/acme", &world.admin_token(), &json!({})).await;
    let (status, body) = late.exchange("desk-agent", &tokens, &[]).await;
    assert_eq!(status, 404, "{body}");
}

/// Another issuer of this server is a service like any other once it is declared as one, and nobody's before; an issuer itself never is.
/// The client's ceiling decides neither.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_issuer_of_this_server_as_audience() {
    for engine in [Engine::Sqlite, Engine::Postgres] {
        let first = World::with(engine, twins).await;
        let (root, service) = (first.issuer(), first.service.url.clone());
        let free = twins(&service).replace(&format!("[\"{service}\", \"https://other.example\"]"), "[\"*\"]");
        let acme = format!("{root}/acme");
        let world = first.replica(&format!("{free}\n[[services]]\naudience = \"{acme}\"")).await;
        let under = world.under("acme").await;
        let capitals = root.replace("http://localhost", "HTTP://LocalHost");
        let own = [root.clone(), format!("{root}/"), capitals.clone(), format!("{root}/."), format!("{root}/%2e")];
        let beneath = [
            format!("{root}/nobody"),
            format!("{root}/acme/"),
            format!("{capitals}/acme"),
            format!("{root}/%61cme"),
            format!("{root}/x/%2E%2e/acme"),
        ];

        let browser = world.signed_in(ALICE).await;
        let tokens = world.tokens(&browser, "desk-agent").await;
        let there = under.tokens(&under.signed_in(ALICE).await, "desk-agent").await;
        for audience in own.iter().chain(&beneath) {
            for (at, tokens) in [(&world, &tokens), (&under, &there)] {
                let (status, body) = at.exchange("desk-agent", tokens, &[("audience", audience)]).await;
                assert_eq!(
                    (status, &body["error"]),
                    (400, &json!("invalid_target")),
                    "{audience} at {}: {body}",
                    at.issuer()
                );
            }
        }
        let (status, body) = under.exchange("desk-agent", &there, &[("audience", &acme)]).await;
        assert_eq!((status, &body["error"]), (400, &json!("invalid_target")), "{body}");
        for table in ["ticket", "delegation", "journal WHERE kind = 'assertion'"] {
            assert_eq!(world.database.column(&format!("SELECT COUNT(*) FROM {table}")).await, ["0"], "{table}");
        }

        world.agree(&browser, "desk-agent", &tokens, "always", &[("audience", &acme)]).await;
        let (status, body) = world.exchange("desk-agent", &tokens, &[("audience", &acme)]).await;
        assert_eq!(status, 200, "{body}");
        let minted = claims(body["access_token"].as_str().unwrap());
        assert_eq!((&minted["iss"], &minted["aud"]), (&json!(root), &json!(acme)));
    }
}

#[test]
fn a_configuration_that_names_an_issuer_nobody_declared() {
    let folder = tempfile::TempDir::new().unwrap();
    let file = folder.path().join("avouch.toml");
    std::fs::write(&file, "[[issuers]]\nid = 'acme'\nname = 'A'\n[[users]]\nissuer = 'acne'\nemail = 'a@b.example'")
        .unwrap();
    let error = Config::load(Some(&file), Vec::new()).unwrap_err().to_string();
    assert!(error.contains("\"acne\" is not declared") && error.contains("\"acme\""), "{error}");
}

/// A command that works on a server's database makes none where no server was ever started.
#[tokio::test]
async fn a_command_makes_no_database() {
    let folder = tempfile::TempDir::new().unwrap();
    let (file, data) = (folder.path().join("avouch.toml"), folder.path().join("data/avouch.db"));
    std::fs::write(&file, format!("database_url = 'sqlite://{}'", data.display())).unwrap();
    let config = Config::load(Some(&file), Vec::new()).unwrap();
    let Err(error) = start::connect(&config, Clock::System, Rng::Os).await else { panic!("there is nothing to open") };
    assert!(error.is_configuration() && error.to_string().contains("empty"), "{error}");
    assert!(!data.parent().unwrap().exists(), "nothing was made");
}
