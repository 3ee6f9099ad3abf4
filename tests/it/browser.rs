//! A real browser for the page tests: the few commands of the WebDriver protocol (W3C) that they need, spoken to chromedriver.
//!
//! ```text
//! let browser = Browser::start().await;
//! browser.goto(&url).await?;
//! browser.find("button[name=allow]").await?.click().await?;
//! ```

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use tempfile::TempDir;

/// How long the browser may take to start, to answer one command, or to reach an awaited state.
const PATIENCE: Duration = Duration::from_secs(30);

/// The member under which WebDriver names an element (W3C WebDriver section 12).
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";

/// What the driver said about a command that failed.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct BrowserError(String);

/// A headless Chromium with one page. Closed when dropped.
pub(crate) struct Browser {
    http: reqwest::Client,
    session: String,
    driver: Driver,
    home: TempDir,
}

/// One element of the page, found before the page changed.
pub(crate) struct Element<'a> {
    browser: &'a Browser,
    id: String,
}

impl Browser {
    /// Starts the browser that `tests/run` names in the environment, with a profile of its own.
    ///
    /// # Panics
    /// When it does not start: a page test without a browser must not pass.
    pub(crate) async fn start() -> Self {
        let home = tempfile::tempdir().expect("a temporary folder");
        let driver = Driver::start(&program("CHROMEDRIVER"), home.path());
        let http = reqwest::Client::builder().no_proxy().timeout(PATIENCE).build().expect("a client");
        let mut browser = Self { http, session: String::new(), driver, home };
        let options = json!({
            "binary": program("CHROMIUM"),
            "args": [
                "--headless",
                "--no-sandbox", // Chromium's own sandbox does not start as root, and the pages are ours
                "--disable-gpu",
                "--disable-quic",
                "--no-first-run",
                "--no-proxy-server",
                "--disable-background-networking",
                "--disable-component-update",
                "--disable-sync",
                format!("--user-data-dir={}", browser.home.path().join("profile").display()),
            ],
        });
        let wanted =
            json!({"browserName": "chrome", "goog:chromeOptions": options, "goog:loggingPrefs": {"browser": "ALL"}});
        let wanted = json!({"capabilities": {"alwaysMatch": wanted}});
        let made = browser.send("", Some(wanted)).await.unwrap_or_else(|e| panic!("Chromium does not start: {e}"));
        browser.session = format!("/{}", text(made["sessionId"].clone()).expect("a session has an id"));
        browser.driver.session.clone_from(&browser.session);
        browser
    }

    /// Opens a URL and waits until the page has loaded.
    pub(crate) async fn goto(&self, url: &str) -> Result<(), BrowserError> {
        self.send("/url", Some(json!({"url": url}))).await.map(drop)
    }

    /// Goes to the page before, as the button does.
    pub(crate) async fn back(&self) -> Result<(), BrowserError> {
        self.send("/back", Some(json!({}))).await.map(drop)
    }

    /// Loads the page again, as the button does.
    pub(crate) async fn reload(&self) -> Result<(), BrowserError> {
        self.send("/refresh", Some(json!({}))).await.map(drop)
    }

    /// The first element that a CSS selector finds; an error when there is none.
    pub(crate) async fn find(&self, css: &str) -> Result<Element<'_>, BrowserError> {
        let found = self.send("/element", Some(json!({"using": "css selector", "value": css}))).await?;
        Ok(Element { browser: self, id: text(found[ELEMENT].clone())? })
    }

    /// The URL of the page.
    pub(crate) async fn url(&self) -> Result<String, BrowserError> {
        text(self.send("/url", None).await?)
    }

    /// The title of the page.
    pub(crate) async fn title(&self) -> Result<String, BrowserError> {
        text(self.send("/title", None).await?)
    }

    /// The page as HTML, as it stands now.
    pub(crate) async fn source(&self) -> Result<String, BrowserError> {
        text(self.send("/source", None).await?)
    }

    /// The cookies that the page's URL can see: objects with `name`, `value`, `httpOnly`, `secure`, `sameSite`, `path`.
    pub(crate) async fn cookies(&self) -> Result<Vec<Value>, BrowserError> {
        let all = self.send("/cookie", None).await?;
        all.as_array().cloned().ok_or_else(|| BrowserError(format!("no list of cookies: {all}")))
    }

    /// Writes what the viewport shows to a PNG file.
    pub(crate) async fn screenshot(&self, file: &Path) -> Result<(), BrowserError> {
        let png = text(self.send("/screenshot", None).await?)?;
        let png = STANDARD.decode(png).map_err(|e| BrowserError(format!("the screenshot is not base64: {e}")))?;
        std::fs::write(file, png).map_err(|e| BrowserError(format!("{}: {e}", file.display())))
    }

    /// Gives the page a size in CSS pixels; unlike a window it may be as narrow as a telephone.
    pub(crate) async fn set_viewport(&self, width: u32, height: u32) -> Result<(), BrowserError> {
        let metrics = json!({"width": width, "height": height, "deviceScaleFactor": 1, "mobile": false});
        self.devtools("Emulation.setDeviceMetricsOverride", metrics).await
    }

    /// Lets the user prefer dark pages, or light ones.
    pub(crate) async fn dark(&self, dark: bool) -> Result<(), BrowserError> {
        let value = if dark { "dark" } else { "light" };
        let media = json!({"features": [{"name": "prefers-color-scheme", "value": value}]});
        self.devtools("Emulation.setEmulatedMedia", media).await
    }

    /// The value of a JavaScript expression, for what only the page itself can tell (a computed style, a width).
    pub(crate) async fn evaluate(&self, expression: &str) -> Result<Value, BrowserError> {
        let script = json!({"script": format!("return {expression}"), "args": []});
        self.send("/execute/sync", Some(script)).await
    }

    /// Forbids the pages their scripts, or allows them again.
    pub(crate) async fn scripts(&self, allowed: bool) -> Result<(), BrowserError> {
        self.devtools("Emulation.setScriptExecutionDisabled", json!({"value": !allowed})).await
    }

    /// Clicks what a CSS selector finds first.
    pub(crate) async fn click(&self, css: &str) -> Result<(), BrowserError> {
        self.find(css).await?.click().await
    }

    /// Clicks what leads to another page, or back to this one, and waits until that page is there: a redirect to another site takes
    /// longer than the click.
    pub(crate) async fn follow(&self, css: &str) -> Result<(), BrowserError> {
        let old = self.find("html").await?;
        self.click(css).await?;
        let gone = async |_: &Self| match old.send("name", None).await {
            Err(BrowserError(why)) => Ok(why.starts_with("stale element") || why.starts_with("no such")),
            Ok(_) => Ok(false),
        };
        self.wait_until("another page is there", gone).await
    }

    /// The text of what a CSS selector finds first, as a person sees it.
    pub(crate) async fn text(&self, css: &str) -> Result<String, BrowserError> {
        self.find(css).await?.text().await
    }

    /// Strikes keys one after the other, wherever the focus is. Special keys have code points of their own (W3C WebDriver section 17.4.2).
    pub(crate) async fn keys(&self, keys: &str) -> Result<(), BrowserError> {
        let strike = |key: char| [json!({"type": "keyDown", "value": key}), json!({"type": "keyUp", "value": key})];
        let strikes: Vec<Value> = keys.chars().flat_map(strike).collect();
        let actions = json!({"actions": [{"type": "key", "id": "keyboard", "actions": strikes}]});
        self.send("/actions", Some(actions)).await.map(drop)
    }

    /// Turns to the first frame of the page, until the next [`Browser::goto`].
    pub(crate) async fn enter_frame(&self) -> Result<(), BrowserError> {
        self.send("/frame", Some(json!({"id": 0}))).await.map(drop)
    }

    /// Turns back to the page itself.
    pub(crate) async fn leave_frames(&self) -> Result<(), BrowserError> {
        self.send("/frame", Some(json!({"id": null}))).await.map(drop)
    }

    /// What the console was told since the last time: script errors, policy violations, failed requests.
    pub(crate) async fn console(&self) -> Result<Vec<String>, BrowserError> {
        let lines = self.send("/se/log", Some(json!({"type": "browser"}))).await?;
        let message = |line: &Value| line["message"].as_str().unwrap_or_default().to_owned();
        Ok(lines.as_array().map(|lines| lines.iter().map(message).collect()).unwrap_or_default())
    }

    /// Asks again and again until `condition` holds. An error counts as "not yet": the page may just be changing.
    pub(crate) async fn wait_until(
        &self,
        what: &str,
        condition: impl AsyncFn(&Self) -> Result<bool, BrowserError>,
    ) -> Result<(), BrowserError> {
        let start = Instant::now();
        loop {
            let last = condition(self).await;
            if matches!(last, Ok(true)) {
                return Ok(());
            }
            if start.elapsed() > PATIENCE {
                let why = last.err().map_or_else(String::new, |e| format!(": {e}"));
                return Err(BrowserError(format!("waited in vain until {what}{why}")));
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    async fn devtools(&self, command: &str, params: Value) -> Result<(), BrowserError> {
        self.send("/goog/cdp/execute", Some(json!({"cmd": command, "params": params}))).await.map(drop)
    }

    /// One command below the session: POST with a body, else GET.
    async fn send(&self, path: &str, body: Option<Value>) -> Result<Value, BrowserError> {
        let url = format!("http://127.0.0.1:{}/session{}{path}", self.driver.port, self.session);
        let request = match body {
            Some(body) => self.http.post(url).header("Content-Type", "application/json").body(body.to_string()),
            None => self.http.get(url),
        };
        let broken = |e: reqwest::Error| BrowserError(format!("chromedriver does not answer {path}: {e}"));
        let response = request.send().await.map_err(broken)?;
        let good = response.status().is_success();
        let answer = response.text().await.map_err(broken)?;
        let mut answer: Value = serde_json::from_str(&answer)
            .map_err(|e| BrowserError(format!("chromedriver's answer to {path} is not JSON: {e}")))?;
        let value = answer["value"].take();
        if good {
            return Ok(value);
        }
        let message = value["message"].as_str().unwrap_or_default().lines().next().unwrap_or_default();
        Err(BrowserError(format!("{}: {message}", value["error"].as_str().unwrap_or("unknown error"))))
    }
}

impl Element<'_> {
    /// Clicks its middle; waits for the navigation that follows.
    pub(crate) async fn click(&self) -> Result<(), BrowserError> {
        self.send("click", Some(json!({}))).await.map(drop)
    }

    /// Types into it, key by key.
    pub(crate) async fn type_into(&self, keys: &str) -> Result<(), BrowserError> {
        self.send("value", Some(json!({"text": keys}))).await.map(drop)
    }

    /// Its text as a person sees it.
    pub(crate) async fn text(&self) -> Result<String, BrowserError> {
        text(self.send("text", None).await?)
    }

    async fn send(&self, command: &str, body: Option<Value>) -> Result<Value, BrowserError> {
        self.browser.send(&format!("/element/{}/{command}", self.id), body).await
    }
}

fn text(value: Value) -> Result<String, BrowserError> {
    match value {
        Value::String(text) => Ok(text),
        other => Err(BrowserError(format!("not a text: {other}"))),
    }
}

/// The path of a program or of what one needs, as `tests/run` found or made it.
pub(crate) fn program(variable: &str) -> String {
    #[expect(clippy::disallowed_methods, reason = "a test is told where its tools are")]
    let path = std::env::var(variable);
    path.ok().filter(|path| !path.is_empty()).unwrap_or_else(|| panic!("{variable} is not set: run tests/run"))
}

/// The running chromedriver.
struct Driver {
    process: Child,
    port: u16,
    /// `/ID` of the session to close at the end.
    session: String,
}

impl Driver {
    /// Starts chromedriver on a port of its choice and reads from its output which one.
    fn start(program: &str, home: &Path) -> Self {
        let mut process = Command::new(program)
            .arg("--port=0")
            .env("HOME", home) // nothing of the person who runs the tests is read or written
            .env_remove("XDG_CONFIG_HOME")
            .env_remove("XDG_CACHE_HOME")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap_or_else(|e| panic!("{program} does not start ({e}): run tests/run"));
        let output = process.stdout.take().expect("standard output is piped");
        let (found, port) = mpsc::channel();
        std::thread::spawn(move || {
            // Reads to the end, since a full pipe would stop the driver.
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                let port = line.strip_prefix("ChromeDriver was started successfully on port ");
                if let Some(port) = port.and_then(|rest| rest.trim_end_matches('.').parse::<u16>().ok()) {
                    let _ = found.send(port);
                }
            }
        });
        let mut driver = Self { process, port: 0, session: String::new() };
        driver.port = port.recv_timeout(PATIENCE).expect("chromedriver tells its port");
        driver
    }

    /// Ends the session, and with it Chromium, which would outlive a driver that is merely killed.
    fn close_session(&self) -> std::io::Result<()> {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port))?;
        stream.set_read_timeout(Some(Duration::from_secs(10)))?;
        let host = format!("Host: 127.0.0.1:{}\r\nConnection: close", self.port);
        write!(stream, "DELETE /session{} HTTP/1.1\r\n{host}\r\n\r\n", self.session)?;
        stream.read(&mut [0; 64]).map(drop)
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        if !self.session.is_empty() {
            let _ = self.close_session();
        }
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::*;

    const PAGE: &str = "<!doctype html><title>A page</title><style>body { background: white }
        @media (prefers-color-scheme: dark) { body { background: black } }</style>
        <form action=/next><input name=who><button>Go on</button></form><p>Hello there</p>";

    /// Serves the same page at every path and gives its origin.
    async fn serve() -> String {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let origin = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                tokio::spawn(async move {
                    let _ = stream.read(&mut [0; 4096]).await;
                    let head =
                        "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nSet-Cookie: c=1; HttpOnly\r\nConnection: close";
                    let _ = stream.write_all(format!("{head}\r\n\r\n{PAGE}").as_bytes()).await;
                });
            }
        });
        origin
    }

    #[tokio::test]
    async fn a_page_is_seen_and_used() -> Result<(), BrowserError> {
        let origin = serve().await;
        let browser = Browser::start().await;
        browser.goto(&origin).await?;
        assert_eq!(browser.title().await?, "A page");
        assert_eq!(browser.find("p").await?.text().await?, "Hello there");
        assert!(browser.source().await?.contains("Hello there"));
        assert_eq!(browser.cookies().await?[0]["httpOnly"], true);

        browser.set_viewport(320, 640).await?;
        assert_eq!(browser.evaluate("window.innerWidth").await?, 320);
        for (dark, colour) in [(true, "rgb(0, 0, 0)"), (false, "rgb(255, 255, 255)")] {
            browser.dark(dark).await?;
            assert_eq!(browser.evaluate("getComputedStyle(document.body).backgroundColor").await?, colour);
        }
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("page.png");
        browser.screenshot(&file).await?;
        let png = std::fs::read(&file).unwrap();
        assert_eq!(&png[16..24], [0, 0, 1, 64, 0, 0, 2, 128], "a PNG of 320 x 640");

        browser.find("input").await?.type_into("alice").await?;
        browser.find("button").await?.click().await?;
        browser.wait_until("the form is sent", async |b| Ok(b.url().await?.ends_with("/next?who=alice"))).await?;
        let missing = browser.find("h1").await.err().expect("there is no heading");
        assert!(missing.to_string().starts_with("no such element: "), "{missing}");
        Ok(())
    }
}
