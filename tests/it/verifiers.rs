//! Whether rotation harms anybody: verifiers that nobody here wrote, with their defaults, beside two servers that rotate their keys again
//! and again. The clocks of all are moved and not waited for.

use std::collections::{BTreeSet, VecDeque};
use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use avouch::domain::ids::Kid;
use avouch::domain::time::{Seconds, Timestamp};
use avouch::flow::compromise::{self, Order};
use avouch::flow::rotate::{self, Reason};
use avouch::host::DEFAULT_ISSUER;
use avouch::rng::Rng;
use serde_json::{Value, json};

use crate::browser::program;
use crate::harness::{ALICE, Engine, World, claims, declarations, sign_by};
use crate::keys::look;

/// Takes RS256, which many verifiers know alone.
const OTHER: &str = "https://other.example";

fn declared(service: &str) -> String {
    let rotation = "[keys.rotation]\ninterval = \"1h\"\npublish_ahead = \"10m\"\n";
    let other = format!(
        "\n[[services]]\naudience = \"{OTHER}\"\nname = \"Other\"\nscopes = [\"api.read\"]\nsigning_alg = \"RS256\"\n"
    );
    format!("{rotation}{}{other}", declarations(service))
}

/// A library at work in a process of its own.
struct Verifier {
    name: &'static str,
    child: Child,
    asks: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Verifier {
    fn start(name: &'static str, (program, script): (&str, &Path), options: &[&str], world: &World) -> Self {
        let keys = format!("{}/.well-known/jwks.json", world.url);
        let mut command = Command::new(program);
        command.arg(script).args([&keys, &world.issuer()]).args(options).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap_or_else(|e| panic!("{program} does not start: {e}"));
        let (asks, answers) = (child.stdin.take().unwrap(), BufReader::new(child.stdout.take().unwrap()));
        Self { name, child, asks, answers }
    }

    /// The key that it verified by, or why it refused. A fresh one has fetched nothing yet.
    fn verify(&mut self, token: &str, now: Timestamp, fresh: bool) -> Result<String, String> {
        let audience = claims(token)["aud"].clone();
        writeln!(self.asks, "{}", json!({"now": now, "audience": audience, "token": token, "fresh": fresh})).unwrap();
        let mut line = String::new();
        self.answers.read_line(&mut line).unwrap();
        let answer: Value = serde_json::from_str(&line).unwrap_or_else(|e| panic!("{} said {line:?}: {e}", self.name));
        match answer["kid"].as_str() {
            Some(kid) => Ok(kid.to_owned()),
            None => Err(answer["error"].as_str().unwrap_or_default().to_owned()),
        }
    }
}

impl Drop for Verifier {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Two servers on one database, and a verifier at each.
struct Field {
    servers: [World; 2],
    verifiers: [Verifier; 3],
    tokens: Value,
    signed_in_at: Timestamp,
    /// By which keys something was verified.
    used: BTreeSet<String>,
}

impl Field {
    async fn start() -> Self {
        let here = World::with(Engine::Postgres, declared).await;
        let there = here.replica(&declared(&here.service.url)).await;
        let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/verifiers");
        // Beside its library: a script finds what it imports from where it is.
        let installed = program("AVOUCH_TEST_VERIFIERS");
        let script = PathBuf::from(installed).join("verify.mjs");
        fs::copy(tests.join("verify.mjs"), &script).unwrap();
        let python = program("PYTHON");
        let verifiers = [
            Verifier::start("jose", ("node", &script), &[], &here),
            Verifier::start("PyJWT", (&python, &tests.join("verify.py")), &[], &there),
            // What auth.md has services do: a key set is kept for ten minutes, whatever is missing from it.
            Verifier::start("jose every ten minutes", ("node", &script), &["600000"], &there),
        ];
        let mut field = Self {
            servers: [here, there],
            verifiers,
            tokens: Value::Null,
            signed_in_at: Timestamp(0),
            used: BTreeSet::new(),
        };
        field.sign_in().await;
        let (browser, world) = (field.servers[0].signed_in(ALICE).await, &field.servers[0]);
        for audience in [&world.service.url, OTHER] {
            world.agree(&browser, "desk-agent", &field.tokens, "always", &[("audience", audience)]).await;
        }
        field
    }

    /// Access tokens do not last as long as this does.
    async fn sign_in_again(&mut self) {
        if self.now() >= self.signed_in_at + Seconds(1800) {
            self.sign_in().await;
        }
    }

    async fn sign_in(&mut self) {
        self.signed_in_at = self.now();
        let browser = self.servers[1].signed_in(ALICE).await;
        self.tokens = self.servers[1].tokens(&browser, "desk-agent").await;
    }

    fn now(&self) -> Timestamp {
        self.servers[0].clock.now()
    }

    /// Assertions for both services from both servers, all at once with what these do by themselves.
    async fn mint(&self) -> Vec<String> {
        let mint = async |world: &World, audience: &str| {
            let (status, body) = world.exchange("desk-agent", &self.tokens, &[("audience", audience)]).await;
            assert_eq!(status, 200, "{body}");
            body["access_token"].as_str().unwrap().to_owned()
        };
        let [here, there] = &self.servers;
        let service = here.service.url.as_str();
        let rotating = async {
            let (one, two) = tokio::join!(rotate::run(&here.host), rotate::run(&there.host));
            one.and(two).unwrap();
        };
        let (a, b, c, d, ()) =
            tokio::join!(mint(here, service), mint(there, service), mint(here, OTHER), mint(there, OTHER), rotating);
        vec![a, b, c, d]
    }

    /// Every verifier takes every one of them.
    fn verify(&mut self, assertions: &[String]) {
        self.verify_by(assertions, false, usize::MAX);
    }

    /// So does a service that has just been started.
    fn verify_fresh(&mut self, assertions: &[String]) {
        self.verify_by(assertions, true, usize::MAX);
    }

    fn verify_by(&mut self, assertions: &[String], fresh: bool, verifiers: usize) {
        let now = self.now();
        for verifier in self.verifiers.iter_mut().take(verifiers) {
            for token in assertions {
                let kid = verifier.verify(token, now, fresh);
                self.used.insert(kid.unwrap_or_else(|e| panic!("{} at {now}: {e}: {}", verifier.name, claims(token))));
            }
        }
    }

    /// What servers do by themselves every few seconds.
    async fn work(&self) {
        for server in &self.servers {
            rotate::run(&server.host).await.unwrap();
        }
        for server in &self.servers {
            look(server).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rotation_is_noticed_by_no_verifier() {
    let mut field = Field::start().await;
    let rng = Rng::seeded(11);
    let up_to = |most: u8| i64::from(rng.bytes::<1>()[0] % most) + 1;
    let clock = field.servers[0].clock.clone();
    let last_second = |token: &String| Timestamp(claims(token)["exp"].as_i64().unwrap() - 1);
    let (begin, mut alive) = (field.now(), VecDeque::new());
    let mut mint_at = begin;
    while field.now() < begin + Seconds(5 * 3600) {
        if field.now() >= mint_at {
            mint_at = field.now() + Seconds(60 + up_to(90));
            field.sign_in_again().await;
            let minted = Box::pin(field.mint()).await;
            alive.extend(minted);
            field.verify(alive.make_contiguous());
        }
        // On to the next mint, but never past the last second of one that is alive. A server looks every few seconds; whoever comes before
        // that is served by what the transaction says.
        let next = alive.front().map_or(mint_at, |oldest| last_second(oldest).min(mint_at));
        clock.advance(next - clock.now());
        field.work().await;
        let expiring = alive.iter().take_while(|token| last_second(token) == next).count();
        let expiring: Vec<String> = alive.drain(..expiring).collect();
        field.verify_fresh(&expiring);
    }
    assert!(
        field.used.len() >= 8,
        "five hours are four rotations of two keys at most, and three at least: {:?}",
        field.used
    );
    let failed = field.servers[0].database.column("SELECT COUNT(*) FROM signing_key WHERE state = 'revoked'").await;
    assert_eq!(failed, ["0"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_key_convinces_nobody_whose_key_set_has_aged() {
    let mut field = Field::start().await;
    let assertions = Box::pin(field.mint()).await;
    field.verify(&assertions);
    let (host, clock) = (field.servers[0].host.clone(), field.servers[0].clock.clone());
    let stolen = field.servers[0].app.issuer.ring.active.clone();
    // Whoever has stolen the key is not bound by our lifetimes.
    let mut forged = claims(&assertions[0]);
    forged["exp"] = json!(field.now() + Seconds(86_400));
    let forged = sign_by(&stolen, "oauth-id-jag+jwt", &forged);
    field.verify(std::slice::from_ref(&forged));

    let order = Order {
        kid: Kid::from(stolen.kid().as_str()),
        reason: Reason::parse("a stolen backup").unwrap(),
        withdraw_since: None,
        dry_run: false,
    };
    compromise::run(&host, DEFAULT_ISSUER, &order, |_, _| {}).await.unwrap();
    field.work().await;
    // jose looks for a key that it does not know once in 30 seconds; others keep what they have for ten minutes.
    clock.advance(Seconds(31));
    let minted = Box::pin(field.mint()).await;
    field.verify_by(&minted, false, 2);
    clock.advance(Seconds(570));
    let now = field.now();
    for verifier in &mut field.verifiers {
        let refused = verifier.verify(&forged, now, false).unwrap_err();
        let unknown = ["ERR_JWKS_NO_MATCHING_KEY", "Unable to find a signing key"];
        assert!(unknown.iter().any(|words| refused.contains(words)), "{}: {refused}", verifier.name);
    }
    field.sign_in().await;
    let minted = Box::pin(field.mint()).await;
    field.verify(&minted);
}
