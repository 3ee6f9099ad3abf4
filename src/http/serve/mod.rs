//! The accept loop. It never waits for a connection that waits for its peer: that one is ended when another needs the room, the longest
//! idle first; and when the process is asked to stop, requests in flight are answered and each answer is its connection's last.

mod connection;
mod connections;
mod limits;
mod slot;
mod stream;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until, timeout};

pub use limits::Limits;

use connections::Connections;

/// Time to wait when the system has no descriptor left, unless one of ours is given back sooner.
const OUT_OF_DESCRIPTORS: Duration = Duration::from_millis(50);

/// Serves within the usual limits.
pub async fn serve(listener: TcpListener, router: Router, stop: watch::Receiver<bool>) {
    serve_within(Limits::default(), listener, router, stop).await;
}

/// Serves until `stop` turns true, then finishes the requests in flight. Each request carries its peer's [`SocketAddr`].
pub async fn serve_within(limits: Limits, listener: TcpListener, router: Router, mut stop: watch::Receiver<bool>) {
    let connections = Connections::new(&limits);
    let mut look = interval(limits.look());
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut server = Server { router, limits, connections, open: JoinSet::new() };
    while !*stop.borrow_and_update() {
        while server.open.try_join_next().is_some() {}
        let room = server.connections.has_room();
        tokio::select! {
            accepted = listener.accept(), if room => match accepted {
                Ok((stream, peer)) => server.admit(stream, peer),
                Err(error) => {
                    tracing::warn!(error = &error as &dyn std::error::Error, "a connection could not be accepted");
                    server.connections.make_room();
                    let _ = timeout(OUT_OF_DESCRIPTORS, server.connections.freed.notified()).await;
                }
            },
            () = server.connections.freed.notified(), if !room => {}
            _ = look.tick() => {
                server.connections.end_the_late(&server.limits);
                if !room {
                    server.connections.make_room_early();
                }
            }
            asked = stop.changed() => if asked.is_err() { break },
        }
    }
    server.finish(listener, Instant::now()).await;
}

struct Server {
    router: Router,
    limits: Limits,
    connections: Arc<Connections>,
    open: JoinSet<()>,
}

impl Server {
    fn admit(&mut self, stream: TcpStream, peer: SocketAddr) {
        let Some(place) = self.connections.enter(self.limits.owner(peer.ip())) else { return };
        let number = place.number();
        let task = self.open.spawn(connection::run(stream, peer, self.router.clone(), place));
        self.connections.started(number, task);
    }

    async fn finish(mut self, listener: TcpListener, asked: Instant) {
        self.connections.stop();
        // Whoever was connected already when the signal came is served: closing the listener would break their requests.
        if let Ok(listener) = listener.into_std() {
            while self.connections.has_room()
                && let Ok((stream, peer)) = listener.accept()
            {
                if let Ok(stream) = stream.set_nonblocking(true).and_then(|()| TcpStream::from_std(stream)) {
                    self.admit(stream, peer);
                }
            }
        }
        let mut look = interval(self.limits.look());
        loop {
            tokio::select! {
                ended = self.open.join_next() => if ended.is_none() { return },
                _ = look.tick() => self.connections.end_the_late(&self.limits),
                () = sleep_until(asked + self.limits.grace) => break,
            }
        }
        tracing::warn!("some requests were cut off after {} seconds", self.limits.grace.as_secs());
    }
}
