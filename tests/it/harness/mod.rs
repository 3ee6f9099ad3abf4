//! A provider as its users meet it: real HTTP on loopback, a real database, a clock that stands, randomness from a seed.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use avouch::clock::Clock;
use avouch::config::Config;
use avouch::domain::rotation::SigningAlg;
use avouch::domain::time::{Seconds, Timestamp};
use avouch::flow::{declare, issuers, start, withdraw_many};
use avouch::host::{App, DEFAULT_ISSUER, Host};
use avouch::jose::{SealingKey, SigningKey};
use avouch::rng::Rng;
use avouch::{delivery, http};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::sync::watch;

mod browser;
mod process;
mod service;
mod wire;

pub(crate) use browser::{Answer, Browser, hidden_fields};

pub(crate) use process::{Log, Serving, avouch, run, text};
pub(crate) use service::{Behaviour, FakeService, Published};
pub(crate) use wire::{Line, Wire, pooler};

pub(crate) const NOW: Timestamp = Timestamp(1_800_000_000);
pub(crate) const ALICE: &str = "alice@example.com";
pub(crate) const BOB: &str = "bob@example.com";
pub(crate) const PASSWORD: &str = "correct horse battery staple";
pub(crate) const SECRET: &str = "example-only-4f9a1c7be02d58a36e1b7790cd24ab5f8e";
pub(crate) const CALLBACK: &str = "http://127.0.0.1:8765/callback";
pub(crate) const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
pub(crate) const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";
pub(crate) const EXCHANGE: &str = "urn:ietf:params:oauth:grant-type:token-exchange";
pub(crate) const ID_JAG: &str = "urn:ietf:params:oauth:token-type:id-jag";
pub(crate) const ACCESS_TOKEN: &str = "urn:ietf:params:oauth:token-type:access_token";
pub(crate) const ID_TOKEN: &str = "urn:ietf:params:oauth:token-type:id_token";

/// Where the rows live in a test.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Engine {
    Sqlite,
    Postgres,
}

/// Declares a test that runs on both engines: `both!(name, |world| async { … })` with a started [`World`].
macro_rules! both {
    ($(#[$doc:meta])* async fn $name:ident($world:ident: World) $body:block) => {
        mod $name {
            use super::*;

            async fn body($world: $crate::harness::World) $body

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn sqlite() {
                body($crate::harness::World::start($crate::harness::Engine::Sqlite).await).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn postgres() {
                body($crate::harness::World::start($crate::harness::Engine::Postgres).await).await;
            }
        }
    };
}
pub(crate) use both;

/// A database of its own for one test.
pub(crate) struct Database {
    pub(crate) url: String,
    /// Where servers reach it, when that is not where the test does.
    pub(crate) by_wire: Option<String>,
    folder: TempDir,
    schema: Option<String>,
}

static SCHEMAS: AtomicU64 = AtomicU64::new(0);

fn cluster() -> String {
    let variable = std::env::vars().find(|(name, _)| name == "AVOUCH_TEST_POSTGRES");
    variable.expect("AVOUCH_TEST_POSTGRES names a PostgreSQL cluster: run tests/run").1
}

impl Database {
    pub(crate) async fn make(engine: Engine) -> Self {
        let folder = TempDir::new().unwrap();
        match engine {
            Engine::Sqlite => {
                let url = format!("sqlite://{}", folder.path().join("avouch.db").display());
                Self { url, by_wire: None, folder, schema: None }
            }
            Engine::Postgres => {
                use sqlx::{AssertSqlSafe, Connection as _};
                let n = SCHEMAS.fetch_add(1, Ordering::SeqCst);
                let schema = format!("t{}_{n}", std::process::id());
                let mut admin = sqlx::PgConnection::connect(&cluster()).await.unwrap();
                let sql = AssertSqlSafe(format!("CREATE SCHEMA {schema}"));
                sqlx::query(sql).execute(&mut admin).await.unwrap();
                admin.close().await.unwrap();
                let cluster = cluster();
                let and = if cluster.contains('?') { '&' } else { '?' };
                let url = format!("{cluster}{and}options=-c%20search_path%3D{schema}");
                Self { url, by_wire: None, folder, schema: Some(schema) }
            }
        }
    }

    pub(crate) fn keys(&self) -> String {
        self.folder.path().join("keys").display().to_string()
    }

    pub(crate) fn path(&self, name: &str) -> std::path::PathBuf {
        self.folder.path().join(name)
    }

    /// Rows of a query's first column, as text, for looking at what no endpoint shows.
    pub(crate) async fn column(&self, sql: &str) -> Vec<String> {
        use sqlx::{AssertSqlSafe, Connection as _, Row as _};
        let sql = AssertSqlSafe(sql.to_owned());
        if self.schema.is_some() {
            let mut c = sqlx::PgConnection::connect(&self.url).await.unwrap();
            let rows = sqlx::query(sql).fetch_all(&mut c).await.unwrap();
            rows.iter().map(|r| r.try_get::<String, _>(0).unwrap_or_else(|_| r.get::<i64, _>(0).to_string())).collect()
        } else {
            let mut c = sqlx::SqliteConnection::connect(&self.url).await.unwrap();
            let rows = sqlx::query(sql).fetch_all(&mut c).await.unwrap();
            rows.iter().map(|r| r.try_get::<String, _>(0).unwrap_or_else(|_| r.get::<i64, _>(0).to_string())).collect()
        }
    }
}

/// A running provider, its database and the service it tells of withdrawals.
pub(crate) struct World {
    pub(crate) host: Host,
    /// The default issuer as it was at the start.
    pub(crate) app: App,
    pub(crate) url: String,
    pub(crate) clock: Clock,
    pub(crate) service: FakeService,
    pub(crate) database: Arc<Database>,
    pub(crate) http: reqwest::Client,
    pub(crate) stop: watch::Sender<bool>,
}

/// A token by a key that is in memory, and so signs at once.
pub(crate) fn sign_by(key: &SigningKey, typ: &str, claims: &(impl serde::Serialize + Sync)) -> String {
    let token = std::pin::pin!(key.sign(typ, claims));
    match token.poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(token) => token.unwrap(),
        Poll::Pending => panic!("the key is not in memory"),
    }
}

/// The key of the client `jwt-agent`.
pub(crate) fn client_key() -> &'static SigningKey {
    static KEY: std::sync::OnceLock<SigningKey> = std::sync::OnceLock::new();
    KEY.get_or_init(|| {
        SigningKey::generate(SigningAlg::Es256, &SealingKey::from_bytes(&[3; 32]).unwrap(), "client", &Rng::seeded(7))
            .unwrap()
            .0
    })
}

/// What every test's provider declares: users alice and bob (bob's e-mail is not verified); clients desk-agent (secret, basic), travel-agent
/// (secret, post), jwt-agent (`private_key_jwt`), public-app (`none`) and console (first-party); the fake service.
pub(crate) fn declarations(service: &str) -> String {
    let jwks = json!({ "keys": [client_key().public_jwk()] }).to_string();
    format!(
        r#"
[[users]]
email = "{ALICE}"
email_verified = true
name = "Alice Example"
password = "{PASSWORD}"

[[users]]
email = "{BOB}"
password = "{PASSWORD}"

[[clients]]
client_id = "desk-agent"
client_name = "Desk Agent"
client_secret = "{SECRET}"
redirect_uris = ["{CALLBACK}"]
grant_types = ["authorization_code", "refresh_token", "{EXCHANGE}"]
audiences = ["{service}", "https://other.example"]

[[clients]]
client_id = "travel-agent"
client_name = "Travel Agent"
client_secret = "{SECRET}"
token_endpoint_auth_method = "client_secret_post"
redirect_uris = ["{CALLBACK}"]
grant_types = ["authorization_code", "refresh_token", "{EXCHANGE}"]
audiences = ["{service}"]

[[clients]]
client_id = "jwt-agent"
client_name = "JWT Agent"
jwks = '{jwks}'
redirect_uris = ["{CALLBACK}"]
grant_types = ["authorization_code", "{EXCHANGE}"]
audiences = ["{service}"]

[[clients]]
client_id = "public-app"
client_name = "Public App"
redirect_uris = ["{CALLBACK}"]
grant_types = ["authorization_code", "refresh_token"]

[[clients]]
client_id = "console"
client_name = "Console"
client_secret = "{SECRET}"
redirect_uris = ["{CALLBACK}"]
grant_types = ["authorization_code", "refresh_token"]
first_party = true

[[services]]
audience = "{service}"
name = "Fake Service"
resources = ["{service}/api/"]
scopes = ["api.read", "api.write"]
revocation_uri = "{service}/agent/auth/revoke"
"#
    )
}

/// The declarations twice: for the default issuer, and to the letter the same for a path issuer `acme`.
pub(crate) fn twins(service: &str) -> String {
    twice(&declarations(service))
}

/// What [`twins`] does, for any declarations.
pub(crate) fn twice(ours: &str) -> String {
    let mut acme = ours.to_owned();
    for table in ["[[users]]", "[[clients]]", "[[services]]"] {
        acme = acme.replace(table, &format!("{table}\nissuer = \"acme\""));
    }
    format!("[[issuers]]\nid = \"acme\"\nname = \"Acme Agents\"\ncolour = \"#0a7d5c\"\n{ours}\n{acme}")
}

static SEEDS: AtomicU64 = AtomicU64::new(1);

impl World {
    pub(crate) async fn start(engine: Engine) -> Self {
        Self::with(engine, declarations).await
    }

    /// A provider whose declarations are made from the fake service's address.
    pub(crate) async fn with(engine: Engine, declare: impl Fn(&str) -> String) -> Self {
        Self::on(Database::make(engine).await, declare).await
    }

    /// A provider on PostgreSQL whose line to it can be cut.
    pub(crate) async fn by_wire() -> (Self, Wire) {
        let mut database = Database::make(Engine::Postgres).await;
        let wire = Wire::to(&database.url).await;
        database.by_wire = Some(wire.url.clone());
        (Self::on(database, declarations).await, wire)
    }

    async fn on(database: Database, declare: impl Fn(&str) -> String) -> Self {
        let service = FakeService::start().await;
        let database = Arc::new(database);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://localhost:{}", listener.local_addr().unwrap().port());
        let declared = declare(&service.url);
        Self::replica_on(listener, url, Clock::fixed(NOW), service, database, &declared).await
    }

    /// A second process, as far as anyone can tell: the same database and issuer, its own caches, randomness and address.
    pub(crate) async fn replica(&self, declared: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let service = self.service.clone();
        Self::replica_on(listener, self.issuer(), self.clock.clone(), service, self.database.clone(), declared).await
    }

    async fn replica_on(
        listener: TcpListener,
        issuer: String,
        clock: Clock,
        service: FakeService,
        database: Arc<Database>,
        declared: &str,
    ) -> Self {
        let url = format!("http://localhost:{}", listener.local_addr().unwrap().port());
        let config = config(&database, &issuer, declared);
        let seed = SEEDS.fetch_add(1, Ordering::SeqCst);
        let (host, _) =
            start::open(&config, start::Accepted { removals: true, new: false }, clock.clone(), Rng::seeded(seed))
                .await
                .unwrap();
        declare::hash_passwords(host.clone(), config.users).await;
        withdraw_many::under_removed(&host).await.unwrap();
        let app = issuers::app(&host, DEFAULT_ISSUER).await.unwrap().unwrap();
        let (stop, stopped) = watch::channel(false);
        tokio::spawn(http::serve::serve(listener, http::router(host.clone()), stopped));
        Self { host, app, url, clock, service, database, http: client(), stop }
    }

    /// A process that starts with a configuration, and ends before it does anything else.
    pub(crate) async fn ended_after_start(&self, declared: &str) {
        let config = config(&self.database, &self.issuer(), declared);
        let (accepted, seed) = (start::Accepted { removals: true, new: false }, SEEDS.fetch_add(1, Ordering::SeqCst));
        start::open(&config, accepted, self.clock.clone(), Rng::seeded(seed)).await.unwrap();
    }

    /// Another process on the database, by a line of its own where this one's can be cut.
    pub(crate) async fn beside(&self) -> Host {
        let Some(wire) = &self.database.by_wire else { panic!("this one's line cannot be cut") };
        let text = std::fs::read_to_string(self.database.path("avouch.toml")).unwrap();
        let file = self.database.path("beside.toml");
        std::fs::write(&file, text.replace(wire, &self.database.url)).unwrap();
        let config = Config::load(Some(&file), Vec::new()).unwrap();
        start::connect(&config, self.clock.clone(), Rng::seeded(SEEDS.fetch_add(1, Ordering::SeqCst))).await.unwrap()
    }

    /// The same world, seen by those who deal with one of its path issuers.
    pub(crate) async fn under(&self, id: &str) -> Self {
        let app = issuers::app(&self.host, id).await.unwrap().unwrap_or_else(|| panic!("there is no issuer {id}"));
        Self { app, ..self.at(format!("{}/{id}", self.url)) }
    }

    /// The same world, seen by those who deal with another process of it.
    pub(crate) fn at(&self, url: String) -> Self {
        Self {
            host: self.host.clone(),
            app: self.app.clone(),
            url,
            clock: self.clock.clone(),
            service: self.service.clone(),
            database: self.database.clone(),
            http: self.http.clone(),
            stop: self.stop.clone(),
        }
    }

    /// The full name of the session's cookie.
    pub(crate) fn session_cookie(&self) -> String {
        format!("avouch-session-{}", &avouch::secret::sha256(self.issuer().as_bytes())[..8])
    }

    pub(crate) fn issuer(&self) -> String {
        self.app.issuer.url.as_str().to_owned()
    }

    /// Keeps a delegation locked as long as what is returned lives: on PostgreSQL by somebody whom no time limit ends.
    pub(crate) async fn hold(&self, delegation: &str) -> Box<dyn std::any::Any + Send> {
        if self.host.database.is_private() {
            let mut held = self.app.store.begin().await.unwrap();
            assert_eq!(held.lock_delegations(&[delegation]).await.unwrap().len(), 1);
            return Box::new(held);
        }
        Box::new(self.hold_where(&format!("delegation WHERE id = '{delegation}'")).await.0)
    }

    /// The same of whatever row, on PostgreSQL; also says by which process.
    pub(crate) async fn hold_where(&self, row: &str) -> (sqlx::PgConnection, i32) {
        use sqlx::{AssertSqlSafe, Connection as _};
        let mut held = sqlx::PgConnection::connect(&self.database.url).await.unwrap();
        let sql = AssertSqlSafe(format!("BEGIN; SELECT id FROM {row} FOR NO KEY UPDATE"));
        sqlx::raw_sql(sql).execute(&mut held).await.unwrap();
        let pid = sqlx::query_scalar("SELECT pg_backend_pid()").fetch_one(&mut held).await.unwrap();
        (held, pid)
    }

    /// Waits until so many wait for what a process of PostgreSQL holds, or for each other.
    pub(crate) async fn waiting(&self, pid: i32, count: usize) {
        let sql = format!(
            "WITH RECURSIVE w (pid) AS (
                SELECT {pid} UNION SELECT a.pid FROM pg_stat_activity a, w WHERE w.pid = ANY (pg_blocking_pids(a.pid))
             ) SELECT CAST(pid AS BIGINT) FROM w"
        );
        eventually("those who wait", async || self.database.column(&sql).await.len() == count + 1).await;
    }

    /// Sends every notice that is due by the clock.
    pub(crate) async fn settle(&self) {
        delivery::run_until_idle(&self.host).await;
    }

    pub(crate) fn browser(&self) -> Browser {
        let issuer = &self.app.issuer.url;
        Browser {
            site: self.url.clone(),
            base: issuer.base().to_owned(),
            origin: issuer.origin().to_owned(),
            http: self.http.clone(),
            cookies: Mutex::default(),
        }
    }

    /// A browser in which somebody is signed in.
    pub(crate) async fn signed_in(&self, email: &str) -> Browser {
        let browser = self.browser();
        let page = browser.get("/login").await;
        let answer = browser.submit(&page, "/login", &[("email", email), ("password", PASSWORD)]).await;
        assert_eq!(answer.status, 303, "{}", answer.body);
        browser
    }

    /// The authorization request of a client, with changes: an empty value takes a parameter out.
    pub(crate) fn authorize_path(client_id: &str, changes: &[(&str, &str)]) -> String {
        let usual = [
            ("response_type", "code"),
            ("client_id", client_id),
            ("redirect_uri", CALLBACK),
            ("scope", "openid email profile"),
            ("state", "st"),
            ("nonce", "no"),
            ("code_challenge", CHALLENGE),
            ("code_challenge_method", "S256"),
        ];
        format!("/authorize?{}", encode(&changed(&usual, changes)))
    }

    /// Signs a user in to a client, agreeing if asked. Answers with the code.
    pub(crate) async fn code(&self, browser: &Browser, client_id: &str, changes: &[(&str, &str)]) -> String {
        let mut answer = browser.get(&Self::authorize_path(client_id, changes)).await;
        if answer.status == 200 {
            answer = browser.submit(&answer, "/authorize/decision", &[("decision", "allow")]).await;
        }
        let location = answer.location();
        assert!(location.starts_with(CALLBACK), "{} {location} {}", answer.status, answer.body);
        query(&location, "code").unwrap_or_else(|| panic!("no code in {location}"))
    }

    /// The tokens of a sign-in.
    pub(crate) async fn tokens(&self, browser: &Browser, client_id: &str) -> Value {
        let code = self.code(browser, client_id, &[]).await;
        let (status, body) = self.token(client_id, &code_grant(&code)).await;
        assert_eq!(status, 200, "{body}");
        body
    }

    /// Posts to the token endpoint as a client.
    pub(crate) async fn token(&self, client_id: &str, form: &[(&str, &str)]) -> (u16, Value) {
        let answer = self.token_raw(client_id, form).await;
        (answer.status, answer.json())
    }

    pub(crate) async fn token_raw(&self, client_id: &str, form: &[(&str, &str)]) -> Answer {
        let mut form: Vec<(&str, &str)> = form.to_vec();
        let url = format!("{}/token", self.url);
        let assertion;
        let mut request = self.http.post(url).header("content-type", "application/x-www-form-urlencoded");
        match client_id {
            "travel-agent" => form.extend([("client_id", client_id), ("client_secret", SECRET)]),
            "public-app" => form.push(("client_id", client_id)),
            "jwt-agent" => {
                assertion = self.client_assertion(&json!({}));
                form.push(("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"));
                form.push(("client_assertion", &assertion));
            }
            _ => request = request.basic_auth(client_id, Some(SECRET)),
        }
        Answer::read(request.body(encode(&form)).send().await.unwrap()).await
    }

    /// An assertion of `jwt-agent`, with claims overridden or, by null, removed.
    pub(crate) fn client_assertion(&self, changes: &Value) -> String {
        let now = self.clock.now();
        let mut claims = json!({"iss": "jwt-agent", "sub": "jwt-agent", "aud": self.issuer(), "iat": now, "exp": now + Seconds(60), "jti": self.app.id()});
        for (name, value) in changes.as_object().unwrap() {
            if value.is_null() {
                claims.as_object_mut().unwrap().remove(name);
            } else {
                claims[name] = value.clone();
            }
        }
        sign_by(client_key(), "JWT", &claims)
    }

    /// The token exchange for the fake service with an access token, with changes.
    pub(crate) async fn exchange(&self, client_id: &str, tokens: &Value, changes: &[(&str, &str)]) -> (u16, Value) {
        let usual = [
            ("grant_type", EXCHANGE),
            ("requested_token_type", ID_JAG),
            ("audience", self.service.url.as_str()),
            ("scope", "api.read"),
            ("subject_token", tokens["access_token"].as_str().unwrap()),
            ("subject_token_type", ACCESS_TOKEN),
        ];
        self.token(client_id, &changed(&usual, changes)).await
    }

    /// Asks for an assertion, lets the user answer the question with `mode`, and says where the question was.
    pub(crate) async fn agree(
        &self,
        browser: &Browser,
        client_id: &str,
        tokens: &Value,
        mode: &str,
        changes: &[(&str, &str)],
    ) -> String {
        let (status, body) = self.exchange(client_id, tokens, changes).await;
        assert_eq!((status, &body["error"]), (400, &json!("consent_required")), "{body}");
        let path = body["consent_uri"].as_str().unwrap().strip_prefix(&self.issuer()).unwrap().to_owned();
        let page = browser.get(&path).await;
        assert_eq!(page.status, 200, "{}", page.body);
        let answer = browser.submit(&page, &path, &answer_form(&page, mode)).await;
        assert_eq!(answer.status, 303, "{}", answer.body);
        path
    }

    /// A call of the API.
    pub(crate) async fn api(&self, method: &str, path: &str, bearer: &str) -> Answer {
        let method = reqwest::Method::from_bytes(method.as_bytes()).unwrap();
        let request = self.http.request(method, format!("{}/api/v1{path}", self.url)).bearer_auth(bearer);
        Answer::read(request.send().await.unwrap()).await
    }

    /// A call of the API with a body.
    pub(crate) async fn api_json(&self, method: &str, path: &str, bearer: &str, body: &Value) -> Answer {
        let method = reqwest::Method::from_bytes(method.as_bytes()).unwrap();
        let request = self.http.request(method, format!("{}/api/v1{path}", self.url)).bearer_auth(bearer);
        let request = request.header("content-type", "application/json").body(body.to_string());
        Answer::read(request.send().await.unwrap()).await
    }

    pub(crate) fn admin_token(&self) -> String {
        let file = match &*self.app.issuer.id {
            DEFAULT_ISSUER => "admin-token".to_owned(),
            id => format!("admin-token-{id}"),
        };
        std::fs::read_to_string(format!("{}/{file}", self.database.keys())).unwrap()
    }

    /// Signed in, agreed for good, one assertion minted: browser, tokens, delegation id, assertion.
    pub(crate) async fn delegated(&self) -> (Browser, Value, String, String) {
        let browser = self.signed_in(ALICE).await;
        let tokens = self.tokens(&browser, "desk-agent").await;
        self.agree(&browser, "desk-agent", &tokens, "always", &[]).await;
        let (status, body) = self.exchange("desk-agent", &tokens, &[]).await;
        assert_eq!(status, 200, "{body}");
        let list = self.api("GET", "/delegations", &self.admin_token()).await.json();
        let id = list["items"][0]["id"].as_str().unwrap().to_owned();
        (browser, tokens, id, body["access_token"].as_str().unwrap().to_owned())
    }
}

/// What a user leaves as it is on the consent page, and their answer.
pub(crate) fn answer_form<'a>(page: &'a Answer, mode: &'a str) -> Vec<(&'a str, &'a str)> {
    let boxes = page.body.split("name=\"scope\" value=\"").skip(1).filter_map(|rest| rest.split('"').next());
    let mut form: Vec<(&str, &str)> = boxes.map(|token| ("scope", token)).collect();
    if mode == "deny" {
        form.push(("decision", "deny"));
    } else {
        form.extend([("mode", mode), ("decision", "allow")]);
    }
    form
}

pub(crate) fn config(database: &Database, issuer: &str, declared: &str) -> Config {
    let keys = database.keys();
    let text = format!(
        "issuer = \"{issuer}\"\ndatabase_url = \"{}\"\n[keys]\ndir = \"{keys}\"\n[network]\nallow_private_addresses = true\n{declared}",
        database.by_wire.as_ref().unwrap_or(&database.url)
    );
    let file = database.path("avouch.toml");
    std::fs::write(&file, text).unwrap();
    Config::load(Some(&file), Vec::new()).unwrap_or_else(|e| panic!("{e}"))
}

pub(crate) fn code_grant(code: &str) -> Vec<(&'static str, &str)> {
    vec![("grant_type", "authorization_code"), ("code", code), ("redirect_uri", CALLBACK), ("code_verifier", VERIFIER)]
}

/// `usual` with values replaced, added or, by an empty one, taken out. A name that comes twice in `changes` comes twice.
pub(crate) fn changed<'a>(usual: &[(&'a str, &'a str)], changes: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    let kept = usual.iter().filter(|(name, _)| !changes.iter().any(|(n, _)| n == name));
    kept.chain(changes.iter().filter(|(_, value)| !value.is_empty())).copied().collect()
}

pub(crate) fn encode(pairs: &[(&str, &str)]) -> String {
    url::form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish()
}

pub(crate) fn query(location: &str, name: &str) -> Option<String> {
    let url = url::Url::parse(location).unwrap();
    url.query_pairs().find(|(n, _)| n == name).map(|(_, value)| value.into_owned())
}

/// The payload of a JWT, unverified.
pub(crate) fn claims(token: &str) -> Value {
    use base64::Engine as _;
    let part = token.split('.').nth(1).unwrap();
    serde_json::from_slice(&base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap()
}

pub(crate) fn client() -> reqwest::Client {
    reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).no_proxy().build().unwrap()
}

/// Waits for a condition, with a deadline.
pub(crate) async fn eventually(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let deadline = tokio::time::Instant::now() + Duration::from_secs(20);
    while !holds().await {
        assert!(tokio::time::Instant::now() < deadline, "{what} did not come true");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
