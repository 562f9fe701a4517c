// Mercurius on Fastify with its own subscriptions and its JIT compiler switched on.

import Fastify from 'fastify';
import mercurius from 'mercurius';
import { address, change, typeDefs } from './feed.js';

const app = Fastify();
app.register(mercurius, {
  schema: typeDefs,
  jit: 1,
  resolvers: {
    Query: { ready: () => true },
    Mutation: {
      updateJob: async (_, { input }, { pubsub }) => {
        const event = change(input);
        await pubsub.publish({ topic: 'jobUpdated', payload: { jobUpdated: event } });
        return { job: event.job, errors: [] };
      },
    },
    Subscription: { jobUpdated: { subscribe: (_, __, { pubsub }) => pubsub.subscribe('jobUpdated') } },
  },
  subscription: true,
});
await app.listen(address());
