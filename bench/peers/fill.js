// Puts open jobs into a seeded SQLite file of lancewire's: node fill.js FILE COUNT. No money moves, so the ledger knows
// nothing of them; they are for lists only.

import { randomBytes } from 'node:crypto';
import Database from 'better-sqlite3';

const CLIENTS = 200;
const MINUTE = 60_000;

const [, , file, count] = process.argv;
const database = new Database(file);
const skills = database.prepare('SELECT id FROM skills ORDER BY slug').pluck().all();
const end = '9999-12-31T00:00:00+00:00';

/** A UUID of version 7, as of a moment. */
function id(moment) {
  const bytes = randomBytes(16);
  bytes.writeUIntBE(moment, 0, 6);
  bytes[6] = 0x70 | (bytes[6] & 0x0f);
  bytes[8] = 0x80 | (bytes[8] & 0x3f);
  return bytes;
}

/** A moment as lancewire writes it. */
const text = (moment) => new Date(moment).toISOString().replace('Z', '+00:00');

const addUser = database.prepare(
  `INSERT INTO users (id, email, display_name, is_client, is_freelancer, is_admin, password_hash, completed_job_count,
     created_at, updated_at) VALUES (?, ?, ?, 1, 0, 0, '', 0, ?, ?)`,
);
const addJob = database.prepare(
  `INSERT INTO jobs (id, version, client_id, title, description, status, budget_minor, deadline_order, posted_at,
     created_at, updated_at) VALUES (?, 1, ?, ?, 'All of it, please.', 'OPEN', ?, ?, ?, ?, ?)`,
);
const addSkill = database.prepare('INSERT INTO job_skills (job_id, skill_id, place) VALUES (?, ?, ?)');

database.transaction(() => {
  const now = Date.now();
  const clients = Array.from({ length: CLIENTS }, (_, place) => {
    const client = id(now);
    addUser.run(client, `filled-${place}@example.com`, `Client ${place}`, text(now), text(now));
    return client;
  });
  for (let place = 0; place < Number(count); place += 1) {
    // Older than the demo's, so that every page has the same mix.
    const moment = now - (place + 1) * MINUTE;
    const job = id(moment);
    const at = text(moment);
    const client = clients[(place * 7) % CLIENTS];
    addJob.run(job, client, `Port billing service ${place} to Rust`, 10_000 + place, end, at, at, at);
    addSkill.run(job, skills[place % skills.length], 0);
    addSkill.run(job, skills[(place + 5) % skills.length], 1);
  }
})();
database.exec('ANALYZE');
database.pragma('wal_checkpoint(TRUNCATE)');
