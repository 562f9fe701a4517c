// apollo/client.js
import { ApolloClient, ApolloLink, HttpLink, InMemoryCache } from '@apollo/client';
import { GraphQLWsLink } from '@apollo/client/link/subscriptions';
import { OperationTypeNode } from 'graphql';
import { map } from 'rxjs';
import { createGuard } from '../guard.js';

/**
 * `live` carries the subscriptions: that of socket.js, or that of streams.js. `possibleTypes` are those that the server
 * has as /schema/possible-types.json.
 */
export function createApollo({ url, session, live, possibleTypes }) {
  const guard = createGuard();
  return new ApolloClient({
    cache: new InMemoryCache({ possibleTypes }),
    link: ApolloLink.from([
      new ApolloLink((operation, forward) => forward(operation).pipe(map(guard))),
      ApolloLink.split(
        ({ operationType }) => operationType === OperationTypeNode.SUBSCRIPTION,
        new GraphQLWsLink(live),
        new HttpLink({ uri: url, fetch: session.fetch }),
      ),
    ]),
  });
}
