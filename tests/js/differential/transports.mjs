// The ways by which a document reaches the server: POST, GET, server-sent events and a socket. Each gives
// { status, body, text, silent }, `body` being the execution result.
import { Pool } from 'undici';
import WebSocket from 'ws';

// How long a subscription that is to begin may stay silent, in milliseconds: an event that its filter lets through is
// replayed at once, and one whose filter nothing passes has begun nevertheless. One that is to be refused is waited for longer.
const SILENCE = 1000;
// How long anything else may take.
const PATIENCE = 30_000;

const after = (milliseconds, value) =>
  new Promise((done) => {
    setTimeout(() => done(value), milliseconds).unref();
  });

export class Transports {
  constructor(url) {
    const { origin, pathname } = new URL(url);
    Object.assign(this, { url, path: pathname });
    this.connections = new Pool(origin, { connections: 16 });
    this.sockets = new Map();
  }

  async close() {
    for (const socket of this.sockets.values()) (await socket.catch(() => undefined))?.close();
    await this.connections.destroy();
  }

  // The ones that take operations of this kind. GET takes no mutations, and a plain answer has no room for events.
  static of(kind) {
    if (kind === 'subscription') return ['sse', 'socket', 'multipart'];
    return kind === 'mutation' ? ['post', 'post', 'socket', 'sse'] : ['post', 'post', 'post', 'get', 'socket', 'sse'];
  }

  // `begins`: a subscription that is expected to be accepted.
  send(transport, body, token, begins) {
    return this[transport](body, token, begins ? SILENCE : PATIENCE);
  }

  headers(accept, token) {
    const headers = { 'content-type': 'application/json', accept };
    if (token) headers.authorization = `Bearer ${token}`;
    return headers;
  }

  async post(body, token) {
    const headers = this.headers('application/graphql-response+json', token);
    return plain(await this.connections.request({ method: 'POST', path: this.path, headers, body }));
  }

  async get(body, token) {
    const { query, variables, operationName } = JSON.parse(body);
    const parameters = new URLSearchParams({ query });
    if (variables) parameters.set('variables', JSON.stringify(variables));
    if (operationName) parameters.set('operationName', operationName);
    const { 'content-type': _, ...headers } = this.headers('application/graphql-response+json', token);
    return plain(await this.connections.request({ method: 'GET', path: `${this.path}?${parameters}`, headers }));
  }

  sse(body, token, patience) {
    return this.stream('text/event-stream', firstEvent, body, token, patience);
  }

  multipart(body, token, patience) {
    return this.stream('multipart/mixed', firstPart, body, token, patience);
  }

  // The first result of a stream, or that a subscription began and was silent.
  async stream(media, firstResult, body, token, patience) {
    const headers = this.headers(
      media === 'multipart/mixed' ? 'multipart/mixed;subscriptionSpec=1.0, application/json' : media,
      token,
    );
    const stop = new AbortController();
    const answer = await this.connections.request({
      method: 'POST',
      path: this.path,
      headers,
      body,
      signal: stop.signal,
    });
    answer.body.on('error', () => {});
    if (!String(answer.headers['content-type']).startsWith(media)) return plain(answer);
    const result = await Promise.race([firstResult(answer.body), after(patience)]);
    stop.abort();
    if (result === undefined) return { status: answer.statusCode, body: { data: {} }, text: '', silent: true };
    return { status: answer.statusCode, body: JSON.parse(result), text: result };
  }

  async socket(body, token, patience) {
    if (!this.sockets.has(token)) {
      this.sockets.set(
        token,
        Socket.open(this.url, token, () => this.sockets.delete(token)),
      );
    }
    const socket = await this.sockets.get(token);
    return socket.run(body, patience);
  }
}

async function plain(answer) {
  const text = await answer.body.text();
  try {
    return { status: answer.statusCode, body: JSON.parse(text), text };
  } catch {
    return { status: answer.statusCode, body: {}, text };
  }
}

const firstEvent = (stream) => first(stream, /(?:^|\n)event: ?next\n(?:[^\n]+\n)*?data: ?([^\n]*)\n/, (data) => data);

// A heartbeat has no payload.
const firstPart = (stream) =>
  first(stream, /\r\n\r\n(\{"payload".*)\r\n--graphql/, (part) => {
    const { payload, errors } = JSON.parse(part);
    return JSON.stringify(payload ?? { errors });
  });

async function first(stream, pattern, read) {
  let text = '';
  stream.setEncoding('utf8');
  for await (const chunk of stream) {
    text += chunk;
    const found = pattern.exec(text);
    if (found) return read(found[1]);
  }
  return JSON.stringify({
    errors: [{ message: `the stream ended: ${text.slice(0, 200)}`, extensions: { code: 'STREAM_ENDED' } }],
  });
}

// One socket of one viewer, with many operations at once.
class Socket {
  static async open(url, token, closed) {
    const socket = new Socket();
    socket.wire = new WebSocket(url.replace(/^http/, 'ws'), 'graphql-transport-ws');
    socket.running = new Map();
    socket.count = 0;
    await new Promise((done, failed) => {
      socket.wire.on('open', () => {
        socket.tell({ type: 'connection_init', payload: token ? { Authorization: `Bearer ${token}` } : {} });
      });
      socket.wire.on('message', (data) => socket.hear(JSON.parse(data), done));
      socket.wire.on('error', failed);
      socket.wire.on('close', (code, reason) => {
        closed();
        failed(new Error(`the socket was closed: ${code} ${reason}`));
        const ended = { errors: [{ message: `${code} ${reason}`, extensions: { code: `SOCKET_CLOSED_${code}` } }] };
        for (const done of socket.running.values()) done({ status: code, body: ended, text: '' });
      });
    });
    return socket;
  }

  tell(message) {
    this.wire.send(typeof message === 'string' ? message : JSON.stringify(message));
  }

  hear({ type, id, payload }, opened) {
    if (type === 'connection_ack') opened();
    if (type === 'ping') this.tell({ type: 'pong' });
    if (type === 'next') this.running.get(id)?.({ status: 200, body: payload, text: JSON.stringify(payload) });
    if (type === 'error')
      this.running.get(id)?.({ status: 200, body: { errors: payload }, text: JSON.stringify(payload) });
  }

  async run(body, patience) {
    this.count += 1;
    const id = String(this.count);
    const answer = new Promise((done) => {
      this.running.set(id, done);
    });
    // As text: the body may be JSON that JavaScript would not write.
    this.tell(`{"type":"subscribe","id":"${id}","payload":${body}}`);
    const first = await Promise.race([
      answer,
      after(patience, { status: 200, body: { data: {} }, text: '', silent: true }),
    ]);
    this.running.delete(id);
    if (this.wire.readyState === WebSocket.OPEN) this.tell({ type: 'complete', id });
    return first;
  }

  close() {
    this.wire.terminate();
  }
}
