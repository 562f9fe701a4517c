// A stock graphql-ws client, driven by a test: `[TOKEN=..] node graphql_ws_client.mjs ws://127.0.0.1:4000/graphql`.
//
// Commands come as JSON lines on standard input, and its end ends the client:
//   {"op":"subscribe","id":"a","query":"subscription ..","variables":{},"resume":true}
//   {"op":"complete","id":"a"}
//   {"op":"token","token":".."}     what connectionParams gives from the next connection on
// Each thing that happens is one JSON line on standard output:
//   {"event":"connected"}
//   {"event":"next","id":"a","payload":{"data":{}}}
//   {"event":"error","id":"a","errors":[]}      the server's errors, or the close that ended the client for good
//   {"event":"complete","id":"a"}               by either side
//   {"event":"closed","code":1012,"reason":"Restarting","clean":true}
//
// Retries, laziness and keep-alive are the library's defaults. With `resume`, `variables.after` follows the cursor of
// the root field, as the documentation tells applications to do.

import { createInterface } from 'node:readline';
import { createClient } from 'graphql-ws';
import WebSocket from 'ws';

const url = process.argv[2];
let token = process.env.TOKEN;
const running = new Map();

const say = (line) => process.stdout.write(`${JSON.stringify(line)}\n`);

const client = createClient({
  url,
  webSocketImpl: WebSocket,
  connectionParams: () => (token ? { Authorization: `Bearer ${token}` } : {}),
  on: {
    connected: () => say({ event: 'connected' }),
    closed: ({ code, reason, wasClean }) => say({ event: 'closed', code, reason, clean: wasClean }),
  },
});

const describe = (error) => {
  if (Array.isArray(error)) return error;
  if (typeof error?.code === 'number') return [{ message: 'closed', code: error.code, reason: error.reason }];
  return [{ message: String(error?.message ?? error) }];
};

const operations = {
  subscribe({ id, query, variables = {}, resume = false }) {
    const stop = client.subscribe(
      { query, variables },
      {
        next(payload) {
          const cursor = Object.values(payload.data ?? {})[0]?.cursor;
          if (resume && typeof cursor === 'string') variables.after = cursor;
          say({ event: 'next', id, payload });
        },
        error(error) {
          running.delete(id);
          say({ event: 'error', id, errors: describe(error) });
        },
        complete() {
          running.delete(id);
          say({ event: 'complete', id });
        },
      },
    );
    running.set(id, stop);
  },
  complete({ id }) {
    running.get(id)?.();
  },
  token(command) {
    token = command.token;
  },
};

for await (const line of createInterface({ input: process.stdin })) {
  const command = JSON.parse(line);
  operations[command.op](command);
}
await client.dispose();
process.exit(0);
