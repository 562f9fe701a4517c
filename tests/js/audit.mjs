// Audits a running server for the GraphQL-over-HTTP draft with the reference suite of the graphql-http package:
//   npm ci && node audit.mjs http://localhost:4000/graphql
// Exits 1 unless every audit is ok, the optional (MAY) ones included.
import { serverAudits } from 'graphql-http';

const url = process.argv[2];
if (!url) {
  console.error('usage: node audit.mjs URL');
  process.exit(2);
}

const tally = { ok: 0, error: 0, warn: 0, notice: 0 };
// One after the other, so that a failure can be found in the server's log.
for (const audit of serverAudits({ url })) {
  let result;
  try {
    result = await audit.fn();
  } catch (error) {
    // Thrown for what is not an assertion: mostly that there is no server.
    result = { status: 'error', reason: error.cause?.message ?? error.message };
  }
  tally[result.status] += 1;
  if (result.status !== 'ok') {
    const answer = result.response ? ` (HTTP ${result.response.status})` : '';
    console.error(`${result.status}: ${audit.id} ${audit.name}: ${result.reason}${answer}`);
  }
}

const total = tally.ok + tally.error + tally.warn + tally.notice;
console.log(`${total} audits: ${tally.ok} ok, ${tally.error} errors, ${tally.warn} warnings, ${tally.notice} notices`);
process.exitCode = tally.ok === total && total > 0 ? 0 : 1;
