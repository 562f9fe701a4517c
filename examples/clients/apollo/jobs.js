// apollo/jobs.js
import { gql } from '@apollo/client';
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

/** Calls `show` with the open jobs now and after each change, until the function that it gives is called. */
export function openJobs(client, show) {
  const change = (job) =>
    client.cache.updateQuery({ query: OPEN_JOBS }, (list) => {
      return list && { ...list, jobs: { ...list.jobs, nodes: placed(list.jobs.nodes, job) } };
    });
  const subscribe = (query, after, ended) => {
    const subscription = client.subscribe({ query, variables: { after } }).subscribe(({ data, error }) => {
      if (error) ended(error);
      else change(Object.values(data)[0].job);
    });
    return () => subscription.unsubscribe();
  };
  const view = client
    .watchQuery({ query: OPEN_JOBS, fetchPolicy: 'cache-only' })
    .subscribe(({ data }) => data && show(data.jobs.nodes.filter(({ status }) => status === 'OPEN')));
  const unfollow = follow({
    read: async () => (await client.query({ query: OPEN_JOBS, fetchPolicy: 'network-only' })).data.streamCursor,
    listen: (after, ended) => [UPDATED, POSTED].map((query) => subscribe(query, after, ended)),
  });
  return () => {
    unfollow();
    view.unsubscribe();
  };
}

/** Claims a job. Shown at once; a race that is lost repairs itself from the error's own `job`. */
export async function claimJob(client, job) {
  const { data } = await client.mutate({
    mutation: CLAIM,
    variables: { input: { jobId: job.id, idempotencyKey: crypto.randomUUID() } },
    optimisticResponse: {
      claimJob: { __typename: 'ClaimJobPayload', job: { ...job, status: 'CLAIMED' }, errors: [] },
    },
  });
  return data.claimJob;
}
