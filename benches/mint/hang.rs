//! How long services that answer wait for those that do not.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use avouch::clock::Clock;
use avouch::config::Config;
use avouch::domain::notice::{Format, Round};
use avouch::domain::time::Seconds;
use avouch::flow::start;
use avouch::host::{DEFAULT_ISSUER, Host};
use avouch::rng::Rng;
use avouch::store::{NewAccount, NewDelivery};
use avouch::{delivery, domain};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use crate::Outcome;
use crate::machine;
use crate::options::Options;

const HOSTS: usize = 1_000;
/// Notices of each host, and how many of the hosts take a request and never answer. The most of all come first, while the process is small.
const CASES: [(usize, usize); 5] = [(100, 100), (10, 0), (10, 100), (10, 300), (10, 1_000 - 1)];
/// As much as is waited for.
const LIMIT: Duration = Duration::from_mins(1);

pub(crate) async fn run(options: &Options) -> Outcome<()> {
    // Each host keeps a connection for a while, and its other end is here too.
    rlimit::increase_nofile_limit(16_384)?;
    println!("\n{HOSTS} hosts, some of which hang; everything in one process, on SQLite\n");
    println!(
        "| notices each | hang | told | the last after s | CPU us a notice | of the services | memory MiB, before | at most |"
    );
    println!("| ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |");
    for (each, hang) in CASES {
        let folder = tempfile::Builder::new().prefix("avouch-bench-hang.").tempdir_in(&options.folder)?;
        measure(folder.path(), each, hang).await?;
    }
    Ok(())
}

async fn measure(folder: &std::path::Path, each: usize, hang: usize) -> Outcome<()> {
    let told = Arc::new(AtomicUsize::new(0));
    let (answers, hangs) = (std::net::TcpListener::bind("0.0.0.0:0")?, std::net::TcpListener::bind("0.0.0.0:0")?);
    let ports = (answers.local_addr()?.port(), hangs.local_addr()?.port());
    let services = Services::start(answers, hangs, told.clone())?;
    let host = host(folder).await?;
    // Every tenth one and so on: those that hang are among the others, as names would have it.
    let hanging = |n: usize| n * hang / HOSTS != (n + 1) * hang / HOSTS;
    let pid = std::process::id();
    let (before, mut most) = (machine::memory(pid, "VmRSS"), 0.0_f64);
    let name = |n| format!("127.0.{}.{}:{}", 10 + n / 250, 1 + n % 250, if hanging(n) { ports.1 } else { ports.0 });
    fill(&host, each, name).await?;
    let wanted = (HOSTS - hang) * each;
    let (stop, stopped) = watch::channel(false);
    let (all, theirs) = (machine::process_nanos(pid), services.nanos());
    let begin = Instant::now();
    let worker = tokio::spawn(delivery::run(host.clone(), stopped));
    while told.load(Ordering::SeqCst) < wanted && begin.elapsed() < LIMIT {
        tokio::time::sleep(Duration::from_millis(5)).await;
        most = most.max(machine::memory(pid, "VmRSS"));
    }
    let (took, told) = (begin.elapsed().as_secs_f64(), told.load(Ordering::SeqCst));
    let theirs = services.nanos().saturating_sub(theirs);
    let ours = machine::process_nanos(pid).saturating_sub(all).saturating_sub(theirs);
    let of_one = |nanos: u64| nanos / 1000 / u64::try_from(told).unwrap_or(u64::MAX).max(1);
    let (ours, theirs) = (of_one(ours), of_one(theirs));
    println!("| {each} | {hang} | {told} of {wanted} | {took:.2} | {ours} | {theirs} | {before:.0} | {most:.0} |");
    stop.send_replace(true);
    worker.await?;
    host.database.close().await;
    Ok(())
}

/// The services, on a thread of their own so that what they take can be told from what telling them takes.
struct Services {
    thread: u64,
    stop: Option<tokio::sync::oneshot::Sender<()>>,
}

impl Services {
    fn start(answers: std::net::TcpListener, hangs: std::net::TcpListener, told: Arc<AtomicUsize>) -> Outcome<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (stop, stopped) = tokio::sync::oneshot::channel();
        let (named, name) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            let _ = named.send(machine::thread_id());
            runtime.block_on(async {
                let listen = |listener: std::net::TcpListener| {
                    listener.set_nonblocking(true).and_then(|()| TcpListener::from_std(listener)).expect("it listens")
                };
                tokio::select! {
                    () = answer(listen(answers), told) => {}
                    () = keep(listen(hangs)) => {}
                    _ = stopped => {}
                }
            });
        });
        Ok(Self { thread: name.recv()?.ok_or("a thread has no number")?, stop: Some(stop) })
    }

    /// Nanoseconds that they have run.
    fn nanos(&self) -> u64 {
        machine::nanos_of(self.thread)
    }
}

impl Drop for Services {
    fn drop(&mut self) {
        if let Some(stop) = self.stop.take() {
            let _ = stop.send(());
        }
    }
}

async fn host(folder: &std::path::Path) -> Outcome<Host> {
    let file = folder.join("avouch.toml");
    let text = format!(
        "database_url = \"sqlite://{0}/avouch.db\"\n[keys]\ndir = \"{0}/keys\"\n[network]\nallow_private_addresses = true\n",
        folder.display()
    );
    std::fs::write(&file, text)?;
    let config = Config::load(Some(&file), Vec::new())?;
    Ok(start::open(&config, start::Accepted::default(), Clock::System, Rng::Os).await?.0)
}

async fn fill(host: &Host, each: usize, name: impl Fn(usize) -> String) -> Outcome<()> {
    let now = host.now();
    let mut tx = host.database.of(DEFAULT_ISSUER.into()).begin().await?;
    let (id, sub) = (domain::ids::AccountId::from("a"), host.rng.subject());
    let account = NewAccount {
        id: &id,
        sub: &sub,
        email: "a@b.example",
        email_verified: true,
        name: None,
        phone_number: None,
        phone_verified: false,
    };
    tx.apply_account(&account, now).await?;
    let iss = host.root.as_str();
    let delegation = tx.open_delegation("d", &id, iss, &sub, "https://service.example", now).await?;
    for of in 0..HOSTS {
        let host = name(of);
        let endpoint = format!("http://{host}/revoke");
        let notices: Vec<NewDelivery> = (0..each)
            .map(|n| NewDelivery {
                id: format!("{:032}", of * each + n).into(),
                delegation_id: Some(&delegation),
                sid: None,
                format: Format::LogoutJwt,
                round: Round::First,
                endpoint: &endpoint,
                host: host.as_str().into(),
                iss,
                sub: &sub,
                aud: "https://service.example",
                created_at: now,
                due_at: now,
                give_up_at: now + Seconds(1000),
            })
            .collect();
        tx.enqueue(&notices).await?;
    }
    Ok(tx.commit().await?)
}

/// Answers every request.
pub(crate) async fn answer(listener: TcpListener, told: Arc<AtomicUsize>) {
    while let Ok((stream, _)) = listener.accept().await {
        tokio::spawn(serve(stream, told.clone()));
    }
}

async fn serve(mut stream: TcpStream, told: Arc<AtomicUsize>) {
    // Small, since it is not their memory that is measured.
    let mut held = Vec::with_capacity(1024);
    while let Ok(1..) = stream.read_buf(&mut held).await {
        let Some(end) = held.windows(4).position(|four| four == b"\r\n\r\n") else { continue };
        let head = String::from_utf8_lossy(&held[..end]).to_lowercase();
        let length = head.split("content-length: ").nth(1).and_then(|rest| rest.lines().next()?.parse().ok());
        if held.len() < end + 4 + length.unwrap_or(0) {
            continue;
        }
        held.clear();
        told.fetch_add(1, Ordering::SeqCst);
        if stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await.is_err() {
            return;
        }
    }
}

/// Takes every connection and says nothing.
pub(crate) async fn keep(listener: TcpListener) {
    let mut kept = Vec::new();
    while let Ok((stream, _)) = listener.accept().await {
        kept.push(stream);
    }
}
