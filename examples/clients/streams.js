// streams.js: the same subscriptions over HTTP, as server-sent events, for where WebSockets are blocked. Takes the place
// of the socket in every client. Heartbeats keep the position moving, so a quiet stream does not grow old.
import { backOff, SignedOut } from './session.js';

const SILENT_MS = 45_000; // three heartbeats

class Refused extends Error {}

/** The events of a stream: `{ id, event, data }`. Fails when the stream falls silent. */
async function* events(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  try {
    for (let text = ''; ; ) {
      let timer;
      const silence = new Promise((_, fail) => (timer = setTimeout(fail, SILENT_MS, new Error('The stream is silent'))));
      const { done, value } = await Promise.race([reader.read(), silence]).finally(() => clearTimeout(timer));
      if (done) return;
      const blocks = (text + value).split('\n\n');
      text = blocks.pop();
      for (const block of blocks) yield Object.fromEntries(block.split('\n').map((line) => line.split(/: ?(.*)/, 2)));
    }
  } finally {
    reader.cancel().catch(() => {});
  }
}

export function createStreams({ url, session }) {
  return {
    subscribe(payload, sink) {
      const control = new AbortController();
      let at = payload.variables?.after;
      let last; // the last answer, if it had errors and no data: why the stream ended

      // Whether the stream is over. If it is not, it ended in a way that coming back mends.
      async function read() {
        const headers = { 'content-type': 'application/json', accept: 'text/event-stream' };
        if (at) headers['last-event-id'] = at;
        const options = { method: 'POST', headers, body: JSON.stringify(payload), signal: control.signal };
        const response = await session.fetch(url, options);
        if ([400, 404, 405, 413, 415].includes(response.status)) throw new Refused(await response.text());
        if (!response.ok) return false;
        last = undefined;
        for await (const { id, event, data } of events(response.body)) {
          if (event === 'complete') return true;
          if (event === 'next') {
            const result = JSON.parse(data);
            if (result.data) sink.next(result);
            else last = result.errors;
          }
          at = id ?? at;
          tries = 0;
        }
        return false;
      }

      let tries = 0;
      (async () => {
        while (!control.signal.aborted) {
          try {
            if (await read()) return last ? sink.error(last) : sink.complete();
          } catch (problem) {
            if (problem instanceof SignedOut || problem instanceof Refused) return sink.error(problem);
          }
          if (!control.signal.aborted) await backOff(tries++);
        }
      })();
      return () => control.abort();
    },
  };
}
