// Stock clients of subscriptions over HTTP, driven by a test: `[TOKEN=..] node stream_client.mjs <url> <which>`, where
// <which> is graphql-sse, apollo or eventsource.
//
// Commands come as JSON lines on standard input, and its end ends the client:
//   {"op":"subscribe","id":"a","query":"subscription ..","variables":{},"resume":true}
//   {"op":"complete","id":"a"}
//   {"op":"token","token":".."}     what is sent from the next connection on
// Each thing that happens is one JSON line on standard output:
//   {"event":"connected","id":"a"}
//   {"event":"next","id":"a","payload":{"data":{}}}
//   {"event":"error","id":"a","errors":[]}
//   {"event":"complete","id":"a"}
//
// Retries are the library's defaults. With `resume`, `variables.after` follows the cursor of the root field, as the
// documentation tells applications to do. The EventSource is a browser's, as undici implements the standard: it comes
// back by itself, with Last-Event-ID.

import { createInterface } from 'node:readline';

const [url, which] = process.argv.slice(2);
let token = process.env.TOKEN;
const running = new Map();

const say = (line) => process.stdout.write(`${JSON.stringify(line)}\n`);
const headers = () => (token ? { Authorization: `Bearer ${token}` } : {});

const kinds = {
  async 'graphql-sse'() {
    const { createClient } = await import('graphql-sse');
    const client = createClient({ url, headers });
    return ({ query, variables, sink }) =>
      client.subscribe({ query, variables }, sink, { connected: sink.connected });
  },
  async apollo() {
    const { ApolloClient, ApolloLink, InMemoryCache, gql } = await import('@apollo/client');
    const { HttpLink } = await import('@apollo/client/link/http');
    const { SetContextLink } = await import('@apollo/client/link/context');
    const client = new ApolloClient({
      cache: new InMemoryCache(),
      link: ApolloLink.from([new SetContextLink(() => ({ headers: headers() })), new HttpLink({ uri: url })]),
    });
    return ({ query, variables, sink }) => {
      const subscription = client.subscribe({ query: gql(query), variables }).subscribe({
        next: ({ data, error }) => (error ? sink.error(error.errors ?? error) : sink.next({ data })),
        error: sink.error,
        complete: sink.complete,
      });
      return () => subscription.unsubscribe();
    };
  },
  async eventsource() {
    const { EventSource } = await import('undici');
    return ({ query, variables, sink }) => {
      const parameters = new URLSearchParams({ query, variables: JSON.stringify(variables) });
      const source = new EventSource(`${url}?${parameters}`);
      source.addEventListener('open', sink.connected);
      source.addEventListener('next', ({ data, lastEventId }) => sink.next({ ...JSON.parse(data), lastEventId }));
      source.addEventListener('complete', () => {
        source.close();
        sink.complete();
      });
      return () => source.close();
    };
  },
};

const describe = (error) => {
  if (Array.isArray(error)) return error;
  return [{ message: String(error?.message ?? error) }];
};

const subscribe = await kinds[which]();

const operations = {
  subscribe({ id, query, variables = {}, resume = false }) {
    const sink = {
      connected: () => say({ event: 'connected', id }),
      next(payload) {
        const cursor = Object.values(payload.data ?? {})[0]?.cursor;
        if (resume && typeof cursor === 'string') variables.after = cursor;
        say({ event: 'next', id, payload });
      },
      error: (error) => say({ event: 'error', id, errors: describe(error) }),
      complete: () => say({ event: 'complete', id }),
    };
    running.set(id, subscribe({ query, variables, sink }));
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
process.exit(0);
