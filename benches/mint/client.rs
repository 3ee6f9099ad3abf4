//! HTTP/1.1 over one connection that is kept: as little as a load generator needs, so that little of the machine goes into it.

use std::collections::BTreeMap;

use avouch::lab::agent;
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::Outcome;

/// A request as bytes.
pub(crate) fn request(method: &str, path: &str, port: u16, headers: &[(&str, &str)], body: &str) -> Vec<u8> {
    let mut text = format!("{method} {path} HTTP/1.1\r\nHost: localhost:{port}\r\n");
    for (name, value) in headers {
        text.extend([name, ": ", value, "\r\n"]);
    }
    if method != "GET" {
        let length = body.len().to_string();
        text.extend(["Content-Type: application/x-www-form-urlencoded\r\nContent-Length: ", &length, "\r\n"]);
    }
    text.extend(["\r\n", body]);
    text.into_bytes()
}

/// Pairs as a form.
pub(crate) fn form(pairs: &[(&str, &str)]) -> String {
    url::form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish()
}

/// One connection, one request at a time. Holds the last answer.
pub(crate) struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
    head: usize,
}

impl Connection {
    pub(crate) async fn open(port: u16) -> Outcome<Self> {
        let stream = TcpStream::connect(("127.0.0.1", port)).await?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, buffer: Vec::with_capacity(16 * 1024), head: 0 })
    }

    /// Sends a request and reads the answer to its end. Answers with the status.
    pub(crate) async fn send(&mut self, request: &[u8]) -> Outcome<u16> {
        self.stream.write_all(request).await?;
        self.buffer.clear();
        self.head = 0;
        let mut length = 0;
        while self.head == 0 || self.buffer.len() < self.head + length {
            if self.stream.read_buf(&mut self.buffer).await? == 0 {
                return Err("the server hung up".into());
            }
            if self.head == 0
                && let Some(end) = self.buffer.windows(4).position(|four| four == b"\r\n\r\n")
            {
                self.head = end + 4;
                length =
                    self.header("content-length").and_then(|v| v.parse().ok()).ok_or("an answer without length")?;
            }
        }
        let status = self.buffer.get(9..12).and_then(|digits| std::str::from_utf8(digits).ok());
        Ok(status.and_then(|digits| digits.parse().ok()).ok_or("an answer without status")?)
    }

    fn headers(&self) -> impl Iterator<Item = (&str, &str)> {
        let head = std::str::from_utf8(&self.buffer[..self.head]).unwrap_or_default();
        head.split("\r\n").filter_map(|line| line.split_once(": "))
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    pub(crate) fn body(&self) -> &str {
        std::str::from_utf8(&self.buffer[self.head..]).unwrap_or_default()
    }

    pub(crate) fn json(&self) -> Outcome<Value> {
        serde_json::from_str(self.body()).map_err(|_| format!("no JSON: {}", self.body()).into())
    }
}

/// A browser as far as the forms go: cookies, hidden fields, and an `Origin` with each post.
pub(crate) struct Browser {
    port: u16,
    connection: Connection,
    cookies: BTreeMap<String, String>,
}

impl Browser {
    pub(crate) async fn open(port: u16) -> Outcome<Self> {
        Ok(Self { port, connection: Connection::open(port).await?, cookies: BTreeMap::new() })
    }

    pub(crate) async fn get(&mut self, path: &str) -> Outcome<u16> {
        self.send("GET", path, "").await
    }

    /// Posts the form of the page last seen that leads to `path`, with what the user has put in.
    pub(crate) async fn submit(&mut self, path: &str, typed: &[(&str, &str)]) -> Outcome<u16> {
        let page = agent::forms(self.connection.body()).into_iter().find(|form| form.action == path);
        let page = page.ok_or_else(|| format!("no form for {path}"))?;
        self.send("POST", path, &form(&page.filled(typed))).await
    }

    pub(crate) fn page(&self) -> &str {
        self.connection.body()
    }

    pub(crate) fn location(&self) -> &str {
        self.connection.header("location").unwrap_or_default()
    }

    async fn send(&mut self, method: &str, path: &str, body: &str) -> Outcome<u16> {
        let cookies = self.cookies.iter().map(|(n, v)| format!("{n}={v}")).collect::<Vec<_>>().join("; ");
        let origin = format!("http://localhost:{}", self.port);
        let mut headers = vec![("Origin", origin.as_str()), ("Sec-Fetch-Site", "same-origin")];
        if !cookies.is_empty() {
            headers.push(("Cookie", &cookies));
        }
        let status = self.connection.send(&request(method, path, self.port, &headers, body)).await?;
        let set = self.connection.headers().filter(|(name, _)| name.eq_ignore_ascii_case("set-cookie"));
        for (name, value) in set.filter_map(|(_, line)| line.split(';').next()?.split_once('=')) {
            self.cookies.insert(name.to_owned(), value.to_owned());
        }
        Ok(status)
    }
}
