//! Reading one TOML section: keys are taken out one by one, and what is left over is unknown.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt::Display;
use std::io::Read as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use serde_json::{Map, Value as Json};
use toml::{Table, Value};
use zeroize::Zeroizing;

use super::ConfigError;
use crate::domain::display_name::DisplayName;
use crate::domain::members::{MemberError, quote};
use crate::domain::spelling::{nearest, printable};
use crate::secret::Secret;

/// What every variable of ours begins with; a single underscore is somebody else's.
pub(super) const PREFIX: &str = "AVOUCH__";

/// What the names of variables begin with that somebody may have meant to be ours.
pub(super) const NEARLY_PREFIX: &str = "AVOUCH_";

/// Most bytes of a file that holds one secret.
const MAX_SECRET_FILE: u64 = 64 * 1024;

/// Where the values come from, for error messages.
pub(super) struct Source {
    file: String,
    /// Full path of a key to the variable that set it.
    variables: BTreeMap<String, String>,
    /// Variables that look like ours and are not.
    strange: Vec<String>,
    /// Full paths of the keys that were asked for, those inside arrays of tables aside: no variable sets those.
    known: RefCell<Vec<String>>,
    /// What works, and should be set right all the same.
    warnings: RefCell<Vec<String>>,
}

impl Source {
    /// Lays the environment over the file's table. Whatever no section takes out later is an unknown variable.
    pub(super) fn merge(
        file: &str,
        table: &mut Table,
        environment: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, ConfigError> {
        let mut source = Self {
            file: file.to_owned(),
            variables: BTreeMap::new(),
            strange: Vec::new(),
            known: RefCell::default(),
            warnings: RefCell::default(),
        };
        for (name, value) in environment {
            let Some(rest) = name.strip_prefix(PREFIX) else {
                source.strange.push(name);
                continue;
            };
            if rest.bytes().any(|b| b.is_ascii_lowercase()) {
                return Err(ConfigError::new(&printable(&name), "variable names are written in capitals"));
            }
            let path: Vec<String> = rest.split("__").map(str::to_lowercase).collect();
            if !insert(table, &path, value) {
                return Err(ConfigError::new(
                    &printable(&name),
                    "unknown variable: it names a key inside something that is no section",
                ));
            }
            let path: Vec<String> = path.iter().map(|key| printable(key)).collect();
            source.variables.insert(path.join("."), printable(&name));
        }
        Ok(source)
    }

    /// What should be set right, once everything was asked for. Variables of others begin like ours too (Kubernetes makes some for a
    /// service of that name), so only those are named that would be ours with another underscore.
    pub(super) fn warnings(self) -> Vec<String> {
        let mut warnings = self.warnings.into_inner();
        let known = self.known.into_inner();
        for name in self.strange {
            let Some(rest) = name.strip_prefix(NEARLY_PREFIX) else { continue };
            let squeezed = rest.to_lowercase().replace("__", "_");
            if let Some(key) = known.iter().find(|key| key.replace('.', "_") == squeezed) {
                let right = key.to_uppercase().replace('.', "__");
                warnings.push(format!(
                    "{} is not read: between its parts our variables have two underscores. Did you mean {PREFIX}{right}?",
                    printable(&name)
                ));
            }
        }
        warnings
    }

    /// The variable that set this key, or one inside it.
    fn variable(&self, full: &str) -> Option<&str> {
        let inside = format!("{full}.");
        let mut names = self.variables.iter();
        names.find(|(path, _)| *path == full || path.starts_with(&inside)).map(|(_, name)| name.as_str())
    }

    fn place(&self, full: &str) -> String {
        // A secret's value may have come by way of `<key>_file`.
        let name = self.variable(full).or_else(|| self.variable(&format!("{full}_file")));
        name.map_or_else(|| format!("{}: {full}", self.file), str::to_owned)
    }
}

/// Puts a variable's text where the file would have it; false where that would be inside a text, list or the like.
fn insert(table: &mut Table, path: &[String], value: String) -> bool {
    match path {
        [] => false,
        [key] => {
            table.insert(key.clone(), Value::String(value));
            true
        }
        [key, rest @ ..] => match table.entry(key.clone()).or_insert_with(|| Value::Table(Table::new())) {
            Value::Table(inner) => insert(inner, rest, value),
            _ => false,
        },
    }
}

/// One section of the configuration. The takers remember what was asked for, so the list of known keys cannot drift.
pub(super) struct Section<'a> {
    source: &'a Source,
    path: String,
    table: Table,
    known: Vec<String>,
}

impl<'a> Section<'a> {
    /// The whole file.
    pub(super) fn root(source: &'a Source, table: Table) -> Self {
        Self { source, path: String::new(), table, known: Vec::new() }
    }

    fn full(&self, key: &str) -> String {
        let key = printable(key);
        if self.path.is_empty() { key } else { format!("{}.{key}", self.path) }
    }

    /// An error about one key: names the variable or the file, the key, and says what is wrong.
    pub(super) fn wrong(&self, key: &str, problem: impl Display) -> ConfigError {
        ConfigError::new(&self.source.place(&self.full(key)), problem)
    }

    fn wrong_type(&self, key: &str, expected: &str, found: &Value) -> ConfigError {
        if self.is_variable(key) {
            return self.wrong(key, format!("expected {expected}"));
        }
        self.wrong(key, format!("expected {expected}, found {}", kind(found)))
    }

    fn is_variable(&self, key: &str) -> bool {
        self.source.variable(&self.full(key)).is_some()
    }

    /// Any value, as it stands.
    pub(super) fn value(&mut self, key: &str) -> Option<Value> {
        self.known.push(key.to_owned());
        if !self.path.ends_with(']') {
            self.source.known.borrow_mut().push(self.full(key));
        }
        self.table.remove(key)
    }

    /// A text that is not empty.
    pub(super) fn text(&mut self, key: &str) -> Result<Option<String>, ConfigError> {
        match self.value(key) {
            None => Ok(None),
            Some(Value::String(text)) if text.is_empty() => Err(self.wrong(key, "it must not be empty")),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(other) => Err(self.wrong_type(key, "a text in quotes", &other)),
        }
    }

    /// A span of time as it stands, such as `15m`: whoever writes a bare number is shown how.
    pub(super) fn span(&mut self, key: &str) -> Result<Option<String>, ConfigError> {
        let seconds = match self.table.get(key) {
            None | Some(Value::String(_)) => return self.text(key),
            Some(Value::Integer(n)) => format!("\"{n}s\" for seconds, or "),
            Some(_) => String::new(),
        };
        let how = "expected a time with its unit, in quotes:";
        Err(self.wrong(key, format!("{how} {seconds}as in \"15m\", \"1h\", \"30d\"")))
    }

    /// A yes or no.
    pub(super) fn flag(&mut self, key: &str) -> Result<Option<bool>, ConfigError> {
        match self.value(key) {
            None => Ok(None),
            Some(Value::Boolean(flag)) => Ok(Some(flag)),
            Some(Value::String(text)) if self.is_variable(key) && matches!(text.as_str(), "true" | "false") => {
                Ok(Some(text == "true"))
            }
            Some(other) => Err(self.wrong_type(key, "true or false", &other)),
        }
    }

    /// A list of texts; in a variable separated by commas, or written as in TOML.
    pub(super) fn list(&mut self, key: &str) -> Result<Option<Vec<String>>, ConfigError> {
        const EXPECTED: &str = "a list of texts that are not empty";
        let items = match self.value(key) {
            None => return Ok(None),
            Some(Value::Array(items)) => items,
            Some(Value::String(text)) if self.is_variable(key) => {
                list_from_variable(&text).ok_or_else(|| self.wrong(key, format!("expected {EXPECTED}")))?
            }
            Some(other) => return Err(self.wrong_type(key, EXPECTED, &other)),
        };
        let mut texts: Vec<String> = Vec::with_capacity(items.len());
        for item in items {
            match item {
                Value::String(text) if text.is_empty() => return Err(self.wrong(key, format!("expected {EXPECTED}"))),
                Value::String(text) if texts.contains(&text) => {
                    return Err(self.wrong(key, format!("{} is listed twice", quote(&text))));
                }
                Value::String(text) => texts.push(text),
                other => return Err(self.wrong_type(key, EXPECTED, &other)),
            }
        }
        Ok(Some(texts))
    }

    /// A program with its arguments, each as it is: no shell takes them apart. In a variable as in TOML, or separated by commas.
    pub(super) fn command(&mut self, key: &str) -> Result<Option<Vec<String>>, ConfigError> {
        const EXPECTED: &str = "a program and its arguments, each a text of its own: [\"program\", \"argument\"]";
        let items = match self.value(key) {
            None => return Ok(None),
            Some(Value::Array(items)) => Some(items),
            Some(Value::String(text)) if self.is_variable(key) => list_from_variable(&text),
            Some(other) => return Err(self.wrong_type(key, EXPECTED, &other)),
        };
        let word = |item| match item {
            Value::String(word) if !word.contains('\0') => Some(word),
            _ => None,
        };
        let words: Option<Vec<String>> = items.and_then(|items| items.into_iter().map(word).collect());
        let named = |words: &Vec<String>| words.first().is_some_and(|program| !program.is_empty());
        words.filter(named).map(Some).ok_or_else(|| self.wrong(key, format!("expected {EXPECTED}")))
    }

    /// A secret: given directly, or as `<key>_file`, a file nobody else may read. The environment replaces either form in the file.
    pub(super) fn secret(&mut self, key: &str) -> Result<Option<Secret>, ConfigError> {
        let file_key = format!("{key}_file");
        match (self.is_variable(key), self.is_variable(&file_key)) {
            (true, false) => drop(self.table.remove(&file_key)),
            (false, true) => drop(self.table.remove(key)),
            _ => {}
        }
        let (direct, file) = (self.text(key)?, self.text(&file_key)?);
        match (direct, file) {
            (Some(_), Some(_)) => Err(self.wrong(&file_key, format!("give either `{key}` or `{file_key}`, not both"))),
            (Some(text), None) => Ok(Some(Secret::new(text))),
            (None, Some(file)) => {
                let (secret, warning) =
                    read_secret(Path::new(&file)).map_err(|problem| self.wrong(&file_key, problem))?;
                if let Some(warning) = warning {
                    self.source.warnings.borrow_mut().push(self.wrong(&file_key, warning).to_string());
                }
                Ok(Some(secret))
            }
            (None, None) => Ok(None),
        }
    }

    /// A section inside this one; an empty one if it is not there.
    pub(super) fn section(&mut self, key: &str) -> Result<Section<'a>, ConfigError> {
        let table = match self.value(key) {
            None => Table::new(),
            Some(Value::Table(table)) => table,
            Some(other) => return Err(self.wrong_type(key, "a section of its own", &other)),
        };
        Ok(Section { source: self.source, path: self.full(key), table, known: Vec::new() })
    }

    /// An array of tables, `[[key]]`. It lives in the file only.
    pub(super) fn tables(&mut self, key: &str) -> Result<Vec<Section<'a>>, ConfigError> {
        let expected = format!("tables written as [[{key}]], which only the file can declare");
        let items = match self.value(key) {
            None => return Ok(Vec::new()),
            Some(Value::Array(items)) => items,
            Some(other) => return Err(self.wrong_type(key, &expected, &other)),
        };
        let mut sections = Vec::with_capacity(items.len());
        for (index, item) in items.into_iter().enumerate() {
            let Value::Table(table) = item else { return Err(self.wrong_type(key, &expected, &item)) };
            let path = format!("{}[{index}]", self.full(key));
            sections.push(Section { source: self.source, path, table, known: Vec::new() });
        }
        Ok(sections)
    }

    /// Checks a text that was taken out, if it is there.
    pub(super) fn checked(
        &self,
        key: &str,
        text: Option<String>,
        check: impl Fn(&str) -> Result<(), String>,
    ) -> Result<Option<String>, ConfigError> {
        let Some(text) = text else { return Ok(None) };
        check(&text).map_err(|problem| self.wrong(key, problem))?;
        Ok(Some(text))
    }

    /// A name that people are shown.
    pub(super) fn display_name(&mut self, key: &str) -> Result<Option<DisplayName>, ConfigError> {
        let name = self.text(key)?;
        name.map(|name| DisplayName::parse(&name)).transpose().map_err(|problem| self.wrong(key, problem))
    }

    /// The members of a type that are there, as JSON, to be judged by it. A date is none of JSON's values: it becomes an error there.
    pub(super) fn members(&mut self, names: impl IntoIterator<Item = &'static str>) -> Map<String, Json> {
        let taken = names.into_iter().map(|name| (name, self.value(name)));
        let taken = taken.filter_map(|(name, value)| Some((name.to_owned(), serde_json::to_value(value?).ok()?)));
        taken.collect()
    }

    /// An error about a member that a type of the domain has judged.
    pub(super) fn refused(&self, error: MemberError) -> ConfigError {
        self.wrong(&error.member, error.problem)
    }

    /// A key of the contract that a later version builds: refused wherever it is set, so that nobody relies on it.
    pub(super) fn later(&mut self, key: &str) -> Result<(), ConfigError> {
        self.value(key).map_or(Ok(()), |_| Err(self.wrong(key, "this key is not supported yet")))
    }

    /// A key of which only `today` works now, and `later` are values of the contract that a later version builds.
    pub(super) fn only(&mut self, key: &str, today: &str, later: &[&str]) -> Result<(), ConfigError> {
        match self.text(key)? {
            None => Ok(()),
            Some(text) if text == today => Ok(()),
            Some(text) if later.contains(&text.as_str()) => {
                Err(self.wrong(key, format!("{} is not supported yet, only \"{today}\" is", quote(&text))))
            }
            Some(text) => Err(self.wrong(key, format!("expected \"{today}\", found {}", quote(&text)))),
        }
    }

    /// Refuses what was not taken. Call it after the last taker and before judging the values, so that a misspelt key
    /// is reported as that and not as a missing one.
    pub(super) fn finish(&self) -> Result<(), ConfigError> {
        let Some(key) = self.table.keys().next() else { return Ok(()) };
        let nearest = nearest(key, self.known.iter().map(String::as_str)).unwrap_or_default();
        if !self.is_variable(key) {
            return Err(self.wrong(key, format!("unknown key; the nearest known one is `{nearest}`")));
        }
        let nearest = self.full(nearest).to_uppercase().replace('.', "__");
        Err(self.wrong(key, format!("unknown variable; the nearest known one is {PREFIX}{nearest}")))
    }
}

fn list_from_variable(text: &str) -> Option<Vec<Value>> {
    if text.trim_start().starts_with('[') {
        let mut table: Table = format!("list = {text}").parse().ok()?;
        // A line break in the variable could add further keys; they would be lost without a word.
        return match (table.remove("list"), table.is_empty()) {
            (Some(Value::Array(items)), true) => Some(items),
            _ => None,
        };
    }
    if text.trim().is_empty() {
        return Some(Vec::new());
    }
    Some(text.split(',').map(|item| Value::String(item.trim().to_owned())).collect())
}

/// Reads a secret from a file that not everybody can change; one trailing line break is not part of it. Containers are given files that
/// everybody in them can read (Compose 0444, Kubernetes 0644), so that is a warning.
fn read_secret(path: &Path) -> Result<(Secret, Option<String>), String> {
    let shown = quote(&path.display().to_string());
    let unreadable = |error: std::io::Error| format!("cannot read {shown}: {error}");
    // Looked at before it is opened: opening a pipe would wait for a writer that may never come.
    if !std::fs::metadata(path).map_err(unreadable)?.is_file() {
        return Err(format!("{shown} is not a file"));
    }
    let file = std::fs::File::open(path).map_err(unreadable)?;
    let mode = file.metadata().map_err(unreadable)?.permissions().mode();
    if mode & 0o002 != 0 {
        return Err(format!("every user of this machine can change {shown}; run: chmod o= {}", path.display()));
    }
    let warning = (mode & 0o004 != 0)
        .then(|| format!("every user of this machine can read {shown}; better: chmod o= {}", path.display()));
    let mut text = Zeroizing::new(String::new());
    let read = file.take(MAX_SECRET_FILE + 1).read_to_string(&mut text).map_err(unreadable)?;
    if read as u64 > MAX_SECRET_FILE {
        return Err(format!("{shown} is longer than {MAX_SECRET_FILE} bytes"));
    }
    let secret = text.strip_suffix('\n').map_or(text.as_str(), |line| line.strip_suffix('\r').unwrap_or(line));
    if secret.is_empty() {
        return Err(format!("{shown} is empty"));
    }
    Ok((Secret::new(secret), warning))
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::String(_) => "a text",
        Value::Integer(_) => "an integer",
        Value::Float(_) => "a number",
        Value::Boolean(_) => "true or false",
        Value::Datetime(_) => "a date or time",
        Value::Array(_) => "a list",
        Value::Table(_) => "a table",
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::load;
    use super::*;

    #[test]
    fn secrets_from_files() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secret");
        let shown = path.display().to_string();
        let write = |content: &[u8], mode: u32| {
            std::fs::write(&path, content).unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
            read_secret(&path).map(|(secret, warning)| (secret.expose().to_owned(), warning))
        };
        let quiet = |text: &str| (text.to_owned(), None);
        assert_eq!(write(b"a b\n", 0o600).unwrap(), quiet("a b"));
        assert_eq!(write(b"a\r\n", 0o640).unwrap(), quiet("a"));
        assert_eq!(write(b"a\n\n", 0o600).unwrap(), quiet("a\n"), "only one line break is trimmed");
        for mode in [0o602, 0o606, 0o666] {
            assert!(write(b"a", mode).unwrap_err().contains("every user of this machine can change"), "{mode:o}");
        }
        for mode in [0o444, 0o644, 0o604] {
            let warning = write(b"a", mode).unwrap().1.unwrap();
            assert!(warning.contains("can read") && warning.contains("chmod o="), "{mode:o}: {warning}");
        }
        assert!(write(b"\n", 0o600).unwrap_err().contains("is empty"));
        assert!(write(&vec![b'a'; 64 * 1024 + 1], 0o600).unwrap_err().contains("longer than 65536 bytes"));
        assert!(write(&[0xff], 0o600).unwrap_err().contains("cannot read"));
        assert!(read_secret(folder.path()).unwrap_err().contains("is not a file"));
        assert!(read_secret(&folder.path().join("none")).unwrap_err().contains("cannot read"));

        write(b"sqlite://a.db\n", 0o600).unwrap();
        let file = format!("database_url_file = '{shown}'");
        assert_eq!(load(&file).unwrap().warnings, [] as [&str; 0]);
        write(b"sqlite://a.db\n", 0o444).unwrap();
        let warnings = load(&file).unwrap().warnings;
        assert!(warnings.len() == 1 && warnings[0].contains("database_url_file: every user"), "{warnings:?}");
        let both = load(&format!("{file}\ndatabase_url = 'sqlite://b.db'")).unwrap_err().to_string();
        assert!(
            both.contains("database_url_file: give either `database_url` or `database_url_file`, not both"),
            "{both}"
        );
    }

    #[test]
    fn a_variable_replaces_either_form_of_a_secret() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secret");
        std::fs::write(&path, "nonsense").unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        let path = path.display().to_string();
        let parse = |text: &str, name: &str, value: &str| {
            super::super::Config::parse("avouch.toml", text, [(name.to_owned(), value.to_owned())])
        };
        assert!(parse(&format!("database_url_file = '{path}'"), "AVOUCH__DATABASE_URL", "sqlite://a.db").is_ok());
        let error =
            parse("database_url = 'sqlite://a.db'", "AVOUCH__DATABASE_URL_FILE", &path).unwrap_err().to_string();
        assert_eq!(error, "AVOUCH__DATABASE_URL_FILE: it must begin with sqlite:// or postgres://");
    }
}
