// The socket of docs/clients.md by itself, against a server that pings five times a second:
// `EMAIL=.. PASSWORD=.. node socket.mjs <url>`, of a client who can pay, fails if it loses its place.
import assert from 'node:assert/strict';
import WebSocket from 'ws';
import { createSession } from '../../examples/clients/session.js';
import { createSocket } from '../../examples/clients/socket.js';

const url = process.argv[2];
const session = createSession({ url });
await session.signIn(process.env.EMAIL, process.env.PASSWORD);

// Connections as they are opened: what their init says, and ways to harm them.
const connections = [];
class TestWebSocket extends WebSocket {
  constructor(...options) {
    super(...options);
    connections.push(this);
  }
  send(data) {
    const message = JSON.parse(data);
    if (message.type === 'connection_init') this.after = message.payload.after;
    super.send(data);
  }
  // The cursors of the server's pings.
  pings = [];
  set onmessage(receive) {
    super.onmessage = (event) => {
      if (this.deaf) return;
      const { type, payload } = JSON.parse(event.data);
      if (type === 'ping' && payload) this.pings.push(payload.cursor);
      receive?.(event);
    };
  }
  set onclose(closed) {
    super.onclose = (event) => this.deaf || closed?.(event);
  }
}
const live = createSocket({ url, session, WebSocket: TestWebSocket, keepAlive: 100 });

async function until(what, condition) {
  for (const end = Date.now() + 20_000; !condition(); ) {
    assert.ok(Date.now() < end, `waited in vain until ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}
async function ask(query, variables) {
  const options = { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify({ query, variables }) };
  const { data, errors, extensions } = await (await session.fetch(url, options)).json();
  assert.equal(errors, undefined);
  return { ...data, ...extensions };
}
async function post(title) {
  const budget = { amount: '1.00', currencyCode: 'USD' };
  const input = { idempotencyKey: crypto.randomUUID(), title, description: 'All.', budget, skills: ['rust'] };
  return ask('mutation($input: PostJobInput!) { postJob(input: $input) { job { id } } }', { input });
}
const WITH_AFTER = 'subscription($after: String) { jobPosted(after: $after) { cursor job { title } } }';
const WITHOUT = 'subscription { jobPosted { cursor job { title } } }';
function listen(query, variables) {
  const heard = { titles: [], cursor: undefined };
  heard.stop = live.subscribe({ query, variables }, {
    next({ data }) {
      heard.titles.push(data.jobPosted.job.title);
      heard.cursor = data.jobPosted.cursor;
    },
    error: (problem) => assert.fail(JSON.stringify(problem)),
    complete() {},
  });
  return heard;
}
const latest = () => connections.at(-1);
async function lost() {
  const count = connections.length;
  latest().terminate();
  await until('it is back', () => connections.length > count && latest().readyState === WebSocket.OPEN && 'after' in latest());
}

// It comes back with the cursor of the last event, and nothing comes twice.
const { streamCursor: start } = await ask('{ streamCursor }');
const first = listen(WITH_AFTER, { after: start });
await post('One');
await until('One arrives', () => first.titles.length === 1);
await lost();
assert.ok(latest().after >= first.cursor, 'it says what it has had');
await post('Two');
await until('Two arrives', () => first.titles.length === 2);

// One that begins before the connection's position gets all that it asks for, and the others nothing twice.
await lost();
const second = listen(WITH_AFTER, { after: start });
await until('both arrive', () => second.titles.length === 2);
assert.deepEqual(second.titles, ['One', 'Two']);

// A document without `after` begins and goes on by the connection's position.
second.stop();
const third = listen(WITHOUT);
await post('Three');
await until('Three arrives', () => third.titles.length === 3 && first.titles.length === 3);
const count = connections.length;
latest().terminate();
await post('Four');
await until('Four arrives', () => third.titles.length === 4 && first.titles.length === 4);
assert.ok(connections.length > count);
assert.deepEqual([first.titles, third.titles], Array(2).fill(['One', 'Two', 'Three', 'Four']));

// Once a ping has passed a mutation's own cursor, what it did was shown.
const { cursor: own } = await post('Mine');
await until('a ping has passed it', () => latest().pings.some((cursor) => cursor >= own));
assert.equal(first.titles.at(-1), 'Mine');

// Pings move the position of streams on which nothing happens.
third.stop();
const money = 'mutation($input: DepositInput!) { deposit(input: $input) { transaction { id } } }';
await ask(money, { input: { amount: { amount: '1.00', currencyCode: 'USD' }, idempotencyKey: crypto.randomUUID() } });
const { streamCursor: head } = await ask('{ streamCursor }');
assert.ok(head > first.cursor);
// The first may have been sent before the server had read the subscription.
await until('pings say so', () => latest().pings.filter((cursor) => cursor >= head).length > 3);
await lost();
assert.ok(latest().after >= head, 'what came in between need not be looked at again');

// A connection that says nothing any more is given up.
const connected = connections.length;
latest().deaf = true;
await post('Five');
await until('Five arrives', () => first.titles.length === 6);
assert.equal(connections.length, connected + 1);
first.stop();
await until('the socket is closed', () => latest().readyState === WebSocket.CLOSED);
process.exit(0);
