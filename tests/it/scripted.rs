//! `avouch harness`: an issuer that a test scripts, over real HTTP.

use std::sync::Arc;

use avouch::clock::Clock;
use avouch::config::Config;
use avouch::domain::time::Seconds;
use avouch::flow::start::{self, Accepted};
use avouch::http::serve::serve;
use avouch::jose::{Jwks, Unverified};
use avouch::lab::flaws::{Kind, all};
use avouch::lab::harness::Harness;
use avouch::rng::Rng;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::harness::{Answer, FakeService, NOW, Serving, claims, client, eventually, run, text};

const SERVICE: &str = "http://localhost:8000";

struct Scripted {
    url: String,
    http: reqwest::Client,
    clock: Clock,
    _stop: watch::Sender<bool>,
    _folder: Arc<TempDir>,
}

impl Scripted {
    async fn start() -> Self {
        let folder = TempDir::new().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (url, at) = (format!("http://localhost:{port}"), folder.path().display());
        let file = folder.path().join("avouch.toml");
        let text = format!(
            "issuer = \"{url}\"\ndatabase_url = \"sqlite://{at}/avouch.db\"\nnetwork = {{ allow_private_addresses = true }}\n\
             [keys]\ndir = \"{at}/keys\"\n[keys.rotation]\ninterval = \"never\"\n"
        );
        std::fs::write(&file, text).unwrap();
        let config = Config::load(Some(&file), Vec::new()).unwrap();
        let clock = Clock::fixed(NOW);
        let (host, _) = start::open(&config, Accepted::default(), clock.clone(), Rng::seeded(5)).await.unwrap();
        let harness = Harness::new(host, port).await.unwrap();
        let (stop, stopped) = watch::channel(false);
        tokio::spawn(serve(listener, harness.router(), stopped));
        Self { url, http: client(), clock, _stop: stop, _folder: Arc::new(folder) }
    }

    async fn call(&self, method: &str, path: &str, body: Value) -> (u16, Value) {
        let method = reqwest::Method::from_bytes(method.as_bytes()).unwrap();
        let request = self.http.request(method, format!("{}{path}", self.url)).body(body.to_string());
        let answer = Answer::read(request.send().await.unwrap()).await;
        (answer.status, answer.json())
    }

    async fn post(&self, path: &str, body: Value) -> Value {
        let (status, answer) = self.call("POST", path, body).await;
        assert!(status == 200 || status == 201, "{path}: {status} {answer}");
        answer
    }

    async fn get(&self, path: &str) -> Answer {
        Answer::read(self.http.get(format!("{}{path}", self.url)).send().await.unwrap()).await
    }

    async fn jwks(&self, issuer: &str) -> Value {
        self.get(&format!("{issuer}/.well-known/jwks.json")).await.json()
    }

    async fn kids(&self) -> Vec<String> {
        let set = self.jwks("").await;
        set["keys"].as_array().unwrap().iter().map(|key| key["kid"].as_str().unwrap().to_owned()).collect()
    }

    async fn mint(&self, body: Value) -> String {
        self.post("/harness/assertions", body).await["assertion"].as_str().unwrap().to_owned()
    }

    /// Whether the published keys of an issuer verify it.
    async fn verifies(&self, issuer: &str, token: &str) -> bool {
        let (set, token) = (Jwks::parse(&self.jwks(issuer).await), Unverified::parse(token).unwrap());
        let key = set.find(token.kid(), token.alg());
        key.is_some_and(|key| token.verify::<Value>(key, Some("oauth-id-jag+jwt")).is_ok())
    }
}

#[tokio::test]
async fn assertions_good_and_bad() {
    let scripted = Scripted::start().await;
    let minted = scripted.post("/harness/assertions", json!({"audience": SERVICE})).await;
    let token = minted["assertion"].as_str().unwrap();
    let good = claims(token);
    assert!(scripted.verifies("", token).await);
    assert_eq!((&good["iss"], &good["aud"], &good["sub"]), (&json!(scripted.url), &json!(SERVICE), &json!("lab-user")));
    assert_eq!((&good["iat"], &good["jti"]), (&json!(NOW), &minted["jti"]));
    assert_eq!((&minted["flaw"], &minted["header"]["kid"]), (&Value::Null, &minted["kid"]));
    let document = scripted.get("/agent-auth.json").await.json();
    assert_eq!(good["client_id"], document["client_id"], "the provider's own document");

    let asked =
        json!({"audience": SERVICE, "sub": "u", "claims": {"email": null, "name": "A"}, "header": {"kid": null}});
    let minted = scripted.post("/harness/assertions", asked).await;
    let changed = claims(minted["assertion"].as_str().unwrap());
    assert_eq!((&changed["sub"], &changed["name"], changed.get("email")), (&json!("u"), &json!("A"), None));
    assert!(minted["header"].get("kid").is_none());

    let expired = scripted.post("/harness/assertions", json!({"audience": SERVICE, "flaw": "expired"})).await;
    assert_eq!((&expired["flaw"]["name"], &expired["flaw"]["class"]), (&json!("expired"), &json!("expiry")));
    let token = expired["assertion"].as_str().unwrap();
    assert!(scripted.verifies("", token).await && claims(token)["exp"] == json!(NOW - Seconds(600)));
    let forged = scripted.mint(json!({"audience": SERVICE, "flaw": "signed-by-a-stranger"})).await;
    assert!(!scripted.verifies("", &forged).await);
    // Whoever trusted everybody would find its keys.
    let untrusted = scripted.mint(json!({"audience": SERVICE, "flaw": "iss-untrusted"})).await;
    assert_eq!(claims(&untrusted)["iss"], format!("{}/untrusted", scripted.url));
    assert!(scripted.verifies("/untrusted", &untrusted).await && !scripted.verifies("", &untrusted).await);

    let bound = json!({"audience": SERVICE, "proof_for": format!("{SERVICE}/oauth2/token")});
    let bound = scripted.post("/harness/assertions", bound).await;
    assert_eq!(claims(bound["dpop"].as_str().unwrap())["htu"], format!("{SERVICE}/oauth2/token"));
    assert!(bound["claims"]["cnf"]["jkt"].is_string() && bound["present"].is_string(), "{bound}");
    let asked = || json!({"audience": SERVICE, "alg": "RS256"});
    let (rs256, ..) = tokio::join!(scripted.mint(asked()), scripted.mint(asked()), scripted.mint(asked()));
    assert_eq!(Unverified::parse(&rs256).unwrap().alg(), "RS256");
    assert!(scripted.verifies("", &rs256).await && scripted.kids().await.len() == 2);

    let added = scripted.post("/harness/issuers", json!({"id": "acme"})).await;
    let acme = scripted.mint(json!({"audience": SERVICE, "issuer": "acme"})).await;
    assert_eq!(claims(&acme)["iss"], added["issuer"]);
    assert!(scripted.verifies("/acme", &acme).await && !scripted.verifies("", &acme).await);
    assert_eq!(scripted.get("/acme/.well-known/oauth-authorization-server").await.json()["issuer"], added["issuer"]);
    let flaws = scripted.get("/harness/flaws").await.json();
    assert_eq!(flaws["items"].as_array().unwrap().len(), all().len());
}

#[tokio::test]
async fn keys_move_at_will() {
    let scripted = Scripted::start().await;
    let first = scripted.kids().await;
    assert!(first.len() == 1 && first[0].starts_with("lab-"), "{first:?}");
    let before = scripted.mint(json!({"audience": SERVICE})).await;
    let second = scripted.post("/harness/keys/prepare", json!({})).await["kid"].as_str().unwrap().to_owned();
    assert_eq!(scripted.kids().await.len(), 2);
    let (status, said) = scripted.call("POST", "/harness/keys/prepare", json!({})).await;
    assert_eq!((status, &said["error"]), (409, &json!("conflict")), "{said}");
    scripted.post("/harness/keys/activate", json!({"kid": second})).await;
    let after = scripted.mint(json!({"audience": SERVICE})).await;
    assert_eq!(Unverified::parse(&after).unwrap().kid().unwrap().as_str(), second);
    assert!(scripted.verifies("", &before).await && scripted.verifies("", &after).await);
    scripted.post("/harness/keys/retire", json!({})).await;
    assert!(!scripted.verifies("", &before).await && scripted.verifies("", &after).await);
    scripted.post("/harness/keys/revoke", json!({})).await;
    let kids = scripted.kids().await;
    assert!(kids.len() == 1 && kids[0] != second && kids[0].starts_with("lab-"), "{kids:?}");
    assert!(!scripted.verifies("", &after).await);
    let rs256 = scripted.post("/harness/keys/prepare", json!({"alg": "RS256"})).await["kid"].clone();
    assert!(scripted.kids().await.contains(&rs256.as_str().unwrap().to_owned()));
    for (path, body, expected) in [
        ("/harness/keys/activate", json!({}), 409),
        ("/harness/keys/retire", json!({}), 409),
        ("/harness/keys/retire", json!({"kid": "lab-nothing"}), 404),
        ("/harness/keys/activate", json!({"issuer": "nobody"}), 404),
        ("/harness/keys/prepare", json!({"alg": "HS256"}), 400),
        ("/harness/keys/prepare", json!({"kid": "mine"}), 400),
        ("/harness/keys/lose", json!({}), 404),
    ] {
        assert_eq!(scripted.call("POST", path, body.clone()).await.0, expected, "{path} {body}");
    }

    let ledger = scripted.get("/harness/ledger").await.json();
    let fetched: Vec<&Value> =
        ledger["items"].as_array().unwrap().iter().filter(|entry| entry["path"] == "/.well-known/jwks.json").collect();
    assert_eq!((&fetched[0]["kids"], &fetched[0]["status"]), (&json!(first), &json!(200)));
    assert!(fetched.last().unwrap()["kids"].as_array().unwrap().contains(&rs256));
    assert_eq!(scripted.call("DELETE", "/harness/ledger", json!({})).await.1, json!({"items": []}));
    scripted.kids().await;
    let ledger = scripted.get("/harness/ledger").await.json();
    assert_eq!(ledger["items"].as_array().unwrap().len(), 1, "and nothing of the control API itself");
    assert!(ledger["items"][0]["n"].as_u64().unwrap() > 1, "it counts on");
}

#[tokio::test]
async fn documents_break_once_and_are_good_again() {
    let scripted = Scripted::start().await;
    let path = |kind: Kind| if kind == Kind::Jwks { "/.well-known/jwks.json" } else { "/agent-auth.json" };
    for flaw in all().iter().filter(|flaw| matches!(flaw.kind, Kind::Jwks | Kind::Cimd)) {
        if flaw.name.ends_with("-drips") {
            continue;
        }
        let good = scripted.get(path(flaw.kind)).await;
        let mut fault = json!({"document": flaw.kind.as_str(), "fault": flaw.name, "times": 1});
        if ["slow", "hangs"].iter().any(|end| flaw.name.ends_with(end)) {
            fault["seconds"] = 0.into();
        }
        scripted.post("/harness/faults", fault).await;
        let bad = scripted.get(path(flaw.kind)).await;
        let same = (bad.status, &bad.body) == (200, &good.body) && bad.header("content-type") == "application/json";
        let members = |body: &str| serde_json::from_str::<Value>(body).ok();
        let in_time = ["slow", "hangs", "stale"].iter().any(|end| flaw.name.ends_with(end));
        assert_eq!(same || in_time && members(&bad.body) == members(&good.body), in_time, "{flaw:?}: {}", bad.body);
        assert_eq!(scripted.get(path(flaw.kind)).await.body, good.body, "{flaw:?} is over");
    }
    scripted.post("/harness/faults", json!({"document": "jwks", "fault": "drips"})).await;
    let mut dripping = scripted.http.get(format!("{}/jwks.json", scripted.url)).send().await.unwrap();
    assert_eq!(dripping.chunk().await.unwrap().unwrap().as_ref(), b"{");
    let ledger = scripted.get("/harness/ledger").await.json();
    assert!(ledger["items"].as_array().unwrap().iter().any(|entry| entry["fault"] == "cimd-redirects"));
}

#[tokio::test]
async fn a_fault_lasts_until_it_is_cleared() {
    let scripted = Scripted::start().await;
    let old = scripted.kids().await;
    for (fault, issuer) in [
        (json!({"document": "jwks", "fault": "stale"}), ""),
        (json!({"document": "cimd", "fault": "500", "issuer": "untrusted"}), "/untrusted"),
    ] {
        scripted.post("/harness/faults", fault).await;
        assert_eq!(scripted.get(&format!("{issuer}/.well-known/oauth-authorization-server")).await.status, 200);
    }
    scripted.post("/harness/keys/prepare", json!({})).await;
    for _ in 0..2 {
        assert_eq!(scripted.kids().await, old, "as it was when the fault began");
        assert_eq!(scripted.get("/untrusted/agent-auth.json").await.status, 500);
    }
    assert_eq!(scripted.get("/agent-auth.json").await.status, 200, "another issuer's");
    assert_eq!(scripted.get("/harness/faults").await.json()["items"].as_array().unwrap().len(), 2);
    let (status, _) = scripted.call("DELETE", "/harness/faults", json!({})).await;
    assert_eq!((status, scripted.kids().await.len()), (200, 2));
    for word in ["slow", "redirect", "huge", "duplicate-kid", "unknown-kty", "jwks-kid-twice"] {
        scripted.post("/harness/faults", json!({"document": "jwks", "fault": word})).await;
    }
    for word in ["mismatch", "changed"] {
        scripted.post("/harness/faults", json!({"document": "cimd", "fault": word})).await;
    }
}

#[tokio::test]
async fn notices_are_made_and_delivered() {
    let scripted = Scripted::start().await;
    let service = FakeService::start().await;
    let to = format!("{}/agent/auth/revoke", service.url);
    for (format, flaw) in [
        ("logout+jwt", Value::Null),
        ("secevent+jwt", Value::Null),
        ("logout+jwt", json!("notice-jti-replayed")),
        ("logout+jwt", json!("notice-as-a-form")),
    ] {
        let before = service.notices.lock().unwrap().len();
        let asked = json!({"audience": SERVICE, "sub": "u", "format": format, "flaw": flaw, "deliver_to": to});
        let answer = scripted.post("/harness/notices", asked).await;
        let times = if flaw == "notice-jti-replayed" { 2 } else { 1 };
        assert_eq!(answer["answers"].as_array().unwrap().len(), times, "{answer}");
        let received = service.notices.lock().unwrap()[before..].to_vec();
        assert_eq!(received.len(), times, "{format} {flaw}");
        let token = answer["token"].as_str().unwrap();
        assert_eq!((claims(token)["sub"].as_str(), claims(token)["events"].is_object()), (Some("u"), true));
        assert!(received.iter().all(|(_, body)| body.contains(token)), "{received:?}");
    }
    let made = scripted.post("/harness/notices", json!({"audience": SERVICE, "format": "secevent+jwt"})).await;
    assert!(made.get("answers").is_none() && made["flaw"].is_null(), "{made}");
    let nobody = json!({"audience": SERVICE, "format": "logout+jwt", "deliver_to": "http://127.0.0.1:1/"});
    assert_eq!(scripted.call("POST", "/harness/notices", nobody).await.0, 502);
}

#[tokio::test]
async fn the_clock_moves_when_it_is_told() {
    let scripted = Scripted::start().await;
    assert_eq!(scripted.get("/harness/clock").await.json()["now"], json!(NOW));
    scripted.post("/harness/clock", json!({"advance": 3600})).await;
    assert_eq!(scripted.clock.now(), NOW + Seconds(3600));
    let minted = scripted.mint(json!({"audience": SERVICE})).await;
    assert_eq!(claims(&minted)["iat"], json!(NOW + Seconds(3600)));
    scripted.post("/harness/clock", json!({"advance": -7200})).await;
    scripted.post("/harness/clock", json!({"now": 1_900_000_000})).await;
    assert_eq!(scripted.clock.now().0, 1_900_000_000);
    for bad in [
        json!({"advance": -1_900_000_001_i64}),
        json!({"now": -1}),
        json!({"advance": i64::MAX}),
        json!({"now": i64::MIN}),
        json!({"advance": i64::MIN}),
        json!({"advance": 1, "now": 1}),
        json!({"advance": "1"}),
        json!({"back": 1}),
    ] {
        assert_eq!(scripted.call("POST", "/harness/clock", bad.clone()).await.0, 400, "{bad}");
    }
    assert_eq!(scripted.clock.now().0, 1_900_000_000);
}

#[tokio::test]
async fn bad_calls_get_a_sentence() {
    let scripted = Scripted::start().await;
    for (path, body, says) in [
        ("/harness/assertions", json!({}), "audience"),
        ("/harness/assertions", json!({"audience": SERVICE, "flaw": "expird"}), "did you mean expired?"),
        ("/harness/assertions", json!({"audience": SERVICE, "flaw": "jwks-empty"}), "is one of a jwks"),
        ("/harness/assertions", json!({"audience": SERVICE, "claim": {}}), "claim"),
        ("/harness/assertions", json!({"audience": SERVICE, "alg": "none"}), "ES256 or RS256"),
        ("/harness/assertions", json!({"audience": SERVICE, "proof_for": "x"}), "proof_for"),
        (
            "/harness/assertions",
            json!({"audience": SERVICE, "alg": "RS256", "flaw": "signature-in-der"}),
            "cannot be used",
        ),
        ("/harness/assertions", json!({"audience": SERVICE, "claims": {"exp": 4_000_000_000_i64}}), "300 seconds"),
        ("/harness/notices", json!({"audience": SERVICE, "format": "jwt"}), "logout+jwt"),
        ("/harness/notices", json!({"audience": SERVICE, "format": "logout+jwt", "deliver_to": "x"}), "deliver_to"),
        ("/harness/notices", json!({"audience": SERVICE, "format": "logout+jwt", "flaw": "expired"}), "is one of a"),
        ("/harness/faults", json!({"document": "logo", "fault": "slow"}), "jwks or cimd"),
        ("/harness/faults", json!({"document": "jwks", "fault": "slwo"}), "did you mean jwks-slow?"),
        ("/harness/faults", json!({"document": "jwks", "fault": "slow", "seconds": 601}), "at most 600"),
        ("/harness/faults", json!({"document": "jwks", "fault": "slow", "seconds": -1}), "invalid value"),
        ("/harness/faults", json!({"document": "jwks", "fault": "500", "seconds": 1}), "comes late"),
        ("/harness/faults", json!({"document": "jwks", "fault": "slow", "times": 0}), "at least 1"),
        ("/harness/issuers", json!({"id": "A"}), "a-z"),
        ("/harness/issuers", json!({"id": "harness"}), "control API"),
        ("/harness/clock", json!("now"), "invalid type"),
    ] {
        let (status, said) = scripted.call("POST", path, body.clone()).await;
        assert_eq!((status, &said["error"]), (400, &json!("invalid_request")), "{path} {body}: {said}");
        assert!(said["message"].as_str().unwrap().contains(says), "{path} {body}: {said}");
    }
    for (method, path, expected) in [
        ("GET", "/harness", 404),
        ("GET", "/harness/nothing", 404),
        ("GET", "/harness/assertions", 405),
        ("PUT", "/harness/faults", 405),
    ] {
        assert_eq!(scripted.call(method, path, json!({})).await.0, expected, "{method} {path}");
    }
    let again = scripted.call("POST", "/harness/issuers", json!({"id": "untrusted"})).await;
    assert_eq!(again.0, 409, "{}", again.1);

    let post = || scripted.http.post(format!("{}/harness/assertions", scripted.url));
    let large = post().body(format!("{{\"audience\": \"{}\"}}", "x".repeat(1024 * 1024))).send().await.unwrap();
    assert_eq!(Answer::read(large).await.status, 413);
    let good = json!({"audience": SERVICE}).to_string();
    for (name, value, expected) in [
        ("origin", "https://evil.example", 403),
        ("origin", "null", 403),
        ("origin", &scripted.url, 403),
        ("sec-fetch-site", "cross-site", 403),
        ("host", "evil.example", 421),
        ("host", "localhost:1", 421),
        ("x-request-id", "1", 200),
    ] {
        let answer = Answer::read(post().header(name, value).body(good.clone()).send().await.unwrap()).await;
        assert_eq!(answer.status, expected, "{name}: {value}: {}", answer.body);
    }
    let named =
        scripted.http.get(format!("{}/jwks.json", scripted.url)).header("host", "evil.example").send().await.unwrap();
    assert_eq!(Answer::read(named).await.status, 421, "also where services look");
}

#[tokio::test]
async fn the_command_and_a_service_that_takes_what_it_mints() {
    let folder = TempDir::new().unwrap();
    let here = folder.path().join("temporary");
    std::fs::create_dir(&here).unwrap();
    let first = format!("export TMPDIR={}", here.display());
    let mut harness = Serving::start_as(folder.path(), &first, &["harness", "--port", "0"]);
    let sandbox = Serving::start(folder.path(), &["sandbox", "--port", "0"]);
    let http = client();
    let register = async |flaw: Value| {
        let asked = json!({"audience": sandbox.url, "flaw": flaw}).to_string();
        let minted = http.post(format!("{}/harness/assertions", harness.url)).body(asked).send().await.unwrap();
        let body = json!({"type": "identity_assertion", "assertion_type": "urn:ietf:params:oauth:token-type:id-jag",
            "assertion": Answer::read(minted).await.json()["assertion"], "requested_credential_type": "api_key"});
        let request = http.post(format!("{}/agent/auth", sandbox.url)).header("content-type", "application/json");
        let answer = Answer::read(request.body(body.to_string()).send().await.unwrap()).await;
        (answer.status, answer.json()["error"].clone())
    };
    assert_eq!(register(Value::Null).await.0, 200);
    assert_eq!(register(json!("expired")).await, (400, json!("expired")));
    assert_eq!(register(json!("signature-flipped")).await, (400, json!("invalid_signature")));
    assert_eq!(register(Value::Null).await.0, 200);

    let port = harness.url.rsplit(':').next().unwrap().to_owned();
    let output = run(folder.path(), &["harness", "--port", &port]);
    let said = text(&output.stderr);
    assert_eq!((output.status.code(), text(&output.stdout).as_str()), (Some(3), ""), "{said}");
    assert!(said.contains("cannot listen"), "{said}");
    assert_eq!(std::fs::read_dir(&here).unwrap().count(), 1, "its store");
    harness.signal("TERM");
    assert_eq!(harness.ended().await, Some(0));
    eventually("its store is gone", async || std::fs::read_dir(&here).unwrap().count() == 0).await;
}
