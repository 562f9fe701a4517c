//! The files' share of `lancewire verify`: rows and quotas by queries, bytes by reading them.
//!
//! Called by [`crate::verify`], on one snapshot; the bytes are read beside it, by [`bytes`].

use std::{io, path::PathBuf};

use sea_orm::{ColumnTrait, EntityTrait, QueryFilter, QueryOrder, QuerySelect, prelude::async_trait::async_trait};
use sha2::{Digest, Sha256};
use tokio::io::AsyncReadExt;
use uuid::Uuid;

use super::{entity, store::Store};
use crate::{
    db::Db,
    error::InternalError,
    ids::FileId,
    proof::{Finding, MOST, Part, Progress, hex},
};

/// This domain's share of the proof.
pub struct Proof;

/// Rows that are read at a time.
const PAGE: u64 = 500;

#[async_trait]
impl Part for Proof {
    fn checks(&self) -> Vec<(&'static str, String)> {
        let checks = [
            (
                "14 a user's quota is the sum of their files",
                "SELECT q.user_id AS subject, q.files || ' files with ' || q.bytes || ' bytes, and there are ' || \
                 COALESCE(f.files, 0) || ' with ' || COALESCE(f.bytes, 0) AS detail FROM file_quotas q \
                 LEFT JOIN (SELECT owner_id, COUNT(*) AS files, \
                     SUM(CASE WHEN status = 'REJECTED' THEN 0 ELSE byte_size END) AS bytes FROM files GROUP BY owner_id) f \
                     ON f.owner_id = q.user_id \
                 WHERE q.files <> COALESCE(f.files, 0) OR q.bytes <> COALESCE(f.bytes, 0) \
                 UNION ALL SELECT f.owner_id, 'files without a quota' FROM files f \
                 WHERE NOT EXISTS (SELECT 1 FROM file_quotas q WHERE q.user_id = f.owner_id)",
            ),
            (
                "14 what a deliverable has of files is its freelancer's",
                "SELECT f.id AS subject, 'used by no work of its owner' AS detail FROM files f \
                 WHERE f.used_as = 'DELIVERABLE' AND NOT EXISTS (SELECT 1 FROM deliverables d \
                     JOIN claims c ON c.id = d.claim_id WHERE d.id = f.used_by AND c.freelancer_id = f.owner_id)",
            ),
        ];
        checks.map(|(invariant, sql)| (invariant, sql.to_owned())).into()
    }
}

/// Whether each READY file has its bytes in this folder, as many as its row says and with its hash. Files that are removed
/// meanwhile are no finding.
pub async fn bytes(db: &Db, folder: PathBuf, progress: Progress<'_>) -> Result<Finding, InternalError> {
    let (store, mut broken, mut last, mut count) = (Store::new(folder), Vec::new(), None::<FileId>, 0);
    loop {
        let mut select = entity::Entity::find().filter(entity::Column::Status.eq("READY"));
        if let Some(last) = last {
            select = select.filter(entity::Column::Id.gt(last));
        }
        let rows = select.order_by_asc(entity::Column::Id).limit(PAGE).all(db.writer()).await?;
        let Some(end) = rows.last() else { break };
        last = Some(end.id);
        for row in rows {
            count += 1;
            progress(&format!("the bytes of files: {count}"));
            let wrong = match read(&store, row.id).await {
                Ok((size, hash)) if i64::try_from(size) == Ok(row.byte_size) && hash == row.sha256 => continue,
                Ok((size, hash)) => {
                    format!("{size} bytes with {hash}, and its row has {} with {}", row.byte_size, row.sha256)
                }
                Err(error) => format!("its bytes cannot be read: {error}"),
            };
            let is_there = entity::Entity::find_by_id(row.id).one(db.writer()).await?.is_some();
            if is_there && broken.len() < MOST {
                broken.push(format!("{}: {wrong}", Uuid::from(row.id)));
            }
        }
    }
    Ok(Finding { invariant: "14 a file that is READY has its bytes, their number and their hash", broken })
}

async fn read(store: &Store, file: FileId) -> io::Result<(u64, String)> {
    let (mut bytes, _) = store.open(file).await?;
    let (mut hash, mut piece, mut size) = (Sha256::new(), vec![0; 256 * 1024], 0);
    loop {
        let read = bytes.read(&mut piece).await?;
        if read == 0 {
            return Ok((size, hex(&hash.finalize())));
        }
        hash.update(&piece[..read]);
        size += read as u64;
    }
}
