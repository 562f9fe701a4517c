// socket.js: one socket for all subscriptions of a page. It comes back by itself and goes on where it was.
import { createClient } from 'graphql-ws';
import { backOff, SignedOut } from './session.js';

/** The graphql-ws client. Each reconnect goes on at the oldest position that an open subscription still needs. */
export function createSocket({ url, session, WebSocket = globalThis.WebSocket, keepAlive = 10_000 }) {
  const places = new Set(); // one a subscription: { at, asked, known }
  let token, resumedAt, silent;
  const each = (change) => places.forEach((place) => Object.assign(place, change));

  const client = createClient({
    url: url.replace(/^http/, 'ws'),
    webSocketImpl: WebSocket,
    keepAlive,
    connectionAckWaitTimeout: 10_000,
    retryAttempts: Infinity,
    retryWait: backOff,
    shouldRetry: (problem) => !(problem instanceof SignedOut),
    connectionParams: async () => {
      token = await session.accessToken();
      resumedAt = [...places].map(({ at }) => at).filter(Boolean).sort()[0];
      return { ...(token && { Authorization: `Bearer ${token}` }), ...(resumedAt && { after: resumedAt }) };
    },
    on: {
      connected: () => each({ asked: false, known: false }),
      closed({ code }) {
        clearTimeout(silent);
        if (code === 4403) session.refused(token);
      },
      // The server's pings say up to where everything was sent, on subscriptions that it has read: those that were open
      // when we sent a ping that it has answered. Our pings also find a connection that is dead and does not say so.
      ping(received, payload) {
        if (!received) {
          each({ asked: true });
          silent = setTimeout(() => client.terminate(), 5_000);
        } else if (payload?.cursor) {
          places.forEach((place) => place.known && !(place.at > payload.cursor) && (place.at = payload.cursor));
        }
      },
      pong(received) {
        if (!received) return;
        clearTimeout(silent);
        places.forEach((place) => (place.known = place.asked));
      },
    },
  });

  return {
    ...client,
    subscribe(payload, sink) {
      const place = { at: payload.variables?.after, asked: false, known: false };
      places.add(place);
      // A position of the connection holds for what is subscribed later, too: it must not be ahead of this one.
      if (place.at < resumedAt) client.terminate();
      const ended = (tell) => (value) => {
        places.delete(place);
        tell(value);
      };
      const stop = client.subscribe(payload, {
        next(result) {
          const cursor = Object.values(result.data ?? {})[0]?.cursor;
          if (cursor && cursor <= place.at) return; // it was here before the connection ended
          sink.next(result);
          place.at = cursor ?? place.at;
        },
        error: ended((problem) => sink.error(problem)),
        complete: ended(() => sink.complete()),
      });
      return ended(stop);
    },
  };
}
