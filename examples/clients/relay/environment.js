// relay/environment.js
import { Environment, Network, Observable, RecordSource, Store } from 'relay-runtime';
import { createGuard } from '../guard.js';

/** `live` carries the subscriptions: that of socket.js, or that of streams.js. */
export function createEnvironment({ url, session, live }) {
  const guard = createGuard();
  async function fetchOnce({ text: query }, variables) {
    const headers = { 'content-type': 'application/json', accept: 'application/json' };
    const response = await session.fetch(url, { method: 'POST', headers, body: JSON.stringify({ query, variables }) });
    return guard(await response.json());
  }
  const subscribe = ({ text: query }, variables) =>
    Observable.create((sink) =>
      live.subscribe(
        { query, variables },
        {
          next: (result) => sink.next(guard(result)),
          error: (errors) => sink.error(Object.assign(new Error('The subscription has ended'), { errors })),
          complete: () => sink.complete(),
        },
      ),
    );
  return new Environment({ network: Network.create(fetchOnce, subscribe), store: new Store(new RecordSource()) });
}
