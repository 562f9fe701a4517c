//! Amounts of money: exact, bounded, in the deployment's one currency.
//!
//! Owns the conversion between the decimal texts of the API and the signed 64-bit minor units of everything else.
//! There is no float anywhere, and arithmetic is checked: a sum that does not fit is an error, never a wrong number.

use serde::{Deserialize, Serialize};

/// An amount in minor units (cents of a dollar), signed.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, sea_orm::DeriveValueType,
)]
#[serde(transparent)]
pub struct Money(i64);

/// Sums that do not fit into 64 bits. Far above every configured maximum, so a fault rather than bad input.
#[derive(Debug, thiserror::Error, PartialEq, Eq, Clone, Copy)]
#[error("an amount of money does not fit into 64 bits")]
pub struct Overflow;

impl Money {
    /// Nothing.
    pub const ZERO: Self = Self(0);

    /// From minor units.
    pub const fn from_minor(minor: i64) -> Self {
        Self(minor)
    }

    /// In minor units.
    pub const fn minor(self) -> i64 {
        self.0
    }

    /// The sum.
    pub fn plus(self, other: Self) -> Result<Self, Overflow> {
        self.0.checked_add(other.0).map(Self).ok_or(Overflow)
    }

    /// The difference.
    pub fn minus(self, other: Self) -> Result<Self, Overflow> {
        self.0.checked_sub(other.0).map(Self).ok_or(Overflow)
    }

    /// The same amount the other way.
    pub fn negated(self) -> Result<Self, Overflow> {
        self.0.checked_neg().map(Self).ok_or(Overflow)
    }

    /// Whether it is greater than nothing.
    pub const fn is_positive(self) -> bool {
        self.0 > 0
    }

    /// A share of this amount in basis points (hundredths of a percent), rounded down.
    #[must_use]
    pub fn share(self, basis_points: u16) -> Self {
        let share = i128::from(self.0) * i128::from(basis_points) / 10_000;
        // At most the amount itself for up to 10,000 basis points, so it fits whatever fitted before.
        Self(i64::try_from(share).unwrap_or(self.0))
    }
}

/// Why a text is not an amount, in words for the person who sent it.
#[derive(Debug, thiserror::Error, PartialEq, Eq, Clone)]
pub enum AmountError {
    /// Not digits with at most one point.
    #[error("must be a plain decimal number in a JSON string, such as \"1250.00\"")]
    NotDecimal,
    /// Finer than the currency's smallest unit.
    #[error("must have at most {decimals} decimals in {code}")]
    TooPrecise {
        /// What the currency allows.
        decimals: u32,
        /// The currency.
        code: String,
    },
    /// Zero or below.
    #[error("must be greater than zero")]
    NotPositive,
    /// Above the configured maximum.
    #[error("must be at most {0}")]
    TooLarge(String),
    /// Another currency than the deployment's.
    #[error("must be {0}, the only currency here")]
    WrongCurrency(String),
}

/// The deployment's currency.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Currency {
    code: String,
    decimals: u32,
    maximum: Money,
}

impl Currency {
    /// A currency by its upper-case code, the decimals of its smallest unit (0 to 8) and the largest amount one input
    /// may name.
    pub fn new(code: &str, decimals: u32, maximum: Money) -> Self {
        Self { code: code.to_owned(), decimals: decimals.min(8), maximum }
    }

    /// Its code, e.g. `USD`.
    pub fn code(&self) -> &str {
        &self.code
    }

    /// The decimals of its smallest unit.
    pub const fn decimals(&self) -> u32 {
        self.decimals
    }

    /// The largest amount one input may name.
    pub const fn maximum(&self) -> Money {
        self.maximum
    }

    /// Refuses every code but this one.
    pub fn check_code(&self, code: &str) -> Result<(), AmountError> {
        if code == self.code { Ok(()) } else { Err(AmountError::WrongCurrency(self.code.clone())) }
    }

    /// Reads an amount greater than zero and at most the maximum.
    pub fn parse(&self, text: &str) -> Result<Money, AmountError> {
        let amount = self.parse_bound(text)?;
        if amount.is_positive() { Ok(amount) } else { Err(AmountError::NotPositive) }
    }

    /// Reads an amount of zero or more, as a bound of a range may be.
    pub fn parse_bound(&self, text: &str) -> Result<Money, AmountError> {
        let (negative, digits) = text.strip_prefix('-').map_or((false, text), |digits| (true, digits));
        let (whole, fraction) = match digits.split_once('.') {
            Some((_, "")) => return Err(AmountError::NotDecimal),
            Some(parts) => parts,
            None => (digits, ""),
        };
        let digit = |byte: u8| byte.is_ascii_digit();
        if whole.is_empty() || whole.len() + fraction.len() > 40 {
            return Err(AmountError::NotDecimal);
        }
        if !whole.bytes().all(digit) || !fraction.bytes().all(digit) {
            return Err(AmountError::NotDecimal);
        }
        if negative {
            return Err(AmountError::NotPositive);
        }
        let decimals = usize::try_from(self.decimals).unwrap_or_default();
        if fraction.len() > decimals {
            return Err(AmountError::TooPrecise { decimals: self.decimals, code: self.code.clone() });
        }
        let minor = format!("{whole}{fraction:0<decimals$}");
        let amount = minor.parse().map(Money).ok().filter(|amount| *amount <= self.maximum);
        amount.ok_or_else(|| AmountError::TooLarge(self.format(self.maximum)))
    }

    /// Writes an amount with all its decimals, e.g. `1250.00` or `-0.05`.
    pub fn format(&self, amount: Money) -> String {
        let sign = if amount.0 < 0 { "-" } else { "" };
        let minor = amount.0.unsigned_abs();
        let unit = 10_u64.pow(self.decimals);
        match self.decimals {
            0 => format!("{sign}{minor}"),
            decimals => {
                let width = usize::try_from(decimals).unwrap_or_default();
                format!("{sign}{}.{:0width$}", minor / unit, minor % unit)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dollars() -> Currency {
        Currency::new("USD", 2, Money::from_minor(100_000_000))
    }

    #[test]
    fn every_bad_amount_is_refused_with_its_reason() {
        let usd = dollars();
        for text in ["", ".", "1.", ".5", "NaN", "1e30", "0x10", "١٢", "1,000", " 1", "+1", "--1", "1.2.3", "1_0", "∞"]
        {
            assert_eq!(usd.parse(text), Err(AmountError::NotDecimal), "{text}");
        }
        for text in ["0", "0.00", "-1", "-0.01"] {
            assert_eq!(usd.parse(text), Err(AmountError::NotPositive), "{text}");
        }
        assert!(matches!(usd.parse("0.001"), Err(AmountError::TooPrecise { .. })));
        for text in ["1000000.01", "9223372036854775808", "99999999999999999999999999"] {
            assert!(matches!(usd.parse(text), Err(AmountError::TooLarge(_))), "{text}");
        }
        assert!(usd.check_code("EUR").is_err());
    }

    #[test]
    fn amounts_come_back_as_they_went() {
        let usd = dollars();
        for (text, minor, shown) in [("1250", 125_000, "1250.00"), ("0.5", 50, "0.50"), ("007.01", 701, "7.01")] {
            assert_eq!(usd.parse(text), Ok(Money(minor)));
            assert_eq!(usd.format(Money(minor)), shown);
        }
        assert_eq!(usd.format(Money(-5)), "-0.05");
        assert_eq!(Currency::new("JPY", 0, Money(10)).format(Money(7)), "7");
    }

    #[test]
    fn a_share_is_rounded_down_and_never_overflows() {
        assert_eq!(Money(999).share(500), Money(49));
        assert_eq!(Money(i64::MAX).share(10_000), Money(i64::MAX));
        assert_eq!(Money(i64::MAX).plus(Money(1)), Err(Overflow));
    }
}
