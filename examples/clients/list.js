// list.js: what keeps a list of open jobs true, whatever cache it stands in.
import { backOff, SignedOut } from './session.js';

/** The list after an event: a job is in it while it is OPEN, newest first as the server has it. */
export const placed = (jobs, job) =>
  [...jobs.filter(({ id }) => id !== job.id), ...(job.status === 'OPEN' ? [job] : [])].sort((one, other) =>
    `${one.postedAt}${one.id}` < `${other.postedAt}${other.id}` ? 1 : -1,
  );

// Coming back does not mend these.
const FOR_GOOD = [
  'BAD_USER_INPUT', 'FORBIDDEN', 'GRAPHQL_PARSE_FAILED', 'GRAPHQL_VALIDATION_FAILED', 'UNAUTHENTICATED',
];
// graphql-ws gives an array of errors; Apollo, urql and Relay wrap it, each in its way.
const codes = (problem) => {
  const errors = [problem].flat().flatMap((error) => error.errors ?? error.graphQLErrors ?? error);
  return errors.map((error) => error.extensions?.code);
};
const isSignedOut = (problem) =>
  [problem, problem.networkError, problem.errors].some((cause) => cause instanceof SignedOut);

/**
 * Reads a list by `read`, which gives its `streamCursor`, and follows it from there by `listen(after, ended)`, which
 * gives functions that stop the subscriptions. When one of them ends, as it does when its position is no longer kept,
 * the list is read anew.
 */
export function follow({ read, listen, failed = console.error }) {
  let stops = [];
  let stopped = false;
  const stop = () => stops.splice(0).forEach((end) => end());

  async function begin(tries = 0) {
    if (tries > 0) await backOff(tries);
    if (stopped) return;
    try {
      const after = await read();
      if (!stopped) stops = listen(after, ended);
    } catch (problem) {
      failed(problem);
      if (!isSignedOut(problem)) begin(tries + 1);
    }
  }

  function ended(problem) {
    if (stops.length === 0) return; // another subscription of this list has said so
    stop();
    const found = codes(problem);
    if (isSignedOut(problem) || found.some((code) => FOR_GOOD.includes(code))) failed(problem);
    else begin(found.includes('CURSOR_EXPIRED') ? 0 : 1);
  }

  begin();
  return () => {
    stopped = true;
    stop();
  };
}
