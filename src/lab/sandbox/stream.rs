//! What happens, as it happens: `GET /sandbox/events/stream`, server-sent events (HTML Living Standard section 9.2).

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::{RawQuery, State as Shared};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Response};
use hyper::body::Frame;
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio::time::sleep;

use super::Sandbox;
use super::event::Event;
use super::reply;

/// Most who look at the same time.
pub(super) const MAX_STREAMS: usize = 16;

/// A word now and then, so that nobody between takes it for dead.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// All events that are remembered; after one that was seen, those that followed (`Last-Event-ID`, or `after` the first time).
pub(super) async fn serve(Shared(sandbox): Shared<Sandbox>, headers: HeaderMap, RawQuery(query): RawQuery) -> Response {
    let Ok(place) = sandbox.0.streams.clone().try_acquire_owned() else {
        return reply::busy("too many look at the events already");
    };
    let last = headers.get("last-event-id").and_then(|value| value.to_str().ok()).map(str::to_owned);
    let after = || {
        let mut pairs = url::form_urlencoded::parse(query.as_deref().unwrap_or_default().as_bytes());
        pairs.find_map(|(name, value)| (name == "after").then(|| value.into_owned()))
    };
    let seen = last.or_else(after).and_then(|text| text.parse().ok()).unwrap_or_default();
    // Each piece is made when the one before was taken, so whoever reads slowly fills nothing.
    let (pieces, stream) = mpsc::channel(1);
    tokio::spawn(tell(sandbox, seen, pieces));
    let headers = [
        ("content-type", "text/event-stream"),
        ("cache-control", "no-store"),
        ("x-content-type-options", "nosniff"),
        ("x-accel-buffering", "no"),
    ];
    (StatusCode::OK, headers, Body::new(Stream { pieces: stream, _place: place })).into_response()
}

/// Ends when the reader goes away, or the sandbox does.
async fn tell(sandbox: Sandbox, mut seen: u64, pieces: mpsc::Sender<Bytes>) {
    let (mut news, mut ended) = (sandbox.state().news.subscribe(), sandbox.0.ended.subscribe());
    news.mark_changed();
    loop {
        let piece = tokio::select! {
            _ = ended.wait_for(|ended| *ended) => return,
            () = pieces.closed() => return,
            () = sleep(KEEP_ALIVE) => ":\n\n".to_owned(),
            rung = news.changed() => {
                if rung.is_err() {
                    return;
                }
                let (events, last) = sandbox.state().events_after(seen);
                seen = last;
                told(&events)
            }
        };
        tokio::select! {
            _ = ended.wait_for(|ended| *ended) => return,
            sent = pieces.send(piece.into()) => if sent.is_err() { return },
        }
    }
}

/// A verdict about a token comes without an event of its own.
fn told(events: &[Event]) -> String {
    let one = |event: &Event| format!("id: {}\ndata: {}\n\n", event.n, serde_json::json!(event));
    if events.is_empty() { "event: verdict\ndata: {}\n\n".to_owned() } else { events.iter().map(one).collect() }
}

struct Stream {
    pieces: mpsc::Receiver<Bytes>,
    _place: OwnedSemaphorePermit,
}

impl hyper::body::Body for Stream {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.pieces.poll_recv(cx).map(|piece| piece.map(|bytes| Ok(Frame::data(bytes))))
    }
}
