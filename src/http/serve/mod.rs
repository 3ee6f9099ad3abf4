//! The accept loop: bounded in connections, patient with slow heads only so long, and ends cleanly.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::Service as _;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinSet;

/// Connections at the same time; more wait in the system's queue.
const CONNECTIONS: usize = 4096;
/// Time for the head of a request.
const HEAD: Duration = Duration::from_secs(15);
/// Time for requests in flight once the end has been asked for.
const GRACE: Duration = Duration::from_secs(20);

/// Serves until `stop` turns true, then finishes the requests in flight. Each request carries its peer's [`SocketAddr`].
pub async fn serve(listener: TcpListener, router: Router, mut stop: watch::Receiver<bool>) {
    let permits = Arc::new(Semaphore::new(CONNECTIONS));
    let mut open = JoinSet::new();
    while !*stop.borrow() {
        let Ok(permit) = permits.clone().acquire_owned().await else { break };
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, peer)) => {
                    open.spawn(connection(stream, peer, router.clone(), stop.clone(), permit));
                }
                Err(error) => {
                    // Out of file descriptors, most likely: a moment later one may be free.
                    tracing::warn!(error = &error as &dyn std::error::Error, "a connection could not be accepted");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            },
            _ = stop.changed() => {}
        }
        while open.try_join_next().is_some() {}
    }
    drop(listener);
    let finished = async { while open.join_next().await.is_some() {} };
    if tokio::time::timeout(GRACE, finished).await.is_err() {
        tracing::warn!("some requests were cut off after {} seconds", GRACE.as_secs());
    }
}

async fn connection(
    stream: TcpStream,
    peer: SocketAddr,
    router: Router,
    mut stop: watch::Receiver<bool>,
    permit: OwnedSemaphorePermit,
) {
    let _ = stream.set_nodelay(true);
    let service = hyper::service::service_fn(move |request: Request<Incoming>| {
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(peer);
        TowerToHyperService::new(router.clone()).call(request)
    });
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(HEAD).max_buf_size(64 * 1024);
    let serving = http.serve_connection(TokioIo::new(stream), service);
    tokio::pin!(serving);
    let stopping = async { while !*stop.borrow() && stop.changed().await.is_ok() {} };
    tokio::select! {
        _ = serving.as_mut() => {}
        () = stopping => {
            serving.as_mut().graceful_shutdown();
            let _ = serving.await;
        }
    }
    drop(permit);
}
