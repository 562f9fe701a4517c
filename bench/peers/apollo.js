// Apollo Server on Express with graphql-ws, as its guide to subscriptions has it, and graphql-yoga's publisher: the one
// that Apollo's guide uses is not for production by its own words.

import { createServer } from 'node:http';
import { ApolloServer } from '@apollo/server';
import { ApolloServerPluginDrainHttpServer } from '@apollo/server/plugin/drainHttpServer';
import { expressMiddleware } from '@as-integrations/express5';
import { makeExecutableSchema } from '@graphql-tools/schema';
import express from 'express';
import { useServer } from 'graphql-ws/use/ws';
import { createPubSub } from 'graphql-yoga';
import { WebSocketServer } from 'ws';
import { address, change, typeDefs } from './feed.js';

const pubSub = createPubSub();

const schema = makeExecutableSchema({
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

const app = express();
const server = createServer(app);
const cleanup = useServer({ schema }, new WebSocketServer({ server, path: '/graphql' }));
const apollo = new ApolloServer({
  schema,
  plugins: [
    ApolloServerPluginDrainHttpServer({ httpServer: server }),
    { serverWillStart: async () => ({ drainServer: async () => cleanup.dispose() }) },
  ],
});
await apollo.start();
app.use('/graphql', express.json(), expressMiddleware(apollo));
// The generator's connection for requests waits while thousands of sockets connect.
server.keepAliveTimeout = 120_000;
server.listen(address());
