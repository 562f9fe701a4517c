// The version guard of docs/clients.md by itself: `node guard.mjs` fails if it lets a field go back.
import assert from 'node:assert/strict';
import { createGuard } from '../../examples/clients/guard.js';

const job = (version, fields = {}) => ({ __typename: 'Job', id: 'job_1', version, ...fields });
const through = (guard, data) => guard({ data }).data;

{
  const guard = createGuard();
  const answer = { data: { jobs: { nodes: [job(1, { status: 'OPEN' })] }, streamCursor: 'c' }, extensions: { cursor: 'd' } };
  assert.deepEqual(guard(answer), answer, 'what is new is passed on as it is');
  assert.deepEqual(guard({ errors: [{ message: 'no' }] }), { errors: [{ message: 'no' }] });
  assert.deepEqual(through(guard, { job: null }), { job: null });
  through(guard, { jobUpdated: { job: job(2, { status: 'CLAIMED' }) } });
  const late = through(guard, { jobs: { nodes: [job(1, { status: 'OPEN' })] } });
  assert.deepEqual(late.jobs.nodes, [job(2, { status: 'CLAIMED' })], 'a late answer and an event that comes again');
  assert.equal(answer.data.jobs.nodes[0].status, 'OPEN', 'the answer itself is left alone');
  assert.equal(through(guard, { job: job(2, { status: 'IN_REVIEW' }) }).job.status, 'IN_REVIEW', 'the same version is not older');
}
{
  const guard = createGuard();
  through(guard, { job: job(1, { title: 'One', status: 'OPEN' }) });
  through(guard, { job: job(3, { status: 'CLAIMED' }) });
  const mixed = through(guard, { job: job(2, { title: 'Two', status: 'OPEN' }) }).job;
  assert.deepEqual(mixed, job(3, { title: 'Two', status: 'CLAIMED' }), 'each field by itself');
  assert.equal(through(guard, { job: job(1, { title: 'One' }) }).job.title, 'Two');
}
{
  const guard = createGuard();
  const claim = (version, status) => ({ id: 'claim_1', version, status });
  through(guard, { job: job(5, { activeClaim: claim(1, 'ACTIVE'), skills: [{ slug: 'a' }], budget: { amount: '2' } }) });
  through(guard, { claim: claim(2, 'IN_REVIEW') });
  const late = through(guard, { job: job(4, { activeClaim: null, skills: [{ slug: 'b', name: 'B' }], budget: { amount: '1' } }) }).job;
  assert.deepEqual(late.activeClaim, claim(2, 'IN_REVIEW'), 'an object inside an object');
  assert.deepEqual(late.skills, [{ slug: 'b', name: 'B' }], 'what was seen lacks a field that was asked for');
  assert.deepEqual(late.budget, { amount: '2' });
  const page = (ids) => ({ nodes: ids.map((id) => ({ id })), pageInfo: {} });
  through(guard, { job: job(6, { deliverables: page(['d1']) }) });
  assert.deepEqual(through(guard, { job: job(5, { deliverables: page(['d1', 'd2']) }) }).job.deliverables, page(['d1', 'd2']));
}
{
  const guard = createGuard({ objects: 2 });
  const other = (id, version) => ({ id, version });
  through(guard, { a: other('a', 2), b: other('b', 2) });
  through(guard, { a: other('a', 2), c: other('c', 2) });
  assert.deepEqual(through(guard, { a: other('a', 1), c: other('c', 1) }), { a: other('a', 2), c: other('c', 2) });
  assert.deepEqual(through(guard, { b: other('b', 1) }).b, other('b', 1), 'the one seen longest ago was forgotten');
}
