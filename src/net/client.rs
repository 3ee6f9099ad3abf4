//! The HTTP client that [`super::Net`] guards: hyper's, which does nothing that it is not told to.

use std::error::Error;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{ACCEPT, HeaderValue, USER_AGENT};
use hyper::{Request, Response, Uri, ext};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use tokio::sync::Notify;
use tower_service::Service;

use super::guard::{Denied, Guard, NoAddress, Way};
use super::{Cause, NetError};

/// Longest wait for name, connection and TLS together; the request's own time-out may end it earlier.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// How long a connection is kept for the next request to the same host, and how many. Enough for a burst of notices;
/// short, because a kept connection does not see that the name has moved.
const IDLE_TIMEOUT: Duration = Duration::from_secs(1);
const IDLE_PER_HOST: usize = 2;

/// Most bytes of an answer's head, and of what is read at one stroke.
const MAX_HEAD: usize = 32 * 1024;

/// Most interim answers (RFC 9110 section 15.2) before the one that counts.
const MAX_INTERIM: usize = 16;

/// A pool of connections, all of one way.
pub(super) enum Client {
    Tls(Pool<HttpsConnector<HttpConnector<Guard>>>),
    Plain(Pool<HttpConnector<Guard>>),
}

type Pool<C> = legacy::Client<InTime<C>, Full<Bytes>>;

impl Client {
    /// Reads the root certificates where it is to speak TLS, which is file work: it blocks.
    ///
    /// # Errors
    /// When there are none.
    #[expect(clippy::disallowed_methods, reason = "this is the one guarded client")]
    pub(super) fn build(way: Way, guard: Guard) -> std::io::Result<Self> {
        let mut dial = HttpConnector::new_with_resolver(guard);
        dial.set_nodelay(true);
        let mut client = legacy::Client::builder(TokioExecutor::new());
        client
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE_TIMEOUT)
            .pool_max_idle_per_host(IDLE_PER_HOST)
            .http1_max_buf_size(MAX_HEAD);
        Ok(match way {
            Way::Tls => {
                dial.enforce_http(false);
                let tls = HttpsConnectorBuilder::new().with_native_roots()?.https_only().enable_http1();
                Self::Tls(client.build(InTime(tls.wrap_connector(dial))))
            }
            Way::Plain => Self::Plain(client.build(InTime(dial))),
        })
    }

    /// Sends a request and waits for the head of its answer.
    pub(super) async fn send(&self, mut request: Request<Full<Bytes>>) -> Result<Response<Incoming>, NetError> {
        request.headers_mut().entry(ACCEPT).or_insert(HeaderValue::from_static("*/*"));
        let name = HeaderValue::from_static(concat!("avouch/", env!("CARGO_PKG_VERSION")));
        request.headers_mut().insert(USER_AGENT, name);
        // Whoever sends interim answers for ever keeps a thread busy with reading them.
        let (interim, enough) = (AtomicUsize::new(0), Arc::new(Notify::new()));
        let told = enough.clone();
        ext::on_informational(&mut request, move |_| {
            if interim.fetch_add(1, Ordering::Relaxed) == MAX_INTERIM {
                told.notify_one();
            }
        });
        let answer = match self {
            Self::Tls(client) => client.request(request),
            Self::Plain(client) => client.request(request),
        };
        tokio::select! {
            biased;
            () = enough.notified() => Err(NetError::Transport("it sends interim answers without end".into())),
            answer = answer => answer.map_err(failure),
        }
    }
}

fn failure(error: legacy::Error) -> NetError {
    let (connecting, error) = (error.is_connect(), Cause::from(error));
    if let Some(denied) = under::<Denied>(&*error) {
        NetError::NotAllowed(denied.clone())
    } else if under::<TooSlow>(&*error).is_some() {
        NetError::Timeout
    } else if under::<NoAddress>(&*error).is_some() {
        NetError::Unresolvable(error)
    } else if connecting {
        NetError::Connect(error)
    } else {
        NetError::Transport(error)
    }
}

/// What an error comes from, from under the layers it has come up through.
fn under<'a, E: Error + 'static>(error: &'a (dyn Error + Send + Sync + 'static)) -> Option<&'a E> {
    let mut cause: Option<&(dyn Error + 'static)> = Some(error);
    while let Some(error) = cause {
        if let Some(found) = error.downcast_ref() {
            return Some(found);
        }
        cause = error.source();
    }
    None
}

/// A connector that does not wait for ever; connecting goes on also when nobody waits for the connection any more.
#[derive(Clone)]
pub(super) struct InTime<C>(C);

#[derive(Debug, thiserror::Error)]
#[error("no connection in time")]
struct TooSlow;

impl<C> Service<Uri> for InTime<C>
where
    C: Service<Uri, Error: Into<Cause>, Future: Send + 'static>,
{
    type Response = C::Response;
    type Error = Cause;
    type Future = Pin<Box<dyn Future<Output = Result<C::Response, Cause>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Cause>> {
        self.0.poll_ready(context).map_err(Into::into)
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let connected = tokio::time::timeout(CONNECT_TIMEOUT, self.0.call(uri));
        Box::pin(async move { connected.await.map_err(|_| Cause::from(TooSlow))?.map_err(Into::into) })
    }
}
