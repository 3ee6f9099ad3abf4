//! Tokens with verdicts, for whoever verifies ID-JAGs in any language: each is made of one good draft, by keys that everybody can make
//! again, at a clock that stands. The same program writes the same file each time, one for each algorithm.

mod documents;
mod good;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

pub use self::documents::Served;
use self::good::{AUTH_MD, GOOD};
use super::flaws::{Answer, Cast, Dialect, Draft, Flaw, Kind, Level, Presented, SECEVENT, Spec, Terms, all};
use crate::domain::claims::LOGOUT;
use crate::domain::ids::{IdError, IssuerUrl, Jti, LAB_DOMAIN};
use crate::domain::rotation::SigningAlg;
use crate::domain::time::Timestamp;
use crate::jose::{JoseError, LabKey};
use crate::lab::issuer::LabIssuer;

/// Which schema a file follows. A reader takes no newer one: what it does not know could turn a verdict round.
pub const SCHEMA_VERSION: u32 = 1;

const CIMD: &str = "/agent-auth.json";
const JWKS: &str = "/.well-known/jwks.json";

/// Most bytes of a file that is read.
pub const MAX_FILE: usize = 8 * 1024 * 1024;

/// The file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Vectors {
    /// [`SCHEMA_VERSION`].
    pub schema_version: u32,
    /// What this is, and how to use it.
    pub about: String,
    /// How everything good is signed.
    pub alg: String,
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
    /// `assertion` or `notice`; `jwks` or `cimd` where the token is good, and a key set or a client's document is not.
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
    /// What is served, in the place of what the issuer publishes otherwise.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub documents: Vec<Served>,
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

const ABOUT: &str = "Tokens for testing whoever verifies ID-JAGs, each good but for one change, with the verdict. Judge all of them at `clock`, as \
the service `audience` that trusts `issuer` and its `jwks` and nobody else; begin each one without memory of the others, unless `present` says \
otherwise. Where `documents` are given, serve those in the place of what the issuer publishes. `reason` is what a refusal should be about, `answers` \
how each dialect spells it (the first code is the exact one). Passing all of them proves that these mistakes are not made, and nothing else. The keys \
are public: they are good for nothing but this.";

/// RSA keys cannot be made of a seed. These are everybody's, as the others are.
const RSA_KEYS: &str = include_str!("vectors/rsa_keys.json");

/// The name of the file whose tokens are signed so.
#[must_use]
pub fn file_name(alg: SigningAlg) -> &'static str {
    match alg {
        SigningAlg::Es256 => "id-jag.json",
        SigningAlg::Rs256 => "id-jag.rs256.json",
    }
}

/// The keys and names that the vectors are made of. For RS256 every key that signs is RSA, so that nothing but the flaw tells them apart.
///
/// # Errors
/// When the library refuses.
pub fn cast(alg: SigningAlg) -> Result<Cast, JoseError> {
    const UNFIT: JoseError = JoseError("a lab's issuer has no name");
    let name = if alg == SigningAlg::Rs256 { "issuer-rs256" } else { "issuer" };
    let url = IssuerUrl::parse(&format!("https://{name}.{LAB_DOMAIN}")).map_err(|_: IdError| UNFIT)?;
    let mut cast = Cast::new(url, LabKey::of_seed(b"id-jag vectors, version 1")?, Timestamp(1_800_000_000))?;
    if alg == SigningAlg::Rs256 {
        let keys: BTreeMap<String, Value> = serde_json::from_str(RSA_KEYS).map_err(|_| UNFIT)?;
        let key = |name: &str| LabKey::read(&keys.get(name).ok_or(UNFIT)?.to_string());
        let issuer = &mut cast.issuer;
        (issuer.key, issuer.next) = (key("key")?, key("next")?);
        (issuer.removed, issuer.stranger) = (key("removed")?, key("stranger")?);
        (cast.untrusted.key, cast.untrusted.next) = (key("untrusted")?, key("untrusted-next")?);
    }
    Ok(cast)
}

/// Whether a flaw is one of tokens that are signed so, and of a file that people can read.
#[must_use]
pub fn is_of(flaw: &Flaw, alg: SigningAlg) -> bool {
    let of_curves = flaw.section.spec == Spec::Rfc7518 && ["3.4", "6.2.1"].contains(&flaw.section.at);
    // Two thousand RSA keys are a megabyte, and say nothing that two thousand others do not.
    alg == SigningAlg::Es256 || !of_curves && flaw.name != "jwks-thousands-of-keys"
}

/// Makes all of them.
///
/// # Errors
/// When the library refuses.
pub fn make(alg: SigningAlg) -> Result<Vectors, JoseError> {
    let cast = cast(alg)?;
    let audience = format!("https://service.{LAB_DOMAIN}");
    let resource = format!("{audience}/api/");
    let flaws = |kind: Kind| all().iter().filter(move |flaw| flaw.kind == kind && is_of(flaw, alg));
    let assertion = |id: &str| {
        let client_id = cast.issuer.url.at(CIMD);
        let (audience, resource) = (audience.clone(), Some(resource.clone()));
        let (sub, email, scope) = ("lab-user".into(), Some("user@lab.invalid".into()), Some("api.read".into()));
        cast.assertion(&Terms { audience, sub, email, client_id, scope, resource, jti: jti(id)?, alg })
    };
    let mut vectors = Vec::new();
    for (id, meaning, change, dialects) in GOOD {
        let mut draft = assertion(id)?;
        change(&mut draft, &cast);
        vectors.push(good(&cast, id, meaning, Kind::Assertion, &draft, dialects)?);
    }
    for flaw in flaws(Kind::Assertion) {
        vectors.push(flawed(&cast, flaw, flaw.name.to_owned(), &assertion(flaw.name)?)?);
    }
    for (format, typ, dialects) in
        [("logout", LOGOUT, &[Dialect::V01][..]), ("secevent", SECEVENT, &[Dialect::Flat, Dialect::Nested])]
    {
        let notice = |id: &str| cast.notice(typ, alg, &audience, "lab-user", &jti(id)?);
        let id = format!("good-notice.{format}");
        let meaning = "Nothing is wrong with it: what this user agreed to ends.";
        vectors.push(good(&cast, &id, meaning, Kind::Notice, &notice(&id)?, dialects)?);
        for flaw in flaws(Kind::Notice) {
            let id = format!("{}.{format}", flaw.name);
            let vector = flawed(&cast, flaw, id.clone(), &notice(&id)?)?;
            vectors.push(vector.only(flaw, dialects));
        }
    }
    // A plain authorization server knows its clients, and asks for no document of theirs.
    for (kind, dialects) in [(Kind::Jwks, &Dialect::ALL[..]), (Kind::Cimd, AUTH_MD)] {
        for flaw in flaws(kind) {
            if let Some(spoilt) = documents::spoilt(&cast, flaw) {
                let mut good = assertion(flaw.name)?;
                documents::sign(&mut good, &spoilt, &cast);
                let vector = Vector { documents: spoilt.served, ..of_flaw(flaw, flaw.name.to_owned(), &good, &cast)? };
                vectors.push(vector.only(flaw, dialects));
            }
        }
    }
    let [removed, stranger, holder] = [&cast.issuer.removed, &cast.issuer.stranger, &cast.issuer.holder];
    Ok(Vectors {
        schema_version: SCHEMA_VERSION,
        about: ABOUT.to_owned(),
        alg: alg.as_str().to_owned(),
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
        let (client_id, jwks_uri) = (issuer.url.at(CIMD), issuer.url.at(JWKS));
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
        documents: Vec::new(),
        verdict: Verdict::Accept,
        reason: None,
        section: None,
        level: None,
        seen_by: None,
        answers: dialects.iter().map(answer).collect(),
    })
}

fn flawed(cast: &Cast, flaw: &Flaw, id: String, good: &Draft) -> Result<Vector, JoseError> {
    of_flaw(flaw, id, &flaw.apply(good, cast).ok_or(JoseError("a flaw is none of a token"))?, cast)
}

/// What is presented where something has this flaw.
fn of_flaw(flaw: &Flaw, id: String, draft: &Draft, cast: &Cast) -> Result<Vector, JoseError> {
    let word = |value: Value| value.as_str().map(str::to_owned);
    Ok(Vector {
        id,
        kind: flaw.kind,
        flaw: Some(flaw.name.to_owned()),
        meaning: flaw.meaning.to_owned(),
        token: draft.token(cast)?,
        present: (draft.presented != Presented::Usual).then(|| draft.presented.advice().to_owned()),
        documents: Vec::new(),
        verdict: verdict(flaw, &Dialect::ALL),
        reason: word(json!(flaw.class)),
        section: Some(flaw.section.to_string()),
        level: Some(flaw.level.as_str().to_owned()),
        seen_by: word(json!(flaw.sight)),
        answers: Dialect::ALL.map(|dialect| (dialect.as_str().to_owned(), json!(flaw.answer(dialect)))).into(),
    })
}

impl Vector {
    /// For these dialects alone.
    fn only(mut self, flaw: &Flaw, dialects: &[Dialect]) -> Self {
        self.answers.retain(|name, _| dialects.iter().any(|dialect| dialect.as_str() == name));
        self.verdict = verdict(flaw, dialects);
        self
    }
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
