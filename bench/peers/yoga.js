// graphql-yoga with graphql-ws, as its guide to subscriptions over WebSocket has it.

import { createServer } from 'node:http';
import { useServer } from 'graphql-ws/use/ws';
import { createPubSub, createSchema, createYoga } from 'graphql-yoga';
import { WebSocketServer } from 'ws';
import { address, change, typeDefs } from './feed.js';

const pubSub = createPubSub();

const schema = createSchema({
  typeDefs,
  resolvers: {
    Query: { ready: () => true },
    Mutation: {
      updateJob: (_, { input }) => {
        const event = change(input);
        pubSub.publish('jobUpdated', { jobUpdated: event });
        return { job: event.job, errors: [] };
      },
    },
    Subscription: { jobUpdated: { subscribe: () => pubSub.subscribe('jobUpdated') } },
  },
});

const yoga = createYoga({ schema, logging: 'warn' });
const server = createServer(yoga);
useServer(
  {
    execute: (args) => args.rootValue.execute(args),
    subscribe: (args) => args.rootValue.subscribe(args),
    onSubscribe: async (context, _id, params) => {
      const { schema, execute, subscribe, contextFactory, parse, validate } = yoga.getEnveloped({
        ...context,
        req: context.extra.request,
        socket: context.extra.socket,
        params,
      });
      const args = {
        schema,
        operationName: params.operationName,
        document: parse(params.query),
        variableValues: params.variables,
        contextValue: await contextFactory(),
        rootValue: { execute, subscribe },
      };
      const errors = validate(args.schema, args.document);
      return errors.length ? errors : args;
    },
  },
  new WebSocketServer({ server, path: yoga.graphqlEndpoint }),
);
// The generator's connection for requests waits while thousands of sockets connect.
server.keepAliveTimeout = 120_000;
server.listen(address());
