//! The line between a server and its PostgreSQL, which a test can cut.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// How a line is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Line {
    Open,
    /// Connections are made and nothing comes through, as with a machine that stands still.
    Frozen,
    /// Every connection is ended, and new ones are refused.
    Cut,
}

/// A line to the cluster of this run.
pub(crate) struct Wire {
    /// Leads over the line where the cluster's own URL leads straight there.
    pub(crate) url: String,
    line: watch::Sender<Line>,
}

impl Wire {
    pub(crate) async fn to(direct: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let near = listener.local_addr().unwrap();
        let mut url = url::Url::parse(direct).unwrap();
        let far = format!("{}:{}", url.host_str().unwrap(), url.port().unwrap());
        url.set_port(Some(near.port())).unwrap();
        let (line, seen) = watch::channel(Line::Open);
        tokio::spawn(listen(listener, near, far, seen));
        Self { url: url.into(), line }
    }

    pub(crate) fn set(&self, line: Line) {
        self.line.send_replace(line);
    }
}

async fn listen(listener: TcpListener, near: SocketAddr, far: String, mut line: watch::Receiver<Line>) {
    let mut listener = Some(listener);
    loop {
        if *line.borrow_and_update() == Line::Cut {
            listener = None;
        } else if listener.is_none() {
            listener = Some(TcpListener::bind(near).await.unwrap());
        }
        let accepted = async {
            match &listener {
                Some(listener) => listener.accept().await.unwrap().0,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            changed = line.changed() => if changed.is_err() { return },
            near = accepted => drop(tokio::spawn(carry(near, far.clone(), line.clone()))),
        }
    }
}

async fn carry(near: TcpStream, far: String, line: watch::Receiver<Line>) {
    let Ok(far) = TcpStream::connect(far).await else { return };
    let (near_read, near_write) = near.into_split();
    let (far_read, far_write) = far.into_split();
    let mut cut = line.clone();
    tokio::select! {
        () = one_way(near_read, far_write, line.clone()) => {}
        () = one_way(far_read, near_write, line) => {}
        _ = cut.wait_for(|line| *line == Line::Cut) => {}
    }
}

async fn one_way(
    mut from: tokio::net::tcp::OwnedReadHalf,
    mut to: tokio::net::tcp::OwnedWriteHalf,
    mut line: watch::Receiver<Line>,
) {
    let mut bytes = [0; 8192];
    while let Ok(n @ 1..) = from.read(&mut bytes).await {
        let open = line.wait_for(|line| *line == Line::Open).await.is_ok();
        if !open || to.write_all(&bytes[..n]).await.is_err() {
            return;
        }
    }
}

/// Something that lets two clients share one connection to the cluster, as a pooler in transaction mode does between two transactions.
pub(crate) async fn pooler(direct: &str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut url = url::Url::parse(direct).unwrap();
    let far = format!("{}:{}", url.host_str().unwrap(), url.port().unwrap());
    url.set_port(Some(listener.local_addr().unwrap().port())).unwrap();
    url.query_pairs_mut().append_pair("sslmode", "disable");
    tokio::spawn(async move {
        let mut far = TcpStream::connect(far).await.unwrap();
        let mut clients = [Some(listener.accept().await.unwrap().0), None];
        let (mut from_far, mut from_first, mut from_second) = ([0; 8192], [0; 8192], [0; 8192]);
        let mut last = 0;
        loop {
            let [first, second] = &mut clients;
            let (joined, said);
            tokio::select! {
                accepted = listener.accept(), if second.is_none() => (joined, said) = (Some(accepted.unwrap().0), None),
                n = read(first, &mut from_first) => (joined, said) = (None, Some((0, &from_first[..n]))),
                n = read(second, &mut from_second) => (joined, said) = (None, Some((1, &from_second[..n]))),
                n = far.read(&mut from_far) => match (n, &mut clients[last]) {
                    (Ok(n @ 1..), Some(client)) => {
                        client.write_all(&from_far[..n]).await.unwrap();
                        continue;
                    }
                    _ => return,
                },
            }
            if let Some(mut client) = joined {
                // Its greeting is answered here: signed in, and ready.
                let mut greeting = [0; 8192];
                assert!(client.read(&mut greeting).await.unwrap() > 8);
                client.write_all(b"R\0\0\0\x08\0\0\0\0Z\0\0\0\x05I").await.unwrap();
                clients[1] = Some(client);
            }
            match said {
                Some((_, &[])) => return,
                Some((client, bytes)) => {
                    last = client;
                    far.write_all(bytes).await.unwrap();
                }
                None => {}
            }
        }
    });
    url.into()
}

async fn read(client: &mut Option<TcpStream>, bytes: &mut [u8]) -> usize {
    match client {
        Some(client) => client.read(bytes).await.unwrap_or(0),
        None => std::future::pending().await,
    }
}
