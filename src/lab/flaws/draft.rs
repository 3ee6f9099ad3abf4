//! A token before it is signed: what it says, by which key, and what is done to it afterwards; so that a flaw can be one change to any of
//! these.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value, json};

use crate::domain::claims::{ASSERTION_LIFETIME, ID_JAG, LOGOUT, REVOKED_EVENT};
use crate::domain::ids::Jti;
use crate::domain::rotation::SigningAlg;
use crate::domain::time::{Seconds, Timestamp};
use crate::jose::{JoseError, LabKey, as_der, compact, hmac_sha256};
use crate::lab::issuer::LabIssuer;

/// `typ` of a security event token (RFC 8417 section 2.3).
pub const SECEVENT: &str = "secevent+jwt";

/// Seconds since the user of a good assertion signed in: before the assertion was made, also where that was a while ago, and recent
/// enough for every service.
pub const SIGNED_IN: Seconds = Seconds(1200);

/// Whose key signs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signer {
    /// The issuer's own, of this algorithm.
    Own(SigningAlg),
    /// The one that follows.
    Next,
    /// One that the issuer publishes no more.
    Removed,
    /// Nobody's.
    Stranger,
    /// The untrusted issuer's own.
    Untrusted,
    /// The public key in PEM, taken for a shared secret.
    PublicKey,
    /// None: the signature is empty.
    Nobody,
}

/// What is done to the signature.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finish {
    /// Nothing.
    AsSigned,
    /// One bit is another.
    Flipped,
    /// In DER, which is no JWS (RFC 7518 section 3.4).
    Der,
    /// The last byte is missing.
    Truncated,
    /// It is missing, while `alg` stays.
    Empty,
    /// Zeros in a range of its bytes.
    Zeros(usize, usize),
    /// Base64 with padding.
    Padded,
    /// That of a token which differs in its `jti`.
    Transplanted,
}

/// How header and claims are put into a token.
#[derive(Clone, Debug, PartialEq)]
pub enum Shape {
    /// Three parts.
    Jws,
    /// A member of the header comes twice, first with this value.
    HeaderTwice(&'static str, Value),
    /// A claim comes twice, first with this value.
    ClaimTwice(&'static str, Value),
    /// The claims are in a list.
    Listed,
    /// Five parts, as of an encrypted token with the signed one in it.
    Encrypted,
}

/// How it is presented.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Presented {
    /// As a good one.
    Usual,
    /// A second time.
    Again,
    /// A second time, after the service was started anew.
    AgainAfterRestart,
    /// To the API, as a credential.
    AsBearer,
    /// To the token endpoint, where the service's own assertions go.
    AtTokenEndpoint,
    /// With a DPoP proof by the key of `cnf`.
    WithProof,
    /// With a DPoP proof by a key that is not the one of `cnf`.
    WithStrangersProof,
    /// With a DPoP proof by the right key, for another address.
    WithProofForAnotherAddress,
    /// As another content type.
    As(&'static str),
}

impl Presented {
    /// What to do with the token, for whoever presents it.
    #[must_use]
    pub fn advice(self) -> &'static str {
        match self {
            Self::Usual => "present it as usual",
            Self::Again => "present it twice: the second time shows the flaw",
            Self::AgainAfterRestart => "present it, restart the service, present it again",
            Self::AsBearer => "send it to the API as `Authorization: Bearer`",
            Self::AtTokenEndpoint => "present it at the token endpoint, with the grant jwt-bearer",
            Self::WithProof => "send its DPoP proof with it",
            Self::WithStrangersProof => "send a DPoP proof by another key with it",
            Self::WithProofForAnotherAddress => "send a DPoP proof by the right key, made for another address",
            Self::As(_) => "send it under another content type",
        }
    }
}

/// Everybody who plays a part.
#[derive(Debug)]
pub struct Cast {
    /// Whom the service trusts.
    pub issuer: LabIssuer,
    /// Whom it does not; its keys are published just as well.
    pub untrusted: LabIssuer,
    /// Somebody and something else of each sort.
    pub others: Others,
    /// When.
    pub now: Timestamp,
}

/// What a flaw puts into the place of the right one.
#[derive(Clone, Debug)]
pub struct Others {
    /// Another service.
    pub audience: String,
    /// A resource of another service.
    pub resource: String,
    /// A client that the service knows, and that did not authenticate.
    pub client_id: String,
    /// A scope that nobody may grant an agent.
    pub scope: String,
    /// A user whom nobody knows.
    pub sub: String,
    /// That user's address.
    pub email: String,
    /// Where a forger serves what a header points to.
    pub url: String,
}

impl Default for Others {
    fn default() -> Self {
        Self {
            audience: "https://other-service.lab.invalid".into(),
            resource: "https://other-service.lab.invalid/api/".into(),
            client_id: "lab-other-client".into(),
            scope: "admin".into(),
            sub: "lab-nobody".into(),
            email: "nobody@lab.invalid".into(),
            url: "https://forger.lab.invalid".into(),
        }
    }
}

/// What a good assertion is about.
#[derive(Clone, Debug)]
pub struct Terms {
    /// The service, byte for byte.
    pub audience: String,
    /// The user.
    pub sub: String,
    /// Their address; verified.
    pub email: Option<String>,
    /// The client's id at the service.
    pub client_id: String,
    /// Scope, if one is asked for.
    pub scope: Option<String>,
    /// Resource, if one is named.
    pub resource: Option<String>,
    /// Its own name.
    pub jti: Jti,
    /// How it is signed.
    pub alg: SigningAlg,
}

/// A token in the making.
#[derive(Clone, Debug, PartialEq)]
pub struct Draft {
    /// Its header.
    pub header: Map<String, Value>,
    /// Its claims.
    pub claims: Map<String, Value>,
    /// Who signs.
    pub signer: Signer,
    /// What happens to the signature.
    pub finish: Finish,
    /// How it is put together.
    pub shape: Shape,
    /// How it is presented.
    pub presented: Presented,
}

impl Cast {
    /// A good assertion (ID-JAG draft section 3.1; auth.md, "ID-JAG claims").
    ///
    /// # Errors
    /// When a key cannot be made.
    pub fn assertion(&self, terms: &Terms) -> Result<Draft, JoseError> {
        let now = self.now;
        let mut draft = self.draft(ID_JAG, terms.alg, &terms.audience, &terms.sub, &terms.jti)?;
        draft.set("client_id", terms.client_id.as_str());
        draft.set("exp", now + ASSERTION_LIFETIME);
        draft.set("auth_time", now - SIGNED_IN);
        if let Some(email) = &terms.email {
            draft.set("email", email.as_str());
            draft.set("email_verified", true);
        }
        for (name, value) in [("scope", &terms.scope), ("resource", &terms.resource)] {
            if let Some(value) = value {
                draft.set(name, value.as_str());
            }
        }
        Ok(draft)
    }

    /// A good notice that a delegation is withdrawn: a `logout+jwt` (auth.md v0.1, "Revocation"), or a security event token (v0.3 and later).
    ///
    /// # Errors
    /// When a key cannot be made.
    pub fn notice(&self, typ: &str, alg: SigningAlg, aud: &str, sub: &str, jti: &Jti) -> Result<Draft, JoseError> {
        let mut draft = self.draft(typ, alg, aud, sub, jti)?;
        draft.set("events", json!({REVOKED_EVENT: {}}));
        if typ == LOGOUT {
            draft.set("exp", self.now + Seconds(120));
        }
        Ok(draft)
    }

    /// Binds a good assertion to the key that its client holds (ID-JAG draft section 9.8.1.2), of which a proof then comes with it.
    pub fn bind(&self, draft: &mut Draft) {
        draft.set("cnf", json!({"jkt": self.issuer.holder.thumbprint()}));
        draft.presented = Presented::WithProof;
    }

    /// The DPoP proof (RFC 9449 section 4.2) that is sent with a draft's token, in a POST to `url`; none where none is sent.
    ///
    /// # Errors
    /// When the signer refuses.
    pub fn proof(&self, draft: &Draft, url: &str) -> Result<Option<String>, JoseError> {
        let (key, url) = match draft.presented {
            Presented::WithProof => (&self.issuer.holder, url),
            Presented::WithStrangersProof => (&self.issuer.stranger, url),
            Presented::WithProofForAnotherAddress => (&self.issuer.holder, self.others.url.as_str()),
            _ => return Ok(None),
        };
        let mut jwk = key.public_jwk();
        if let Some(members) = jwk.as_object_mut() {
            members.retain(|name, _| ["kty", "crv", "x", "y"].contains(&name.as_str()));
        }
        let header = json!({"typ": "dpop+jwt", "alg": "ES256", "jwk": jwk});
        let jti = format!("{}-proof", draft.text("jti"));
        let claims = json!({"jti": jti, "htm": "POST", "htu": url, "iat": self.now});
        let signed = compact(&header.to_string(), &claims.to_string());
        Ok(Some(format!("{signed}.{}", URL_SAFE_NO_PAD.encode(key.sign(signed.as_bytes())?))))
    }

    fn draft(&self, typ: &str, alg: SigningAlg, aud: &str, sub: &str, jti: &Jti) -> Result<Draft, JoseError> {
        let object = |value: Value| if let Value::Object(members) = value { members } else { Map::new() };
        let kid = self.issuer.signer(alg)?.kid();
        Ok(Draft {
            header: object(json!({"typ": typ, "alg": alg.as_str(), "kid": kid})),
            claims: object(json!({"iss": self.issuer.url, "sub": sub, "aud": aud, "jti": jti, "iat": self.now})),
            signer: Signer::Own(alg),
            finish: Finish::AsSigned,
            shape: Shape::Jws,
            presented: Presented::Usual,
        })
    }
}

impl Draft {
    /// Sets a claim.
    pub fn set(&mut self, claim: &str, value: impl serde::Serialize) {
        self.claims.insert(claim.to_owned(), json!(value));
    }

    /// Sets a member of the header.
    pub fn head(&mut self, name: &str, value: impl serde::Serialize) {
        self.header.insert(name.to_owned(), json!(value));
    }

    /// A claim that is a text.
    #[must_use]
    pub fn text(&self, claim: &str) -> String {
        self.claims.get(claim).and_then(Value::as_str).unwrap_or_default().to_owned()
    }

    /// Which parts of two drafts differ, by the names that a flaw declares them by.
    #[must_use]
    pub fn differences(&self, other: &Self) -> Vec<String> {
        let mut found = Vec::new();
        for (part, a, b) in [("header", &self.header, &other.header), ("claims", &self.claims, &other.claims)] {
            let names: std::collections::BTreeSet<&String> = a.keys().chain(b.keys()).collect();
            let differs = names.into_iter().filter(|name| a.get(*name) != b.get(*name));
            found.extend(differs.map(|name| format!("{part}.{name}")));
        }
        for (part, same) in [
            ("key", self.signer == other.signer),
            ("signature", self.finish == other.finish),
            ("token", self.shape == other.shape),
            ("request", self.presented == other.presented),
        ] {
            found.extend((!same).then(|| part.to_owned()));
        }
        found.sort();
        found
    }

    /// The token. The same draft gives the same one each time.
    ///
    /// # Errors
    /// When a key cannot be made, or has no signature of the form that a flaw is about.
    pub fn token(&self, cast: &Cast) -> Result<String, JoseError> {
        let (header, claims) = (members(&self.header, None), members(&self.claims, None));
        let signed = match &self.shape {
            Shape::Jws | Shape::Encrypted => compact(&header, &claims),
            Shape::HeaderTwice(name, first) => compact(&members(&self.header, Some((name, first))), &claims),
            Shape::ClaimTwice(name, first) => compact(&header, &members(&self.claims, Some((name, first)))),
            Shape::Listed => compact(&header, &format!("[{claims}]")),
        };
        let token = format!("{signed}.{}", self.signature(cast, &signed)?);
        Ok(match self.shape {
            Shape::Encrypted => encrypted(&token),
            _ => token,
        })
    }

    fn signature(&self, cast: &Cast, signed: &str) -> Result<String, JoseError> {
        if self.finish == Finish::Transplanted {
            let mut other = Self { finish: Finish::AsSigned, ..self.clone() };
            other.set("jti", format!("{}-other", self.text("jti")));
            let token = other.token(cast)?;
            return Ok(token.rsplit('.').next().unwrap_or_default().to_owned());
        }
        let mut bytes = self.sign(cast, signed.as_bytes())?;
        match self.finish {
            Finish::AsSigned | Finish::Padded | Finish::Transplanted => {}
            Finish::Flipped => bytes.iter_mut().last().into_iter().for_each(|byte| *byte ^= 1),
            Finish::Der => bytes = as_der(&bytes)?,
            Finish::Truncated => bytes.truncate(bytes.len().saturating_sub(1)),
            Finish::Empty => bytes.clear(),
            Finish::Zeros(from, to) => bytes.iter_mut().take(to).skip(from).for_each(|byte| *byte = 0),
        }
        let mut text = URL_SAFE_NO_PAD.encode(bytes);
        if self.finish == Finish::Padded {
            // 64 bytes and 256 bytes both leave one over.
            text.push_str("==");
        }
        Ok(text)
    }

    fn sign(&self, cast: &Cast, signed: &[u8]) -> Result<Vec<u8>, JoseError> {
        let by = |key: &LabKey| key.sign(signed);
        match self.signer {
            Signer::Own(alg) => by(cast.issuer.signer(alg)?),
            Signer::Next => by(&cast.issuer.next),
            Signer::Removed => by(&cast.issuer.removed),
            Signer::Stranger => by(&cast.issuer.stranger),
            Signer::Untrusted => by(&cast.untrusted.key),
            Signer::PublicKey => Ok(hmac_sha256(cast.issuer.key.public_pem()?.as_bytes(), signed)),
            Signer::Nobody => Ok(Vec::new()),
        }
    }
}

/// An object as JSON, one member of it twice if so wanted.
fn members(map: &Map<String, Value>, twice: Option<(&str, &Value)>) -> String {
    let member = |(name, value): (&str, &Value)| format!("{}:{value}", json!(name));
    let first = twice.into_iter().map(member);
    let all = first.chain(map.iter().map(|(name, value)| member((name.as_str(), value))));
    format!("{{{}}}", all.collect::<Vec<_>>().join(","))
}

/// What somebody sends who encrypts to nobody: five parts whose key no service has.
fn encrypted(token: &str) -> String {
    let header = json!({"alg": "dir", "enc": "A256GCM", "cty": "JWT"}).to_string();
    let text = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
    format!("{}..{}.{}.{}", text(header.as_bytes()), text(&[0; 12]), text(token.as_bytes()), text(&[0; 16]))
}
