//! Keys and signatures: ES256 and RS256 (RFC 7518 sections 3.4 and 3.3), for what we sign and for what others sign.
//!
//! Written by hand over aws-lc-rs: the usual library reads the machine's clock, accepts a missing `aud` and `iss`, an unknown `crit`
//! and any `typ`, and parses the private key again for every signature.

#[cfg_attr(not(feature = "pkcs11"), path = "no_device.rs")]
mod device;
mod import;
mod jwks;
mod key;
mod lab;
mod ring;
mod seal;
mod sealing_keys;
mod verify;

pub use device::{Device, DeviceError};
pub use import::{Imported, import};
pub use jwks::{Jwks, PublicKey};
pub use key::SigningKey;
pub use lab::{LabKey, as_der, compact, hmac_sha256};
pub use ring::Keyring;
pub use seal::SealingKey;
pub use sealing_keys::SealingKeys;
pub use verify::{JoseError, MAX_TOKEN, Unverified};
