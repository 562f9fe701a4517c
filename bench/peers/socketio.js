// The design that lancewire replaces: Express takes the change, Socket.IO emits it to everybody. No GraphQL.

import { createServer } from 'node:http';
import express from 'express';
import { Server } from 'socket.io';
import { address, change } from './feed.js';

const app = express();
const server = createServer(app);
const io = new Server(server, { transports: ['websocket'] });

app.post('/graphql', express.json(), (request, response) => {
  const event = change(request.body.variables.input);
  io.emit('jobUpdated', event);
  response.json({ data: { updateJob: { job: event.job, errors: [] } } });
});
// The generator's connection for requests waits while thousands of sockets connect.
server.keepAliveTimeout = 120_000;
server.listen(address());
