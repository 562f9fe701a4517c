// relay/main.js
import WebSocket from 'ws'; // for Node 20; browsers and Node 22 have their own
import { createSession } from '../session.js';
import { createSocket } from '../socket.js';
import { createEnvironment } from './environment.js';
import { openJobs } from './jobs.built.js';

const url = process.env.URL ?? 'http://127.0.0.1:4000/graphql';
const session = createSession({ url });
await session.signIn('ben@example.com', 'correct-horse-battery');
const client = createEnvironment({ url, session, live: createSocket({ url, session, WebSocket }) });
openJobs(client, (jobs) => console.log(jobs.length, 'open, the newest is', jobs[0]?.title));
