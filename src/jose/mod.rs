//! Keys and signatures: ES256 (RFC 7518 section 3.4) for what we sign; ES256 and RS256 for what others sign.
//!
//! Written by hand over aws-lc-rs: the usual library reads the machine's clock, accepts a missing `aud` and `iss`, an unknown `crit`
//! and any `typ`, and parses the private key again for every signature.

mod jwks;
mod key;
mod seal;
mod verify;

pub use jwks::{Jwks, PublicKey};
pub use key::{Keyring, SigningKey};
pub use seal::SealingKey;
pub use verify::{JoseError, MAX_TOKEN, Unverified};
