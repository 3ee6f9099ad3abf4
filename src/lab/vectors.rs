//! Tokens with verdicts, for whoever verifies ID-JAGs in any language: each is made of one good draft, by keys that everybody can make
//! again, at a clock that stands. The same program writes the same file each time.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::flaws::{Answer, Cast, Dialect, Draft, Flaw, Kind, Level, Presented, SECEVENT, Signer, Terms, all};
use crate::domain::claims::LOGOUT;
use crate::domain::ids::{IdError, IssuerUrl, Jti, LAB_DOMAIN};
use crate::domain::rotation::SigningAlg;
use crate::domain::time::{Seconds, Timestamp};
use crate::jose::{JoseError, LabKey};
use crate::lab::issuer::LabIssuer;

/// Which schema a file follows. A reader takes no newer one: what it does not know could turn a verdict round.
pub const SCHEMA_VERSION: u32 = 1;

/// Most bytes of a file that is read.
pub const MAX_FILE: usize = 8 * 1024 * 1024;

/// The file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Vectors {
    /// [`SCHEMA_VERSION`].
    pub schema_version: u32,
    /// What this is, and how to use it.
    pub about: String,
    /// The time at which every token is judged.
    pub clock: Timestamp,
    /// The service that judges: its issuer identifier, and so `aud`.
    pub audience: String,
    /// The one resource that it guards.
    pub resource: String,
    /// Every scope that it has.
    pub scopes: Vec<String>,
    /// The one issuer that it trusts.
    pub issuer: Publisher,
    /// An issuer that it does not trust.
    pub untrusted_issuer: Publisher,
    /// Keys that no issuer publishes, and that sign some of these.
    pub other_keys: BTreeMap<String, Value>,
    /// The tokens.
    pub vectors: Vec<Vector>,
}

/// An issuer and what it publishes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Publisher {
    /// Its identifier.
    pub issuer: String,
    /// Its key set, at `/.well-known/jwks.json` under it.
    pub jwks: Value,
    /// Its Client ID Metadata Document, at the address that the document names.
    pub client_metadata: Value,
}

/// A token and what to say to it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Vector {
    /// Its name; that of the flaw, if it has one.
    pub id: String,
    /// `assertion` or `notice`.
    pub kind: Kind,
    /// The flaw of that name in `docs/flaws.md`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub flaw: Option<String>,
    /// What is special about it.
    pub meaning: String,
    /// As it goes over the wire.
    pub token: String,
    /// Where it is not presented once, and as usual.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub present: Option<String>,
    /// What to say to it.
    pub verdict: Verdict,
    /// What the refusal should be about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The rule.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub section: Option<String>,
    /// How binding it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub level: Option<String>,
    /// Who can see it: `library`, `profile` or `service`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seen_by: Option<String>,
    /// What each dialect answers.
    pub answers: BTreeMap<String, Value>,
}

/// What to say.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// Yes.
    Accept,
    /// No.
    Refuse,
    /// As the service likes.
    Policy,
}

/// What is good about a good one, the change that makes it special, and the dialects that take it.
type Good = (&'static str, &'static str, fn(&mut Draft, &Cast), &'static [Dialect]);

const AUTH_MD: &[Dialect] = &[Dialect::V01, Dialect::Flat, Dialect::Nested];

/// Every good one is the plain one with one change, as the flawed ones are.
const GOOD: &[Good] = &[
    ("good", "Nothing is wrong with it.", |_, _| {}, &Dialect::ALL),
    (
        "good-aud-in-a-list",
        "The audience is a list of one.",
        |d, _| {
            let aud = d.text("aud");
            d.set("aud", [aud]);
        },
        &Dialect::ALL,
    ),
    (
        "good-without-scope-and-resource",
        "It asks for nothing in particular.",
        |d, _| {
            d.claims.remove("scope");
            d.claims.remove("resource");
        },
        &Dialect::ALL,
    ),
    (
        "good-signed-by-the-next-key",
        "The key signed that follows, and is published.",
        |d, cast| {
            d.head("kid", cast.issuer.next.kid());
            d.signer = Signer::Next;
        },
        &Dialect::ALL,
    ),
    (
        "good-signed-in-just-now",
        "The user signed in this second.",
        |d, cast| d.set("auth_time", cast.now),
        &Dialect::ALL,
    ),
    (
        "good-in-its-last-minute",
        "It was made four minutes ago.",
        |d, cast| {
            d.set("iat", cast.now - Seconds(240));
            d.set("exp", cast.now + Seconds(60));
        },
        &Dialect::ALL,
    ),
    (
        "good-with-a-phone-number",
        "The user has a verified phone number and no address.",
        |d, _| {
            d.claims.remove("email");
            d.claims.remove("email_verified");
            d.set("phone_number", "+15550100");
            d.set("phone_number_verified", true);
        },
        AUTH_MD,
    ),
    (
        "good-client-is-the-issuer",
        "The client_id is the issuer.",
        |d, cast| d.set("client_id", &cast.issuer.url),
        AUTH_MD,
    ),
    (
        "good-with-a-claim-that-nobody-knows",
        "A claim is there that nobody knows, and is ignored.",
        |d, _| {
            d.set("https://lab.invalid/unknown", true);
        },
        &Dialect::ALL,
    ),
];

const ABOUT: &str = "Tokens for testing whoever verifies ID-JAGs, each good but for one change, with the verdict. Judge all of them at `clock`, as \
the service `audience` that trusts `issuer` and its `jwks` and nobody else; begin each one without memory of the others, unless `present` says \
otherwise. `reason` is what a refusal should be about, `answers` how each dialect spells it (the first code is the exact one). Passing all of them \
proves that these mistakes are not made, and nothing else. The keys are public: they are good for nothing but this.";

/// The keys and names that the vectors are made of.
///
/// # Errors
/// When the library refuses.
pub fn cast() -> Result<Cast, JoseError> {
    const UNFIT: JoseError = JoseError("a lab's issuer has no name");
    let url = IssuerUrl::parse(&format!("https://issuer.{LAB_DOMAIN}")).map_err(|_: IdError| UNFIT)?;
    Cast::new(url, LabKey::of_seed(b"id-jag vectors, version 1")?, Timestamp(1_800_000_000))
}

/// Makes all of them.
///
/// # Errors
/// When the library refuses.
pub fn make() -> Result<Vectors, JoseError> {
    let cast = cast()?;
    let audience = format!("https://service.{LAB_DOMAIN}");
    let resource = format!("{audience}/api/");
    let client_id = cast.issuer.url.at("/agent-auth.json");
    let terms = |id: &str| -> Result<Terms, JoseError> {
        let (audience, resource, client_id) = (audience.clone(), Some(resource.clone()), client_id.clone());
        let (sub, email, scope) = ("lab-user".into(), Some("user@lab.invalid".into()), Some("api.read".into()));
        Ok(Terms { audience, sub, email, client_id, scope, resource, jti: jti(id)?, alg: SigningAlg::Es256 })
    };
    let mut vectors = Vec::new();
    for (id, meaning, change, dialects) in GOOD {
        let mut draft = cast.assertion(&terms(id)?)?;
        change(&mut draft, &cast);
        vectors.push(good(&cast, id, meaning, Kind::Assertion, &draft, dialects)?);
    }
    for flaw in all().iter().filter(|flaw| flaw.kind == Kind::Assertion) {
        vectors.push(flawed(&cast, flaw, flaw.name.to_owned(), &cast.assertion(&terms(flaw.name)?)?)?);
    }
    for (format, typ, dialects) in
        [("logout", LOGOUT, &[Dialect::V01][..]), ("secevent", SECEVENT, &[Dialect::Flat, Dialect::Nested])]
    {
        let notice = |id: &str| cast.notice(typ, SigningAlg::Es256, &audience, "lab-user", &jti(id)?);
        let id = format!("good-notice.{format}");
        let meaning = "Nothing is wrong with it: what this user agreed to ends.";
        vectors.push(good(&cast, &id, meaning, Kind::Notice, &notice(&id)?, dialects)?);
        for flaw in all().iter().filter(|flaw| flaw.kind == Kind::Notice) {
            let id = format!("{}.{format}", flaw.name);
            let mut vector = flawed(&cast, flaw, id.clone(), &notice(&id)?)?;
            let speaks = |dialect: &String| dialects.iter().any(|of| of.as_str() == dialect);
            vector.answers.retain(|dialect, _| speaks(dialect));
            vector.verdict = verdict(flaw, dialects);
            vectors.push(vector);
        }
    }
    let [removed, stranger, holder] = [&cast.issuer.removed, &cast.issuer.stranger, &cast.issuer.holder];
    Ok(Vectors {
        schema_version: SCHEMA_VERSION,
        about: ABOUT.to_owned(),
        clock: cast.now,
        other_keys: [("removed", removed), ("stranger", stranger), ("holder", holder)]
            .map(|(name, key)| (name.to_owned(), key.public_jwk()))
            .into(),
        issuer: Publisher::of(&cast.issuer),
        untrusted_issuer: Publisher::of(&cast.untrusted),
        scopes: vec!["api.read".into(), "api.write".into()],
        audience,
        resource,
        vectors,
    })
}

impl Publisher {
    fn of(issuer: &LabIssuer) -> Self {
        let (client_id, jwks_uri) = (issuer.url.at("/agent-auth.json"), issuer.url.at("/.well-known/jwks.json"));
        Self {
            issuer: issuer.url.to_string(),
            jwks: issuer.jwks(),
            client_metadata: json!({"client_id": client_id, "client_name": "Lab", "jwks_uri": jwks_uri,
                "token_endpoint_auth_method": "private_key_jwt"}),
        }
    }
}

fn jti(id: &str) -> Result<Jti, JoseError> {
    Jti::parse(&format!("lab-{id}")).map_err(|_| JoseError("a lab's token has no name"))
}

fn good(
    cast: &Cast,
    id: &str,
    meaning: &str,
    kind: Kind,
    draft: &Draft,
    dialects: &[Dialect],
) -> Result<Vector, JoseError> {
    let status = |dialect: &Dialect| if kind == Kind::Notice && *dialect != Dialect::V01 { 202 } else { 200 };
    let answer = |dialect: &Dialect| (dialect.as_str().to_owned(), json!(Answer::Accept { status: status(dialect) }));
    Ok(Vector {
        id: id.to_owned(),
        kind,
        flaw: None,
        meaning: meaning.to_owned(),
        token: draft.token(cast)?,
        present: None,
        verdict: Verdict::Accept,
        reason: None,
        section: None,
        level: None,
        seen_by: None,
        answers: dialects.iter().map(answer).collect(),
    })
}

fn flawed(cast: &Cast, flaw: &Flaw, id: String, good: &Draft) -> Result<Vector, JoseError> {
    let draft = flaw.apply(good, cast).ok_or(JoseError("a flaw is none of a token"))?;
    let word = |value: Value| value.as_str().map(str::to_owned);
    Ok(Vector {
        id,
        kind: flaw.kind,
        flaw: Some(flaw.name.to_owned()),
        meaning: flaw.meaning.to_owned(),
        token: draft.token(cast)?,
        present: (draft.presented != Presented::Usual).then(|| draft.presented.advice().to_owned()),
        verdict: verdict(flaw, &Dialect::ALL),
        reason: word(json!(flaw.class)),
        section: Some(flaw.section.to_string()),
        level: Some(flaw.level.as_str().to_owned()),
        seen_by: word(json!(flaw.sight)),
        answers: Dialect::ALL.map(|dialect| (dialect.as_str().to_owned(), json!(flaw.answer(dialect)))).into(),
    })
}

/// No, where any of these dialects says no.
fn verdict(flaw: &Flaw, dialects: &[Dialect]) -> Verdict {
    let refused = dialects.iter().any(|dialect| matches!(flaw.answer(*dialect), Answer::Refuse { .. }));
    match (flaw.level, refused) {
        (Level::Policy, _) => Verdict::Policy,
        (_, true) => Verdict::Refuse,
        (_, false) => Verdict::Accept,
    }
}

/// Why a file cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// It may hold what nobody here knows.
    #[error(
        "the vectors follow version {0} of their schema, and this program knows {SCHEMA_VERSION} at most: take a newer Avouch"
    )]
    Newer(u64),
    /// It holds none.
    #[error("it is no file of vectors: {0}")]
    Malformed(String),
}

/// Reads a file of vectors, of this version or an older one.
///
/// # Errors
/// Why it cannot be read.
pub fn read(text: &str) -> Result<Vectors, ReadError> {
    #[derive(Deserialize)]
    struct Version {
        schema_version: u64,
    }
    let malformed = |e: serde_json::Error| ReadError::Malformed(e.to_string());
    if text.len() > MAX_FILE {
        return Err(ReadError::Malformed(format!("it is longer than {MAX_FILE} bytes")));
    }
    // First, and alone: the rest of a newer one may look like nothing that is known.
    let Version { schema_version } = serde_json::from_str(text).map_err(malformed)?;
    if schema_version > u64::from(SCHEMA_VERSION) {
        return Err(ReadError::Newer(schema_version));
    }
    serde_json::from_str(text).map_err(malformed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_newer_file_is_refused_in_one_sentence() {
        for (text, expected) in [
            (r#"{"schema_version": 2, "vectors": "of another form"}"#, "follow version 2"),
            (r#"{"schema_version": 18446744073709551615}"#, "follow version 18446744073709551615"),
            (r#"{"schema_version": "2"}"#, "no file of vectors"),
            (r#"{"schema_version": 1}"#, "no file of vectors"),
            ("[]", "no file of vectors"),
            ("", "no file of vectors"),
        ] {
            let error = read(text).unwrap_err().to_string();
            assert!(error.contains(expected) && !error.contains('\n'), "{text}: {error}");
        }
        let long = format!("{}{{}}", " ".repeat(MAX_FILE));
        assert!(read(&long).unwrap_err().to_string().contains("longer"));
    }
}
