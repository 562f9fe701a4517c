#!/usr/bin/env python3
"""What a page by relevance costs SQLite, as it was asked for and as it is: bench/relevance.py [JOBS ...]

Makes a database of so many jobs with the tables of the search (migration/src/initial/sqlite.sql) in memory, half of which
have one word in common, and prints the CPU time of both statements of src/jobs/list.rs and whether they agree. The old one is
given up after a minute.
"""

import os
import random
import sqlite3
import sys
import time

TABLES = """
CREATE TABLE jobs (id BLOB NOT NULL PRIMARY KEY, title TEXT, description TEXT, status TEXT, posted_at TEXT) STRICT;
CREATE INDEX jobs_feed ON jobs (status, posted_at, id);
CREATE TABLE job_search_rows (id INTEGER PRIMARY KEY, job_id BLOB NOT NULL UNIQUE) STRICT;
CREATE VIRTUAL TABLE job_search USING fts5 (title, description, tokenize = 'porter unicode61 remove_diacritics 2');
"""
ASKED = "jobs.posted_at IS NOT NULL AND jobs.status = 'OPEN'"
BEFORE = f"""
SELECT id FROM jobs WHERE {ASKED} AND id IN (SELECT r.job_id FROM job_search s JOIN job_search_rows r ON r.id = s.rowid
WHERE job_search MATCH :words) ORDER BY (SELECT bm25(job_search, 5.0, 1.0) FROM job_search JOIN job_search_rows r
ON r.id = job_search.rowid WHERE job_search MATCH :words AND r.job_id = jobs.id), id DESC LIMIT 1000
"""
NOW = f"""
SELECT jobs.id FROM job_search AS found CROSS JOIN job_search_rows AS places CROSS JOIN jobs
WHERE places.id = found.rowid AND jobs.id = places.job_id AND job_search MATCH :words
AND found.rank MATCH 'bm25(5.0, 1.0)' AND {ASKED} ORDER BY found.rank, jobs.id DESC LIMIT 1000
"""
PATIENCE = 60.0


def fill(jobs):
    db = sqlite3.connect(":memory:")
    db.executescript(TABLES)
    random.seed(1)
    vocabulary = [f"w{number}" for number in range(2000)]
    for number in range(jobs):
        common = "rust" if number % 2 else "plan"
        title = f"job {common} " + " ".join(random.choices(vocabulary, k=3))
        description = " ".join(random.choices(vocabulary, k=random.randint(5, 60)))
        job = (1_700_000_000_000 + number * 10).to_bytes(6, "big") + os.urandom(10)
        status = "OPEN" if number % 3 else "COMPLETED"
        db.execute("INSERT INTO jobs VALUES (?, ?, ?, ?, ?)", (job, title, description, status, f"{number:09}"))
        db.execute("INSERT INTO job_search_rows VALUES (?, ?)", (number + 1, job))
        row = (number + 1, title, description)
        db.execute("INSERT INTO job_search (rowid, title, description) VALUES (?, ?, ?)", row)
    db.commit()
    return db


def run(db, statement, words):
    began = time.process_time()
    db.set_progress_handler(lambda: time.process_time() - began > PATIENCE, 100_000)
    try:
        rows = db.execute(statement, {"words": words}).fetchall()
    except sqlite3.OperationalError:
        return None, f"given up after {PATIENCE:.0f} s"
    return rows, f"{(time.process_time() - began) * 1000:.1f} ms"


for jobs in [int(argument) for argument in sys.argv[1:]] or [20_000, 300_000]:
    database = fill(jobs)
    for words in ['"rust"', '"w7"', '"job" "rust"']:
        (old, before), (new, now) = run(database, BEFORE, words), run(database, NOW, words)
        agree = "" if old is None else ", the same rows" if old == new else ", OTHER ROWS"
        print(f"{jobs} jobs, {words}: before {before}, now {now}{agree}", flush=True)
