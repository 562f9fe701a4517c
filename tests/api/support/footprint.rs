//! What the database holds, to show that a request which was refused has left nothing behind.

use sea_orm::ConnectionTrait;

use super::app::TestApp;

/// Lines of text and number that any effect would change: rows of the append-only tables, and the rest by content.
const LINES: &str = "
    SELECT 'events' AS what, COUNT(*) AS number FROM events
    UNION ALL SELECT 'journals', COUNT(*) FROM journals
    UNION ALL SELECT 'entries', COUNT(*) FROM entries
    UNION ALL SELECT 'idempotency keys', COUNT(*) FROM idempotency_keys
    UNION ALL SELECT 'admin actions', COUNT(*) FROM admin_actions
    UNION ALL SELECT 'notifications', COUNT(*) FROM notifications
    UNION ALL SELECT 'notifications read', COUNT(read_at) FROM notifications
    UNION ALL SELECT 'skills of jobs', COUNT(*) FROM job_skills
    UNION ALL SELECT 'skills of users', COUNT(*) FROM user_skills
    UNION ALL SELECT 'user ' || email || ' ' || display_name || COALESCE(avatar_url, ''), completed_job_count FROM users
    UNION ALL SELECT 'suspended', COUNT(suspended_at) FROM users
    UNION ALL SELECT 'job ' || status || ' ' || title || ' ' || description, version FROM jobs
    UNION ALL SELECT 'budget ' || title, budget_minor FROM jobs
    UNION ALL SELECT 'claim ' || status, version FROM claims
    UNION ALL SELECT 'conversation', version FROM conversations
    UNION ALL SELECT 'message ' || body, version FROM messages
    UNION ALL SELECT 'deliverable ' || status || ' ' || note, number FROM deliverables
    UNION ALL SELECT 'file ' || status || ' ' || name || COALESCE(used_as, ''), byte_size FROM files
    UNION ALL SELECT 'files', files FROM file_quotas
    UNION ALL SELECT 'bytes of files', bytes FROM file_quotas
    UNION ALL SELECT 'transaction ' || type || ' ' || status, version FROM transactions
    UNION ALL SELECT 'account ' || kind, balance_minor FROM accounts
    UNION ALL SELECT 'wallet', version FROM wallets
    UNION ALL SELECT 'available', available_minor FROM wallets
    UNION ALL SELECT 'in escrow', in_escrow_minor FROM wallets
    UNION ALL SELECT 'pending in', pending_in_minor FROM wallets
    UNION ALL SELECT 'pending out', pending_out_minor FROM wallets";

/// Back door: all that a request may change, in a fixed order.
pub async fn footprint(app: &TestApp) -> Vec<(String, i64)> {
    let db = &app.app.db;
    let rows = db.reader().query_all_raw(db.statement(LINES, [])).await.expect("the footprint can be read");
    let line = |row: &sea_orm::QueryResult| {
        let number = row.try_get_by_index::<i64>(1).or_else(|_| row.try_get_by_index::<i32>(1).map(Into::into));
        (row.try_get_by_index(0).expect("a text"), number.expect("a number"))
    };
    let mut lines: Vec<_> = rows.iter().map(line).collect();
    lines.sort();
    lines
}
