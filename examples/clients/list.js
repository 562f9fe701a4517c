// list.js: what keeps a list of open jobs true, whatever cache it stands in.
import { backOff, SignedOut } from './session.js';

/** The list after an event: a job is in it while it is OPEN, newest first as the server has it. */
export const placed = (jobs, job) =>
  [...jobs.filter(({ id }) => id !== job.id), ...(job.status === 'OPEN' ? [job] : [])].sort((one, other) =>
    `${one.postedAt}${one.id}` < `${other.postedAt}${other.id}` ? 1 : -1,
  );

const codes = (problem) => {
  const errors = [problem].flat().flatMap((error) => error.errors ?? error.graphQLErrors ?? error);
  return errors.map((error) => error.extensions?.code);
};

/**
 * Reads a list by `read`, which gives its `streamCursor`, and follows it from there by `listen(after, ended)`, which
 * gives functions that stop the subscriptions. When their position is no longer kept, it reads the list anew.
 */
export function follow({ read, listen, failed = console.error }) {
  let stops = [];
  let stopped = false;
  const stop = () => stops.splice(0).forEach((end) => end());

  async function begin() {
    for (let tries = 0; !stopped; tries += 1) {
      try {
        const after = await read();
        if (!stopped) stops = listen(after, ended);
        return;
      } catch (problem) {
        failed(problem);
        if (problem instanceof SignedOut) return;
        await backOff(tries);
      }
    }
  }

  function ended(problem) {
    if (stops.length === 0) return; // another subscription of this list has said so
    stop();
    if (codes(problem).includes('CURSOR_EXPIRED')) begin();
    else failed(problem);
  }

  begin();
  return () => {
    stopped = true;
    stop();
  };
}
