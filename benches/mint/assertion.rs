//! What is signed here: by the server, by the floor, and alone.

use std::task::{Context, Poll, Waker};

use avouch::domain::claims::{ASSERTION_LIFETIME, IdJag};
use avouch::domain::ids::{ClientId, Subject};
use avouch::domain::rotation::SigningAlg;
use avouch::domain::time::Timestamp;
use avouch::jose::{SealingKey, SigningKey};
use avouch::rng::Rng;

/// Whom the assertions are for.
pub(crate) const AUDIENCE: &str = "https://service.example";

/// A key for measuring.
pub(crate) fn key() -> SigningKey {
    let sealing = SealingKey::from_bytes(&[7; 32]).expect("32 bytes are a key");
    SigningKey::generate(SigningAlg::Es256, &sealing, "bench", &Rng::Os).expect("a key is made").0
}

/// A token by such a key, which is in memory and signs at once.
pub(crate) fn signed(key: &SigningKey, typ: &str, claims: &(impl serde::Serialize + Sync)) -> String {
    let token = std::pin::pin!(key.sign(typ, claims));
    match token.poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(token) => token.expect("claims are signed"),
        Poll::Pending => unreachable!("the key is in memory"),
    }
}

/// The claims of an assertion as the server makes them here.
pub(crate) fn claims(rng: &Rng, now: Timestamp) -> IdJag {
    IdJag {
        iss: "http://localhost:4000".into(),
        sub: Subject::parse("0197f2f0c7d57e6f8a3b0c1d2e3f4a5b").expect("it is ASCII"),
        aud: AUDIENCE.into(),
        client_id: ClientId::parse("secret-agent").expect("it is visible ASCII"),
        jti: rng.jti(),
        iat: now,
        exp: now + ASSERTION_LIFETIME,
        auth_time: now,
        email: Some("user0@example.com".into()),
        email_verified: Some(true),
        name: Some("User 0".into()),
        phone_number: None,
        phone_number_verified: None,
        amr: None,
        resource: None,
        scope: Some("api.read".into()),
        agent_platform: None,
        agent_context_id: None,
    }
}
