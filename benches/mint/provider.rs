//! A server as anyone would start it, and what its users and agents do before anything is measured.

use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use avouch::domain::time::Seconds;
use avouch::jose::SigningKey;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::Outcome;
use crate::assertion::{AUDIENCE, signed};
use crate::client::{Browser, Connection, form, request};
use crate::machine::command_on;

pub(crate) const ACCESS_TOKEN: &str = "urn:ietf:params:oauth:token-type:access_token";
pub(crate) const ID_TOKEN: &str = "urn:ietf:params:oauth:token-type:id_token";

const EXCHANGE: &str = "urn:ietf:params:oauth:grant-type:token-exchange";
const ID_JAG: &str = "urn:ietf:params:oauth:token-type:id-jag";
const JWT_BEARER: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
const SECRET: &str = "for-measuring-only-4f9a1c7be02d58a36e1b7790cd24ab5f8e";
const PASSWORD: &str = "correct horse battery staple";
const CALLBACK: &str = "http://127.0.0.1:8765/callback";
// RFC 7636, appendix B.
const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";

/// A port that nobody listens on, a moment ago.
pub(crate) fn free_port() -> Outcome<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

/// A process that ends when it is dropped.
pub(crate) struct Process(pub(crate) Child);

impl Process {
    pub(crate) fn pid(&self) -> u32 {
        self.0.id()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Starts a program that first prints one line; answers with that line.
pub(crate) fn first_line(mut command: Command) -> Outcome<(Process, String)> {
    let mut process = Process(command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?);
    let mut line = String::new();
    if let Some(output) = process.0.stdout.take() {
        BufReader::new(output).read_line(&mut line)?;
    }
    Ok((process, line.trim().to_owned()))
}

/// How the clients show who they are.
#[derive(Clone, Copy)]
pub(crate) enum Client {
    /// `client_secret_basic`
    Secret,
    /// `private_key_jwt`
    Key,
}

impl Client {
    pub(crate) fn id(self) -> &'static str {
        match self {
            Self::Secret => "secret-agent",
            Self::Key => "key-agent",
        }
    }
}

/// Its configuration: users whose password is known, and both clients.
pub(crate) fn configuration(port: u16, database: &str, keys: &Path, users: &str, client_key: &SigningKey) -> String {
    let jwks = json!({ "keys": [client_key.public_jwk()] });
    format!(
        r#"issuer = "http://localhost:{port}"
listen = "127.0.0.1:{port}"
database_url = "{database}"
[keys]
dir = "{}"
{users}
[[clients]]
client_id = "secret-agent"
client_name = "Secret Agent"
client_secret = "{SECRET}"
redirect_uris = ["{CALLBACK}"]
grant_types = ["authorization_code", "refresh_token", "{EXCHANGE}"]
audiences = ["{AUDIENCE}"]
[[clients]]
client_id = "key-agent"
client_name = "Key Agent"
jwks = '{jwks}'
redirect_uris = ["{CALLBACK}"]
grant_types = ["authorization_code", "{EXCHANGE}"]
audiences = ["{AUDIENCE}"]
[[services]]
audience = "{AUDIENCE}"
name = "Service"
scopes = ["api.read", "api.write"]
claims = ["email", "email_verified", "name"]
"#,
        keys.display()
    )
}

/// `count` users of one password, hashed once.
pub(crate) fn users(count: usize) -> Outcome<String> {
    let hash = avouch::passwords::hash_password(&avouch::secret::Secret::new(PASSWORD), &[7; 16]);
    let hash = hash.map_err(|e| e.to_string())?;
    let user = |n| {
        format!(
            "[[users]]\nemail = \"user{n}@example.com\"\nemail_verified = true\nname = \"User {n}\"\npassword_hash = \"{hash}\"\n"
        )
    };
    Ok((0..count).map(user).collect())
}

/// A running server and what is needed to ask it.
pub(crate) struct Provider {
    process: Process,
    pub(crate) port: u16,
    /// Engine, and what is in the database.
    pub(crate) name: String,
    pub(crate) database: String,
    admin_token: String,
    key: SigningKey,
    folder: TempDir,
}

impl Provider {
    pub(crate) fn start(
        name: String,
        database: Option<&str>,
        people: &str,
        parent: &Path,
        core: Option<&str>,
    ) -> Outcome<Self> {
        let folder = tempfile::Builder::new().prefix("avouch-bench.").tempdir_in(parent)?;
        let (port, key) = (free_port()?, crate::assertion::key());
        let database =
            database.map_or_else(|| format!("sqlite://{}", folder.path().join("avouch.db").display()), str::to_owned);
        let file = folder.path().join("avouch.toml");
        std::fs::write(&file, configuration(port, &database, &folder.path().join("keys"), people, &key))?;
        let mut command = command_on(core, env!("CARGO_BIN_EXE_avouch").as_ref());
        command.arg("serve").arg("--config").arg(file).current_dir(folder.path());
        let (process, line) = first_line({
            command.stderr(File::create(folder.path().join("log"))?);
            command
        })?;
        if line.is_empty() {
            let log = std::fs::read_to_string(folder.path().join("log")).unwrap_or_default();
            return Err(format!("the server does not start:\n{log}").into());
        }
        let admin_token = std::fs::read_to_string(folder.path().join("keys/admin-token"))?;
        Ok(Self { process, port, name, database, admin_token, key, folder })
    }

    pub(crate) fn pid(&self) -> u32 {
        self.process.pid()
    }

    pub(crate) fn issuer(&self) -> String {
        format!("http://localhost:{}", self.port)
    }

    /// What the server logged, for when something went wrong.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    /// Signs a user in, in a new browser.
    pub(crate) async fn sign_in(&self, user: usize) -> Outcome<Browser> {
        let mut browser = Browser::open(self.port).await?;
        browser.get("/login").await?;
        let email = format!("user{user}@example.com");
        expect(303, browser.submit("/login", &[("email", &email), ("password", PASSWORD)]).await?, &browser)?;
        Ok(browser)
    }

    /// Signs a user in to a client and lets them agree for good, each by the real forms. Answers with the tokens.
    pub(crate) async fn agree(&self, user: usize, client: Client) -> Outcome<Value> {
        let mut browser = self.sign_in(user).await?;
        let question = form(&[
            ("response_type", "code"),
            ("client_id", client.id()),
            ("redirect_uri", CALLBACK),
            ("scope", "openid email profile"),
            ("state", "st"),
            ("code_challenge", CHALLENGE),
            ("code_challenge_method", "S256"),
        ]);
        if browser.get(&format!("/authorize?{question}")).await? == 200 {
            browser.submit("/authorize/decision", &[("decision", "allow")]).await?;
        }
        let location = url::Url::parse(browser.location())?;
        let code = location.query_pairs().find(|(name, _)| name == "code").ok_or("no code")?.1.into_owned();
        let mut connection = Connection::open(self.port).await?;
        let code_grant = [
            ("grant_type", "authorization_code"),
            ("code", &code),
            ("redirect_uri", CALLBACK),
            ("code_verifier", VERIFIER),
        ];
        connection.send(&self.token_request(client, &code_grant)).await?;
        let tokens = connection.json()?;
        connection.send(&self.mint(client, &tokens, ACCESS_TOKEN)).await?;
        let asked = connection.json()?;
        let uri = asked["consent_uri"].as_str().ok_or_else(|| format!("no consent_uri: {asked}"))?;
        let path = uri.strip_prefix(&self.issuer()).ok_or("a consent_uri elsewhere")?.to_owned();
        expect(200, browser.get(&path).await?, &browser)?;
        let answer = [("scope", "api.read"), ("mode", "always"), ("decision", "allow")];
        expect(303, browser.submit(&path, &answer).await?, &browser)?;
        Ok(tokens)
    }

    /// The request that mints. An assertion of the client is signed for it, if that is how the client authenticates.
    pub(crate) fn mint(&self, client: Client, tokens: &Value, kind: &str) -> Vec<u8> {
        let token = &tokens[if kind == ID_TOKEN { "id_token" } else { "access_token" }];
        self.token_request(client, &exchange(token.as_str().unwrap_or_default(), kind))
    }

    /// The request that refreshes.
    pub(crate) fn refresh(&self, token: &str) -> Vec<u8> {
        self.token_request(Client::Secret, &[("grant_type", "refresh_token"), ("refresh_token", token)])
    }

    fn token_request(&self, client: Client, pairs: &[(&str, &str)]) -> Vec<u8> {
        match client {
            Client::Secret => with_secret("/token", self.port, pairs),
            Client::Key => {
                let now = avouch::clock::Clock::System.now();
                let jti = avouch::rng::Rng::Os.token();
                let claims = json!({"iss": client.id(), "sub": client.id(), "aud": self.issuer(), "iat": now, "exp": now + Seconds(60), "jti": jti});
                let assertion = signed(&self.key, "JWT", &claims);
                let mut pairs = pairs.to_vec();
                pairs.extend([("client_assertion_type", JWT_BEARER), ("client_assertion", &assertion)]);
                request("POST", "/token", self.port, &[], &form(&pairs))
            }
        }
    }

    /// Withdraws as many delegations of a service as one call does. Answers with how many are left.
    pub(crate) async fn withdraw(&self, connection: &mut Connection, aud: &str) -> Outcome<u64> {
        let bearer = format!("Bearer {}", self.admin_token.trim());
        let path = format!("/api/v1/delegations?{}", form(&[("aud", aud)]));
        connection.send(&request("DELETE", &path, self.port, &[("Authorization", &bearer)], "")).await?;
        let done = connection.json()?;
        Ok(done["left"].as_u64().ok_or_else(|| format!("no left: {done}"))?)
    }

    /// How many assertions the delegations say were minted.
    pub(crate) async fn used(&self) -> Outcome<u64> {
        let bearer = format!("Bearer {}", self.admin_token.trim());
        let mut connection = Connection::open(self.port).await?;
        let (mut count, mut page) = (0, "/api/v1/delegations?limit=200".to_owned());
        loop {
            connection.send(&request("GET", &page, self.port, &[("Authorization", &bearer)], "")).await?;
            let list = connection.json()?;
            let items = list["items"].as_array().ok_or_else(|| format!("no list: {list}"))?;
            count += items.iter().filter_map(|d| d["mint_count"].as_u64()).sum::<u64>();
            let Some(next) = list["next"].as_str() else { return Ok(count) };
            page = format!("/api/v1/delegations?limit=200&cursor={next}");
        }
    }
}

/// The request that mints at a path issuer.
pub(crate) fn mint_at(issuer: &str, port: u16, token: &str) -> Vec<u8> {
    with_secret(&format!("/{issuer}/token"), port, &exchange(token, ACCESS_TOKEN))
}

fn exchange<'a>(token: &'a str, kind: &'a str) -> [(&'a str, &'a str); 6] {
    [
        ("grant_type", EXCHANGE),
        ("requested_token_type", ID_JAG),
        ("audience", AUDIENCE),
        ("scope", "api.read"),
        ("subject_token", token),
        ("subject_token_type", kind),
    ]
}

fn with_secret(path: &str, port: u16, pairs: &[(&str, &str)]) -> Vec<u8> {
    use base64::Engine as _;
    let credential = base64::engine::general_purpose::STANDARD.encode(format!("{}:{SECRET}", Client::Secret.id()));
    request("POST", path, port, &[("Authorization", &format!("Basic {credential}"))], &form(pairs))
}

fn expect(wanted: u16, status: u16, browser: &Browser) -> Outcome<()> {
    if status == wanted { Ok(()) } else { Err(format!("{status} instead of {wanted}: {}", browser.page()).into()) }
}
