// What all peers share: the schema, in the words of lancewire's, and the change of a job, in memory and without a
// database, which is to the peers' advantage.

export const typeDefs = /* GraphQL */ `
  type Job {
    id: ID!
    version: Int!
    title: String!
  }
  type JobUpdatedEvent {
    id: ID!
    cursor: String!
    job: Job!
  }
  input JobPatch {
    title: String!
  }
  input UpdateJobInput {
    id: ID!
    patch: JobPatch!
  }
  type UserError {
    message: String!
  }
  type UpdateJobPayload {
    job: Job
    errors: [UserError!]!
  }
  type Query {
    ready: Boolean!
  }
  type Mutation {
    updateJob(input: UpdateJobInput!): UpdateJobPayload
  }
  type Subscription {
    jobUpdated: JobUpdatedEvent!
  }
`;

let position = 0;

/** The event of a job's change; ids and cursors are as long as lancewire's. */
export function change({ id, patch }) {
  position += 1;
  const cursor = String(position).padStart(32, '0');
  const job = { id, version: position, title: patch.title };
  return { id: `event_${String(position).padStart(26, '0')}`, cursor, job };
}

/** Where to listen: the first argument, `host:port`. */
export function address() {
  const [host, port] = process.argv[2].split(':');
  return { host, port: Number(port) };
}
