//! One assertion of a lab, good or with one flaw.

use serde_json::{Value, json};

use super::flaws::{Cast, Draft, Flaw, Kind, Others, Presented, Terms};
use super::issuer::LabIssuer;
use crate::domain::claims::ASSERTION_LIFETIME;
use crate::domain::ids::{IssuerUrl, LAB_DOMAIN};
use crate::domain::time::Timestamp;
use crate::jose::{JoseError, LabKey};
use crate::secret::sha256;

/// Whom an assertion is about where nobody says.
pub const SUB: &str = "lab-user";

/// The address of a user of a lab. Each has one of their own, so that no service takes two for one.
#[must_use]
pub fn address_of(sub: &str) -> String {
    let inner = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    let outer = |byte: Option<u8>| byte.is_some_and(|byte| byte.is_ascii_alphanumeric());
    let (first, last) = (sub.bytes().next(), sub.bytes().last());
    let plain = sub.len() <= 64 && sub.bytes().all(inner) && outer(first) && outer(last) && !sub.contains("..");
    match sub {
        SUB => format!("user@{LAB_DOMAIN}"),
        _ if plain => format!("{sub}@{LAB_DOMAIN}"),
        _ => format!("user-{}@{LAB_DOMAIN}", sha256(sub.as_bytes())),
    }
}

/// What is asked for.
#[derive(Debug)]
pub struct Wish<'a> {
    /// What it is about.
    pub terms: Terms,
    /// Claims with other values; a null takes one away.
    pub claims: &'a [(String, Value)],
    /// The same of its header.
    pub header: &'a [(String, Value)],
    /// What is to be wrong with it.
    pub flaw: Option<&'static Flaw>,
    /// Where it is presented with a proof of possession, to which it is then bound.
    pub proof_for: Option<&'a str>,
}

/// Why there is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MintError {
    /// Only a flaw makes one that lives longer.
    #[error("an assertion lives at most 300 seconds; --flaw exp-an-hour-ahead makes one that lives longer")]
    TooLong,
    /// It is one of something else.
    #[error("{0} is no flaw of an assertion")]
    NotOfAssertions(&'static str),
    /// What is left of the wish has nothing that the flaw could change.
    #[error("with these claims {0} would change nothing")]
    NoDifference(&'static str),
    /// The key cannot do it.
    #[error("{0}")]
    Jose(#[from] JoseError),
}

/// An assertion, and what whoever presents it should know.
#[derive(Debug)]
pub struct Minted {
    /// As it goes over the wire.
    pub token: String,
    /// Before it was signed.
    pub draft: Draft,
    /// The DPoP proof that is sent with it.
    pub proof: Option<String>,
}

impl Cast {
    /// An issuer of this key, and everybody else as a lab has them.
    ///
    /// # Errors
    /// When a key cannot be made.
    pub fn new(url: IssuerUrl, key: LabKey, now: Timestamp) -> Result<Self, JoseError> {
        const UNFIT: JoseError = JoseError("the untrusted issuer has no name");
        let untrusted = IssuerUrl::parse(&format!("https://untrusted.{LAB_DOMAIN}")).map_err(|_| UNFIT)?;
        let untrusted = LabIssuer::new(untrusted, key.derive("untrusted")?)?;
        Ok(Self { issuer: LabIssuer::new(url, key)?, untrusted, others: Others::default(), now })
    }
}

/// Makes one.
///
/// # Errors
/// Why there is none.
pub fn mint(cast: &Cast, wish: &Wish<'_>) -> Result<Minted, MintError> {
    let mut good = cast.assertion(&wish.terms)?;
    if wish.proof_for.is_some() {
        cast.bind(&mut good);
    }
    for (members, changes) in [(&mut good.claims, wish.claims), (&mut good.header, wish.header)] {
        members.extend(changes.iter().cloned());
        members.retain(|_, value| !value.is_null());
    }
    let time = |name: &str| good.claims.get(name).and_then(Value::as_i64);
    let ends = time("exp").unwrap_or(i64::MAX);
    if ends > cast.now.0.saturating_add(ASSERTION_LIFETIME.0) {
        return Err(MintError::TooLong);
    }
    let Some(flaw) = wish.flaw else { return made(cast, wish, good) };
    let of_assertions = Some(flaw).filter(|flaw| flaw.kind == Kind::Assertion);
    let draft = of_assertions.and_then(|flaw| flaw.apply(&good, cast)).ok_or(MintError::NotOfAssertions(flaw.name))?;
    if draft == good {
        return Err(MintError::NoDifference(flaw.name));
    }
    made(cast, wish, draft)
}

fn made(cast: &Cast, wish: &Wish<'_>, draft: Draft) -> Result<Minted, MintError> {
    let proof = wish.proof_for.map(|url| cast.proof(&draft, url)).transpose()?.flatten();
    Ok(Minted { token: draft.token(cast)?, draft, proof })
}

impl Minted {
    /// Everything about it, for programs.
    #[must_use]
    pub fn to_json(&self, cast: &Cast, flaw: Option<&Flaw>) -> Value {
        let presented = (self.draft.presented != Presented::Usual).then(|| self.draft.presented.advice());
        json!({"assertion": self.token, "jti": self.draft.claims.get("jti"), "kid": self.draft.header.get("kid"),
            "flaw": flaw, "present": presented, "header": self.draft.header, "claims": self.draft.claims,
            "issuer": cast.issuer.url, "jwks": cast.issuer.jwks(), "dpop": self.proof})
    }
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;

    use super::*;
    use crate::domain::ids::Jti;
    use crate::domain::rotation::SigningAlg;
    use crate::jose::{PublicKey, Unverified};
    use crate::lab::flaws::find;

    fn cast() -> Cast {
        Cast::new(LabIssuer::default_url().unwrap(), LabKey::of_seed(b"mint").unwrap(), Timestamp(1_800_000_000))
            .unwrap()
    }

    fn wish<'a>(claims: &'a [(String, Value)], flaw: Option<&str>) -> Wish<'a> {
        let terms = Terms {
            audience: "http://localhost:8000".into(),
            sub: "u".into(),
            email: None,
            client_id: "c".into(),
            scope: None,
            resource: None,
            jti: Jti::parse("j").unwrap(),
            alg: SigningAlg::Es256,
        };
        Wish { terms, claims, header: &[], flaw: flaw.map(|name| find(name).unwrap()), proof_for: None }
    }

    #[test]
    fn each_user_has_an_address_of_their_own() {
        for (sub, address) in
            [("lab-user", "user@lab.invalid"), ("bob", "bob@lab.invalid"), ("a.b-c_1", "a.b-c_1@lab.invalid")]
        {
            assert_eq!(address_of(sub), address);
        }
        let odd = ["bob@example.com", "bob smith", "b\u{f6}b", ".bob", "bob.", "b..b", "-", "", &"b".repeat(65)];
        let addresses: std::collections::BTreeSet<String> = odd.into_iter().map(address_of).collect();
        assert_eq!(addresses.len(), odd.len());
        assert!(addresses.iter().all(|address| address.starts_with("user-") && address.len() <= 64), "{addresses:?}");
    }

    #[test]
    fn what_is_asked_for_and_nothing_more() {
        let cast = cast();
        let made = mint(&cast, &wish(&[("sub".into(), Value::Null), ("name".into(), json!("A"))], None)).unwrap();
        assert_eq!((made.draft.claims.get("sub"), &made.draft.claims["name"]), (None, &json!("A")));
        for (claims, flaw, expected) in [
            (vec![("exp".to_owned(), json!(1_800_000_301))], None, MintError::TooLong),
            (vec![("exp".to_owned(), Value::Null)], None, MintError::TooLong),
            (vec![("exp".to_owned(), json!("never"))], None, MintError::TooLong),
            (vec![], Some("notice-iss-missing"), MintError::NotOfAssertions("notice-iss-missing")),
            (vec![], Some("jwks-empty"), MintError::NotOfAssertions("jwks-empty")),
            (vec![], Some("contact-missing"), MintError::NoDifference("contact-missing")),
        ] {
            assert_eq!(mint(&cast, &wish(&claims, flaw)).unwrap_err(), expected);
        }
        assert!(mint(&cast, &wish(&[], Some("exp-an-hour-ahead"))).is_ok());
    }

    #[test]
    fn a_bound_one_comes_with_its_proof() {
        const TOKEN: &str = "http://localhost:8000/token";
        let cast = cast();
        let bound = |flaw| mint(&cast, &Wish { proof_for: Some(TOKEN), ..wish(&[], flaw) }).unwrap();
        let read = |proof: &str| {
            let part = |n| serde_json::from_slice(&URL_SAFE_NO_PAD.decode(proof.split('.').nth(n).unwrap()).unwrap());
            let (header, claims): (Value, Value) = (part(0).unwrap(), part(1).unwrap());
            let (key, token) = (PublicKey::from_jwk(&header["jwk"]).unwrap(), Unverified::parse(proof).unwrap());
            assert!(token.verify::<Value>(&key, Some("dpop+jwt")).is_ok());
            (header["jwk"]["x"].clone(), claims["htu"].clone())
        };
        let key = cast.issuer.holder.public_jwk()["x"].clone();
        let good = bound(None);
        assert_eq!(good.draft.claims["cnf"]["jkt"], json!(cast.issuer.holder.thumbprint()));
        assert_eq!(read(&good.proof.unwrap()), (key.clone(), json!(TOKEN)));
        assert_eq!(bound(Some("cnf-without-proof")).proof, None);
        let by_another = read(&bound(Some("cnf-with-a-strangers-proof")).proof.unwrap());
        assert!(by_another.0 != key && by_another.1 == TOKEN);
        let elsewhere = read(&bound(Some("cnf-with-a-proof-for-another-address")).proof.unwrap());
        assert!(elsewhere.0 == key && elsewhere.1 != TOKEN);
        assert_eq!(mint(&cast, &wish(&[], None)).unwrap().proof, None);
    }
}
