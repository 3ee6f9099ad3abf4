//! A server for this module's tests: real sockets, and no HTTP library that would mend what the tests break.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::{Net, Policy};

/// A client that may reach this machine.
pub(super) fn open() -> Net {
    Net::new(Policy { allow_private_addresses: true, ..Policy::default() }).unwrap()
}

/// A plain answer with the length it has.
pub(super) fn answer(status: u16, content_type: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    format!("HTTP/1.1 {status} Status\r\ncontent-type: {content_type}\r\ncontent-length: {length}\r\n\r\n{body}")
        .into_bytes()
}

type Reply = Arc<dyn Fn(&str) -> Vec<u8> + Send + Sync>;

/// Listens on a free port of 127.0.0.1 for as long as the test's runtime lives.
pub(super) struct Server {
    port: u16,
    seen: Arc<Mutex<Vec<String>>>,
}

impl Server {
    /// Answers each request with the bytes that `reply` makes of it, and keeps the connection until the client hangs up,
    /// unless the reply contains the word "close".
    pub(super) async fn start(reply: impl Fn(&str) -> Vec<u8> + Send + Sync + 'static) -> Self {
        Self::serve(Arc::new(reply), "").await
    }

    /// Sends `head` and then `drop` again and again, slowly, until the client hangs up.
    pub(super) async fn dripping(head: &'static str, drop: &'static str) -> Self {
        Self::serve(Arc::new(|_: &str| head.as_bytes().to_vec()), drop).await
    }

    async fn serve(reply: Reply, drop: &'static str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let log = seen.clone();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let (reply, log) = (reply.clone(), log.clone());
                tokio::spawn(async move {
                    while let Some(request) = read_request(&mut stream).await {
                        let bytes = reply(&request);
                        log.lock().unwrap().push(request);
                        if stream.write_all(&bytes).await.is_err() || bytes.windows(5).any(|word| word == b"close") {
                            return;
                        }
                        // The pace of the drip itself; nothing waits for it.
                        let mut pace = tokio::time::interval(Duration::from_millis(20));
                        while !drop.is_empty() && stream.write_all(drop.as_bytes()).await.is_ok() {
                            pace.tick().await;
                        }
                    }
                });
            }
        });
        Self { port, seen }
    }

    /// The URL of a path here.
    pub(super) fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    /// The requests so far, head and body as they came.
    pub(super) fn seen(&self) -> Vec<String> {
        self.seen.lock().unwrap().clone()
    }
}

async fn read_request(stream: &mut TcpStream) -> Option<String> {
    let mut request = String::new();
    let mut buffer = [0; 4096];
    loop {
        let n = stream.read(&mut buffer).await.ok().filter(|n| *n > 0)?;
        request.push_str(std::str::from_utf8(&buffer[..n]).ok()?);
        if let Some((head, body)) = request.split_once("\r\n\r\n") {
            let length =
                head.lines().find_map(|line| line.to_lowercase().strip_prefix("content-length: ")?.parse().ok());
            if body.len() >= length.unwrap_or(0) {
                return Some(request);
            }
        }
    }
}
