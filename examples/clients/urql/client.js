// urql/client.js
import { Client, fetchExchange, mapExchange, subscriptionExchange } from '@urql/core';
import { cacheExchange } from '@urql/exchange-graphcache';
import { createGuard } from '../guard.js';

/**
 * `live` carries the subscriptions: that of socket.js, or that of streams.js. The rest is graphcache's; its `schema` is
 * what the server has as /schema/graphcache.json.
 */
export function createUrql({ url, session, live, ...cache }) {
  const none = () => null; // values and events: they have no key of their own
  const keys = { Money: none, JobPostedEvent: none, JobUpdatedEvent: none, JobConnection: none };
  return new Client({
    url,
    fetch: session.fetch,
    preferGetMethod: false,
    exchanges: [
      cacheExchange({ keys, ...cache }),
      mapExchange({ onResult: createGuard() }),
      fetchExchange,
      subscriptionExchange({
        forwardSubscription: ({ query, variables }) => ({
          subscribe: (sink) => ({ unsubscribe: live.subscribe({ query, variables }, sink) }),
        }),
      }),
    ],
  });
}
