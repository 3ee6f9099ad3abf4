//! Password hashes: argon2id, in work memory that is allocated once and used again.

use std::hash::BuildHasher as _;
use std::hash::RandomState;
use std::sync::{Arc, Mutex, PoisonError};

use argon2::password_hash::phc::{Output, PasswordHash, Salt};
use argon2::{Algorithm, Argon2, Block, Params, Version};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::config;
use crate::domain::credentials;
use crate::domain::refusal::Refusal;
use crate::error::Error;
use crate::secret::Secret;

/// Passwords that are hashed at the same time, each in a buffer of its own.
const BUFFERS: usize = 2;
/// Strangers who may wait: a second or two of work. Whoever comes after them is told to try again.
const STRANGERS: usize = 64;
/// Strangers whose password is looked at, which begins with a write: while two are hashed, two are counted.
const STRANGERS_INSIDE: usize = 2 * BUFFERS;
/// Places for those who are known are in shares, each for some of the users: whoever signs in without end fills one, and no other. All of
/// them together are a second or two of work as well.
const SHARES: usize = 32;
const IN_A_SHARE: usize = 2;
/// OWASP's recommendation for argon2id: 19 MiB, two passes, one lane.
const PARAMS: Params = match Params::new(19_456, 2, 1, None) {
    Ok(params) => params,
    Err(_) => panic!("these parameters are in range"),
};

/// A hash of nobody's password, with the parameters of [`hash_password`]: an unknown e-mail costs what a known one does.
pub(crate) const DUMMY_HASH: &str =
    "$argon2id$v=19$m=19456,t=2,p=1$bm9ib2R5IGhhcyB0aGlz$MNtt9JMuHGsvNmv7iLKt8jmLXyHeDWe2MNHJeY3phGs";

/// The only place where this server hashes passwords.
///
/// Left to the allocator, tens of megabytes for each guess stay with the thread that computed it: fifty wrong passwords held 350 MiB for ever.
#[derive(Debug)]
pub struct Hashing {
    line: Semaphore,
    strangers: Arc<Semaphore>,
    known: [Arc<Semaphore>; SHARES],
    shares: RandomState,
    turns: Arc<Semaphore>,
    /// The one used last comes first, so that whoever signs in alone touches one buffer only. A buffer is as large as the largest hash
    /// that was computed in it; what the configuration accepts bounds that.
    buffers: Arc<Mutex<Vec<Vec<Block>>>>,
}

/// Leave to have a password looked at, until that is done.
#[derive(Debug)]
pub struct Place<'a> {
    hashing: &'a Hashing,
    permit: OwnedSemaphorePermit,
}

impl Default for Hashing {
    fn default() -> Self {
        let semaphore = |permits| Arc::new(Semaphore::new(permits));
        Self {
            line: Semaphore::new(STRANGERS),
            strangers: semaphore(STRANGERS_INSIDE),
            known: std::array::from_fn(|_| semaphore(IN_A_SHARE)),
            shares: RandomState::new(),
            turns: semaphore(BUFFERS),
            buffers: Arc::default(),
        }
    }
}

impl Hashing {
    /// A place for somebody who wants to sign in; `known` is the e-mail of the user whom their browser has signed in before. Those do not
    /// wait behind strangers.
    ///
    /// # Errors
    /// [`Refusal::Busy`] where too many wait already.
    pub async fn place(&self, known: Option<&str>) -> Result<Place<'_>, Error> {
        let share = known.and_then(|email| self.known.get(self.share(email)));
        if let Some(permit) = share.and_then(|share| share.clone().try_acquire_owned().ok()) {
            return Ok(Place { hashing: self, permit });
        }
        let _waiting = self.line.try_acquire().map_err(|_| Refusal::Busy)?;
        Ok(Place { hashing: self, permit: permit(&self.strangers).await? })
    }

    fn share(&self, email: &str) -> usize {
        let hash = self.shares.hash_one(email) % SHARES as u64;
        usize::try_from(hash).unwrap_or_default()
    }

    /// Compares a password with a PHC string: for what the configuration declares, one after the other. A string that the configuration
    /// would not accept matches nothing and costs nothing.
    ///
    /// # Errors
    /// Faults.
    pub async fn verify(&self, password: Secret, hash: String) -> Result<bool, Error> {
        self.run(None, move |memory| verify_in(memory, &password, &hash)).await
    }

    /// Hashes a password as a PHC string, beside the requests that are quicker.
    ///
    /// # Errors
    /// For what no password may look like.
    pub async fn hash(&self, password: Secret, salt: [u8; 16]) -> Result<String, Error> {
        self.run(None, move |memory| hash_in(memory, &password, &salt)).await?
    }

    async fn run<T: Send + 'static>(
        &self,
        place: Option<OwnedSemaphorePermit>,
        work: impl FnOnce(&mut Vec<Block>) -> T + Send + 'static,
    ) -> Result<T, Error> {
        let turn = permit(&self.turns).await?;
        let buffers = self.buffers.clone();
        // The turn ends with the work, not with the request: somebody who hangs up does not free what is still computing.
        let worked = tokio::task::spawn_blocking(move || {
            let pooled = || buffers.lock().unwrap_or_else(PoisonError::into_inner);
            let mut memory = pooled().pop().unwrap_or_default();
            let done = work(&mut memory);
            pooled().push(memory);
            drop((turn, place));
            done
        });
        worked.await.map_err(|_| Error::invariant("hashing a password does not panic"))
    }
}

impl Place<'_> {
    /// Compares a password with a PHC string when it is this place's turn, beside the requests that are quicker.
    ///
    /// # Errors
    /// Faults.
    pub async fn verify(self, password: Secret, hash: String) -> Result<bool, Error> {
        self.hashing.run(Some(self.permit), move |memory| verify_in(memory, &password, &hash)).await
    }
}

async fn permit(of: &Arc<Semaphore>) -> Result<OwnedSemaphorePermit, Error> {
    let permit = of.clone().acquire_owned().await;
    permit.map_err(|_| Error::invariant("the semaphores of the buffers are never closed"))
}

/// Hashes a password as a PHC string, in memory that is freed again. Takes tens of milliseconds: not for where requests are served.
///
/// # Errors
/// For what no password may look like.
pub fn hash_password(password: &Secret, salt: &[u8; 16]) -> Result<String, Error> {
    hash_in(&mut Vec::new(), password, salt)
}

fn hash_in(memory: &mut Vec<Block>, password: &Secret, salt: &[u8; 16]) -> Result<String, Error> {
    let password = credentials::password(password).map_err(|problem| Refusal::Malformed("password", problem.0))?;
    let fault = "argon2id hashes every password of at most 1024 bytes";
    let output = compute(memory, &PARAMS, &password, salt).ok_or_else(|| Error::invariant(fault))?;
    let hash = PasswordHash {
        algorithm: Algorithm::Argon2id.ident(),
        version: Some(Version::V0x13.into()),
        params: (&PARAMS).try_into().map_err(|_| Error::invariant(fault))?,
        salt: Some(Salt::new(salt).map_err(|_| Error::invariant(fault))?),
        hash: Some(output),
    };
    Ok(hash.to_string())
}

fn verify_in(memory: &mut Vec<Block>, password: &Secret, hash: &str) -> bool {
    let Ok((hash, params)) = config::password_hash(hash) else { return false };
    let (Some(salt), Some(expected)) = (hash.salt, hash.hash) else { return false };
    let Ok(password) = credentials::password(password) else { return false };
    // In constant time: see `Output`.
    compute(memory, &params, &password, &salt).is_some_and(|output| output == expected)
}

fn compute(memory: &mut Vec<Block>, params: &Params, password: &Secret, salt: &[u8]) -> Option<Output> {
    if memory.len() < params.block_count() {
        memory.resize(params.block_count(), Block::new());
    }
    let length = params.output_len().unwrap_or(Params::DEFAULT_OUTPUT_LEN);
    let mut output = [0; Output::MAX_LENGTH];
    let output = output.get_mut(..length)?;
    let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params.clone());
    argon2.hash_password_into_with_memory(password.expose().as_bytes(), salt, output, memory).ok()?;
    Output::new(output).ok()
}

#[cfg(test)]
mod tests {
    use argon2::PasswordVerifier as _;

    use super::*;

    fn hash(password: &str) -> String {
        hash_password(&Secret::new(password), &[1; 16]).unwrap()
    }

    #[test]
    fn nobody_costs_what_somebody_does() {
        let params = |hash: &str| hash.split('$').take(4).collect::<Vec<_>>().join("$");
        assert_eq!(params(DUMMY_HASH), params(&hash("x")));
        assert!(config::password_hash(DUMMY_HASH).is_ok(), "it is computed");
        assert!(!verify_in(&mut Vec::new(), &Secret::new("nobody"), DUMMY_HASH));
    }

    #[test]
    fn a_buffer_serves_one_hash_after_another() {
        let mut memory = Vec::new();
        let (right, wrong) = (Secret::new("right"), Secret::new("wrong"));
        // One and two passes, one and four lanes, 16 and 32 bytes: what somebody else's tool may have made.
        for (m, t, p, length) in [(19_456, 2, 1, 32), (7168, 5, 1, 16), (65_536, 1, 4, 32), (19_456, 2, 1, 32)] {
            let params = Params::new(m, t, p, Some(length)).unwrap();
            let other = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
            let hash = argon2::PasswordHasher::hash_password_with_salt(&other, b"right", &[2; 16]).unwrap().to_string();
            assert!(verify_in(&mut memory, &right, &hash), "{hash}");
            assert!(!verify_in(&mut memory, &wrong, &hash), "{hash}");
        }
        let ours = hash_in(&mut memory, &right, &[1; 16]).unwrap();
        assert!(Argon2::default().verify_password(b"right", ours.as_str()).is_ok(), "{ours}");
    }

    #[test]
    fn a_hash_that_asks_for_gigabytes_gets_none() {
        let mut memory = Vec::new();
        let salted = hash("x").split_once("p=1$").unwrap().1.to_owned();
        for params in ["m=4194304,t=2,p=1", "m=19456,t=4000000,p=1", "m=8,t=1,p=1"] {
            assert!(!verify_in(&mut memory, &Secret::new("x"), &format!("$argon2id$v=19${params}${salted}")));
        }
        assert_eq!(memory.capacity(), 0);
    }

    #[tokio::test]
    async fn two_buffers_and_no_more() {
        let hashing = Hashing::default();
        let hash = hash("right");
        let guess = |password: &str| hashing.verify(Secret::new(password), hash.clone());
        let guesses = ["right", "wrong", "right", "wrong", "right"].map(guess);
        let mut answers = Vec::new();
        for guess in guesses.map(Box::pin) {
            answers.push(guess.await.unwrap());
        }
        assert_eq!(answers, [true, false, true, false, true]);
        assert_eq!(hashing.buffers.lock().unwrap().len(), 1, "one after another they share one");
        tokio::join!(guess("a"), guess("b"), guess("c"), guess("d")).0.unwrap();
        assert!(hashing.buffers.lock().unwrap().len() <= BUFFERS);
    }

    /// What is there now, of what may have to wait.
    async fn now<T>(ready: &mut (impl Future<Output = T> + Unpin)) -> Option<T> {
        tokio::select! { biased; ready = ready => Some(ready), () = async {} => None }
    }

    #[tokio::test]
    async fn the_line_is_bounded() {
        let hashing = Hashing::default();
        let mut others = (0..200).map(|n| format!("user {n}"));
        let other = others.find(|user| hashing.share(user) != hashing.share("greedy")).unwrap();
        let place = |known| Box::pin(hashing.place(known));
        let mut inside = Vec::new();
        for _ in 0..STRANGERS_INSIDE {
            inside.push(place(None).await.unwrap());
        }
        let mut line = Vec::new();
        for _ in 0..STRANGERS {
            let mut place = place(None);
            assert!(now(&mut place).await.is_none());
            line.push(place);
        }
        let is_busy = async |known| matches!(place(known).await, Err(Error::Refused(Refusal::Busy)));
        assert!(is_busy(None).await);
        // One who signs in again and again takes no more than a share.
        let mut greedy = Vec::new();
        for _ in 0..IN_A_SHARE {
            greedy.push(place(Some("greedy")).await.unwrap());
        }
        assert!(is_busy(Some("greedy")).await);
        let known = place(Some(&other)).await.unwrap();
        assert!(known.verify(Secret::new("right"), hash("right")).await.unwrap());
        // Who hangs up makes room, and who is done makes the first of the line come in.
        line.pop();
        let mut last = place(None);
        assert!(now(&mut last).await.is_none());
        assert!(is_busy(None).await);
        inside.pop();
        assert!(now(&mut line[0]).await.is_some());
        drop((inside, line));
        assert!(last.await.is_ok());
    }

    #[tokio::test]
    async fn whoever_is_known_stands_behind_few() {
        let hashing: &'static Hashing = Box::leak(Box::default());
        let hash = hash("right");
        let done = Arc::new(Mutex::new(Vec::new()));
        let busy = hashing.turns.clone().acquire_many_owned(2).await.unwrap();
        let mut waiting = tokio::task::JoinSet::new();
        let mut wait = |known: Option<&'static str>| {
            let (hash, done) = (hash.clone(), done.clone());
            waiting.spawn(async move {
                let place = hashing.place(known).await.unwrap();
                assert!(place.verify(Secret::new("right"), hash).await.unwrap());
                done.lock().unwrap().push(known.is_some());
            });
        };
        for _ in 0..STRANGERS {
            wait(None);
        }
        tokio::task::yield_now().await;
        wait(Some("alice"));
        tokio::task::yield_now().await;
        drop(busy);
        while let Some(ended) = waiting.join_next().await {
            ended.unwrap();
        }
        let done = done.lock().unwrap();
        let before = done.iter().position(|known| *known).unwrap();
        assert!(before <= STRANGERS_INSIDE + BUFFERS && done.len() > STRANGERS, "{before} of {}", done.len());
    }

    #[tokio::test]
    async fn who_hangs_up_does_not_free_the_buffer() {
        let hashing = Hashing::default();
        let (sender, receiver) = std::sync::mpsc::channel::<()>();
        let mut asked = Box::pin(hashing.run(None, move |_| receiver.recv().is_ok()));
        tokio::select! { biased; _ = &mut asked => panic!("it is computing"), () = async {} => {} }
        drop(asked);
        assert_eq!(hashing.turns.available_permits(), BUFFERS - 1);
        sender.send(()).unwrap();
        let all = hashing.turns.acquire_many(2).await.unwrap();
        assert_eq!(hashing.buffers.lock().unwrap().len(), 1);
        drop(all);
    }
}
