//! `avouch demo`: the whole loop on this machine, through the real HTTP surface.

mod transcript;

use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use tokio::sync::watch;

use self::transcript::Transcript;
use super::serve::Provider;
use super::{Failure, log, sandbox, stop};
use crate::clock::Clock;
use crate::config::{Config, Log, LogLevel};
use crate::domain::client_metadata::TOKEN_EXCHANGE;
use crate::flow::start::Accepted;
use crate::lab::agent::{Agent, Ask, Browser, Decision, Exchange, Exchanged, Http, Outcome, Person, Registration};
use crate::lab::flaws::Dialect;
use crate::lab::sandbox::{Client, Options};
use crate::net::{Method, Net, Policy};
use crate::rng::Rng;
use crate::secret::Secret;

const CLIENT: &str = "desk-agent";
const EMAIL: &str = "alice@example.com";
const PASSWORD: &str = "correct horse battery staple";
const REDIRECT: &str = "http://127.0.0.1:8765/callback";
/// What Desk Agent is called at the service, where that asks it who it is.
const THERE: (&str, &str) = ("desk-agent-there", "a-secret-of-its-own");
const JWT_BEARER: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";
const ID_JAG: &str = "urn:ietf:params:oauth:token-type:id-jag";
/// How long to wait for the notice to arrive.
const PATIENCE: Duration = Duration::from_secs(15);

/// Where everything is.
struct Scene {
    provider: String,
    service: String,
    dialect: Dialect,
    secret: String,
    /// The agent's requests.
    http: Http,
    /// Her browser's.
    alices: Http,
}

impl Scene {
    /// The last request to a path that begins so, of all that an actor has sent since this was asked last.
    fn last(http: &Http, path: &str) -> Outcome<Exchange> {
        let found = http.take().into_iter().rev().find(|exchange| exchange.url.path().starts_with(path));
        found.ok_or_else(|| format!("nothing went to {path}"))
    }
}

pub(super) async fn run(keep: bool, step: bool, dialect: Dialect) -> Result<(), Failure> {
    log::start(Log { level: LogLevel::Error, ..Log::default() });
    let folder = Folder::make("demo", keep)?;
    let (listener, service) = sandbox::bind(0)?;
    let (provider_listener, provider) = sandbox::bind(0)?;
    let secret = Rng::Os.token();
    let config = configuration(&folder.0, (&provider, &service, dialect), &secret)?;

    let (stop, stopped) = watch::channel(false);
    let running = Provider::start(&config, Accepted::default(), provider_listener, stopped.clone()).await?;
    let clients = vec![Client { id: THERE.0.into(), secret: Secret::new(THERE.1) }];
    let options = Options { dialect, clients, ..Options::strict(Clock::System, Rng::Os) };
    let sandbox = sandbox::start(listener, &service, options, stopped)?;
    out!("{provider}");
    out!("");
    out!("Three parties, all on this machine:");
    out!("  the provider  {provider}   knows Alice, vouches for her");
    out!("  the service   {service}   a stranger that accepts what the provider vouches for");
    out!("  Desk Agent    a program that works for Alice");

    let net = Net::new(Policy { allow_private_addresses: true, allowed_networks: Vec::new() });
    let http = Http::new(net.map_err(|e| Failure::Unable(e.to_string()))?);
    let scene = Scene { provider, service, dialect, secret, http: http.recording(), alices: http.recording() };
    let outcome = play(&scene, step, keep).await;
    if let Ok(Some(question)) = &outcome {
        stay(&scene, &folder.0, question).await?;
    }
    stop.send_replace(true);
    running.finish().await;
    let _ = sandbox.await;
    outcome.map(drop).map_err(|what| Failure::Unable(format!("the demo stopped: {what}")))
}

/// A folder for this run, removed at its end.
pub(super) struct Folder(PathBuf, bool);

impl Folder {
    pub(super) fn make(what: &str, keep: bool) -> Result<Self, Failure> {
        let name = URL_SAFE_NO_PAD.encode(Rng::Os.bytes::<9>());
        let path = std::env::temp_dir().join(format!("avouch-{what}-{name}"));
        // The configuration in it holds a secret.
        std::fs::DirBuilder::new()
            .mode(0o700)
            .create(&path)
            .map_err(|e| Failure::Unable(format!("{}: {e}", path.display())))?;
        Ok(Self(path, keep))
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if !self.1 {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }
}

/// What an operator would write, loaded the way an operator's file is.
fn configuration(
    folder: &Path,
    (provider, service, dialect): (&str, &str, Dialect),
    secret: &str,
) -> Result<Config, Failure> {
    let told = match dialect {
        Dialect::V01 => format!("revocation_uri = \"{service}/agent/auth/revoke\""),
        Dialect::Flat | Dialect::Nested => format!("events_endpoint = \"{service}/agent/event/notify\""),
        Dialect::Plain => format!(
            "global_token_revocation_endpoint = \"{service}/global-token-revocation\"\nclient_ids = {{ \"{CLIENT}\" = \"{}\" }}",
            THERE.0
        ),
    };
    let at = |name: &str| folder.join(name).display().to_string();
    let text = format!(
        r#"issuer = "{provider}"
database_url = "sqlite://{database}"
network = {{ allow_private_addresses = true }}

[keys]
dir = "{keys}"

[[users]]
email = "{EMAIL}"
email_verified = true
name = "Alice Example"
password = "{PASSWORD}"

[[clients]]
client_id = "{CLIENT}"
client_name = "Desk Agent"
client_secret = "{secret}"
redirect_uris = ["{REDIRECT}"]
grant_types = ["authorization_code", "refresh_token", "{TOKEN_EXCHANGE}"]
audiences = ["{service}"]

[[services]]
audience = "{service}"
name = "Avouch Sandbox"
resources = ["{service}/api/"]
scopes = ["api.read", "api.write"]
{told}
"#,
        database = at("avouch.db"),
        keys = at("keys"),
    );
    let file = folder.join("avouch.toml");
    std::fs::write(&file, text).map_err(|e| Failure::Unable(format!("{}: {e}", file.display())))?;
    Config::load(Some(&file), Vec::new()).map_err(|e| Failure::Unable(e.to_string()))
}

/// Plays it to its end; if it is to stay, answers with the address of a question that was left open.
async fn play(scene: &Scene, step: bool, keep: bool) -> Outcome<Option<String>> {
    let told = &mut Transcript::new(step);
    let browser = Browser::new(scene.alices.clone());
    let alice = Person { browser, email: EMAIL.into(), password: PASSWORD.into() };
    let metadata = discover(scene, told).await?;
    let (agent, token) = sign_in(scene, told, &alice).await?;
    agree(scene, told, &alice, &agent, &token).await?;
    let assertion = assertion(scene, told, &agent, &token).await?;
    let key = redeem(scene, told, &metadata, &assertion).await?;
    call(scene, told, &key).await?;
    let stopped = withdraw(scene, told, &alice).await?;
    let refused = refused(scene, told, stopped, &key).await?;
    vouches_no_more(scene, told, &agent, &token).await?;
    transcript::boxed(&format!("granted → used → stopped → refused in {} ms", refused.as_millis()));
    if !keep {
        return Ok(None);
    }
    leave(scene, &alice, &agent, &metadata, &token).await.map(Some)
}

fn text<'a>(value: &'a Value, name: &str) -> Outcome<&'a str> {
    value[name].as_str().ok_or_else(|| format!("{name} is missing in {value}"))
}

/// What Desk Agent asks for.
fn ask(scene: &Scene, scope: &str) -> Ask {
    Ask {
        audience: scene.service.clone(),
        resource: format!("{}/api/", scene.service),
        scope: scope.into(),
        context: "Reconcile October".into(),
    }
}

async fn discover(scene: &Scene, told: &mut Transcript) -> Outcome<Value> {
    told.title("Desk Agent calls the service and is told how to get in.");
    let url = format!("{}/api/resource", scene.service);
    let answer = scene.http.get(&url, None).await?.expect(401)?;
    transcript::shown(&Scene::last(&scene.http, "/api/resource")?, &[]);
    let hint = answer.headers.get("www-authenticate").unwrap_or_default();
    let resource = hint.split("resource_metadata=\"").nth(1).and_then(|rest| rest.split('"').next());
    let resource = scene.http.get(resource.ok_or("the 401 names no resource_metadata")?, None).await?.json()?;
    transcript::shown(&Scene::last(&scene.http, "/")?, &["resource", "authorization_servers"]);
    let server = resource["authorization_servers"][0].as_str().ok_or("the resource names no authorization server")?;
    let metadata = scene.http.get(&format!("{server}/.well-known/oauth-authorization-server"), None).await?.json()?;
    transcript::shown(&Scene::last(&scene.http, "/")?, &["issuer", "agent_auth", "token_endpoint"]);
    Ok(metadata)
}

async fn sign_in(scene: &Scene, told: &mut Transcript, alice: &Person) -> Outcome<(Agent, String)> {
    told.title("Alice signs in to Desk Agent with the provider (OpenID Connect: code, PKCE).");
    let registration = Registration {
        client_id: CLIENT.to_owned().try_into()?,
        client_secret: scene.secret.clone(),
        redirect_uri: REDIRECT.into(),
    };
    let agent = Agent::discover(scene.http.clone(), &scene.provider, registration).await?;
    let authorization = agent.authorize("openid email", &Rng::Os)?;
    let called_back = alice.sign_in_to(&authorization.url).await?;
    transcript::said("In her browser she types her password, then lets Desk Agent sign her in:");
    transcript::shown(&Scene::last(&scene.alices, "/authorize/decision")?, &[]);
    let tokens = agent.tokens(&authorization, &called_back).await?;
    transcript::said("Desk Agent has tokens for Alice, good at the provider only:");
    transcript::shown(&Scene::last(&scene.http, "/token")?, &[]);
    let token = text(&tokens, "access_token")?.to_owned();
    Ok((agent, token))
}

async fn agree(scene: &Scene, told: &mut Transcript, alice: &Person, agent: &Agent, token: &str) -> Outcome<()> {
    told.title("Desk Agent asks the provider to vouch for Alice there. Alice has to be asked first.");
    let uri = asked(agent, token, &ask(scene, "api.read")).await?;
    transcript::shown(&Scene::last(&scene.http, "/token")?, &["error", "consent_uri", "expires_in", "interval"]);
    alice.decide(&uri, Decision::Allow("always")).await?;
    transcript::said("She opens that address and allows it, for api.read, until she stops it:");
    let posted = scene.alices.take().into_iter().rev().find(|exchange| exchange.method == Method::Post);
    transcript::shown(&posted.ok_or("she answered nothing")?, &[]);
    Ok(())
}

/// Asks for an assertion, and answers with where the user is asked.
async fn asked(agent: &Agent, token: &str, ask: &Ask) -> Outcome<String> {
    match agent.exchange(token, ask).await? {
        Exchanged::ConsentRequired { consent_uri, .. } => Ok(consent_uri),
        other => Err(format!("this exchange should ask for consent: {other:?}")),
    }
}

async fn assertion(scene: &Scene, told: &mut Transcript, agent: &Agent, token: &str) -> Outcome<String> {
    told.title("Desk Agent asks again, and gets an assertion (ID-JAG) for that one service, for five minutes.");
    let assertion = agent.assertion(token, &ask(scene, "api.read")).await?;
    transcript::shown(&Scene::last(&scene.http, "/token")?, &[]);
    transcript::said("What the provider signed, header and claims:");
    for part in assertion.split('.').take(2) {
        let decoded = URL_SAFE_NO_PAD.decode(part).map_err(|e| e.to_string())?;
        transcript::json(&serde_json::from_slice(&decoded).map_err(|e| e.to_string())?);
    }
    Ok(assertion)
}

/// What the service is sent; v0.1 wants to be told what to give.
fn presented(scene: &Scene, assertion: &str) -> Value {
    let mut body = json!({"type": "identity_assertion", "assertion_type": ID_JAG, "assertion": assertion});
    if scene.dialect == Dialect::V01 {
        body["requested_credential_type"] = json!("api_key");
    }
    body
}

async fn redeem(scene: &Scene, told: &mut Transcript, metadata: &Value, assertion: &str) -> Outcome<String> {
    told.title("Desk Agent presents it. The service checks it, and gives a credential of its own.");
    let credential = credential(scene, metadata, assertion).await?;
    for exchange in scene.http.take() {
        transcript::shown(&exchange, &[]);
    }
    Ok(credential)
}

/// Presents an assertion as the service wants it.
async fn credential(scene: &Scene, metadata: &Value, assertion: &str) -> Outcome<String> {
    let http = &scene.http;
    let grant = |assertion: &str| [("grant_type", JWT_BEARER.to_owned()), ("assertion", assertion.to_owned())];
    let token = match scene.dialect {
        Dialect::V01 => {
            let url = text(&metadata["agent_auth"], "register_uri")?;
            let body = http.post_json(url, &presented(scene, assertion)).await?.expect(200)?.json()?;
            return Ok(text(&body, "credential")?.to_owned());
        }
        Dialect::Flat | Dialect::Nested => {
            let url = text(&metadata["agent_auth"], "identity_endpoint")?;
            let body = http.post_json(url, &presented(scene, assertion)).await?.expect(200)?.json()?;
            let flat = scene.dialect == Dialect::Flat;
            let own = if flat { text(&body, "identity_assertion")? } else { text(&body["identity"], "assertion")? };
            let form = grant(own);
            let form = form.each_ref().map(|(name, value)| (*name, value.as_str()));
            http.post_form(text(metadata, "token_endpoint")?, &form).await?
        }
        Dialect::Plain => {
            let form = grant(assertion);
            let form = form.each_ref().map(|(name, value)| (*name, value.as_str()));
            http.post_as(text(metadata, "token_endpoint")?, THERE, &form).await?
        }
    };
    Ok(text(&token.expect(200)?.json()?, "access_token")?.to_owned())
}

async fn call(scene: &Scene, told: &mut Transcript, key: &str) -> Outcome<()> {
    told.title("With it the call succeeds.");
    scene.http.get(&format!("{}/api/resource", scene.service), Some(key)).await?.expect(200)?;
    transcript::shown(&Scene::last(&scene.http, "/api/resource")?, &[]);
    Ok(())
}

/// Answers with when Alice's browser sent it.
async fn withdraw(scene: &Scene, told: &mut Transcript, alice: &Person) -> Outcome<Instant> {
    told.title("Alice changes her mind and stops it under Connections. The provider tells the service.");
    alice.stop(&scene.provider, scene.service.trim_start_matches("http://")).await?;
    let posted = scene.alices.take().into_iter().rev().find(|exchange| exchange.method == Method::Post);
    let posted = posted.ok_or("she stopped nothing")?;
    transcript::shown(&posted, &[]);
    Ok(posted.began)
}

/// Calls until the answer is no, and says how long after the stop that was.
async fn refused(scene: &Scene, told: &mut Transcript, stopped: Instant, key: &str) -> Outcome<Duration> {
    told.title("The same call is refused.");
    let url = format!("{}/api/resource", scene.service);
    loop {
        let answer = scene.http.get(&url, Some(key)).await?;
        let after = stopped.elapsed();
        if answer.status == 401 {
            transcript::shown(&Scene::last(&scene.http, "/api/resource")?, &[]);
            return Ok(after);
        }
        if after > PATIENCE {
            let (status, seconds) = (answer.status, PATIENCE.as_secs());
            return Err(format!("the service still answers {status} {seconds} s after the withdrawal"));
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

async fn vouches_no_more(scene: &Scene, told: &mut Transcript, agent: &Agent, token: &str) -> Outcome<()> {
    told.title("And the provider vouches no more: Desk Agent would have to ask Alice again.");
    if let Exchanged::Assertion(_) = agent.exchange(token, &ask(scene, "api.read")).await? {
        return Err("the provider still vouches after the withdrawal".into());
    }
    transcript::shown(&Scene::last(&scene.http, "/token")?, &["error"]);
    Ok(())
}

/// Leaves something to do: a connection to stop, and a question to answer, whose address it answers with.
async fn leave(scene: &Scene, alice: &Person, agent: &Agent, metadata: &Value, token: &str) -> Outcome<String> {
    let again = asked(agent, token, &ask(scene, "api.read")).await;
    // The one that the end of the story asked is still open, and is not asked again at once.
    alice.decide(&again?, Decision::Allow("always")).await?;
    let assertion = agent.assertion(token, &ask(scene, "api.read")).await?;
    credential(scene, metadata, &assertion).await?;
    asked(agent, token, &ask(scene, "api.write")).await
}

async fn stay(scene: &Scene, folder: &Path, question: &str) -> Result<(), Failure> {
    out!("");
    out!("Both are left running. Sign in as {EMAIL}, password: {PASSWORD}");
    out!("  a connection to stop           {}/connections", scene.provider);
    out!("  a question, for ten minutes    {question}");
    out!("  what the service has seen      {}/", scene.service);
    out!("  configuration and database     {}", folder.display());
    out!("Ctrl-C ends it.");
    let mut stopped = stop::on_signal()?;
    while !*stopped.borrow() && stopped.changed().await.is_ok() {}
    Ok(())
}
