//! The API's own scalars and the two shapes of money.
//!
//! Amounts and currency codes arrive as bounded texts: what they mean is the domain's to judge, so that a bad one is an
//! `InputError` with its path and not a refusal of the whole document. A number in place of a text is taken as its
//! digits and refused there too, since it may have been through a float.

use async_graphql::{
    InputObject, InputType, InputValueError, InputValueResult, Pos, Scalar, ScalarType, SimpleObject, Value,
};
use chrono::{SecondsFormat, SubsecRound};

use super::language::ScalarParser;
use crate::{
    clock::Timestamp,
    money::{Currency, Money},
    wallet::service::AmountInput,
};

/// The longest text of an amount or a code.
const MAX_BYTES: usize = 64;

/// How values of these scalars are checked before an operation runs.
pub const SCALARS: [(&str, ScalarParser); 4] = [
    ("DateTime", parses::<DateTime>),
    ("Decimal", parses::<Decimal>),
    ("CurrencyCode", parses::<CurrencyCode>),
    ("URL", parses::<Url>),
];

/// Whether a value is one of this scalar, or what the scalar says against it.
fn parses<T: ScalarType + InputType>(value: Value) -> Result<(), String> {
    let error = match <T as ScalarType>::parse(value) {
        Ok(_) => return Ok(()),
        Err(error) => error.into_server_error(Pos::default()),
    };
    // After the name of the type, which async-graphql puts before it.
    let message = error.message.split_once("\": ").map_or(error.message.as_str(), |(_, message)| message);
    Err(message.to_owned())
}

/// RFC 3339 timestamp in UTC with millisecond precision, e.g. `2026-11-21T09:30:00.000Z`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DateTime(pub Timestamp);

/// RFC 3339 timestamp in UTC with millisecond precision, e.g. `2026-11-21T09:30:00.000Z`.
#[Scalar(name = "DateTime", specified_by_url = "https://scalars.graphql.org/andimarek/date-time.html")]
impl ScalarType for DateTime {
    fn parse(value: Value) -> InputValueResult<Self> {
        let refused =
            || InputValueError::custom("a DateTime must be RFC 3339 text such as \"2026-11-21T09:30:00.000Z\"");
        let Value::String(text) = &value else { return Err(refused()) };
        let moment = chrono::DateTime::parse_from_rfc3339(text).map_err(|_| refused())?;
        Ok(Self(moment.to_utc().trunc_subsecs(3)))
    }

    fn to_value(&self) -> Value {
        Value::String(self.0.to_rfc3339_opts(SecondsFormat::Millis, true))
    }
}

impl From<Timestamp> for DateTime {
    fn from(moment: Timestamp) -> Self {
        Self(moment)
    }
}

/// Exact base-10 number sent as a JSON string, never a float, e.g. `"1250.00"`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decimal(pub String);

/// Exact base-10 number sent as a JSON string, never a float, e.g. `"1250.00"`.
#[Scalar(name = "Decimal", specified_by_url = "https://shopify.dev/docs/api/admin-graphql/latest/scalars/Decimal")]
impl ScalarType for Decimal {
    fn parse(value: Value) -> InputValueResult<Self> {
        match value {
            Value::String(text) if text.len() <= MAX_BYTES => Ok(Self(text)),
            // Kept recognisable as what no amount is, so that the domain refuses it by its path.
            Value::Number(number) => Ok(Self(format!("{number} (a number)"))),
            _ => Err(InputValueError::custom("a Decimal must be a JSON string such as \"1250.00\"")),
        }
    }

    fn to_value(&self) -> Value {
        Value::String(self.0.clone())
    }
}

/// ISO 4217 or registered asset code in upper case, e.g. `USD`, `USDC`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CurrencyCode(pub String);

/// ISO 4217 or registered asset code in upper case, e.g. `USD`, `USDC`.
#[Scalar(name = "CurrencyCode")]
impl ScalarType for CurrencyCode {
    fn parse(value: Value) -> InputValueResult<Self> {
        match value {
            Value::String(text) if text.len() <= MAX_BYTES => Ok(Self(text)),
            _ => Err(InputValueError::custom("a CurrencyCode must be a JSON string such as \"USD\"")),
        }
    }

    fn to_value(&self) -> Value {
        Value::String(self.0.clone())
    }
}

/// Absolute `https:` URL (RFC 3986).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Url(pub String);

/// Absolute `https:` URL (RFC 3986).
#[Scalar(name = "URL", specified_by_url = "https://www.rfc-editor.org/rfc/rfc3986")]
impl ScalarType for Url {
    fn parse(value: Value) -> InputValueResult<Self> {
        match value {
            Value::String(text) if text.len() <= 4_096 => Ok(Self(text)),
            _ => Err(InputValueError::custom("a URL must be a JSON string such as \"https://example.com/\"")),
        }
    }

    fn to_value(&self) -> Value {
        Value::String(self.0.clone())
    }
}

/// An exact amount in one currency.
#[derive(Clone, Debug, SimpleObject)]
#[graphql(name = "Money")]
pub struct MoneyAmount {
    amount: Decimal,
    currency_code: CurrencyCode,
}

impl MoneyAmount {
    /// An amount as the API shows it.
    pub fn new(currency: &Currency, amount: Money) -> Self {
        Self { amount: Decimal(currency.format(amount)), currency_code: CurrencyCode(currency.code().to_owned()) }
    }
}

/// An exact amount in one currency.
#[derive(Clone, Debug, InputObject)]
pub struct MoneyInput {
    amount: Decimal,
    currency_code: CurrencyCode,
}

impl From<MoneyInput> for AmountInput {
    fn from(input: MoneyInput) -> Self {
        Self { amount: input.amount.0, currency_code: input.currency_code.0 }
    }
}
