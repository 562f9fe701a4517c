//! The API's own scalars and the two shapes of money.
//!
//! Amounts and currency codes arrive as bounded texts: what they mean is the domain's to judge, so that a bad one is an
//! `InputError` with its path and not a refusal of the whole document. A number in place of a text is taken as its
//! digits and refused there too, since it may have been through a float.

use async_graphql::{InputObject, InputValueError, InputValueResult, Pos, Scalar, ScalarType, SimpleObject, Value};
use chrono::{Datelike, SecondsFormat, SubsecRound, Timelike};

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
fn parses<T: ScalarType + async_graphql::InputType>(value: Value) -> Result<(), String> {
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

impl DateTime {
    /// Reads RFC 3339 with any offset, cut to milliseconds: what is answered, stored and compared is one value. The error
    /// says what a `DateTime` must be.
    ///
    /// A second 60 is refused: `PostgreSQL` takes it for the next second and `SQLite` keeps it as it is. A year is 1 to
    /// 9999 in UTC, too: `SQLite` compares moments as texts, which are in order as long as years have four digits.
    pub fn read(text: &str) -> Result<Self, &'static str> {
        const FORM: &str = "must be RFC 3339 text such as \"2026-11-21T09:30:00.000Z\"";
        let moment = chrono::DateTime::parse_from_rfc3339(text).map_err(|_| FORM)?;
        if moment.nanosecond() >= 1_000_000_000 {
            return Err("must not have a leap second: a minute has the seconds 00 to 59");
        }
        // Offsets are less than a day, and what chrono reads is far from its own ends.
        let moment = moment.to_utc().trunc_subsecs(3);
        if !(1..=9999).contains(&moment.year()) {
            return Err("must lie between 0001-01-01T00:00:00Z and 9999-12-31T23:59:59.999Z");
        }
        Ok(Self(moment))
    }
}

/// RFC 3339 timestamp in UTC with millisecond precision, e.g. `2026-11-21T09:30:00.000Z`.
#[Scalar(name = "DateTime", specified_by_url = "https://scalars.graphql.org/andimarek/date-time.html")]
impl ScalarType for DateTime {
    fn parse(value: Value) -> InputValueResult<Self> {
        let text = if let Value::String(text) = &value { text } else { "" };
        Self::read(text).map_err(|rule| InputValueError::custom(format_args!("a DateTime {rule}")))
    }

    fn to_value(&self) -> Value {
        // A second 60 that was stored before such were refused reads as PostgreSQL has always read it: as the next one.
        let moment = chrono::DateTime::from_timestamp_millis(self.0.timestamp_millis()).unwrap_or(self.0);
        Value::String(moment.to_rfc3339_opts(SecondsFormat::Millis, true))
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
    /// With at most as many decimals as the currency has, e.g. `"1250.00"`.
    amount: Decimal,
    /// The currency of the amount; one marketplace has one.
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
    /// With at most as many decimals as the currency has, e.g. `"1250.00"`.
    amount: Decimal,
    /// The marketplace's currency, which is `USD` unless it was set otherwise; another one is refused.
    currency_code: CurrencyCode,
}

impl From<MoneyInput> for AmountInput {
    fn from(input: MoneyInput) -> Self {
        Self { amount: input.amount.0, currency_code: input.currency_code.0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_has_one_spelling() {
        for (given, kept) in [
            ("2026-11-21T09:30:00Z", "2026-11-21T09:30:00.000Z"),
            ("2026-11-21t09:30:00.5z", "2026-11-21T09:30:00.500Z"),
            ("2026-11-21T09:30:00.123456789Z", "2026-11-21T09:30:00.123Z"),
            ("2026-11-21T09:30:59.9999999Z", "2026-11-21T09:30:59.999Z"),
            ("2026-11-21T23:30:00-02:30", "2026-11-22T02:00:00.000Z"),
            ("2026-11-21T09:30:00-00:00", "2026-11-21T09:30:00.000Z"),
            ("0001-01-01T00:00:00Z", "0001-01-01T00:00:00.000Z"),
            ("0000-12-31T23:00:00-01:00", "0001-01-01T00:00:00.000Z"),
            ("9999-12-31T23:59:59.9999Z", "9999-12-31T23:59:59.999Z"),
            ("2024-02-29T00:00:00Z", "2024-02-29T00:00:00.000Z"),
        ] {
            let read = DateTime::read(given).unwrap_or_else(|rule| panic!("{given}: {rule}"));
            assert_eq!(read.to_value(), Value::from(kept), "{given}");
            assert_eq!(DateTime::read(kept), Ok(read), "{kept}");
        }
    }

    #[test]
    fn what_is_no_moment_is_told_why() {
        for (bad, word) in [
            ("", "RFC 3339"),
            ("yesterday", "RFC 3339"),
            ("2026-11-21", "RFC 3339"),
            ("2026-11-21T09:30:00", "RFC 3339"),
            ("2026-11-21T09:30Z", "RFC 3339"),
            ("2026-11-21T24:00:00Z", "RFC 3339"),
            ("2026-02-29T00:00:00Z", "RFC 3339"),
            ("2026-11-21T09:30:61Z", "RFC 3339"),
            ("2026-11-21T09:30:00+24:00", "RFC 3339"),
            ("+12026-11-21T09:30:00Z", "RFC 3339"),
            ("-0001-11-21T09:30:00Z", "RFC 3339"),
            (" 2026-11-21T09:30:00Z", "RFC 3339"),
            ("2026-11-21T23:59:60Z", "leap second"),
            ("2026-11-21T09:30:60.999Z", "leap second"),
            ("2026-11-21T23:59:60+05:00", "leap second"),
            ("9999-12-31T23:59:59-00:01", "between"),
            ("0000-06-01T00:00:00Z", "between"),
            ("0001-01-01T00:00:00+00:01", "between"),
        ] {
            let rule = DateTime::read(bad).expect_err(bad);
            assert!(rule.contains(word), "{bad}: {rule}");
        }
    }

    #[test]
    fn a_leap_second_that_was_stored_reads_alike_everywhere() {
        let stored = chrono::DateTime::parse_from_rfc3339("2026-06-30T23:59:60Z").expect("chrono reads it").to_utc();
        assert_eq!(DateTime(stored).to_value(), Value::from("2026-07-01T00:00:00.000Z"));
    }
}
