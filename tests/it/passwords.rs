//! What hashing passwords may cost.

use avouch::passwords;
use avouch::secret::Secret;
use tempfile::TempDir;
use tokio::task::JoinSet;

use crate::harness::{Serving, client, encode, hidden_fields};

#[test]
fn no_more_than_1024_bytes_are_hashed() {
    let longest = passwords::hash_password(&Secret::new("x".repeat(1024)), &[1; 16]);
    assert!(longest.is_ok_and(|hash| hash.starts_with("$argon2id$v=19$m=19456,t=2,p=1$")));
    let refused = passwords::hash_password(&Secret::new("x".repeat(1025)), &[1; 16]).unwrap_err();
    assert_eq!(refused.to_string(), "password is longer than 1024 bytes");
}

/// Resident memory in KiB.
fn resident(server: &Serving) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", server.child.id())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

#[tokio::test]
async fn fifty_wrong_passwords_leave_two_buffers_behind() {
    let folder = TempDir::new().unwrap();
    let server = Serving::start(folder.path(), &["serve", "--port", "0"]);
    let (http, login) = (client(), format!("{}/login", server.url));
    let page = http.get(&login).send().await.unwrap();
    let cookie = page.headers()["set-cookie"].to_str().unwrap().split(';').next().unwrap().to_owned();
    let fields = hidden_fields(&page.text().await.unwrap(), "/login");
    let idle = resident(&server);
    let mut guesses = JoinSet::new();
    for n in 0..50 {
        let email = format!("nobody{n}@example.com");
        let mut form: Vec<(&str, &str)> = fields.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        form.extend([("email", email.as_str()), ("password", "wrong")]);
        let request = http.post(&login).header("cookie", &cookie).header("sec-fetch-site", "same-origin");
        let request = request.header("content-type", "application/x-www-form-urlencoded").body(encode(&form));
        guesses.spawn(async { request.send().await.unwrap().headers()["location"].to_str().unwrap().to_owned() });
    }
    let answers = guesses.join_all().await;
    assert!(answers.len() == 50 && answers.iter().all(|to| to.starts_with("/login?")), "all were wrong: {answers:?}");
    let grown = resident(&server).saturating_sub(idle);
    assert!(grown < 64 * 1024, "{idle} KiB have grown by {grown}");
}
