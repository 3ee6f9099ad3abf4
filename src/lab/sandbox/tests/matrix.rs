//! Every flaw of an assertion and of a notice, sent to a sandbox in every dialect: a strict one refuses each with the code that the flaw
//! names, and one that does not keep a rule takes those that name this rule, and no others.

use axum::body::{Body, to_bytes};
use axum::http::Request;
use serde_json::{Value, json};
use tower_service::Service as _;

use crate::domain::claims::LOGOUT;
use crate::domain::ids::Jti;
use crate::lab::flaws::{Answer, Cast, Class, Draft, Flaw, Others, Presented, SECEVENT, Terms, all};
use crate::lab::issuer::LabIssuer;
use crate::lab::sandbox::testing::{NOW, Provider};
use crate::lab::sandbox::*;
use crate::secret::Secret;

const ORIGIN: &str = "http://127.0.0.1:8000";
const CIMD: &str = "/agent-auth.json";

/// Who plays, with the servers that publish their keys.
struct Stage {
    cast: Cast,
    /// The issuer's, the untrusted one's, and a forger's.
    providers: [Provider; 3],
}

impl Stage {
    async fn new() -> Self {
        let providers = [Provider::start().await, Provider::start().await, Provider::start().await];
        let [issuer, untrusted] = [0_u8, 1].map(|n| {
            let provider = &providers[usize::from(n)];
            let url = IssuerUrl::parse(&provider.origin).unwrap();
            let issuer = LabIssuer::new(url, LabKey::of_seed(&[n]).unwrap()).unwrap();
            let keys = "/.well-known/jwks.json";
            provider.publish(keys, issuer.jwks());
            let (id, at) = (format!("{}{CIMD}", provider.origin), format!("{}{keys}", provider.origin));
            let document = json!({"client_id": id, "client_name": "Lab", "token_endpoint_auth_method": "private_key_jwt",
                "jwks_uri": at});
            provider.publish(CIMD, document);
            issuer
        });
        let others = Others { url: providers[2].origin.clone(), ..Others::default() };
        let mut forged = issuer.stranger.public_jwk();
        forged["kid"] = json!(issuer.key.kid());
        providers[2].publish("/jwks.json", json!({"keys": [forged]}));
        let (id, at) = (format!("{}{CIMD}", others.url), format!("{}/jwks.json", others.url));
        let forger = json!({"client_id": id, "client_name": "Forger", "token_endpoint_auth_method": "private_key_jwt",
            "jwks_uri": at});
        providers[2].publish(CIMD, forger);
        Self { cast: Cast { issuer, untrusted, others, now: NOW }, providers }
    }

    /// What a flaw of this kind is a change to.
    fn good(&self, kind: Kind, dialect: Dialect, jti: &str) -> Draft {
        let jti = Jti::parse(jti).unwrap();
        let alg = SigningAlg::Es256;
        if kind == Kind::Notice {
            let typ = if dialect == Dialect::V01 { LOGOUT } else { SECEVENT };
            return self.cast.notice(typ, alg, ORIGIN, "user-1", &jti).unwrap();
        }
        let client_id = if dialect == Dialect::Plain { "c".to_owned() } else { self.cast.issuer.url.at(CIMD) };
        let terms = Terms {
            audience: ORIGIN.into(),
            sub: "user-1".into(),
            email: Some("alice@example.com".into()),
            client_id,
            scope: Some("api.read".into()),
            resource: Some(format!("{ORIGIN}/api/")),
            jti,
            alg,
        };
        self.cast.assertion(&terms).unwrap()
    }

    fn sandbox(&self, dialect: Dialect, broken: Broken) -> (Sandbox, Router) {
        let client = |id: &str| Client { id: id.into(), secret: Secret::new("s") };
        let options = Options {
            trust: vec![self.cast.issuer.url.clone()],
            dialect,
            broken,
            clients: vec![client("c"), client(&self.cast.others.client_id)],
            denied: vec![self.cast.others.email.clone()],
            ..Options::strict(Clock::fixed(NOW), Rng::seeded(1))
        };
        let sandbox = new(ORIGIN.into(), options).unwrap();
        let router = sandbox.router();
        (sandbox, router)
    }

    fn proof(key: &LabKey, path: &str, jti: &str) -> String {
        let header = json!({"typ": "dpop+jwt", "alg": "ES256", "jwk": key.public_jwk()});
        let claims = json!({"htm": "POST", "htu": format!("{ORIGIN}{path}"), "iat": NOW, "jti": jti});
        let signed = crate::jose::compact(&header.to_string(), &claims.to_string());
        let signature = key.sign(signed.as_bytes()).unwrap();
        format!("{signed}.{}", base64::Engine::encode(&base64::engine::general_purpose::URL_SAFE_NO_PAD, signature))
    }

    /// Sends it as it wants to be sent; status and code of the answer.
    async fn present(
        &self,
        (sandbox, router): &(Sandbox, Router),
        kind: Kind,
        draft: &Draft,
        token: &str,
    ) -> (u16, String) {
        let dialect = sandbox.0.dialect;
        let once = || async {
            let request = self.request(dialect, kind, draft, token);
            let response = router.clone().call(request).await.unwrap();
            let status = response.status().as_u16();
            let body = to_bytes(response.into_body(), 100_000).await.unwrap();
            let body: Value = serde_json::from_slice(&body).unwrap_or_default();
            let code = body["error"].as_str().or(body["err"].as_str()).unwrap_or_default().to_owned();
            (status, code)
        };
        let first = once().await;
        match draft.presented {
            Presented::Again => once().await,
            Presented::AgainAfterRestart => {
                sandbox.restart();
                once().await
            }
            _ => first,
        }
    }

    fn request(&self, dialect: Dialect, kind: Kind, draft: &Draft, token: &str) -> Request<Body> {
        let form = |fields: &[(&str, &str)]| {
            url::form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish()
        };
        let grant = || form(&[("grant_type", "urn:ietf:params:oauth:grant-type:jwt-bearer"), ("assertion", token)]);
        let at_token = dialect == Dialect::Plain || draft.presented == Presented::AtTokenEndpoint;
        let (path, content_type, body) = match kind {
            Kind::Notice if dialect == Dialect::V01 => {
                ("/agent/auth/revoke", "application/logout+jwt", token.to_owned())
            }
            Kind::Notice => ("/agent/event/notify", "application/secevent+jwt", token.to_owned()),
            _ if at_token => ("/oauth2/token", "application/x-www-form-urlencoded", grant()),
            _ => {
                let path = if dialect == Dialect::V01 { "/agent/auth" } else { "/agent/identity" };
                let body = json!({"type": "identity_assertion", "assertion_type": "urn:ietf:params:oauth:token-type:id-jag",
                    "assertion": token, "requested_credential_type": "api_key"});
                (path, "application/json", body.to_string())
            }
        };
        if draft.presented == Presented::AsBearer {
            let request = Request::get("/api/resource").header("authorization", format!("Bearer {token}"));
            return request.body(Body::empty()).unwrap();
        }
        let content_type = if let Presented::As(other) = draft.presented { other } else { content_type };
        let mut request = Request::post(path).header("content-type", content_type);
        if at_token {
            request = request.header("authorization", "Basic Yzpz");
        }
        let issuer = &self.cast.issuer;
        let proof = match draft.presented {
            Presented::WithStrangersProof => Some(Self::proof(&issuer.stranger, path, "p1")),
            Presented::WithProofForAnotherAddress => Some(Self::proof(&issuer.holder, "/elsewhere", "p2")),
            _ => None,
        };
        if let Some(proof) = proof {
            request = request.header("dpop", proof);
        }
        request.body(Body::from(body)).unwrap()
    }
}

fn is_accepted(status: u16) -> bool {
    (200..300).contains(&status)
}

/// Every flaw of a kind in a dialect, signed once.
fn flawed(stage: &Stage, kind: Kind, dialect: Dialect) -> Vec<(&'static Flaw, Draft, String)> {
    let of_kind = all().iter().copied().filter(|flaw| flaw.kind == kind);
    of_kind
        .map(|flaw| {
            let good = stage.good(kind, dialect, &format!("jti-{}", flaw.name));
            let draft = flaw.apply(&good, &stage.cast).unwrap();
            let token = draft.token(&stage.cast).unwrap();
            (flaw, draft, token)
        })
        .collect()
}

/// A good one of each kind is taken, before anything else.
async fn control(stage: &Stage, sandbox: &(Sandbox, Router), jti: &str) {
    for kind in [Kind::Notice, Kind::Assertion] {
        if kind == Kind::Notice && sandbox.0.0.dialect == Dialect::Plain {
            continue;
        }
        let good = stage.good(kind, sandbox.0.0.dialect, &format!("{jti}-{}", kind.as_str()));
        let token = good.token(&stage.cast).unwrap();
        let (status, code) = stage.present(sandbox, kind, &good, &token).await;
        assert!(
            is_accepted(status),
            "{kind:?} in {:?} without {:?}: {status} {code}",
            sandbox.0.0.dialect,
            sandbox.0.0.broken
        );
    }
}

fn kinds(dialect: Dialect) -> &'static [Kind] {
    if dialect == Dialect::Plain { &[Kind::Assertion] } else { &[Kind::Assertion, Kind::Notice] }
}

#[tokio::test]
async fn a_strict_one_refuses_each_flaw_with_its_code() {
    let stage = Stage::new().await;
    let mut wrong = Vec::new();
    for dialect in Dialect::ALL {
        let sandbox = stage.sandbox(dialect, Broken::default());
        control(&stage, &sandbox, "first").await;
        for kind in kinds(dialect) {
            for (flaw, draft, token) in flawed(&stage, *kind, dialect) {
                let (status, code) = stage.present(&sandbox, *kind, &draft, &token).await;
                let right = match flaw.answer(dialect) {
                    Answer::Refuse { status: expected, codes } => status == expected && codes.contains(&code.as_str()),
                    Answer::Accept { .. } => is_accepted(status),
                    Answer::Open => status < 500,
                };
                if !right {
                    wrong.push(format!("{dialect:?} {}: {status} {code}, not {:?}", flaw.name, flaw.answer(dialect)));
                }
            }
        }
        control(&stage, &sandbox, "last").await;
    }
    assert!(wrong.is_empty(), "{}:\n{}", wrong.len(), wrong.join("\n"));
}

/// Without each rule it takes what names that rule, and nothing else.
async fn without_a_rule(dialect: Dialect) {
    let stage = Stage::new().await;
    let mut wrong = Vec::new();
    let flaws: Vec<_> = kinds(dialect).iter().flat_map(|kind| flawed(&stage, *kind, dialect)).collect();
    for rule in Broken::all().rules() {
        // Nobody is asked for proofs there, so there is nothing to be too lenient with.
        if rule == Rule::AcceptAnyDpopProof && dialect != Dialect::Plain {
            continue;
        }
        let sandbox = stage.sandbox(dialect, [rule].into_iter().collect());
        // Fetched before the key was removed.
        let keys = "/.well-known/jwks.json";
        let mut before = stage.cast.issuer.jwks();
        if matches!(rule, Rule::NeverRefetchJwks | Rule::IgnoreKid) {
            before["keys"].as_array_mut().unwrap().push(stage.cast.issuer.removed.public_jwk());
        }
        stage.providers[0].publish(keys, before);
        control(&stage, &sandbox, "first").await;
        stage.providers[0].publish(keys, stage.cast.issuer.jwks());
        for (flaw, draft, token) in &flaws {
            // Clients are registered there, and no document of theirs is looked at.
            let of_documents = matches!(rule, Rule::AcceptAnyIssuer | Rule::IgnoreJwksUriOfDocument);
            if dialect == Dialect::Plain && of_documents && flaw.name == "client-id-of-a-stranger" {
                continue;
            }
            let names_it = flaw.counterparts.contains(&rule.name());
            let expected = match flaw.answer(dialect) {
                Answer::Refuse { .. } => names_it,
                Answer::Accept { .. } => true,
                Answer::Open => continue,
            };
            let (status, code) = stage.present(&sandbox, flaw.kind, draft, token).await;
            // Believed, and another user's than the one who has this address.
            let asked = code == "interaction_required" && flaw.class != Class::Interaction;
            if (is_accepted(status) || asked) != expected {
                wrong.push(format!("{dialect:?} {} {}: {status} {code}", rule.name(), flaw.name));
            }
        }
    }
    assert!(wrong.is_empty(), "{}:\n{}", wrong.len(), wrong.join("\n"));
}

#[tokio::test]
async fn without_a_rule_in_v01() {
    without_a_rule(Dialect::V01).await;
}

#[tokio::test]
async fn without_a_rule_flat() {
    without_a_rule(Dialect::Flat).await;
}

#[tokio::test]
async fn without_a_rule_nested() {
    without_a_rule(Dialect::Nested).await;
}

#[tokio::test]
async fn without_a_rule_plain() {
    without_a_rule(Dialect::Plain).await;
}
