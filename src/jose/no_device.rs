//! Where PKCS #11 is not built in: there is no device, and so no key in one.

use std::path::Path;

use jose_jwk::Key;

use super::{JoseError, PublicKey};
use crate::domain::rotation::SigningAlg;
use crate::secret::Secret;

/// Why a device cannot be used at all.
#[derive(Debug, thiserror::Error)]
#[error("this build knows no PKCS #11: build it with `--features pkcs11`, or take [keys.pkcs11] away")]
pub struct DeviceError;

/// A device.
#[derive(Clone, Debug)]
pub enum Device {}

#[expect(clippy::unused_async, reason = "those of a device that is there wait for it")]
impl Device {
    /// Opens none.
    ///
    /// # Errors
    /// Always.
    pub fn open(_module: &Path, _token: &str, _pin: &Secret) -> Result<Self, DeviceError> {
        Err(DeviceError)
    }

    pub(super) async fn generate(&self, _: SigningAlg, _: [u8; 16], _: &str) -> Result<Key, JoseError> {
        match *self {}
    }

    pub(super) async fn destroy(&self, _: &[u8]) -> Result<(), JoseError> {
        match *self {}
    }
}

/// A key in a device.
pub(super) enum DeviceKey {}

#[expect(clippy::unused_async, reason = "those of a device that is there wait for it")]
impl DeviceKey {
    pub(super) fn new(device: &Device, _: SigningAlg, _: &[u8], _: PublicKey) -> Result<Self, JoseError> {
        match *device {}
    }

    pub(super) async fn sign(&self, _: &[u8]) -> Result<Vec<u8>, JoseError> {
        match *self {}
    }
}
