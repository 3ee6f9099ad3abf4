//! A sealing key from a program of the operator's, such as one that has a key management service unwrap it.

use std::io::Read;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use zeroize::Zeroizing;

use crate::config::Config;
use crate::jose::SealingKey;

/// How long it may take.
const LIMIT: Duration = Duration::from_secs(30);
/// How often to look whether it has ended, when it has said everything.
const LOOK: Duration = Duration::from_millis(5);
/// Most bytes that are read of what it says.
const MAX: u64 = 4096;
/// Characters of its complaints that are passed on.
const SHOWN: usize = 300;

/// Runs it once. Its words go to the system as they are, past any shell; the variables of our configuration, which may hold secrets, stay here.
///
/// # Errors
/// Why it gave no key, in one line.
pub(super) async fn run(command: &[String]) -> Result<SealingKey, String> {
    run_within(command, LIMIT).await
}

async fn run_within(command: &[String], limit: Duration) -> Result<SealingKey, String> {
    let command = command.to_vec();
    let ended = tokio::task::spawn_blocking(move || wait(&command, limit)).await;
    let said = ended.map_err(|_| "waiting for it failed".to_owned())??;
    SealingKey::from_bytes(&key_of(&said)?).map_err(|e| e.0.to_owned())
}

type Bytes = Zeroizing<Vec<u8>>;

fn wait(command: &[String], limit: Duration) -> Result<Bytes, String> {
    let until = Instant::now() + limit;
    let mut child = start(command).map_err(|e| format!("it cannot be started: {e}"))?;
    let (out, complaints) = (said(child.stdout.take()), said(child.stderr.take()));
    let Some((out, complaints, status)) = end(&mut child, &out, &complaints, until) else {
        let _ = child.kill();
        let _ = child.wait();
        return Err(format!("it was not done within {} seconds", limit.as_secs()));
    };
    // Whoever prints more than is read is ended by that.
    if status.success() || out.len() as u64 > MAX {
        return Ok(out);
    }
    let complaints = String::from_utf8_lossy(&complaints);
    let words = complaints.split_whitespace().collect::<Vec<_>>().join(" ");
    let shown: String = words.chars().filter(|c| !c.is_control()).take(SHOWN).collect();
    Err(format!("it failed ({status}): {}", if shown.is_empty() { "it did not say why" } else { &shown }))
}

fn start(command: &[String]) -> std::io::Result<Child> {
    let [program, arguments @ ..] = command else { return Err(std::io::Error::other("no program is named")) };
    let mut start = Command::new(program);
    start.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    for (name, _) in Config::environment().map_err(std::io::Error::other)? {
        start.env_remove(name);
    }
    start.spawn()
}

/// What comes out of a pipe until its end, or until it is too much. Read by a thread of its own, which is left alone with whoever keeps the
/// pipe open past the end of the program.
fn said(pipe: Option<impl Read + Send + 'static>) -> Receiver<Bytes> {
    let (to, from) = channel();
    if let Some(pipe) = pipe {
        thread::spawn(move || {
            // All of its room at once: where it grows, copies would stay behind.
            let mut all = Zeroizing::new(Vec::with_capacity(usize::try_from(MAX).unwrap_or_default() + 1));
            let _ = pipe.take(MAX + 1).read_to_end(&mut all);
            let _ = to.send(all);
        });
    }
    from
}

fn end(
    child: &mut Child,
    out: &Receiver<Bytes>,
    complaints: &Receiver<Bytes>,
    until: Instant,
) -> Option<(Bytes, Bytes, ExitStatus)> {
    let left = || until.saturating_duration_since(Instant::now());
    let all = |of: &Receiver<Bytes>| match of.recv_timeout(left()) {
        Err(RecvTimeoutError::Timeout) => None,
        said => Some(said.unwrap_or_default()),
    };
    let (out, complaints) = (all(out)?, all(complaints)?);
    loop {
        if let Ok(Some(status)) = child.try_wait() {
            return Some((out, complaints, status));
        }
        if left().is_zero() {
            return None;
        }
        thread::sleep(LOOK);
    }
}

/// 32 bytes as they are, or written as base64 or hexadecimal digits on one line.
fn key_of(said: &[u8]) -> Result<Bytes, String> {
    const EXPECTED: &str = "a sealing key is 32 bytes, or their base64 or hexadecimal digits on one line";
    if said.is_empty() {
        return Err(format!("it printed nothing: {EXPECTED}"));
    }
    if said.len() as u64 > MAX {
        return Err(format!("it printed more than {MAX} bytes: {EXPECTED}"));
    }
    // Random bytes are never all printable: that is a message, or half as many bytes in hexadecimal digits.
    let is_text = said.iter().all(|byte| byte.is_ascii_graphic() || byte.is_ascii_whitespace());
    if said.len() == 32 && !is_text {
        return Ok(Zeroizing::new(said.to_vec()));
    }
    let line = str::from_utf8(said).unwrap_or_default().trim_end_matches(['\r', '\n']);
    let decoded = match line.len() {
        64 => hexadecimal(line),
        44 => STANDARD.decode(line).ok(),
        43 => URL_SAFE_NO_PAD.decode(line).ok(),
        _ => None,
    };
    let decoded = decoded.map(Zeroizing::new).filter(|key| key.len() == 32);
    decoded.ok_or_else(|| format!("it printed {} bytes that are no key: {EXPECTED}", said.len()))
}

fn hexadecimal(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    text.as_bytes().chunks(2).map(|pair| Some(digit(pair[0])? << 4 | digit(*pair.get(1)?)?)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn sh(script: &str) -> Result<String, String> {
        let command = ["sh", "-c", script].map(str::to_owned);
        run_within(&command, Duration::from_secs(20)).await.map(|key| key.id().as_str().to_owned())
    }

    #[tokio::test]
    async fn the_ways_to_write_a_key() {
        let id = SealingKey::from_bytes(&[0xab; 32]).unwrap().id().as_str().to_owned();
        let base64 = STANDARD.encode([0xab; 32]);
        let unpadded = URL_SAFE_NO_PAD.encode([0xab; 32]);
        for script in [
            format!("printf '{}'", "\\253".repeat(32)),
            format!("printf '{}'", "ab".repeat(32)),
            format!("echo {}", "AB".repeat(32)),
            format!("echo {base64}; echo ignored >&2"),
            format!("printf '{unpadded}\\r\\n'"),
        ] {
            assert_eq!(sh(&script).await.as_deref(), Ok(id.as_str()), "{script}");
        }
    }

    #[tokio::test]
    async fn what_is_no_key() {
        for (script, says) in [
            ("true".to_owned(), "it printed nothing"),
            ("echo".to_owned(), "it printed 1 bytes that are no key"),
            (format!("printf '{}'", "\\253".repeat(31)), "it printed 31 bytes that are no key"),
            (format!("printf '{}'", "\\253".repeat(33)), "it printed 33 bytes that are no key"),
            (format!("printf '{}'", "ab".repeat(16)), "it printed 32 bytes that are no key"),
            (format!("echo {}x", "ab".repeat(31)), "that are no key"),
            (format!("echo {}zz", "ab".repeat(31)), "it printed 65 bytes that are no key"),
            ("cat /dev/zero".to_owned(), "more than 4096 bytes"),
            (format!("echo {}; exit 3", "ab".repeat(32)), "it failed (exit status: 3): it did not say why"),
            ("printf 'no such\\n\\033[31mkey' >&2; exit 1".to_owned(), "it failed (exit status: 1): no such [31mkey"),
            ("cat /dev/zero >&2; exit 1".to_owned(), "it failed"),
            ("kill -9 $$".to_owned(), "it failed (signal: 9"),
        ] {
            let problem = sh(&script).await.unwrap_err();
            assert!(problem.contains(says) && problem.len() < 500, "{script}: {problem}");
            assert!(!problem.contains("abab") && !problem.contains('\n'), "{script}: {problem}");
        }
        let missing = run(&["/nowhere/at/all".to_owned()]).await.unwrap_err();
        assert!(missing.starts_with("it cannot be started"), "{missing}");
    }

    #[tokio::test]
    async fn it_is_not_waited_for_without_end() {
        for script in ["exec sleep 600", "sleep 5 & exit 0", "exec >&- 2>&-; sleep 600"] {
            let command = ["sh", "-c", script].map(str::to_owned);
            let problem = run_within(&command, Duration::from_millis(100)).await.unwrap_err();
            assert!(problem.contains("not done within"), "{script}: {problem}");
        }
    }
}
