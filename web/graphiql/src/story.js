// The tabs: a job's whole life, to be run in order and unchanged.
//
// Owns what each tab asks, as whom it runs, and what its answer gives to the tabs after it. A value that is still
// missing stands in the variables as a text that begins with `MISSING`; whoever runs such a tab is told what to run
// first.

import { observed } from './observed.js';
import { settings } from './settings.js';

const MISSING = '<- ';

const ERRORS = 'errors { ... on UserError { code message path } }';

// Not `randomUUID`: it is missing where a page is neither from this machine nor secured.
export function freshKey() {
  const bytes = crypto.getRandomValues(new Uint8Array(10));
  return `playground-${Array.from(bytes, (byte) => byte.toString(36).padStart(2, '0')).join('')}`;
}

const amount = (value) => ({ amount: value, currencyCode: settings.currency });
const demo = (role) => settings.demo.find((person) => person.role === role);

const STEPS = [
  {
    name: 'Feed',
    query: `# 1. The newest open jobs. Anybody may read them.
# Run each tab with the round button or Ctrl-Enter.
query Feed {
  streamCursor
  jobs(first: 5) {
    nodes {
      id
      title
      status
      budget { amount currencyCode }
      skills { name }
      client { displayName }
    }
  }
}
`,
    gives: { after: (data) => data.streamCursor },
  },
  {
    name: 'SignIn',
    query: `# 2. Sign in. The tokens are kept in memory, go with
# the other tabs and their sockets, and are renewed.
mutation SignIn($input: SignInInput!) {
  signIn(input: $input) {
    user { id displayName roles }
    session { accessToken accessTokenExpiresAt refreshToken refreshTokenExpiresAt }
    ${ERRORS}
  }
}
`,
    variables: () => ({ input: { email: demo('CLIENT')?.email ?? '', password: demo('CLIENT') ? settings.demoPassword : '' } }),
    as: 'NOBODY',
  },
  {
    name: 'Post',
    query: `# 3. A client posts a job. Its budget moves into escrow.
mutation Post($input: PostJobInput!) {
  postJob(input: $input) {
    job { id version status title budget { amount currencyCode } }
    wallet { available { amount } inEscrow { amount } }
    ${ERRORS}
  }
}
`,
    variables: () => ({
      input: {
        idempotencyKey: freshKey(),
        title: 'Port a billing service to Rust',
        description: 'All of it, please. With tests.',
        budget: amount('800.00'),
        skills: settings.demo.length ? ['rust'] : [],
      },
    }),
    as: 'CLIENT',
    gives: { jobId: (data) => data.postJob?.job?.id },
  },
  {
    name: 'Subscribe',
    query: `# 4. Each new job, as it is posted. It begins where
# Feed stood, with the job that you have just posted,
# and goes on while you are in other tabs: the panel
# "Live" on the left shows what arrives.
subscription Subscribe($after: String) {
  jobPosted(after: $after) {
    cursor
    occurredAt
    job { id version status title budget { amount currencyCode } }
  }
}
`,
    variables: () => ({ after: null }),
  },
  {
    name: 'Claim',
    query: `# 5. A freelancer claims it. Of any number of
# callers one succeeds.
mutation Claim($input: ClaimJobInput!) {
  claimJob(input: $input) {
    claim { id status expiresAt }
    job { id version status }
    errors {
      ... on UserError { code message path }
      ... on JobNotClaimableError { job { id version status } }
    }
  }
}
`,
    variables: () => ({ input: { jobId: `${MISSING}Post`, idempotencyKey: freshKey() } }),
    as: 'FREELANCER',
    gives: { claimId: (data) => data.claimJob?.claim?.id },
  },
  {
    name: 'Deliver',
    query: `# 6. The freelancer hands the work in.
mutation Deliver($input: SubmitDeliverableInput!) {
  submitDeliverable(input: $input) {
    deliverable { id number status }
    job { id version status }
    ${ERRORS}
  }
}
`,
    variables: () => ({
      input: { claimId: `${MISSING}Claim`, note: 'Done, with tests.', idempotencyKey: freshKey() },
    }),
    as: 'FREELANCER',
    gives: { deliverableId: (data) => data.submitDeliverable?.deliverable?.id },
  },
  {
    name: 'Approve',
    query: `# 7. The client accepts it. Escrow pays the
# freelancer, the platform keeps its share.
mutation Approve($input: ApproveDeliverableInput!) {
  approveDeliverable(input: $input) {
    deliverable { id status }
    job { id version status }
    wallet { available { amount } inEscrow { amount } }
    ${ERRORS}
  }
}
`,
    variables: () => ({ input: { deliverableId: `${MISSING}Deliver`, idempotencyKey: freshKey() } }),
    as: 'CLIENT',
  },
  {
    name: 'Wallet',
    query: `# 8. The freelancer's wallet, and where its money
# came from.
query Wallet {
  viewer {
    displayName
    wallet {
      available { amount currencyCode }
      inEscrow { amount }
      transactions(first: 5) {
        nodes {
          type
          status
          amount { amount }
          fee { amount }
          job { title }
          createdAt
        }
      }
    }
  }
}
`,
    as: 'FREELANCER',
  },
];

const step = (name) => STEPS.find((each) => each.name === name);

const pretty = (variables) => (variables ? JSON.stringify(variables, null, 2) : null);

export const tabs = STEPS.map(({ query, variables }) => ({ query, variables: pretty(variables?.()) }));

// The role that a tab's person must have: CLIENT or FREELANCER; NOBODY for a tab that needs nobody; none for one that
// runs as whoever is signed in.
export const roleOf = (name) => step(name)?.as;

// What the story has come to so far, for the panels: { jobId }.
export const story = observed({});

// What an answer gives to later tabs: { jobId: 'job_..' }.
export function given(name, data) {
  const gives = Object.entries(step(name)?.gives ?? {}).map(([field, pick]) => [field, data && pick(data)]);
  const values = Object.fromEntries(gives.filter(([, value]) => typeof value === 'string'));
  story.set({ ...story.get(), ...values });
  return values;
}

// The variables of a tab as text, with values put in where they belong. Only the value is replaced: what the person has
// written around it stays.
export function fill(name, text, values) {
  if (!step(name) || typeof text !== 'string') return text;
  return Object.entries(values).reduce((filled, [field, value]) => {
    const place = new RegExp(String.raw`("${field}"\s*:\s*)(?:"(?:[^"\\]|\\.)*"|null)`, 'g');
    return filled.replace(place, (_, before) => before + JSON.stringify(value));
  }, text);
}

// The tab that must be run first, if the variables still wait for its answer.
export function waitsFor(variables) {
  if (typeof variables === 'string') return variables.startsWith(MISSING) ? variables.slice(MISSING.length) : null;
  if (!variables || typeof variables !== 'object') return null;
  return Object.values(variables).map(waitsFor).find(Boolean) ?? null;
}
