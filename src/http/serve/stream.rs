//! A connection's bytes, watched: what comes in, what the peer does not take, and the end.

use std::io::IoSlice;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf, Result};
use tokio::net::TcpStream;

use super::connections::Place;

/// Most bytes that are read and thrown away at the end.
const DISCARDED: usize = 256 * 1024;

pub(super) struct Stream {
    tcp: TcpStream,
    place: Arc<Place>,
    blocked: bool,
    ending: bool,
    discarded: usize,
}

impl Stream {
    pub(super) fn new(tcp: TcpStream, place: Arc<Place>) -> Self {
        Self { tcp, place, blocked: false, ending: false, discarded: 0 }
    }

    /// Notes whether the peer takes what is written.
    fn written(&mut self, outcome: Poll<Result<usize>>) -> Poll<Result<usize>> {
        if outcome.is_pending() {
            self.blocked = true;
            self.place.blocked();
        } else if self.blocked {
            self.blocked = false;
            self.place.unblocked();
        }
        outcome
    }
}

impl AsyncRead for Stream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<Result<()>> {
        let before = buf.filled().len();
        let outcome = pin!(&mut self.tcp).poll_read(cx, buf);
        if outcome.is_pending() {
            self.place.waits();
        } else if buf.filled().len() > before {
            self.place.received();
        }
        outcome
    }
}

impl AsyncWrite for Stream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<Result<usize>> {
        let outcome = pin!(&mut self.tcp).poll_write(cx, buf);
        self.written(outcome)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<Result<usize>> {
        let outcome = pin!(&mut self.tcp).poll_write_vectored(cx, bufs);
        self.written(outcome)
    }

    /// It is: else hyper would copy answers together, of as many requests as somebody sends who reads none of them.
    fn is_write_vectored(&self) -> bool {
        self.tcp.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        ready!(pin!(&mut self.tcp).poll_flush(cx))?;
        self.place.flushed();
        Poll::Ready(Ok(()))
    }

    /// Says that no more comes, then reads until the peer has understood: a socket that is closed on bytes nobody read takes the last
    /// answer back (RFC 9112 section 9.6).
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        if !self.ending {
            self.ending = true;
            self.place.farewell();
        }
        ready!(pin!(&mut self.tcp).poll_shutdown(cx))?;
        let mut bytes = [0; 4096];
        while self.discarded < DISCARDED {
            let mut buf = ReadBuf::new(&mut bytes);
            if ready!(pin!(&mut self.tcp).poll_read(cx, &mut buf)).is_err() || buf.filled().is_empty() {
                break;
            }
            self.discarded += buf.filled().len();
        }
        Poll::Ready(Ok(()))
    }
}
