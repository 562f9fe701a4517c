// urql/main.js
import WebSocket from 'ws'; // for Node 20; browsers and Node 22 have their own
import { createSession } from '../session.js';
import { createSocket } from '../socket.js';
import { createUrql } from './client.js';
import { openJobs, optimistic, updates } from './jobs.js';

const url = process.env.URL ?? 'http://127.0.0.1:4000/graphql';
const session = createSession({ url });
await session.signIn('ben@example.com', 'correct-horse-battery');
const schema = await (await fetch(new URL('/schema/graphcache.json', url))).json();
const live = createSocket({ url, session, WebSocket });
const client = createUrql({ url, session, live, schema, updates, optimistic });
openJobs(client, (jobs) => console.log(jobs.length, 'open, the newest is', jobs[0]?.title));
