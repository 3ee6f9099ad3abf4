//! The only way out of the process: a guarded HTTP client.
//!
//! Whoever names a URL to us (a service's metadata, a client's document, a notice's endpoint) must not be able to make
//! this server call its own network, wait for ever or fill its memory. So [`Net`] dials only addresses it has judged
//! ([`Policy`]), follows no redirect, uses no proxy of the environment, keeps no cookies, and bounds every exchange in
//! time and size.
pub mod address;
mod cache;
mod client;
mod document;
mod documents;
mod guard;
mod message;
#[cfg(test)]
mod testing;
mod turns;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::BodyExt as _;
use hyper::body::{Body as _, Incoming};
use tokio::sync::{OnceCell, Semaphore};

pub use document::{Document, DocumentError, Limits};
pub use documents::Documents;
pub use guard::{Denied, Policy};
pub use message::{Headers, Method, Request, Response};
pub use turns::{Turn, Turns};

use client::Client;
use guard::{Guard, Lookup, Way};

/// Threads that may wait for a resolver only to know an address.
const LOOKUPS: usize = 8;
/// How long the rest of an answer is waited for that nobody wants to know.
const REST: Duration = Duration::from_millis(100);

/// Why there is no answer. The texts name no URL, header or body and may be logged with their sources; they are not for
/// the eyes of whoever chose the URL.
#[derive(Debug, thiserror::Error)]
pub enum NetError {
    /// The policy forbids the call; nothing was sent.
    #[error("the call is not allowed")]
    NotAllowed(#[from] Denied),
    /// The time for the exchange, or for the connection, ran out.
    #[error("no complete answer in time")]
    Timeout,
    /// The body is longer than allowed.
    #[error("the answer is longer than {limit} bytes")]
    TooLarge {
        /// Most bytes allowed.
        limit: usize,
    },
    /// The host name has no address.
    #[error("the host name does not resolve")]
    Unresolvable(#[source] Cause),
    /// No connection, or no TLS session that can be trusted.
    #[error("no connection")]
    Connect(#[source] Cause),
    /// The connection broke off, or what came is not HTTP.
    #[error("the exchange broke off")]
    Transport(#[source] Cause),
    /// A URL that has characters which HTTP does not carry.
    #[error("the URL cannot be sent")]
    Url(#[source] Cause),
    /// A header that cannot be put on the wire; a mistake of the caller.
    #[error("header {0} cannot be sent")]
    Header(&'static str),
    /// The client could not be made, as on a machine without root certificates.
    #[error("the HTTP client could not be set up")]
    Setup(#[source] Cause),
}

/// What lies under a [`NetError`].
pub type Cause = Box<dyn std::error::Error + Send + Sync>;

/// The guarded client; cheap to clone, all clones share their connections.
#[derive(Clone)]
pub struct Net(Arc<Inner>);

struct Inner {
    policy: Arc<Policy>,
    lookup: Lookup,
    /// Names that are looked up at the same time for nothing but to know.
    lookups: Arc<Semaphore>,
    // One client for each way, and so one pool and one resolver: a connection made for https is never found by http, and
    // what http may reach is judged by a stricter rule. Made on first use, because reading the machine's root
    // certificates takes longer than all the rest of a start.
    tls: OnceCell<Client>,
    plain: OnceCell<Client>,
}

impl Net {
    /// A client under this policy. No I/O happens before the first [`Net::send`].
    ///
    /// # Errors
    /// [`Denied::Network`] when the policy allows a network that must stay closed.
    pub fn new(policy: Policy) -> Result<Self, NetError> {
        Self::with_lookup(policy, guard::system_lookup())
    }

    fn with_lookup(policy: Policy, lookup: Lookup) -> Result<Self, NetError> {
        policy.check()?;
        let (tls, plain) = (OnceCell::new(), OnceCell::new());
        let lookups = Arc::new(Semaphore::new(LOOKUPS));
        Ok(Self(Arc::new(Inner { policy: Arc::new(policy), lookup, lookups, tls, plain })))
    }

    /// Sends one request and reads the whole answer. It must run in a tokio runtime with time and I/O.
    pub async fn send(&self, request: Request) -> Result<Response, NetError> {
        let (timeout, limit) = (request.timeout, request.max_body);
        let exchange = async {
            let (head, body) = self.begin(request).await?.into_parts();
            Ok(Response {
                status: head.status.as_u16(),
                headers: Headers(head.headers),
                body: read(body, limit).await?,
            })
        };
        tokio::time::timeout(timeout, exchange).await.map_err(|_| NetError::Timeout)?
    }

    /// Sends one request to whose answer the body adds nothing: whatever becomes of it, head and status count. It is read for a moment,
    /// as far as the request allows, because a connection can be used again only then.
    pub async fn tell(&self, request: Request) -> Result<Response, NetError> {
        let (timeout, limit) = (request.timeout, request.max_body);
        let answer = tokio::time::timeout(timeout, self.begin(request)).await.map_err(|_| NetError::Timeout)??;
        let (head, body) = answer.into_parts();
        let mut read = Vec::new();
        // What came until then is kept, whatever comes of the rest.
        let _ = tokio::time::timeout(REST, read_into(&mut read, body, limit)).await;
        let body = read;
        Ok(Response { status: head.status.as_u16(), headers: Headers(head.headers), body })
    }

    /// The addresses that a name has now; none where nobody knows it. For comparing, not for going there.
    pub async fn addresses(&self, name: &str) -> Vec<IpAddr> {
        let name = name.trim_matches(['[', ']']).to_owned();
        if let Ok(ip) = name.parse() {
            return vec![ip];
        }
        let lookup = self.0.lookup.clone();
        let Ok(permit) = self.0.lookups.clone().acquire_owned().await else { return Vec::new() };
        let found = tokio::task::spawn_blocking(move || {
            let _permit = permit;
            lookup(&name)
        });
        found.await.ok().and_then(Result::ok).unwrap_or_default()
    }

    /// Sends a request and waits for the head of its answer.
    async fn begin(&self, request: Request) -> Result<hyper::Response<Incoming>, NetError> {
        let way = self.0.policy.admit(&request.url)?;
        self.client(way).await?.send(request.into_http()?).await
    }

    async fn client(&self, way: Way) -> Result<&Client, NetError> {
        let cell = match way {
            Way::Tls => &self.0.tls,
            Way::Plain => &self.0.plain,
        };
        cell.get_or_try_init(|| async {
            let guard = Guard::new(self.0.policy.clone(), way, self.0.lookup.clone());
            // Reading the root certificates is file work.
            let built = tokio::task::spawn_blocking(move || Client::build(way, guard)).await;
            built.map_err(|e| NetError::Setup(e.into()))?.map_err(|e| NetError::Setup(e.into()))
        })
        .await
    }
}

/// Reads a body, counting what really arrives; a `Content-Length` that promises too much ends it before that.
async fn read(answer: Incoming, limit: usize) -> Result<Vec<u8>, NetError> {
    if answer.size_hint().lower() > u64::try_from(limit).unwrap_or(u64::MAX) {
        return Err(NetError::TooLarge { limit });
    }
    let mut body = Vec::new();
    read_into(&mut body, answer, limit).await?;
    Ok(body)
}

async fn read_into(body: &mut Vec<u8>, mut answer: Incoming, limit: usize) -> Result<(), NetError> {
    while let Some(frame) = answer.frame().await {
        let frame = frame.map_err(|e| NetError::Transport(e.into()))?;
        let chunk = frame.data_ref().map(AsRef::as_ref).unwrap_or_default();
        let room = limit - body.len();
        if chunk.len() > room {
            body.extend_from_slice(&chunk[..room]);
            return Err(NetError::TooLarge { limit });
        }
        body.extend_from_slice(chunk);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use url::Url;

    use super::testing::{Server, answer, open};
    use super::*;

    fn get(url: &str) -> Request {
        Request {
            method: Method::Get,
            url: Url::parse(url).unwrap(),
            headers: Vec::new(),
            body: Vec::new(),
            timeout: Duration::from_secs(10),
            max_body: 1000,
        }
    }

    /// Long enough for a connection on this machine, short enough to wait for.
    const SHORT: Duration = Duration::from_millis(300);

    #[tokio::test]
    async fn an_exchange_carries_headers_and_bodies_both_ways() {
        let server = Server::start(|_| {
            b"HTTP/1.1 201 Created\r\nset-cookie: a=1\r\nset-cookie: b=2\r\ncontent-length: 2\r\n\r\nok".to_vec()
        })
        .await;
        let mut request = get(&server.url("/in?x=1"));
        request.method = Method::Post;
        request.headers = vec![("content-type", "application/logout+jwt".into()), ("Authorization", "Bearer t".into())];
        request.body = b"hello".to_vec();
        let response = open().send(request).await.unwrap();
        assert_eq!((response.status, response.body.as_slice()), (201, b"ok".as_slice()));
        assert_eq!(response.header("Content-Length"), Some("2"));
        assert_eq!(response.headers.all("set-cookie").collect::<Vec<_>>(), ["a=1", "b=2"]);
        let seen = server.seen().remove(0).to_lowercase();
        let parts = [
            "post /in?x=1 http/1.1\r\n",
            "content-type: application/logout+jwt",
            "authorization: bearer t",
            "user-agent: avouch/",
        ];
        for part in parts {
            assert!(seen.contains(part), "{part} in {seen}");
        }
        for part in ["accept-encoding", "referer", "cookie"] {
            assert!(!seen.contains(part), "{part} in {seen}");
        }
        assert!(seen.ends_with("\r\n\r\nhello"), "{seen}");
        assert_eq!(format!("{response:?}"), "Response { status: 201, bytes: 2, .. }");
    }

    #[tokio::test]
    async fn a_redirect_is_an_answer() {
        let target = Server::start(|_| answer(200, "text/plain", "reached")).await;
        let location = target.url("/");
        let server = Server::start(move |_| {
            format!("HTTP/1.1 302 Found\r\nlocation: {location}\r\ncontent-length: 0\r\n\r\n").into_bytes()
        })
        .await;
        let response = open().send(get(&server.url("/"))).await.unwrap();
        assert_eq!(response.status, 302);
        assert!(target.seen().is_empty());
    }

    #[tokio::test]
    async fn a_body_is_bounded_by_what_it_promises_and_by_what_arrives() {
        let exact = "x".repeat(1000);
        let longer = "x".repeat(1001);
        let chunked = format!("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3e9\r\n{longer}\r\n0\r\n\r\n");
        let unframed = format!("HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n{longer}");
        let promise = "HTTP/1.1 200 OK\r\ncontent-length: 1001\r\n\r\n".to_owned();
        for (name, reply) in [("chunked", chunked), ("unframed", unframed), ("promised", promise)] {
            let server = Server::start(move |_| reply.clone().into_bytes()).await;
            let error = open().send(get(&server.url("/"))).await.unwrap_err();
            assert!(matches!(error, NetError::TooLarge { limit: 1000 }), "{name}: {error:?}");
        }
        let server = Server::start(move |_| answer(200, "text/plain", &exact)).await;
        assert_eq!(open().send(get(&server.url("/"))).await.unwrap().body.len(), 1000);
    }

    #[tokio::test]
    async fn the_whole_exchange_is_bounded_in_time() {
        let head = "HTTP/1.1 200 OK\r\ncontent-length: 900\r\n\r\n";
        let servers = [
            ("silent", Server::start(|_| Vec::new()).await),
            ("head without end", Server::dripping("HTTP/1.1 200 OK\r\n", "x: y\r\n").await),
            ("hang in the body", Server::start(move |_| head.as_bytes().to_vec()).await),
            ("drip", Server::dripping(head, "x").await),
        ];
        for (name, server) in servers {
            let mut request = get(&server.url("/"));
            request.timeout = SHORT;
            let error = open().send(request).await.unwrap_err();
            assert!(matches!(error, NetError::Timeout), "{name}: {error:?}");
        }
    }

    #[tokio::test]
    async fn of_an_answer_whose_body_nobody_wants_the_head_counts() {
        let head = "HTTP/1.1 200 OK\r\nretry-after: 7\r\n";
        let longer = "x".repeat(1001);
        let whole = Server::start(move |_| format!("{head}content-length: 2\r\n\r\nok").into_bytes()).await;
        let servers = [
            ("whole", whole),
            (
                "too long",
                Server::start(move |_| format!("{head}content-length: 1001\r\n\r\n{longer}").into_bytes()).await,
            ),
            ("cut off", Server::start(move |_| format!("{head}connection: close\r\n\r\nx").into_bytes()).await),
            ("hang", Server::start(move |_| format!("{head}content-length: 900\r\n\r\n").into_bytes()).await),
            (
                "garbage",
                Server::start(move |_| format!("{head}transfer-encoding: chunked\r\n\r\nzz").into_bytes()).await,
            ),
        ];
        for (name, server) in servers {
            let response = open().tell(get(&server.url("/"))).await.unwrap();
            assert_eq!((response.status, response.header("retry-after")), (200, Some("7")), "{name}");
        }
        let silent = Server::start(|_| Vec::new()).await;
        let mut request = get(&silent.url("/"));
        request.timeout = SHORT;
        assert!(matches!(open().tell(request).await, Err(NetError::Timeout)), "without a head there is no answer");
    }

    #[tokio::test]
    async fn an_endless_head_is_refused() {
        let server = Server::start(|_| format!("HTTP/1.1 200 OK\r\n{}", "x: y\r\n".repeat(200_000)).into_bytes()).await;
        let error = open().send(get(&server.url("/"))).await.unwrap_err();
        assert!(matches!(error, NetError::Transport(_)), "{error:?}");
    }

    #[tokio::test]
    async fn a_refused_connection_is_told_apart_and_its_text_names_no_url() {
        let port = {
            let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
            listener.local_addr().unwrap().port()
        };
        let error = open().send(get(&format!("http://127.0.0.1:{port}/?token=hidden"))).await.unwrap_err();
        assert!(matches!(error, NetError::Connect(_)), "{error:?}");
        assert!(!format!("{error:?}").contains("hidden"));
    }

    #[tokio::test]
    async fn interim_answers_have_an_end() {
        let some = "HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n".repeat(3) + "HTTP/1.1 204 No Content\r\n\r\n";
        let server = Server::start(move |_| some.clone().into_bytes()).await;
        assert_eq!(open().send(get(&server.url("/"))).await.unwrap().status, 204);
        let server = Server::dripping("", "HTTP/1.1 100 Continue\r\n\r\n").await;
        let error = open().send(get(&server.url("/"))).await.unwrap_err();
        assert!(matches!(error, NetError::Transport(_)), "{error:?}");
    }

    #[tokio::test]
    async fn a_head_is_bounded() {
        let long = format!("HTTP/1.1 200 OK\r\nx-a: {}\r\ncontent-length: 0\r\n\r\n", "a".repeat(100 * 1024));
        let server = Server::start(move |_| long.clone().into_bytes()).await;
        let error = open().send(get(&server.url("/"))).await.unwrap_err();
        assert!(matches!(error, NetError::Transport(_)), "{error:?}");
    }

    #[tokio::test]
    async fn plain_http_at_an_https_url_is_no_connection() {
        let server = Server::start(|_| answer(200, "text/plain", "plain")).await;
        let error = open().send(get(&server.url("/").replace("http:", "https:"))).await.unwrap_err();
        assert!(matches!(error, NetError::Connect(_)), "{error:?}");
    }

    #[tokio::test]
    async fn names_are_judged_by_what_they_resolve_to() {
        let server = Server::start(|_| answer(200, "text/plain", "inner")).await;
        let url = server.url("/").replace("127.0.0.1", "localhost");
        let closed = Net::new(Policy::default()).unwrap();
        let mut tls = get(&url.replace("http:", "https:"));
        let error = closed.send(tls).await.unwrap_err();
        assert!(matches!(error, NetError::NotAllowed(Denied::Address(ip)) if ip.is_loopback()), "{error:?}");
        let error = closed.send(get(&url)).await.unwrap_err();
        assert!(matches!(error, NetError::NotAllowed(Denied::Plaintext)), "{error:?}");
        assert!(server.seen().is_empty());
        tls = get("https://service.example/");
        let lookup: Lookup = Arc::new(|_| Err(std::io::Error::other("no such name")));
        let error = Net::with_lookup(Policy::default(), lookup).unwrap().send(tls).await.unwrap_err();
        assert!(matches!(error, NetError::Unresolvable(_)), "{error:?}");
        let lookup: Lookup = Arc::new(|_| Ok(vec!["8.8.8.8".parse().unwrap()]));
        let policy = Policy { allow_private_addresses: true, ..Policy::default() };
        let error = Net::with_lookup(policy, lookup).unwrap().send(get("http://service.example/")).await.unwrap_err();
        assert!(matches!(error, NetError::NotAllowed(Denied::Plaintext)), "{error:?}");
    }

    #[tokio::test]
    async fn the_judged_address_is_the_dialled_one() {
        let server = Server::start(|_| answer(200, "text/plain", "inner")).await;
        let asked = Arc::new(AtomicUsize::new(0));
        let counter = asked.clone();
        let lookup: Lookup = Arc::new(move |_| {
            counter.fetch_add(1, Ordering::SeqCst);
            Ok(vec!["127.0.0.1".parse().unwrap()])
        });
        let policy = Policy { allow_private_addresses: true, ..Policy::default() };
        let net = Net::with_lookup(policy, lookup).unwrap();
        let url = server.url("/").replace("127.0.0.1", "service.example");
        assert_eq!(net.send(get(&url)).await.unwrap().body, b"inner");
        assert_eq!(asked.load(Ordering::SeqCst), 1, "one look-up, and no other resolver knows this name");
    }

    #[tokio::test]
    async fn literals_are_judged_though_no_resolver_sees_them() {
        let server = Server::start(|_| answer(200, "text/plain", "inner")).await;
        let closed = Net::new(Policy::default()).unwrap();
        for host in ["127.0.0.1", "0x7f.1", "2130706433", "[::ffff:127.0.0.1]"] {
            let error = closed.send(get(&server.url("/").replace("127.0.0.1", host))).await.unwrap_err();
            assert!(matches!(error, NetError::NotAllowed(Denied::Address(_))), "{host}: {error:?}");
        }
        for host in ["169.254.169.254", "[fe80::1]", "0.0.0.0", "[::]"] {
            let error = open().send(get(&server.url("/").replace("127.0.0.1", host))).await.unwrap_err();
            assert!(matches!(error, NetError::NotAllowed(Denied::Address(_))), "{host}: {error:?}");
        }
        assert!(server.seen().is_empty());
    }

    #[tokio::test]
    async fn a_value_that_would_split_the_head_is_not_sent() {
        let server = Server::start(|_| answer(200, "text/plain", "")).await;
        let mut request = get(&server.url("/"));
        request.headers = vec![("x-note", "a\r\nx-other: b".into())];
        assert!(matches!(open().send(request).await.unwrap_err(), NetError::Header("x-note")));
        assert!(server.seen().is_empty());
    }

    #[test]
    fn a_policy_that_opens_link_local_makes_no_client() {
        let allowed_networks = vec!["169.254.0.0/16".parse().unwrap()];
        let error = Net::new(Policy { allow_private_addresses: true, allowed_networks }).err().unwrap();
        assert!(matches!(error, NetError::NotAllowed(Denied::Network(_))), "{error:?}");
    }
}
