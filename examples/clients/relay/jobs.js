// relay/jobs.js
import {
  commitMutation, createOperationDescriptor, fetchQuery, getRequest, graphql, requestSubscription,
} from 'relay-runtime';
import { follow, placed } from '../list.js';

export const OPEN_JOBS = graphql`
  query jobsOpenQuery { streamCursor jobs(first: 50) { nodes { ...jobs_job @relay(mask: false) } } }
`;
const POSTED = graphql`
  subscription jobsPostedSubscription($after: String) {
    jobPosted(after: $after) { cursor job { ...jobs_job @relay(mask: false) } }
  }
`;
const UPDATED = graphql`
  subscription jobsUpdatedSubscription($after: String) {
    jobUpdated(filter: { status: [OPEN] }, after: $after) { cursor job { ...jobs_job @relay(mask: false) } }
  }
`;
const CLAIM = graphql`
  mutation jobsClaimMutation($input: ClaimJobInput!) {
    claimJob(input: $input) {
      job { ...jobs_job @relay(mask: false) }
      errors {
        __typename
        ... on UserError { message }
        ... on JobNotClaimableError { job { ...jobs_job @relay(mask: false) } }
      }
    }
  }
`;
graphql`
  fragment jobs_job on Job {
    id
    version
    title
    status
    postedAt
    budget { amount currencyCode }
  }
`;

/** Calls `show` with the open jobs now and after each change, until the function that it gives is called. */
export function openJobs(environment, show) {
  const operation = createOperationDescriptor(getRequest(OPEN_JOBS), {});
  const kept = environment.retain(operation);
  const view = environment.subscribe(
    environment.lookup(operation.fragment),
    ({ data }) => data?.jobs && show(data.jobs.nodes.filter(({ status }) => status === 'OPEN')),
  );
  const job = (record) => ({
    record,
    id: record.getDataID(),
    status: record.getValue('status'),
    postedAt: record.getValue('postedAt'),
  });
  const change = (event) => (store) => {
    const page = store.getRoot().getLinkedRecord('jobs', { first: 50 });
    const changed = store.getRootField(event).getLinkedRecord('job');
    const jobs = placed(page.getLinkedRecords('nodes').map(job), job(changed));
    page.setLinkedRecords(jobs.map(({ record }) => record), 'nodes');
  };
  const unfollow = follow({
    async read() {
      const list = await fetchQuery(environment, OPEN_JOBS, {}, { fetchPolicy: 'network-only' }).toPromise();
      return list.streamCursor;
    },
    listen: (after, ended) =>
      Object.entries({ jobUpdated: UPDATED, jobPosted: POSTED }).map(([event, subscription]) => {
        const listening = requestSubscription(environment, {
          subscription,
          variables: { after },
          updater: change(event),
          onError: ended,
        });
        return () => listening.dispose();
      }),
  });
  return () => {
    unfollow();
    view.dispose();
    kept.dispose();
  };
}

/** Claims a job. Shown at once; a race that is lost repairs itself from the error's own `job`. */
export const claimJob = (environment, job) =>
  new Promise((resolve, reject) => {
    commitMutation(environment, {
      mutation: CLAIM,
      variables: { input: { jobId: job.id, idempotencyKey: crypto.randomUUID() } },
      optimisticResponse: { claimJob: { job: { ...job, status: 'CLAIMED' }, errors: [] } },
      onCompleted: (data) => resolve(data.claimJob),
      onError: reject,
    });
  });
