//! A process whose surroundings are bad to it: nobody reads what it says, the database hangs, there are few descriptors. It goes on, and
//! it ends when it is told to.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::fs::OpenOptionsExt as _;
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use crate::harness::{Answer, Engine, Serving, avouch, client, eventually};
use crate::process::{prepared, serve, serve_as, withdraw};

/// Asks for what is refused, which is logged, and says what came back.
async fn refused(server: &Serving) -> Answer {
    let request = client().post(format!("{}/token", server.url));
    Answer::read(request.send().await.unwrap()).await
}

/// Something that takes no further byte, and who could read it.
fn full() -> (UnixStream, UnixStream) {
    let (reader, mut writer) = UnixStream::pair().unwrap();
    writer.set_nonblocking(true).unwrap();
    while writer.write(&[0; 4096]).is_ok() {}
    writer.set_nonblocking(false).unwrap();
    (reader, writer)
}

#[tokio::test]
async fn nobody_has_to_read_the_log() {
    let (closed, writer) = UnixStream::pair().unwrap();
    drop(closed);
    let (mut unread, full) = full();
    for (what, stderr) in [("closed", OwnedFd::from(writer)), ("full", OwnedFd::from(full))] {
        let folder = TempDir::new().unwrap();
        let mut command = avouch(folder.path(), &["serve", "--port", "0"]);
        let mut server = Serving::spawn(command.stderr(stderr)).unwrap();
        for _ in 0..20 {
            let answer = refused(&server).await;
            assert_eq!((answer.status, answer.json()["error"].as_str()), (415, Some("invalid_request")), "{what}");
        }
        server.signal("TERM");
        assert_eq!(server.ended().await, Some(0), "{what}");
    }
    unread.read_exact(&mut [0; 4096]).unwrap();
}

#[test]
fn what_nobody_reads_any_more_ends_quietly() {
    let folder = TempDir::new().unwrap();
    let mut demo = avouch(folder.path(), &["demo"]);
    demo.env("TMPDIR", folder.path()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut demo = demo.spawn().unwrap();
    let mut lines = BufReader::new(demo.stdout.take().unwrap()).lines();
    for _ in 0..3 {
        lines.next().unwrap().unwrap();
    }
    drop(lines);
    let output = demo.wait_with_output().unwrap();
    assert_eq!((output.status.code(), String::from_utf8(output.stderr).unwrap().as_str()), (Some(0), ""));

    let (closed, writer) = std::io::pipe().unwrap();
    drop(closed);
    for args in [&["check-config"][..], &["--help"], &["serve", "--help"]] {
        let output = avouch(folder.path(), args).stdout(writer.try_clone().unwrap()).stderr(Stdio::piped()).output();
        let output = output.unwrap();
        assert_eq!((output.status.code(), output.stderr.len()), (Some(0), 0), "{args:?}");
    }
}

/// A way to the database that swallows everything, as a network does, from the moment that a statement comes by.
async fn swallowing(to: String, statement: &'static str) -> (u16, Arc<Semaphore>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    // Closed for good when it has come by.
    let open = Arc::new(Semaphore::new(1));
    let pass = async |mut from: OwnedReadHalf, mut to: OwnedWriteHalf, open: Arc<Semaphore>| {
        let mut bytes = vec![0; 65_536];
        while let Ok(n @ 1..) = from.read(&mut bytes).await {
            if bytes[..n].windows(statement.len()).any(|part| part == statement.as_bytes()) {
                open.close();
            }
            if open.is_closed() {
                std::future::pending::<()>().await;
            }
            if to.write_all(&bytes[..n]).await.is_err() {
                return;
            }
        }
    };
    let closed = open.clone();
    tokio::spawn(async move {
        while let Ok((near, _)) = listener.accept().await {
            let far = TcpStream::connect(&to).await.unwrap();
            let ((near_in, near_out), (far_in, far_out)) = (near.into_split(), far.into_split());
            tokio::spawn(pass(near_in, far_out, open.clone()));
            tokio::spawn(pass(far_in, near_out, open.clone()));
        }
    });
    (port, closed)
}

/// It is known to hang within seconds, and whoever waits for it hears of that.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_hangs_does_not_keep_the_process() {
    let (world, folder, id) = prepared(Engine::Postgres, |_| String::new()).await;
    let path = folder.path().join("avouch.toml");
    let toml = std::fs::read_to_string(&path).unwrap();
    let at = toml.split_once('@').unwrap().1.split_once('/').unwrap().0.to_owned();
    let (port, swallows) = swallowing(at.clone(), "UPDATE delegation SET ended_at").await;
    std::fs::write(&path, toml.replace(&at, &format!("127.0.0.1:{port}"))).unwrap();
    let mut server = serve(&folder).await;
    let admin = world.admin_token();
    let (answer, ()) = tokio::join!(withdraw(&server, &admin, &id), async {
        eventually("the statement", async || swallows.is_closed()).await;
        server.signal("TERM");
    });
    assert_eq!(answer.unwrap(), 503);
    assert_eq!(server.ended().await, Some(0));
}

/// Whatever hangs: here everything, by a configuration that is read again and never ends, where there is one thread.
#[tokio::test]
async fn what_hangs_for_good_is_cut_off() {
    const NONBLOCK: i32 = 0o4000;
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("avouch.toml");
    let mut server = Serving::start_as(folder.path(), "export TOKIO_WORKER_THREADS=1", &["serve", "--port", "0"]);
    assert!(Command::new("mkfifo").arg(&path).status().unwrap().success());
    server.signal("HUP");
    let mut nobody_writes = None;
    eventually("it is read", async || {
        nobody_writes = File::options().write(true).custom_flags(NONBLOCK).open(&path).ok();
        nobody_writes.is_some()
    })
    .await;
    server.signal("TERM");
    let ended = tokio::task::spawn_blocking(move || server.child.wait().unwrap().code());
    assert_eq!(timeout(Duration::from_mins(1), ended).await.expect("it has ended").unwrap(), Some(0));
}

/// With few descriptors and two hundred connections that nobody uses, a withdrawal is answered, and the service is told.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn few_descriptors_are_enough_for_a_withdrawal() {
    let (world, folder, id) = prepared(Engine::Sqlite, |_| String::new()).await;
    let mut server = serve_as(&folder, "ulimit -n 64").await;
    let at = server.url.strip_prefix("http://").unwrap().to_owned();
    let mut idle = Vec::new();
    for _ in 0..200 {
        idle.push(TcpStream::connect(&at).await.unwrap());
    }
    assert_eq!(withdraw(&server, &world.admin_token(), &id).await.unwrap(), 202);
    eventually("the notice", async || world.service.received().len() == 1).await;
    let log = std::fs::read_to_string(folder.path().join("log")).unwrap();
    assert!(!log.contains("could not be accepted"), "{log}");
    server.signal("TERM");
    assert_eq!(server.ended().await, Some(0));

    let mut server = serve_as(&folder, "ulimit -Sn 64").await;
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", server.child.id())).unwrap();
    let files = limits.lines().find(|line| line.starts_with("Max open files")).unwrap();
    let soft: u64 = files.split_whitespace().nth(3).unwrap().parse().unwrap();
    assert!(soft > 64, "it takes what it may have: {files}");
    server.signal("TERM");
    assert_eq!(server.ended().await, Some(0));
}
