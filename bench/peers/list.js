// Mercurius with its JIT, its loaders and better-sqlite3 on a SQLite file of lancewire's: node list.js ADDRESS FILE.
// The same list in the same words; ids are plain hexadecimal, which is cheaper to write than lancewire's.

import Database from 'better-sqlite3';
import Fastify from 'fastify';
import mercurius from 'mercurius';
import { address } from './feed.js';

const database = new Database(process.argv[3], { readonly: true });
database.pragma('mmap_size = 268435456');

const schema = /* GraphQL */ `
  enum JobStatus {
    DRAFT
    OPEN
    CLAIMED
    IN_REVIEW
    COMPLETED
    CANCELLED
    EXPIRED
    DISPUTED
  }
  type Money {
    amount: String!
    currencyCode: String!
  }
  type Skill {
    id: ID!
    slug: String!
    name: String!
  }
  type User {
    id: ID!
    displayName: String!
  }
  type Job {
    id: ID!
    title: String!
    status: JobStatus!
    budget: Money!
    postedAt: String
    skills: [Skill!]!
    client: User!
  }
  type JobConnection {
    nodes: [Job!]!
  }
  type Query {
    jobs(first: Int!): JobConnection
  }
`;

const selectJobs = database.prepare(
  `SELECT id, title, status, budget_minor, posted_at, client_id FROM jobs WHERE status = 'OPEN'
     ORDER BY posted_at DESC, id DESC LIMIT ?`,
);

/** A statement for each number of keys, made once. */
function byKeys(sql) {
  const statements = new Map();
  return (keys) => {
    let statement = statements.get(keys.length);
    if (!statement) {
      statement = database.prepare(sql.replace('(?)', `(${keys.map(() => '?').join(', ')})`));
      statements.set(keys.length, statement);
    }
    return statement.all(keys);
  };
}

const selectSkills = byKeys(
  `SELECT job_skills.job_id, skills.id, skills.slug, skills.name FROM job_skills
     JOIN skills ON skills.id = job_skills.skill_id WHERE job_skills.job_id IN (?) ORDER BY job_skills.place`,
);
const selectUsers = byKeys('SELECT id, display_name FROM users WHERE id IN (?)');

const hex = (bytes) => bytes.toString('hex');

const app = Fastify();
app.register(mercurius, {
  schema,
  jit: 1,
  resolvers: {
    Query: {
      jobs: (_, { first }) => {
        const nodes = selectJobs.all(first).map((row) => ({
          id: `job_${hex(row.id)}`,
          key: row.id,
          clientKey: row.client_id,
          title: row.title,
          status: row.status,
          budget: { amount: (row.budget_minor / 100).toFixed(2), currencyCode: 'USD' },
          postedAt: row.posted_at.replace('+00:00', 'Z'),
        }));
        return { nodes };
      },
    },
  },
  loaders: {
    Job: {
      skills: async (queries) => {
        const found = new Map(queries.map(({ obj }) => [hex(obj.key), []]));
        for (const row of selectSkills(queries.map(({ obj }) => obj.key))) {
          found.get(hex(row.job_id)).push({ id: `skill_${hex(row.id)}`, slug: row.slug, name: row.name });
        }
        return queries.map(({ obj }) => found.get(hex(obj.key)));
      },
      client: async (queries) => {
        const keys = [...new Map(queries.map(({ obj }) => [hex(obj.clientKey), obj.clientKey])).values()];
        const found = new Map(
          selectUsers(keys).map((row) => [hex(row.id), { id: `user_${hex(row.id)}`, displayName: row.display_name }]),
        );
        return queries.map(({ obj }) => found.get(hex(obj.clientKey)));
      },
    },
  },
});
await app.listen(address());
