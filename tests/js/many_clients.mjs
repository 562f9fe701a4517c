// Many stock graphql-ws clients in one process, for tests that take servers and connections away from under them.
//
// The first line on standard input says what to be, and the end of the input ends it:
//   {"url":"ws://127.0.0.1:4000/graphql","retryMs":100,"backOff":false,"clients":[{"token":"..","subscriptions":[
//     {"id":0,"query":"subscription($after: String) ..","variables":{"after":".."}}]}]}
// Each client has a connection of its own. Each thing that happens is one JSON line on standard output:
//   ["event",id,cursor,event id,subject's id,subject's version,private]   new to the subscription; whether it holds a
//                                   job's escrow, which only the job's parties may see
//   ["seen",id,cursor]              came again, and was dropped by the cursor check
//   ["error",id,[..]]               the operation ended in errors; an application subscribes again, so do we
//   ["connected",client] ["closed",client,code]
//
// As the documentation tells applications to do: `variables.after` follows the cursor of the root field, graphql-ws
// sends the same payload object again when it comes back, and `retryAttempts` and `shouldRetry` keep it coming back from
// whatever happens to a connection. `retryMs` is how long it waits, about; by default that would be a second and more. With
// `backOff` it waits twice as long each time, as by default, up to 32 times.

import { createInterface } from 'node:readline';
import { createClient } from 'graphql-ws';
import WebSocket from 'ws';

let lines = [];
// One write for all that came in one turn of the loop.
const say = (...line) => {
  if (lines.length === 0) {
    setImmediate(() => {
      process.stdout.write(lines.join(''));
      lines = [];
    });
  }
  lines.push(`${JSON.stringify(line)}\n`);
};

const describe = (error) => {
  if (Array.isArray(error)) return error.map(({ message, extensions }) => ({ message, code: extensions?.code }));
  return [{ message: String(error?.message ?? error?.reason ?? error), code: error?.code }];
};

const start = ({ url, retryMs, backOff, clients }) => {
  const pause = (retries = 0) => {
    const longer = backOff ? 2 ** Math.min(retries, 5) : 1;
    return new Promise((resolve) => setTimeout(resolve, retryMs * longer * (0.5 + Math.random())));
  };
  clients.forEach(({ token, subscriptions }, number) => {
    const client = createClient({
      url,
      webSocketImpl: WebSocket,
      keepAlive: 10_000,
      retryAttempts: Infinity,
      shouldRetry: () => true,
      retryWait: pause,
      connectionParams: () => (token ? { Authorization: `Bearer ${token}` } : {}),
      on: {
        connected: () => say('connected', number),
        closed: ({ code }) => say('closed', number, code ?? 1006),
      },
    });
    for (const { id, query, variables } of subscriptions) {
      const seen = new Set();
      const subscribe = () =>
        client.subscribe(
          { query, variables },
          {
            next({ data, errors }) {
              const event = data && Object.values(data)[0];
              if (errors || !event) return say('error', id, describe(errors ?? 'no data'));
              const { cursor } = event;
              if (seen.has(cursor)) return say('seen', id, cursor);
              seen.add(cursor);
              variables.after = cursor;
              const subject = event.job ?? event.wallet ?? event.notification;
              say('event', id, cursor, event.id, subject.id, subject.version ?? 0, subject.escrow != null);
            },
            error(error) {
              say('error', id, describe(error));
              pause().then(subscribe);
            },
            complete() {
              say('error', id, [{ message: 'completed by the server' }]);
              pause().then(subscribe);
            },
          },
        );
      subscribe();
    }
  });
};

let started = false;
for await (const line of createInterface({ input: process.stdin })) {
  if (!started) start(JSON.parse(line));
  started = true;
}
process.exit(0);
