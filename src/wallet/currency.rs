//! The currency of the books, as the database has it.
//!
//! Amounts are kept in the smallest unit of one currency, without its name. Under other settings each of them would be
//! worth something else, so what the first start found in the settings is written into `deployment`, and a start with
//! others is refused. Called by [`crate::app`].

use sea_orm::ConnectionTrait;

use crate::{db::Db, error::InternalError, money::Currency};

/// The settings name another currency than the books are in.
#[derive(Debug, thiserror::Error)]
pub enum CurrencyError {
    /// Another code or other decimals.
    #[error(
        "marketplace.currency: the books in this database are in {held} with {held_decimals} decimals, and the settings \
         say {code} with {decimals}; set marketplace.currency and marketplace.decimals to those of the books, or start on \
         another database"
    )]
    Other {
        /// The code in the database.
        held: String,
        /// The decimals in the database.
        held_decimals: i32,
        /// The code in the settings.
        code: String,
        /// The decimals in the settings.
        decimals: u32,
    },
    /// It cannot be looked at.
    #[error("the currency of the books cannot be read: {0}")]
    InternalError(#[from] InternalError),
}

/// Compares the settings with the books. Where nothing is written yet, a start that may `write` writes the settings.
pub async fn check(db: &Db, currency: &Currency, write: bool) -> Result<(), CurrencyError> {
    let held = held(db).await?;
    let (held, held_decimals) = match held {
        Some(held) => held,
        None if !write => return Ok(()),
        None => {
            // Of two nodes that start together one writes; both look at what it wrote.
            let insert = "INSERT INTO deployment (id, currency, decimals) VALUES (1, ?, ?) ON CONFLICT DO NOTHING";
            let decimals = i32::try_from(currency.decimals()).unwrap_or(i32::MAX);
            let values = [currency.code().into(), decimals.into()];
            db.writer().execute_raw(db.statement(insert, values)).await.map_err(InternalError::from)?;
            self::held(db).await?.ok_or_else(|| InternalError::corrupt("deployment has no row"))?
        }
    };
    if held == currency.code() && u32::try_from(held_decimals) == Ok(currency.decimals()) {
        return Ok(());
    }
    Err(CurrencyError::Other { held, held_decimals, code: currency.code().to_owned(), decimals: currency.decimals() })
}

async fn held(db: &Db) -> Result<Option<(String, i32)>, InternalError> {
    let sql = "SELECT currency, decimals FROM deployment WHERE id = 1";
    let row = db.writer().query_one_raw(db.statement(sql, [])).await?;
    Ok(row.map(|row| Ok::<_, sea_orm::DbErr>((row.try_get_by_index(0)?, row.try_get_by_index(1)?))).transpose()?)
}
