//! `avouch demo`: the whole loop on this machine, through the real HTTP surface.

use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use tokio::sync::watch;

use super::serve::Provider;
use super::{Failure, log, sandbox, stop};
use crate::config::{Config, Log, LogLevel};
use crate::domain::client_metadata::TOKEN_EXCHANGE;
use crate::flow::start::Accepted;
use crate::lab::agent::{Agent, Ask, Browser, Decision, Exchanged, Http, Outcome, Person, Registration};
use crate::net::{Net, Policy};
use crate::rng::Rng;

const CLIENT: &str = "desk-agent";
const EMAIL: &str = "alice@example.com";
const PASSWORD: &str = "correct horse battery staple";
const REDIRECT: &str = "http://127.0.0.1:8765/callback";
const ID_JAG: &str = "urn:ietf:params:oauth:token-type:id-jag";
/// How long to wait for the notice to arrive.
const PATIENCE: Duration = Duration::from_secs(15);

/// Where everything is.
struct Scene {
    provider: String,
    service: String,
    secret: String,
    http: Http,
}

pub(super) async fn run(keep: bool) -> Result<(), Failure> {
    log::start(Log { level: LogLevel::Error, ..Log::default() });
    let folder = Folder::make(keep)?;
    let (listener, service) = sandbox::bind(0)?;
    let (provider_listener, provider) = sandbox::bind(0)?;
    let secret = Rng::Os.token();
    let config = configuration(&folder.0, &provider, &service, &secret)?;

    let (stop, stopped) = watch::channel(false);
    let running = Provider::start(&config, Accepted::default(), provider_listener, stopped.clone()).await?;
    let sandbox = sandbox::start(listener, &service, Vec::new(), stopped)?;
    out!("{provider}");
    out!("");
    out!("Three parties, all on this machine:");
    out!("  the provider  {provider}   knows Alice, vouches for her");
    out!("  the service   {service}   a stranger that accepts what the provider vouches for");
    out!("  Desk Agent    a program that works for Alice");

    let net = Net::new(Policy { allow_private_addresses: true, allowed_networks: Vec::new() });
    let http = Http::new(net.map_err(|e| Failure::Unable(e.to_string()))?);
    let scene = Scene { provider, service, secret, http };
    let outcome = play(&scene).await;
    if outcome.is_ok() && keep {
        stay(&scene, &folder.0).await?;
    }
    stop.send_replace(true);
    running.finish().await;
    let _ = sandbox.await;
    outcome.map_err(|what| Failure::Unable(format!("the demo stopped: {what}")))
}

/// A folder for this run, removed at its end.
struct Folder(PathBuf, bool);

impl Folder {
    fn make(keep: bool) -> Result<Self, Failure> {
        let name = URL_SAFE_NO_PAD.encode(Rng::Os.bytes::<9>());
        let path = std::env::temp_dir().join(format!("avouch-demo-{name}"));
        // The configuration in it holds a secret.
        std::fs::DirBuilder::new()
            .mode(0o700)
            .create(&path)
            .map_err(|e| Failure::Unable(format!("{}: {e}", path.display())))?;
        Ok(Self(path, keep))
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
fn configuration(folder: &Path, provider: &str, service: &str, secret: &str) -> Result<Config, Failure> {
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
revocation_uri = "{service}/agent/auth/revoke"
"#,
        database = at("avouch.db"),
        keys = at("keys"),
    );
    let file = folder.join("avouch.toml");
    std::fs::write(&file, text).map_err(|e| Failure::Unable(format!("{}: {e}", file.display())))?;
    Config::load(Some(&file), Vec::new()).map_err(|e| Failure::Unable(e.to_string()))
}

async fn play(scene: &Scene) -> Outcome<()> {
    let alice = Person { browser: Browser::new(scene.http.clone()), email: EMAIL.into(), password: PASSWORD.into() };
    let metadata = discover(scene).await?;
    let (agent, token) = sign_in(scene, &alice).await?;
    agree(scene, &alice, &agent, &token).await?;
    let assertion = assertion(scene, &agent, &token).await?;
    let key = redeem(scene, &metadata, &assertion).await?;
    call(scene, &key).await?;
    withdraw(scene, &alice, &agent, (&token, &key)).await
}

fn step(n: u8, title: &str) {
    out!("");
    out!("{n}. {title}");
}

fn text<'a>(value: &'a Value, name: &str) -> Outcome<&'a str> {
    value[name].as_str().ok_or_else(|| format!("{name} is missing in {value}"))
}

/// What Desk Agent asks for.
fn ask(scene: &Scene) -> Ask {
    Ask {
        audience: scene.service.clone(),
        resource: format!("{}/api/", scene.service),
        scope: "api.read".into(),
        context: "Reconcile October".into(),
    }
}

async fn discover(scene: &Scene) -> Outcome<Value> {
    step(1, "Desk Agent calls the service and is told how to get in.");
    let url = format!("{}/api/resource", scene.service);
    let answer = scene.http.get(&url, None).await?.expect(401)?;
    let hint = answer.headers.get("www-authenticate").unwrap_or_default();
    out!("   GET {url} -> 401, {hint}");
    let resource = hint.split("resource_metadata=\"").nth(1).and_then(|rest| rest.split('"').next());
    let resource = scene.http.get(resource.ok_or("the 401 names no resource_metadata")?, None).await?.json()?;
    let server = resource["authorization_servers"][0].as_str().ok_or("the resource names no authorization server")?;
    let metadata = scene.http.get(&format!("{server}/.well-known/oauth-authorization-server"), None).await?.json()?;
    out!(
        "   Its authorization server is {}; agents register at {}.",
        text(&metadata, "issuer")?,
        metadata["agent_auth"]["register_uri"]
    );
    Ok(metadata)
}

async fn sign_in(scene: &Scene, alice: &Person) -> Outcome<(Agent, String)> {
    step(2, "Alice signs in to Desk Agent with the provider (OpenID Connect: code, PKCE).");
    let registration = Registration {
        client_id: CLIENT.to_owned().try_into()?,
        client_secret: scene.secret.clone(),
        redirect_uri: REDIRECT.into(),
    };
    let agent = Agent::discover(scene.http.clone(), &scene.provider, registration).await?;
    let authorization = agent.authorize("openid email", &Rng::Os)?;
    let called_back = alice.sign_in_to(&authorization.url).await?;
    out!("   She types her password, and lets Desk Agent sign her in.");
    let tokens = agent.tokens(&authorization, &called_back).await?;
    out!("   POST {} -> 200: Desk Agent has an access token for Alice, at the provider only.", agent.token_endpoint());
    let token = text(&tokens, "access_token")?.to_owned();
    Ok((agent, token))
}

async fn agree(scene: &Scene, alice: &Person, agent: &Agent, token: &str) -> Outcome<()> {
    step(3, "Desk Agent asks the provider to vouch for Alice there. Deny is the default: Alice is asked first.");
    let uri = match agent.exchange(token, &ask(scene)).await? {
        Exchanged::ConsentRequired { consent_uri, .. } => consent_uri,
        other => return Err(format!("the first exchange should ask for consent: {other:?}")),
    };
    out!("   POST {} -> 400 consent_required", agent.token_endpoint());
    alice.decide(&uri, Decision::Allow("always")).await?;
    out!("   She opens {uri}");
    out!("   and allows it, for api.read, until she stops it.");
    Ok(())
}

async fn assertion(scene: &Scene, agent: &Agent, token: &str) -> Outcome<String> {
    step(4, "Desk Agent asks again and gets a signed assertion (ID-JAG) for that one service, good for five minutes.");
    let assertion = agent.assertion(token, &ask(scene)).await?;
    for part in assertion.split('.').take(2) {
        let decoded = URL_SAFE_NO_PAD.decode(part).map_err(|e| e.to_string())?;
        let decoded: Value = serde_json::from_slice(&decoded).map_err(|e| e.to_string())?;
        for line in serde_json::to_string_pretty(&decoded).map_err(|e| e.to_string())?.lines() {
            out!("   {line}");
        }
    }
    Ok(assertion)
}

async fn redeem(scene: &Scene, metadata: &Value, assertion: &str) -> Outcome<String> {
    step(
        5,
        "Desk Agent presents it. The service checks keys, issuer, audience, times and who signed, and gives a credential.",
    );
    let url = text(&metadata["agent_auth"], "register_uri")?;
    let body = json!({"type": "identity_assertion", "assertion_type": ID_JAG, "assertion": assertion, "requested_credential_type": "api_key"});
    let body = scene.http.post_json(url, &body).await?.expect(200)?.json()?;
    out!("   POST {url} -> 200: an {} for {}", text(&body, "credential_type")?, body["scopes"]);
    Ok(text(&body, "credential")?.to_owned())
}

async fn call(scene: &Scene, key: &str) -> Outcome<()> {
    step(6, "With it the first call succeeds.");
    let url = format!("{}/api/resource", scene.service);
    let answer = scene.http.get(&url, Some(key)).await?.expect(200)?;
    out!("   GET {url} -> 200 {}", answer.json()?);
    Ok(())
}

async fn withdraw(scene: &Scene, alice: &Person, agent: &Agent, (token, key): (&str, &str)) -> Outcome<()> {
    step(7, "Alice changes her mind and stops it under Connections. The provider tells the service (logout+jwt).");
    let host = scene.service.trim_start_matches("http://");
    let began = Instant::now();
    let stopped = alice.stop(&scene.provider, host).await?;
    out!("   POST {stopped} -> stopped, {} ms after Alice opened Connections", began.elapsed().as_millis());

    step(8, "The same call is refused.");
    let url = format!("{}/api/resource", scene.service);
    loop {
        let answer = scene.http.get(&url, Some(key)).await?;
        if answer.status == 401 {
            break;
        }
        if began.elapsed() > PATIENCE {
            let (status, seconds) = (answer.status, PATIENCE.as_secs());
            return Err(format!("the service still answers {status} {seconds} s after the withdrawal"));
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    out!("   GET {url} -> 401, {} ms after Alice opened Connections", began.elapsed().as_millis());
    let refusal = match agent.exchange(token, &ask(scene)).await? {
        Exchanged::Assertion(_) => return Err("the provider still vouches after the withdrawal".into()),
        Exchanged::ConsentRequired { .. } => "consent_required".to_owned(),
        Exchanged::Refused(body) => text(&body, "error")?.to_owned(),
    };
    out!("   And the provider vouches no more: {refusal}");
    out!("");
    out!("The last assertion could be presented for minutes yet, so a second notice follows when it is dead.");
    out!("Every step did what it should.");
    Ok(())
}

async fn stay(scene: &Scene, folder: &Path) -> Result<(), Failure> {
    out!("");
    out!("Both are left running. Open in a browser:");
    out!("  {}/connections   sign in as {EMAIL}, password: {PASSWORD}", scene.provider);
    out!("  {}/", scene.service);
    out!("  {}/.well-known/oauth-authorization-server", scene.provider);
    out!("  configuration and database: {}", folder.display());
    out!("Ctrl-C ends it.");
    let mut stopped = stop::on_signal()?;
    while !*stopped.borrow() && stopped.changed().await.is_ok() {}
    Ok(())
}
