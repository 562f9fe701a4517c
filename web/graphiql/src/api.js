// Queries and mutations over HTTP.

const URL = '/graphql';
const DEADLINE_MS = 30_000;

export const socketUrl = () => `${location.origin.replace(/^http/, 'ws')}${URL}`;

export const failure = (message) => ({ errors: [{ message }] });

export const hasCode = (result, code) => Boolean(result?.errors?.some((error) => error.extensions?.code === code));

// The answer, whatever it is: what went wrong on the way is told as GraphQL tells errors. `undelivered` marks an
// answer that is not the server's. `receivedAt` is the server's own time, since the clock here may be wrong.
export async function post(operation, headers = {}, signal) {
  const deadline = AbortSignal.timeout(DEADLINE_MS);
  let response;
  let text;
  try {
    response = await fetch(URL, {
      method: 'POST',
      headers: {
        'content-type': 'application/json',
        accept: 'application/graphql-response+json, application/json;q=0.9',
        ...headers,
      },
      body: JSON.stringify(operation),
      credentials: 'omit',
      signal: signal ? AbortSignal.any([signal, deadline]) : deadline,
    });
    text = await response.text();
  } catch (error) {
    const why = deadline.aborted ? `did not answer within ${DEADLINE_MS / 1_000} s` : `cannot be reached (${error.message})`;
    return { result: failure(`The server ${why}. Run it again.`), undelivered: true };
  }
  const receivedAt = Date.parse(response.headers.get('date') ?? '') || Date.now();
  try {
    return { result: JSON.parse(text), receivedAt };
  } catch {
    return { result: failure(`HTTP ${response.status} without a GraphQL answer: ${text.slice(0, 500)}`), undelivered: true };
  }
}
