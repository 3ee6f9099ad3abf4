//! What a process opens signing keys with: its sealing keys, of which one seals and others open what they have sealed, and the device that
//! has those which are not sealed.

use std::sync::Arc;

use zeroize::Zeroizing;

use super::{Device, JoseError, SealingKey};
use crate::domain::ids::SealingKeyId;
use crate::rng::Rng;
use crate::secret::{Secret, same};

/// One or more of them, each once; the first one seals.
#[derive(Clone, Debug)]
pub struct SealingKeys {
    keys: Vec<Arc<SealingKey>>,
    device: Option<Device>,
}

impl SealingKeys {
    /// One that seals, and others.
    #[must_use]
    pub fn new(first: Arc<SealingKey>, others: impl IntoIterator<Item = Arc<SealingKey>>) -> Self {
        let mut keys = vec![first];
        for other in others {
            if keys.iter().all(|key| key.id() != other.id()) {
                keys.push(other);
            }
        }
        Self { keys, device: None }
    }

    /// The same with a device, in which keys are made from then on.
    #[must_use]
    pub fn with_device(self, device: Option<Device>) -> Self {
        Self { device, ..self }
    }

    /// The device.
    #[must_use]
    pub fn device(&self) -> Option<&Device> {
        self.device.as_ref()
    }

    /// The same, but that another one of them seals; `None` where that is not among them.
    #[must_use]
    pub fn led_by(&self, id: &SealingKeyId) -> Option<Self> {
        let led = Self::new(self.get(id)?.clone(), self.keys.iter().cloned());
        Some(led.with_device(self.device.clone()))
    }

    /// The one that seals.
    #[must_use]
    pub fn first(&self) -> &Arc<SealingKey> {
        &self.keys[0]
    }

    /// One of them.
    #[must_use]
    pub fn get(&self, id: &SealingKeyId) -> Option<&Arc<SealingKey>> {
        self.keys.iter().find(|key| key.id() == id)
    }

    /// The names of all of them.
    pub fn ids(&self) -> impl Iterator<Item = &SealingKeyId> {
        self.keys.iter().map(|key| key.id())
    }

    /// What the forms of a session's pages carry from now on.
    #[must_use]
    pub fn form_token(&self, session_id: &str) -> Secret {
        self.first().form_token(session_id)
    }

    /// Whether that is what they carry, or have carried before the key was another.
    #[must_use]
    pub fn is_form_token(&self, session_id: &str, given: &str) -> bool {
        self.keys.iter().any(|key| same(given, key.form_token(session_id).expose()))
    }

    /// What a browser proves itself by from now on.
    #[must_use]
    pub fn browser_tag(&self, fact: &str) -> String {
        self.first().browser_tag(fact)
    }

    /// Whether that is what it proves itself by, or was before the key was another.
    #[must_use]
    pub fn is_browser_tag(&self, fact: &str, given: &str) -> bool {
        self.keys.iter().any(|key| same(given, &key.browser_tag(fact)))
    }

    /// As [`SealingKey::seal_note`].
    ///
    /// # Errors
    /// The same.
    pub fn seal_note(&self, note: &[u8], context: &str, rng: &Rng) -> Result<String, JoseError> {
        self.first().seal_note(note, context, rng)
    }

    /// As [`SealingKey::open_note`], whichever of them sealed it.
    ///
    /// # Errors
    /// The same.
    pub fn open_note(&self, sealed: &str, context: &str) -> Result<Zeroizing<Vec<u8>>, JoseError> {
        let mut opened = self.keys.iter().map(|key| key.open_note(sealed, context));
        opened.find(Result::is_ok).unwrap_or(Err(JoseError("what is sealed does not open with these sealing keys")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_each_has_made_is_taken_and_the_first_one_makes() {
        let rng = Rng::seeded(1);
        let key = |byte| Arc::new(SealingKey::from_bytes(&[byte; 32]).unwrap());
        let (old, new) = (SealingKeys::new(key(1), []), SealingKeys::new(key(2), [key(2)]));
        let both = SealingKeys::new(key(1), [key(2), key(1)]);
        assert_eq!(both.ids().count(), 2);
        let turned = both.led_by(new.first().id()).unwrap();
        assert!(old.led_by(new.first().id()).is_none());
        for (of, made) in [(&both, &old), (&turned, &new)] {
            assert_eq!(of.form_token("s").expose(), made.form_token("s").expose());
            assert_eq!(of.browser_tag("f"), made.browser_tag("f"));
            let note = of.seal_note(b"note", "c", &rng).unwrap();
            assert_eq!(&*made.open_note(&note, "c").unwrap(), b"note");
        }
        for made in [&old, &new] {
            let note = made.seal_note(b"note", "c", &rng).unwrap();
            for of in [&both, &turned] {
                assert!(of.is_form_token("s", made.form_token("s").expose()));
                assert!(!of.is_form_token("t", made.form_token("s").expose()));
                assert!(of.is_browser_tag("f", &made.browser_tag("f")));
                assert_eq!(&*of.open_note(&note, "c").unwrap(), b"note");
                assert!(of.open_note(&note, "d").is_err());
            }
        }
        assert!(!new.is_form_token("s", old.form_token("s").expose()), "once the old one is gone");
    }
}
