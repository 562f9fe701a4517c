// Subscriptions: each on a socket of its own, so that its position is its own.
//
// A subscription that was begun in a tab outlives the switch to another tab: it goes on here, and the panel shows what
// arrives. After a lost connection, a restart or a token's end the client comes back by itself, with a fresh token, and
// goes on after the last event: the position is sent with `connection_init`, and as the variable `after` where the
// operation has one.

import { createClient } from 'graphql-ws';

import { failure, socketUrl } from './api.js';
import { observed } from './observed.js';
import { SignedOut, headers } from './people.js';

const EVENTS = 100;
const EVENT_BYTES = 500_000;
const STREAMS = 10;
const KEEP_ALIVE_MS = 10_000;
// How long a pong may take before the connection counts as lost.
const SILENCE_MS = 5_000;
const LONGEST_WAIT_MS = 15_000;
// What a socket is closed with when its token has ended or is refused.
const FORBIDDEN = 4403;

// { streams: [Stream], events: [{ key, at, title, person, text }] }, the newest events first.
export const live = observed({ streams: [], events: [] });

let number = 0;

const changed = () => live.set({ ...live.get() });

function keep(stream, result) {
  number += 1;
  const text = JSON.stringify(result.data ?? result, null, 2);
  const event = { key: number, at: new Date(), title: stream.title, person: stream.who, text };
  let bytes = 0;
  const events = [event, ...live.get().events].filter((each, place) => {
    bytes += each.text.length;
    return place === 0 || (place < EVENTS && bytes <= EVENT_BYTES);
  });
  live.set({ ...live.get(), events });
}

export const clearEvents = () => live.set({ ...live.get(), events: [] });

// How long to wait before the next try, in milliseconds: soon at first, with some chance in it.
function pause(retries) {
  const longest = Math.min(500 * 2 ** retries, LONGEST_WAIT_MS);
  return new Promise((resume) => {
    setTimeout(resume, longest * (0.5 + Math.random() / 2));
  });
}

class Stream {
  #last = null;

  #sink = null;

  // `who` is the name shown, `person` the id, or null for nobody. `own` are headers that the person has typed, `asked`
  // tells one subscription from another.
  constructor({ title, tab, who, person, own = {}, operation, asked }) {
    Object.assign(this, { title, tab, who, asked, status: 'connecting', count: 0 });
    const { variables = {} } = operation;
    const payload = { ...operation, variables: { ...variables } };
    let cursor;
    // The token that was sent last, and the one that the server has closed a socket for.
    let sent;
    let refused;
    let silence;
    const reached = (position) => {
      if (typeof position !== 'string') return;
      cursor = position;
      if ('after' in payload.variables) payload.variables.after = position;
    };
    this.client = createClient({
      url: socketUrl(),
      lazy: true,
      keepAlive: KEEP_ALIVE_MS,
      retryAttempts: Infinity,
      retryWait: pause,
      // A token that a person has typed is not ours to renew.
      shouldRetry: (ended) => !(ended instanceof SignedOut || (own.authorization && ended?.code === FORBIDDEN)),
      connectionParams: async () => {
        const { authorization } = { ...(await headers(person, refused)), ...own };
        sent = authorization?.slice('Bearer '.length);
        return { ...(authorization && { Authorization: authorization }), ...(cursor && { after: cursor }) };
      },
      on: {
        connected: () => this.#turn('live'),
        closed: ({ code }) => {
          clearTimeout(silence);
          if (code === FORBIDDEN) refused = sent;
          this.#turn('coming back');
        },
        ping: (received, payload) => {
          // Everything up to here has been sent on this socket.
          if (received) reached(payload?.cursor);
          else silence = setTimeout(() => this.client.terminate(), SILENCE_MS);
        },
        pong: (received) => received && clearTimeout(silence),
      },
    });
    this.dispose = this.client.subscribe(payload, {
      next: (result) => {
        reached(Object.values(result.data ?? {})[0]?.cursor);
        this.count += 1;
        this.#show(result);
      },
      error: (error) => this.#end({ errors: Array.isArray(error) ? error : failure(reason(error)).errors }),
      complete: () => this.#end(null),
    });
  }

  #turn(status) {
    if (this.status === 'over') return;
    this.status = status;
    changed();
  }

  #show(result) {
    this.#last = result;
    keep(this, result);
    this.#sink?.next(result);
  }

  #end(result) {
    if (this.status === 'over') return;
    this.status = 'over';
    if (result) this.#show(result);
    this.#sink?.complete();
    this.client.dispose();
    live.set({ ...live.get(), streams: live.get().streams.filter((stream) => stream !== this) });
  }

  // Where results go from now on, { next, complete } or null; it begins with the last one.
  attach(sink) {
    this.#sink = sink;
    if (this.#last) sink?.next(this.#last);
  }

  stop() {
    this.dispose();
    this.#end(null);
  }
}

function reason(error) {
  if (error instanceof Error) return error.message;
  // The socket was closed for good.
  return `The socket was closed: ${error?.code ?? ''} ${error?.reason ?? ''}`.trim();
}

export const streamOf = (tab) => live.get().streams.find((stream) => stream.tab === tab);

// Begins a subscription. The one of the same tab makes room for it, and the oldest if there are too many.
export function begin(wanted) {
  streamOf(wanted.tab)?.stop();
  const { streams } = live.get();
  if (streams.length >= STREAMS) streams[0].stop();
  const stream = new Stream(wanted);
  live.set({ ...live.get(), streams: [...live.get().streams, stream] });
  return stream;
}
