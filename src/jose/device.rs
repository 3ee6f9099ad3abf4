//! Keys that live in a PKCS #11 device (an HSM, or software that speaks like one): they are made there, sign there, and never leave.
//!
//! A device may be far away, or ill: its calls block, so each has a thread of its own, a few at a time, and is waited for only so long.

use std::fmt;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use cryptoki::context::{CInitializeArgs, CInitializeFlags, Pkcs11};
use cryptoki::error::{Error, RvError};
use cryptoki::mechanism::Mechanism;
use cryptoki::object::{Attribute, AttributeType, ObjectClass, ObjectHandle};
use cryptoki::session::{Session, UserType};
use cryptoki::slot::Slot;
use cryptoki::types::AuthPin;
use jose_jwk::{Ec, EcCurves, Key, Rsa};
use tokio::sync::Semaphore;

use super::{JoseError, PublicKey};
use crate::domain::rotation::SigningAlg;
use crate::secret::Secret;

/// Calls of a device at the same time.
const AT_ONCE: usize = 16;
/// How long a call is waited for.
const TIMEOUT: Duration = Duration::from_secs(5);
/// How long a new key is waited for: small devices take their time over RSA.
const GENERATE: Duration = Duration::from_mins(1);
/// The curve P-256 as PKCS #11 names it: the DER of its OID, 1.2.840.10045.3.1.7.
const P256: [u8; 10] = [0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];
/// 65537, as ever.
const EXPONENT: [u8; 3] = [1, 0, 1];

const FORGETFUL: JoseError = JoseError("the PKCS #11 device does not have the key");

/// Why a device cannot be used at all.
#[derive(Debug, thiserror::Error)]
#[error("the PKCS #11 device cannot be used: {0}")]
pub struct DeviceError(String);

/// A device, open; cheap to clone.
#[derive(Clone)]
pub struct Device(Arc<Inner>);

struct Inner {
    module: Pkcs11,
    slot: Slot,
    pin: AuthPin,
    /// Logged in and free. A session belongs to one thread at a time.
    sessions: Mutex<Vec<Session>>,
    permits: Arc<Semaphore>,
}

impl Device {
    /// Loads the module and opens the token of that label. Blocks.
    ///
    /// # Errors
    /// What is wrong with module, token or PIN.
    pub fn open(module: &Path, token: &str, pin: &Secret) -> Result<Self, DeviceError> {
        let wrong = |what: &str, e: &Error| DeviceError(format!("{what}: {e}"));
        let path = module.display().to_string();
        let module = Pkcs11::new(module).map_err(|e| wrong(&path, &e))?;
        match module.initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK)) {
            Ok(()) | Err(Error::Pkcs11(RvError::CryptokiAlreadyInitialized, _)) => {}
            Err(e) => return Err(wrong(&path, &e)),
        }
        let slots = module.get_slots_with_token().map_err(|e| wrong(&path, &e))?;
        let named = |slot: &&Slot| module.get_token_info(**slot).is_ok_and(|info| info.label() == token);
        let mut named = slots.iter().filter(named);
        let slot = match (named.next(), named.next()) {
            (Some(slot), None) => *slot,
            (None, _) => return Err(DeviceError(format!("{path} has no token \"{token}\""))),
            _ => return Err(DeviceError(format!("{path} has several tokens \"{token}\""))),
        };
        let device = Self(Arc::new(Inner {
            module,
            slot,
            pin: AuthPin::new(pin.expose().into()),
            sessions: Mutex::default(),
            permits: Arc::new(Semaphore::new(AT_ONCE)),
        }));
        let session = device.0.session().map_err(|e| wrong(&format!("token \"{token}\""), &e))?;
        device.0.give_back(session);
        Ok(device)
    }

    /// Makes a key that never leaves: its name there, and its public half. `label` is for whoever looks into the device.
    pub(super) async fn generate(&self, alg: SigningAlg, id: [u8; 16], label: &str) -> Result<Key, JoseError> {
        let label = label.as_bytes().to_vec();
        self.call(GENERATE, move |session| generate(session, alg, &id, &label)).await?.ok_or(JoseError::DEVICE)
    }

    /// Destroys a key, if it is there.
    pub(super) async fn destroy(&self, id: &[u8]) -> Result<(), JoseError> {
        let id = id.to_vec();
        self.call(TIMEOUT, move |session| {
            for object in session.find_objects(&[Attribute::Id(id.clone())])? {
                session.destroy_object(object)?;
            }
            Ok(())
        })
        .await
    }

    /// Calls it with a session, and once more with a new one where the old one has come to nothing.
    async fn call<T: Send + 'static>(
        &self,
        timeout: Duration,
        call: impl Fn(&Session) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, JoseError> {
        let inner = self.0.clone();
        let called = async {
            let permit = inner.permits.clone().acquire_owned().await.map_err(|_| JoseError::DEVICE)?;
            let called = tokio::task::spawn_blocking(move || {
                // The permit moves into the thread: a caller that gives up does not free the thread it waited for.
                let _permit = permit;
                inner.call(&call)
            });
            called.await.map_err(|_| JoseError::DEVICE)?.map_err(|e| {
                tracing::error!(error = &e as &dyn std::error::Error, "the PKCS #11 device failed");
                JoseError::DEVICE
            })
        };
        tokio::time::timeout(timeout, called).await.unwrap_or_else(|_| {
            tracing::error!("the PKCS #11 device does not answer");
            Err(JoseError::DEVICE)
        })
    }
}

impl Inner {
    fn call<T>(&self, call: &impl Fn(&Session) -> Result<T, Error>) -> Result<T, Error> {
        let session = self.session()?;
        match call(&session) {
            Err(e) if is_over(&e) => {
                // The others are of the same time.
                self.free().clear();
                drop(session);
                let session = self.session()?;
                let done = call(&session)?;
                self.give_back(session);
                Ok(done)
            }
            Err(e) => Err(e),
            Ok(done) => {
                self.give_back(session);
                Ok(done)
            }
        }
    }

    fn session(&self) -> Result<Session, Error> {
        if let Some(session) = self.free().pop() {
            return Ok(session);
        }
        let session = self.module.open_rw_session(self.slot)?;
        match session.login(UserType::User, Some(&self.pin)) {
            // Whoever is logged in is so in all sessions of a process.
            Ok(()) | Err(Error::Pkcs11(RvError::UserAlreadyLoggedIn, _)) => Ok(session),
            Err(e) => Err(e),
        }
    }

    fn give_back(&self, session: Session) {
        self.free().push(session);
    }

    fn free(&self) -> std::sync::MutexGuard<'_, Vec<Session>> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether a new session may do what this one could not.
fn is_over(error: &Error) -> bool {
    let Error::Pkcs11(error, _) = error else { return false };
    matches!(
        error,
        RvError::SessionClosed
            | RvError::SessionHandleInvalid
            | RvError::UserNotLoggedIn
            | RvError::DeviceRemoved
            | RvError::TokenNotPresent
            | RvError::KeyHandleInvalid
            | RvError::ObjectHandleInvalid
    )
}

fn generate(session: &Session, alg: SigningAlg, id: &[u8], label: &[u8]) -> Result<Option<Key>, Error> {
    // A call that is made again shall find nothing of the first: of two keys under one id none would sign.
    for left in session.find_objects(&[Attribute::Id(id.to_vec())])? {
        session.destroy_object(left)?;
    }
    let named = [Attribute::Token(true), Attribute::Id(id.to_vec()), Attribute::Label(label.to_vec())];
    let private =
        [Attribute::Private(true), Attribute::Sensitive(true), Attribute::Extractable(false), Attribute::Sign(true)];
    let private = [&named[..], &private].concat();
    let verifies = [Attribute::Private(false), Attribute::Verify(true)];
    let (mechanism, kind) = match alg {
        SigningAlg::Es256 => (Mechanism::EccKeyPairGen, vec![Attribute::EcParams(P256.to_vec())]),
        SigningAlg::Rs256 => (
            Mechanism::RsaPkcsKeyPairGen,
            vec![Attribute::ModulusBits(2048.into()), Attribute::PublicExponent(EXPONENT.to_vec())],
        ),
    };
    let public = [&named[..], &verifies, &kind].concat();
    let (public, _) = session.generate_key_pair(&mechanism, &public, &private)?;
    let wanted = [AttributeType::EcPoint, AttributeType::Modulus, AttributeType::PublicExponent];
    let wanted = if alg == SigningAlg::Es256 { &wanted[..1] } else { &wanted[1..] };
    let (mut point, mut n, mut e) = (None, None, None);
    for attribute in session.get_attributes(public, wanted)? {
        match attribute {
            Attribute::EcPoint(bytes) => point = Some(bytes),
            Attribute::Modulus(bytes) => n = Some(bytes),
            Attribute::PublicExponent(bytes) => e = Some(bytes),
            _ => {}
        }
    }
    Ok(match alg {
        SigningAlg::Es256 => point.as_deref().and_then(ec),
        SigningAlg::Rs256 => n.zip(e).map(|(n, e)| Key::Rsa(Rsa { n: n.into(), e: e.into(), prv: None })),
    })
}

/// The point in its octet string (PKCS #11 section 6.3.3), which some devices leave away.
fn ec(point: &[u8]) -> Option<Key> {
    let point = point.strip_prefix(&[0x04, 0x41]).unwrap_or(point);
    let [0x04, coordinates @ ..] = point else { return None };
    let (x, y) = (coordinates.len() == 64).then(|| coordinates.split_at(32))?;
    Some(Key::Ec(Ec { crv: EcCurves::P256, x: x.to_vec().into(), y: y.to_vec().into(), d: None }))
}

/// A key in a device.
pub(super) struct DeviceKey {
    device: Device,
    alg: SigningAlg,
    id: Vec<u8>,
    public: PublicKey,
    /// Where the device has it, as far as is known.
    handle: Arc<Mutex<Option<ObjectHandle>>>,
}

impl DeviceKey {
    /// One that is there under this id, whose signatures `public` verifies.
    #[expect(clippy::unnecessary_wraps, reason = "where there are no devices there is none of these")]
    pub(super) fn new(device: &Device, alg: SigningAlg, id: &[u8], public: PublicKey) -> Result<Self, JoseError> {
        Ok(Self { device: device.clone(), alg, id: id.to_vec(), public, handle: Arc::default() })
    }

    /// Signs, and looks at what came out: a device that signs by another key, or not at all, is told by nothing else.
    pub(super) async fn sign(&self, message: &[u8]) -> Result<Vec<u8>, JoseError> {
        let (id, known) = (self.id.clone(), self.handle.clone());
        let (alg, signed) = match self.alg {
            // Not every device hashes for ECDSA.
            SigningAlg::Es256 => (self.alg, digest(message)),
            SigningAlg::Rs256 => (self.alg, message.to_vec()),
        };
        let sign = move |session: &Session| {
            let remembered = *known.lock().unwrap_or_else(PoisonError::into_inner);
            let handle = match remembered {
                Some(handle) => handle,
                None => match session
                    .find_objects(&[Attribute::Class(ObjectClass::PRIVATE_KEY), Attribute::Id(id.clone())])?
                {
                    found if found.len() == 1 => found[0],
                    _ => return Ok(None),
                },
            };
            let mechanism = match alg {
                SigningAlg::Es256 => Mechanism::Ecdsa,
                SigningAlg::Rs256 => Mechanism::Sha256RsaPkcs,
            };
            let signature = session.sign(&mechanism, handle, &signed);
            // What a handle that is over leads to is looked for again.
            *known.lock().unwrap_or_else(PoisonError::into_inner) = signature.is_ok().then_some(handle);
            signature.map(Some)
        };
        let signature = self.device.call(TIMEOUT, sign).await?.ok_or(FORGETFUL)?;
        if !self.public.verifies(message, &signature) {
            return Err(JoseError("the PKCS #11 device signs by another key"));
        }
        Ok(signature)
    }
}

fn digest(message: &[u8]) -> Vec<u8> {
    aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, message).as_ref().to_vec()
}

impl fmt::Debug for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("<PKCS #11 device>")
    }
}
