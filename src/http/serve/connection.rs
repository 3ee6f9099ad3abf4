//! One connection: its requests, and what each is at.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::Router;
use axum::body::{Body, Bytes, HttpBody};
use axum::http::{HeaderValue, Request, Response, header};
use hyper::body::{Frame, Incoming, SizeHint};
use hyper::server::conn::http1;
use hyper::service::{Service as _, service_fn};
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpStream;

use super::connections::Place;
use super::stream::Stream;

/// Most bytes of a head.
const HEAD: usize = 64 * 1024;

/// Serves a connection to its end. It keeps no time itself: whoever takes too long is ended from outside.
pub(super) async fn run(tcp: TcpStream, peer: SocketAddr, router: Router, place: Arc<Place>) {
    let _ = tcp.set_nodelay(true);
    let stream = Stream::new(tcp, place.clone());
    let service = service_fn(move |request| answer(router.clone(), peer, place.clone(), request));
    let mut http = http1::Builder::new();
    let _ = http.max_buf_size(HEAD).serve_connection(TokioIo::new(stream), service).await;
}

async fn answer(
    router: Router,
    peer: SocketAddr,
    place: Arc<Place>,
    request: Request<Incoming>,
) -> Result<Response<Answer>, Infallible> {
    if place.asked() {
        // Whoever sends many at once takes turns with the others, request by request.
        tokio::task::yield_now().await;
    }
    let mut request = request.map(|body| Body::new(Asked { body, place: place.clone() }));
    request.extensions_mut().insert(peer);
    let mut response = TowerToHyperService::new(router).call(request).await?;
    if place.answers() {
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    Ok(response.map(|body| Answer { body, place }))
}

/// The body of a request.
struct Asked {
    body: Incoming,
    place: Arc<Place>,
}

impl HttpBody for Asked {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let frame = Pin::new(&mut self.body).poll_frame(cx);
        if frame.is_pending() {
            self.place.wants_more();
        } else {
            self.place.has_more();
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// The body of an answer, which is dropped when all of it was handed over.
struct Answer {
    body: Body,
    place: Arc<Place>,
}

impl HttpBody for Answer {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        self.place.answered();
    }
}
