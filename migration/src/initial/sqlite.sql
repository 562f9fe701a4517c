-- Text search: FTS5 needs integer row ids that survive a VACUUM, which a table keyed by UUID does not have.
CREATE TABLE job_search_rows (
    id INTEGER PRIMARY KEY,
    job_id BLOB NOT NULL CONSTRAINT job_search_rows_job_key UNIQUE CONSTRAINT job_search_rows_job_fkey REFERENCES jobs (id)
) STRICT;
CREATE VIRTUAL TABLE job_search USING fts5 (title, description, tokenize = 'porter unicode61 remove_diacritics 2');

CREATE TRIGGER jobs_search_insert AFTER INSERT ON jobs BEGIN
    INSERT INTO job_search_rows (job_id) VALUES (new.id);
    INSERT INTO job_search (rowid, title, description)
        SELECT id, new.title, new.description FROM job_search_rows WHERE job_id = new.id;
END;
CREATE TRIGGER jobs_search_update AFTER UPDATE OF title, description ON jobs
WHEN old.title <> new.title OR old.description <> new.description BEGIN
    UPDATE job_search SET title = new.title, description = new.description
        WHERE rowid = (SELECT id FROM job_search_rows WHERE job_id = new.id);
END;

-- Books and log are append-only. Retention may forget events, nothing may change them.
CREATE TRIGGER entries_no_update BEFORE UPDATE ON entries BEGIN SELECT RAISE(ABORT, 'entries are append-only'); END;
CREATE TRIGGER entries_no_delete BEFORE DELETE ON entries BEGIN SELECT RAISE(ABORT, 'entries are append-only'); END;
CREATE TRIGGER journals_no_update BEFORE UPDATE ON journals BEGIN SELECT RAISE(ABORT, 'journals are append-only'); END;
CREATE TRIGGER journals_no_delete BEFORE DELETE ON journals BEGIN SELECT RAISE(ABORT, 'journals are append-only'); END;
CREATE TRIGGER events_no_update BEFORE UPDATE ON events BEGIN SELECT RAISE(ABORT, 'events are append-only'); END;

INSERT INTO event_log (id, log_id, last_position) VALUES (1, randomblob(16), 0);
INSERT INTO accounts (id, kind, owner_id, balance_minor) VALUES (zeroblob(16), 'WORLD', zeroblob(16), 0);
INSERT INTO accounts (id, kind, owner_id, balance_minor)
    VALUES (x'00000000000000000000000000000001', 'FEES', zeroblob(16), 0);
