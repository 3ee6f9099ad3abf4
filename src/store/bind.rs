//! How the domain's types are bound: as the number or the text that they are.

use sqlx::encode::{Encode, IsNull};
use sqlx::error::BoxDynError;
use sqlx::{Database, Type};

use crate::domain::ids::{AccountId, ClientId, ClientKey, Kid, SealingKeyId, Subject};
use crate::domain::time::Timestamp;

macro_rules! bound {
    ($($type:ty as $column:ty, $value:expr;)+) => {$(
        impl<DB: Database> Type<DB> for $type
        where
            $column: Type<DB>,
        {
            fn type_info() -> DB::TypeInfo {
                <$column as Type<DB>>::type_info()
            }
        }

        impl<'q, DB: Database> Encode<'q, DB> for $type
        where
            for<'a> &'a $column: Encode<'q, DB>,
        {
            fn encode_by_ref(&self, buffer: &mut DB::ArgumentBuffer) -> Result<IsNull, BoxDynError> {
                let value: fn(&Self) -> &$column = $value;
                value(self).encode(buffer)
            }
        }
    )+};
}

bound! {
    Timestamp as i64, |at| &at.0;
    ClientKey as str, Self::as_str;
    ClientId as str, Self::as_str;
    AccountId as str, Self::as_str;
    Subject as str, Self::as_str;
    Kid as str, Self::as_str;
    SealingKeyId as str, Self::as_str;
}
