// urql/jobs.js
import { gql } from '@urql/core';
import { pipe, subscribe } from 'wonka';
import { follow, placed } from '../list.js';

const JOB = gql`
  fragment JobFields on Job {
    id
    version
    title
    status
    postedAt
    budget { amount currencyCode }
  }
`;
export const OPEN_JOBS = gql`
  query OpenJobs { streamCursor jobs(first: 50) { nodes { ...JobFields } } }
  ${JOB}
`;
const POSTED = gql`
  subscription JobPosted($after: String) { jobPosted(after: $after) { cursor job { ...JobFields } } }
  ${JOB}
`;
const UPDATED = gql`
  subscription JobUpdated($after: String) {
    jobUpdated(filter: { status: [OPEN] }, after: $after) { cursor job { ...JobFields } }
  }
  ${JOB}
`;
const CLAIM = gql`
  mutation ClaimJob($input: ClaimJobInput!) {
    claimJob(input: $input) {
      job { ...JobFields }
      errors {
        __typename
        ... on UserError { message }
        ... on JobNotClaimableError { job { ...JobFields } }
      }
    }
  }
  ${JOB}
`;

// For `createUrql`: how events change the list, and what a claim shows at once.
const change = (event) => (result, _arguments, cache) =>
  cache.updateQuery({ query: OPEN_JOBS }, (list) => {
    return list && { ...list, jobs: { ...list.jobs, nodes: placed(list.jobs.nodes, result[event].job) } };
  });
export const updates = { Subscription: { jobPosted: change('jobPosted'), jobUpdated: change('jobUpdated') } };
export const optimistic = {
  claimJob: ({ input }, cache) => {
    const job = cache.readFragment(JOB, { id: input.jobId });
    return { __typename: 'ClaimJobPayload', job: { ...job, __typename: 'Job', status: 'CLAIMED' }, errors: [] };
  },
};

/** Calls `show` with the open jobs now and after each change, until the function that it gives is called. */
export function openJobs(client, show) {
  const view = pipe(
    client.query(OPEN_JOBS, {}, { requestPolicy: 'cache-only' }),
    subscribe(({ data }) => data && show(data.jobs.nodes.filter(({ status }) => status === 'OPEN'))),
  );
  const unfollow = follow({
    async read() {
      const { data, error } = await client.query(OPEN_JOBS, {}, { requestPolicy: 'network-only' });
      if (error) throw error;
      return data.streamCursor;
    },
    listen: (after, ended) =>
      [UPDATED, POSTED].map((query) => {
        const listening = pipe(
          client.subscription(query, { after }),
          subscribe(({ error }) => error && ended(error)),
        );
        return () => listening.unsubscribe();
      }),
  });
  return () => {
    unfollow();
    view.unsubscribe();
  };
}

/** Claims a job. Shown at once; a race that is lost repairs itself from the error's own `job`. */
export async function claimJob(client, job) {
  const input = { jobId: job.id, idempotencyKey: crypto.randomUUID() };
  const { data, error } = await client.mutation(CLAIM, { input });
  if (error) throw error;
  return data.claimJob;
}
