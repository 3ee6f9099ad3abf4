//! Types that fill columns of a table and are written, compared and read as one: a field is named in one list of columns, and what is
//! missing from it does not compile.

use std::collections::BTreeMap;

use super::{Columns, Result, StoreError, json};
use crate::domain::client_metadata::AuthMethod;
use crate::domain::display_name::DisplayName;
use crate::domain::ids::ClientId;
use crate::domain::logout_uri::LogoutUri;
use crate::domain::public_jwks::PublicJwks;
use crate::domain::redirect_uri::RedirectUri;
use crate::domain::rotation::SigningAlg;
use crate::domain::service_policy::{Claim, ClientIdSource, NoticeEndpoint};
use crate::domain::time::Seconds;

/// What stands in a column.
pub(super) enum Value {
    Text(Option<String>),
    Int(Option<i64>),
}

/// A type that fills columns of its own.
pub(super) trait Record: Sized {
    const COLUMNS: &'static [&'static str];

    /// In the order of the columns.
    fn values(&self) -> Vec<Value>;

    fn from_row(row: &impl Columns) -> Result<Self>;
}

/// Makes a type a [`Record`] whose fields are its columns. Called by a list of columns: `columns!(record Type;)`.
macro_rules! record {
    ($type:ty; $($field:ident),+) => {
        impl $crate::store::record::Record for $type {
            const COLUMNS: &'static [&'static str] = &[$(stringify!($field)),+];

            fn values(&self) -> Vec<$crate::store::record::Value> {
                vec![$($crate::store::record::Field::write(&self.$field)),+]
            }

            fn from_row(row: &impl $crate::store::Columns) -> $crate::store::Result<Self> {
                Ok(Self { $($field: $crate::store::record::Field::read(row, stringify!($field))?),+ })
            }
        }
    };
}
pub(super) use record;

/// Binds values in their order.
macro_rules! bind_all {
    ($query:expr, $values:expr) => {{
        let mut query = $query;
        for value in $values {
            query = match value {
                $crate::store::record::Value::Text(text) => query.bind(text),
                $crate::store::record::Value::Int(int) => query.bind(int),
            };
        }
        query
    }};
}
pub(super) use bind_all;

/// A field of a [`Record`].
pub(super) trait Field: Sized {
    fn write(&self) -> Value;
    fn read(row: &impl Columns, column: &'static str) -> Result<Self>;
}

/// What is stored as a text.
pub(super) trait Text: Sized {
    fn write(&self) -> String;
    fn read(text: String) -> serde_json::Result<Self>;
}

impl<T: Text> Field for T {
    fn write(&self) -> Value {
        Value::Text(Some(Text::write(self)))
    }

    fn read(row: &impl Columns, column: &'static str) -> Result<Self> {
        Text::read(row.text(column)?).map_err(|_| StoreError::Broken(column))
    }
}

impl<T: Text> Field for Option<T> {
    fn write(&self) -> Value {
        Value::Text(self.as_ref().map(Text::write))
    }

    fn read(row: &impl Columns, column: &'static str) -> Result<Self> {
        let text = row.maybe_text(column)?;
        text.map(Text::read).transpose().map_err(|_| StoreError::Broken(column))
    }
}

impl Field for Option<Seconds> {
    fn write(&self) -> Value {
        Value::Int(self.map(|seconds| seconds.0))
    }

    fn read(row: &impl Columns, column: &'static str) -> Result<Self> {
        Ok(row.maybe_int(column)?.map(Seconds))
    }
}

impl Field for bool {
    fn write(&self) -> Value {
        Value::Int(Some(i64::from(*self)))
    }

    fn read(row: &impl Columns, column: &'static str) -> Result<Self> {
        Ok(row.int(column)? != 0)
    }
}

/// Types whose form in JSON is a text, which is stored as it is.
macro_rules! word {
    ($($type:ty),+) => {$(
        impl Text for $type {
            fn write(&self) -> String {
                match serde_json::to_value(self) {
                    Ok(serde_json::Value::String(text)) => text,
                    other => unreachable!("a word is a text in JSON, not {other:?}"),
                }
            }

            fn read(text: String) -> serde_json::Result<Self> {
                serde_json::from_value(serde_json::Value::String(text))
            }
        }
    )+};
}
word!(String, AuthMethod, ClientIdSource, DisplayName, LogoutUri, SigningAlg);

/// Types that are stored as JSON.
macro_rules! document {
    ($($type:ty),+) => {$(
        impl Text for $type {
            fn write(&self) -> String {
                json(self)
            }

            fn read(text: String) -> serde_json::Result<Self> {
                serde_json::from_str(&text)
            }
        }
    )+};
}
document!(PublicJwks, Vec<String>, Vec<RedirectUri>, Vec<Claim>, Vec<NoticeEndpoint>, BTreeMap<ClientId, ClientId>);

/// The statement that writes rows of a table which the configuration declares: `$1` our key for a new one, `$2` the issuer, `$3` what names
/// the row, `$4` the time, then the columns. The version grows when anything differs. What an administrator disabled stays so.
pub(super) fn declare(table: &str, name: &str, columns: &[&str]) -> String {
    let parameters: Vec<String> = (5..).take(columns.len()).map(|n| format!("${n}")).collect();
    let of = |table: &str| columns.iter().map(|c| format!("{table}.{c}")).collect::<Vec<_>>().join(", ");
    let (parameters, there, given) = (parameters.join(", "), of(table), of("excluded"));
    let columns = columns.join(", ");
    format!(
        "INSERT INTO {table} (id, issuer_id, {name}, created_at, {columns}, origin, version)
         VALUES ($1, $2, $3, $4, {parameters}, 'config', 1)
         ON CONFLICT (issuer_id, {name}) DO UPDATE
            SET ({columns}) = ({given}), origin = 'config', undeclared_at = NULL, version = {table}.version + 1
          WHERE ({there}) IS DISTINCT FROM ({given}) OR {table}.undeclared_at IS NOT NULL OR {table}.origin <> 'config'"
    )
}

/// The statement that adds a row by an administrator's word, with the parameters of [`declare`]: none where there is one of that name, unless
/// that is one `to_take_over`.
pub(super) fn add(table: &str, name: &str, columns: &[&str], to_take_over: Option<&str>) -> String {
    let parameters: Vec<String> = (5..).take(columns.len()).map(|n| format!("${n}")).collect();
    let given: Vec<String> = columns.iter().map(|column| format!("excluded.{column}")).collect();
    let (parameters, given, columns) = (parameters.join(", "), given.join(", "), columns.join(", "));
    let conflict = match to_take_over {
        None => "NOTHING".to_owned(),
        Some(which) => format!(
            "UPDATE SET ({columns}) = ({given}), origin = 'admin', version = {table}.version + 1 WHERE {table}.{which}"
        ),
    };
    format!(
        "INSERT INTO {table} (id, issuer_id, {name}, created_at, {columns}, origin, version)
         VALUES ($1, $2, $3, $4, {parameters}, 'admin', 1) ON CONFLICT (issuer_id, {name}) DO {conflict}"
    )
}

/// The statement that changes a row which an administrator added: `$1` the issuer, `$2` what names the row, then the columns.
pub(super) fn edit(table: &str, name: &str, columns: &[&str]) -> String {
    let set: Vec<String> = columns.iter().zip(3..).map(|(column, n)| format!("{column} = ${n}")).collect();
    format!(
        "UPDATE {table} SET {}, version = version + 1 WHERE issuer_id = $1 AND {name} = $2 AND origin = 'admin'",
        set.join(", ")
    )
}
