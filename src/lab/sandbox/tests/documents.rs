//! Every flaw of a key set and of a client's document, served by an issuer that has this flaw, to a sandbox in every dialect: a strict one
//! refuses a good assertion then with the code that the flaw names, and one that does not keep a rule takes those that name this rule, and
//! no others. Of those that are to be tolerated it is the other way round.

use std::collections::HashMap;
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, Bytes, to_bytes};
use axum::http::{Request, Response, StatusCode, Uri};
use axum::response::IntoResponse as _;
use hyper::body::Frame;
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::sleep;
use tower_service::Service as _;

use crate::domain::ids::Jti;
use crate::lab::flaws::{Answer, Cast, Document, Flaw, Level, Response as Way, Terms, all};
use crate::lab::issuer::LabIssuer;
use crate::lab::sandbox::testing::NOW;
use crate::lab::sandbox::*;
use crate::lab::testing::serve;
use crate::secret::Secret;

const ORIGIN: &str = "http://127.0.0.1:8000";
const JWKS: &str = "/.well-known/jwks.json";
const CIMD: &str = "/agent-auth.json";

/// How long a document takes that never comes: longer than a test may.
const NEVER: Duration = Duration::from_mins(2);
/// And one that comes late, though not too late for whoever waits for ever.
const LATE: Duration = Duration::from_secs(7);

type Shelf = Arc<Mutex<HashMap<String, Document>>>;

/// An issuer for each flaw.
struct Stage {
    origin: String,
    shelf: Shelf,
    /// Those of a flaw; of one that takes long, also the one that is only late. Keys and signatures cost more than all the rest here.
    casts: HashMap<(&'static str, bool), Cast>,
    /// What each of them signed, as presented by whoever has it, and by a client.
    tokens: HashMap<(&'static str, bool), [String; 2]>,
}

/// A body of two halves, the second of which comes when it is sent.
struct Halves(mpsc::Receiver<Bytes>);

impl hyper::body::Body for Halves {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.0.poll_recv(cx).map(|half| half.map(|bytes| Ok(Frame::data(bytes))))
    }
}

/// Plays a document. Three seconds are played faster, and what takes too long is late or never comes.
async fn play(shelf: Shelf, uri: Uri) -> Response<Body> {
    let Some(document) = shelf.lock().unwrap().get(&uri.to_string()).cloned() else {
        return StatusCode::NOT_FOUND.into_response();
    };
    let wait = if uri.path().starts_with("/late/") { LATE } else { NEVER };
    let status = StatusCode::from_u16(document.status()).unwrap();
    let headers = [("content-type", document.content_type())];
    let body = document.body();
    match document.response {
        Way::Redirect => (status, [("location", format!("{uri}?elsewhere"))]).into_response(),
        Way::Slow(seconds) => {
            sleep(if seconds < 60 { Duration::from_millis(20) } else { wait }).await;
            (status, headers, body).into_response()
        }
        Way::Drip => {
            let (halves, body_of_halves) = mpsc::channel(1);
            tokio::spawn(async move {
                let (first, second) = body.split_at(body.len() / 2);
                let _ = halves.send(Bytes::copy_from_slice(first)).await;
                sleep(wait).await;
                let _ = halves.send(Bytes::copy_from_slice(second)).await;
            });
            (status, headers, Body::new(Halves(body_of_halves))).into_response()
        }
        _ => (status, headers, body).into_response(),
    }
}

fn flaws(dialect: Dialect) -> impl Iterator<Item = &'static Flaw> {
    // A plain authorization server knows its clients, and asks for no document.
    let fits = move |flaw: &&Flaw| match flaw.kind {
        Kind::Jwks => true,
        Kind::Cimd => dialect != Dialect::Plain,
        _ => false,
    };
    // What each service decides for itself, this one may.
    all().iter().copied().filter(fits).filter(|flaw| flaw.level != Level::Policy)
}

/// Whether it is about time alone.
fn takes_long(flaw: &Flaw) -> bool {
    ["jwks-hangs", "jwks-drips", "cimd-hangs", "cimd-drips"].contains(&flaw.name)
}

impl Stage {
    async fn new() -> Arc<Self> {
        let shelf = Shelf::default();
        let served = shelf.clone();
        let origin = serve(|_| axum::Router::new().fallback(move |uri: Uri| play(served, uri))).await;
        let (mut casts, mut tokens) = (HashMap::new(), HashMap::new());
        for flaw in flaws(Dialect::V01) {
            for late in [false, true].into_iter().filter(|late| !late || takes_long(flaw)) {
                let url = Self::issuer(&origin, flaw, late);
                let cast = Cast::new(url, LabKey::of_seed(flaw.name.as_bytes()).unwrap(), NOW).unwrap();
                tokens.insert((flaw.name, late), [false, true].map(|plain| token(&cast, flaw, plain)));
                casts.insert((flaw.name, late), cast);
            }
        }
        let stage = Self { origin, shelf, casts, tokens };
        for flaw in flaws(Dialect::V01) {
            stage.publish(flaw, false);
            if takes_long(flaw) {
                stage.publish(flaw, true);
            }
        }
        Arc::new(stage)
    }

    fn issuer(origin: &str, flaw: &Flaw, late: bool) -> IssuerUrl {
        let way = if late { "late" } else { "usual" };
        IssuerUrl::parse(&format!("{origin}/{way}/{}", flaw.name)).unwrap()
    }

    fn good(issuer: &LabIssuer) -> [(Kind, String, Document); 2] {
        let (id, at) = (issuer.url.at(CIMD), issuer.url.at(JWKS));
        let client = json!({"client_id": id, "client_name": "Lab", "token_endpoint_auth_method": "private_key_jwt",
            "jwks_uri": at});
        [(Kind::Jwks, at, Document::new(issuer.jwks())), (Kind::Cimd, id, Document::new(client))]
    }

    fn put(&self, at: &str, document: Document) {
        self.shelf.lock().unwrap().insert(at.strip_prefix(&self.origin).unwrap().to_owned(), document);
    }

    /// The issuer's documents, one of them with the flaw; where a redirect leads, it is good.
    fn publish(&self, flaw: &Flaw, late: bool) {
        let cast = &self.casts[&(flaw.name, late)];
        for (kind, at, good) in Self::good(&cast.issuer) {
            let mut served = if kind == flaw.kind { flaw.spoil(&good, cast).unwrap() } else { good.clone() };
            if served.response == Way::Stale {
                served.keys().unwrap().remove(0);
            }
            self.put(&format!("{at}?elsewhere"), good);
            self.put(&at, served);
        }
    }

    fn publish_good(&self, flaw: &Flaw) {
        for (_, at, good) in Self::good(&self.casts[&(flaw.name, false)].issuer) {
            self.put(&at, good);
        }
    }

    fn sandbox(&self, dialect: Dialect, broken: Broken) -> Router {
        let issuers =
            flaws(Dialect::V01).flat_map(|flaw| [false, true].map(|late| Self::issuer(&self.origin, flaw, late)));
        let options = Options {
            trust: issuers.collect(),
            dialect,
            broken,
            clients: vec![Client { id: "c".into(), secret: Secret::new("s") }],
            ..Options::strict(Clock::fixed(NOW), Rng::seeded(1))
        };
        new(ORIGIN.into(), options).unwrap().router()
    }

    /// A good assertion of the flaw's issuer; status and code.
    async fn present(&self, router: &Router, dialect: Dialect, flaw: &Flaw, late: bool) -> (u16, String) {
        let plain = dialect == Dialect::Plain;
        let token = &self.tokens[&(flaw.name, late)][usize::from(plain)];
        let (path, kind, body) = if plain {
            let grant = "urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Ajwt-bearer";
            (TOKEN, "application/x-www-form-urlencoded", format!("grant_type={grant}&assertion={token}"))
        } else {
            let path = if dialect == Dialect::V01 { IDENTITY_V01 } else { IDENTITY };
            let body = json!({"type": "identity_assertion", "assertion_type": "urn:ietf:params:oauth:token-type:id-jag",
                "assertion": token, "requested_credential_type": "api_key"});
            (path, "application/json", body.to_string())
        };
        let mut request = Request::post(path).header("content-type", kind);
        if plain {
            request = request.header("authorization", "Basic Yzpz");
        }
        let response = router.clone().call(request.body(Body::from(body)).unwrap()).await.unwrap();
        let status = response.status().as_u16();
        let body = to_bytes(response.into_body(), 100_000).await.unwrap();
        let body: Value = serde_json::from_slice(&body).unwrap_or_default();
        (status, body["error"].as_str().unwrap_or_default().to_owned())
    }
}

/// A good one.
fn token(cast: &Cast, flaw: &Flaw, plain: bool) -> String {
    let terms = Terms {
        audience: ORIGIN.into(),
        sub: flaw.name.into(),
        email: Some(format!("{}@example.com", flaw.name)),
        client_id: if plain { "c".to_owned() } else { cast.issuer.url.at(CIMD) },
        scope: Some("api.read".into()),
        resource: None,
        jti: Jti::parse(flaw.name).unwrap(),
        alg: SigningAlg::Es256,
    };
    cast.assertion(&terms).unwrap().token(cast).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_strict_one_refuses_each_with_its_code() {
    let stage = Stage::new().await;
    let mut seen = JoinSet::new();
    for dialect in Dialect::ALL {
        let router = stage.sandbox(dialect, Broken::default());
        for flaw in flaws(dialect) {
            let (stage, router) = (stage.clone(), router.clone());
            seen.spawn(async move { (dialect, flaw, stage.present(&router, dialect, flaw, false).await) });
        }
    }
    let mut wrong = Vec::new();
    for (dialect, flaw, (status, code)) in seen.join_all().await {
        let right = match flaw.answer(dialect) {
            Answer::Refuse { status: expected, codes } => status == expected && codes.contains(&code.as_str()),
            Answer::Accept { status: expected } => status == expected,
            Answer::Open => status < 500,
        };
        if !right {
            wrong.push(format!("{dialect:?} {}: {status} {code}, not {:?}", flaw.name, flaw.answer(dialect)));
        }
    }
    assert!(wrong.is_empty(), "{}:\n{}", wrong.len(), wrong.join("\n"));
}

/// Where a rule changes nothing about fetching, what takes long takes as long as before, and is not waited for once more.
fn fetches(rule: Rule) -> bool {
    let fetching = [
        Rule::AcceptDocumentsOfFailures,
        Rule::FollowJwksRedirects,
        Rule::FollowCimdRedirects,
        Rule::ReadWithoutBounds,
        Rule::WaitForEver,
        Rule::AcceptAnyContentType,
        Rule::TrustClientId,
        Rule::IgnoreSignature,
    ];
    fetching.contains(&rule)
}

/// Without each rule it takes what names that rule, and nothing else.
async fn without_a_rule(dialect: Dialect) {
    let stage = Stage::new().await;
    let mut seen = JoinSet::new();
    let mut wrong = Vec::new();
    for rule in Broken::all().rules() {
        // The same assertion is presented twice where something was there before.
        let again = (rule == Rule::NeverRefetchJwks).then_some(Rule::NoJtiMemory);
        let router = stage.sandbox(dialect, [rule].into_iter().chain(again).collect());
        let flaws = flaws(dialect).filter(|flaw| fetches(rule) || !takes_long(flaw));
        for flaw in flaws {
            let names_it = flaw.counterparts.contains(&rule.name());
            if names_it && rule == Rule::NeverRefetchJwks {
                // It has what was there before.
                stage.publish_good(flaw);
                assert_eq!(stage.present(&router, dialect, flaw, false).await.0, 200);
                stage.publish(flaw, false);
            }
            let late = rule == Rule::WaitForEver && takes_long(flaw);
            let expected = match flaw.answer(dialect) {
                Answer::Refuse { .. } => names_it,
                Answer::Accept { .. } => !names_it,
                Answer::Open => continue,
            };
            let (stage, router) = (stage.clone(), router.clone());
            let one = async move {
                let (status, code) = stage.present(&router, dialect, flaw, late).await;
                ((200..300).contains(&status) != expected)
                    .then(|| format!("{} {}: {status} {code}", rule.name(), flaw.name))
            };
            // The others have to wait for nothing.
            if takes_long(flaw) {
                seen.spawn(one);
            } else {
                wrong.extend(one.await);
            }
        }
    }
    wrong.extend(seen.join_all().await.into_iter().flatten());
    assert!(wrong.is_empty(), "{dialect:?}, {}:\n{}", wrong.len(), wrong.join("\n"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_rule_in_v01() {
    without_a_rule(Dialect::V01).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_rule_flat() {
    without_a_rule(Dialect::Flat).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_rule_nested() {
    without_a_rule(Dialect::Nested).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_rule_plain() {
    without_a_rule(Dialect::Plain).await;
}
