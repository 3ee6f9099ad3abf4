//! The accept loop under neighbours that take connections and give nothing back: who is ended, who is not, and the end of all.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use avouch::http::serve::{Limits, serve_within};
use axum::Router;
use axum::body::Body;
use axum::routing::{get, post};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::{JoinHandle, JoinSet};

use crate::harness::eventually;

const NEVER: Duration = Duration::from_hours(1);
const SOON: Duration = Duration::from_millis(100);
const LARGE: usize = 16 * 1024 * 1024;

/// Limits that end nothing.
fn patient() -> Limits {
    Limits { head: NEVER, idle: NEVER, stalled: NEVER, exchange: NEVER, last_request: NEVER, ..Limits::default() }
}

/// A server with something fast, something that waits to be let go, something large, and something that reads a body.
struct Server {
    address: SocketAddr,
    /// Lets requests to `/held` go.
    gate: Arc<Semaphore>,
    /// Requests that wait there.
    held: Arc<Semaphore>,
    stop: watch::Sender<bool>,
    ended: JoinHandle<()>,
}

impl Server {
    async fn start(limits: Limits) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (gate, held) = (Arc::new(Semaphore::new(0)), Arc::new(Semaphore::new(0)));
        let wait = {
            let (gate, held) = (gate.clone(), held.clone());
            move || async move {
                held.add_permits(1);
                drop(gate.acquire().await);
                "held"
            }
        };
        let router = Router::new()
            .route("/", get(async || "fast"))
            .route("/held", get(wait))
            .route("/large", get(async || vec![b'x'; LARGE]))
            .route(
                "/body",
                post(async |body: Body| axum::body::to_bytes(body, 1024).await.map(drop).unwrap_or_default()),
            );
        let (stop, stopped) = watch::channel(false);
        let ended = tokio::spawn(serve_within(limits, listener, router, stopped));
        Self { address, gate, held, stop, ended }
    }

    async fn connect(&self) -> Peer {
        Peer(TcpStream::connect(self.address).await.unwrap())
    }

    /// From another address of this machine.
    async fn connect_from(&self, ip: &str) -> Peer {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind(format!("{ip}:0").parse().unwrap()).unwrap();
        Peer(socket.connect(self.address).await.unwrap())
    }

    /// A connection whose request is being worked on.
    async fn connect_held(&self) -> Peer {
        let mut peer = self.connect().await;
        peer.send("GET /held HTTP/1.1\r\nhost: x\r\n\r\n").await;
        tokio::select! {
            permit = self.held.acquire() => permit.unwrap().forget(),
            () = peer.closed() => panic!("a connection was ended whose request was on its way"),
        }
        peer
    }
}

struct Peer(TcpStream);

impl Peer {
    async fn send(&mut self, text: &str) {
        self.0.write_all(text.as_bytes()).await.unwrap();
    }

    /// The head of one answer, and its body as far as it is short; `None` when the connection was closed instead.
    async fn answer(&mut self) -> Option<String> {
        let mut answer = Vec::new();
        loop {
            let mut bytes = [0; 1024];
            match self.0.read(&mut bytes).await {
                Ok(0) | Err(_) => return None,
                Ok(n) => answer.extend_from_slice(&bytes[..n]),
            }
            let text = String::from_utf8_lossy(&answer);
            if text.ends_with("fast") || text.ends_with("held") {
                return Some(text.into_owned());
            }
        }
    }

    /// Asks and is answered on a connection that may be kept.
    async fn ask(&mut self) -> Option<String> {
        if self.0.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").await.is_err() {
            return None;
        }
        self.answer().await
    }

    /// Waits for the end of the connection; nothing more was said.
    async fn closed(&mut self) {
        assert!(matches!(self.0.read(&mut [0]).await, Ok(0) | Err(_)));
    }
}

#[tokio::test]
async fn a_head_that_has_begun_is_not_waited_for_as_long_as_the_next_request() {
    let server = Server::start(Limits { head: SOON, ..patient() }).await;
    let (mut new, mut kept) = (server.connect().await, server.connect().await);
    kept.ask().await.unwrap();
    let (mut half, mut later) = (server.connect().await, server.connect().await);
    half.send("GET / HT").await;
    later.ask().await.unwrap();
    later.send("GET / HTTP/1.1\r\n").await;
    half.closed().await;
    later.closed().await;
    assert!(new.ask().await.is_some() && kept.ask().await.is_some());
}

#[tokio::test]
async fn who_asks_nothing_more_is_closed() {
    let server = Server::start(Limits { idle: SOON, ..patient() }).await;
    let (mut new, mut kept) = (server.connect().await, server.connect().await);
    kept.ask().await.unwrap();
    let mut held = server.connect_held().await;
    new.closed().await;
    kept.closed().await;
    server.gate.add_permits(1);
    assert!(held.answer().await.is_some(), "it was not idle");
}

/// Sends requests and reads none of the answers until the connection is ended.
async fn pipeline(mut peer: Peer, path: &str) {
    let requests = format!("GET {path} HTTP/1.1\r\nhost: x\r\n\r\n").repeat(100);
    while peer.0.write_all(requests.as_bytes()).await.is_ok() {}
}

#[tokio::test]
async fn who_takes_no_answer_is_closed() {
    let server = Server::start(Limits { stalled: SOON, ..patient() }).await;
    let mut kept = server.connect().await;
    kept.ask().await.unwrap();
    pipeline(server.connect().await, "/large").await;
    pipeline(server.connect().await, "/").await;
    assert!(kept.ask().await.is_some());
}

#[tokio::test]
async fn a_request_grows_only_so_old() {
    let server = Server::start(Limits { exchange: SOON, ..patient() }).await;
    let mut kept = server.connect().await;
    kept.ask().await.unwrap();
    let mut body = server.connect().await;
    body.send("POST /body HTTP/1.1\r\nhost: x\r\ncontent-length: 9\r\n\r\nhalf").await;
    body.closed().await;
    let mut held = server.connect_held().await;
    held.closed().await;
    // It takes the answer, but never faster than this.
    let mut slow = server.connect().await;
    slow.send("GET /large HTTP/1.1\r\nhost: x\r\n\r\n").await;
    let mut read = 0;
    while let Ok(1..) = slow.0.read(&mut [0; 64]).await {
        read += 64;
        tokio::task::yield_now().await;
    }
    assert!(read < LARGE, "{read}");
    assert!(kept.ask().await.is_some());
}

/// Waits until so many of the peers are closed.
async fn closed_of(peers: Vec<Peer>, count: usize) {
    let mut waiting = JoinSet::new();
    for mut peer in peers {
        waiting.spawn(async move { peer.closed().await });
    }
    for _ in 0..count {
        waiting.join_next().await.unwrap().unwrap();
    }
}

#[tokio::test]
async fn the_longest_idle_make_room() {
    let server = Server::start(Limits { connections: 8, per_address: 8, young: Duration::ZERO, ..patient() }).await;
    let mut held = server.connect_held().await;
    let mut half = server.connect().await;
    half.ask().await.unwrap();
    half.send("GET / HTTP/1.1\r\n").await;
    let mut idle = Vec::new();
    for _ in 0..20 {
        let mut peer = server.connect().await;
        peer.ask().await.unwrap();
        idle.push(peer);
    }
    // One slot is kept free for who comes next.
    for peer in &mut idle[..15] {
        peer.closed().await;
    }
    for peer in &mut idle[15..] {
        assert!(peer.ask().await.is_some(), "the others are not ended");
    }
    half.send("host: x\r\n\r\n").await;
    assert!(half.answer().await.is_some(), "who has begun is not idle");
    // Where nobody is idle, whoever has begun and goes on no further.
    let mut peers = Vec::new();
    for _ in 0..20 {
        let mut peer = server.connect().await;
        peer.send("POST /body HTTP/1.1\r\nhost: x\r\ncontent-length: 9\r\n\r\nhalf").await;
        peers.push(peer);
    }
    assert!(server.connect().await.ask().await.is_some());
    closed_of(peers, 13).await;
    server.gate.add_permits(1);
    assert!(held.answer().await.is_some(), "who is being worked for is not ended");
    assert!(held.ask().await.is_some());
}

#[tokio::test]
async fn one_address_takes_only_its_share() {
    let limits = Limits { connections: 64, per_address: 4, ..patient() };
    let server = Server::start(limits.clone()).await;
    let mut other = server.connect_from("127.0.0.2").await;
    other.ask().await.unwrap();
    let mut peers = Vec::new();
    for _ in 0..12 {
        let mut peer = server.connect().await;
        peer.send("POST /body HTTP/1.1\r\nhost: x\r\ncontent-length: 9\r\n\r\n").await;
        peers.push(peer);
    }
    closed_of(peers, 8).await;
    let mut busy = Vec::new();
    for _ in 0..4 {
        busy.push(server.connect_held().await);
    }
    server.connect().await.closed().await;
    assert!(other.ask().await.is_some(), "the others notice nothing");
    assert!(server.connect_from("127.0.0.3").await.ask().await.is_some());

    // Behind a proxy that is trusted, all come from one address.
    let server = Server::start(limits.behind(vec!["127.0.0.0/8".parse().unwrap()])).await;
    let mut peers = Vec::new();
    for _ in 0..12 {
        let mut peer = server.connect().await;
        peer.ask().await.unwrap();
        peers.push(peer);
    }
    for peer in &mut peers {
        assert!(peer.ask().await.is_some());
    }
}

#[tokio::test]
async fn at_the_end_everybody_is_answered_once_more() {
    let server = Server::start(patient()).await;
    let (mut new, mut kept) = (server.connect().await, server.connect().await);
    kept.ask().await.unwrap();
    let mut held = server.connect_held().await;
    let mut pipelined = server.connect().await;
    pipelined.send("GET /held HTTP/1.1\r\nhost: x\r\n\r\n").await;
    server.held.acquire().await.unwrap().forget();
    // Read by nobody: were it closed on, the answer before it would be lost.
    pipelined.send(&"GET / HTTP/1.1\r\nhost: x\r\n\r\n".repeat(1000)).await;
    server.stop.send_replace(true);
    eventually("no new connection", async || TcpStream::connect(server.address).await.is_err()).await;
    server.gate.add_permits(2);
    for (name, answer) in [
        ("new", new.ask().await),
        ("kept", kept.ask().await),
        ("held", held.answer().await),
        ("pipelined", pipelined.answer().await),
    ] {
        let answer = answer.unwrap_or_else(|| panic!("{name} is answered"));
        assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("connection: close"), "{name}: {answer}");
    }
    new.closed().await;
    server.ended.await.unwrap();
}

/// The system has connected them, and nobody has let them in: this thread is the server's as well.
#[tokio::test]
async fn at_the_end_who_is_at_the_door_is_answered() {
    let server = Server::start(patient()).await;
    server.connect().await.ask().await.unwrap();
    let at_the_door: Vec<_> = (0..8).map(|_| std::net::TcpStream::connect(server.address).unwrap()).collect();
    server.stop.send_replace(true);
    for peer in at_the_door {
        peer.set_nonblocking(true).unwrap();
        assert!(Peer(TcpStream::from_std(peer).unwrap()).ask().await.is_some());
    }
    server.ended.await.unwrap();
}

#[tokio::test]
async fn at_the_end_the_idle_are_closed_and_what_hangs_is_cut_off() {
    let server = Server::start(Limits { last_request: SOON, ..patient() }).await;
    let mut kept = server.connect().await;
    kept.ask().await.unwrap();
    server.stop.send_replace(true);
    kept.closed().await;
    server.ended.await.unwrap();

    let server = Server::start(Limits { connections: 2, per_address: 2, grace: SOON, ..patient() }).await;
    let mut held = [server.connect_held().await, server.connect_held().await];
    // Nobody has room for it, so it waits with the system.
    let mut waiting = server.connect().await;
    server.stop.send_replace(true);
    server.ended.await.unwrap();
    for peer in &mut held {
        peer.closed().await;
    }
    waiting.closed().await;
}
