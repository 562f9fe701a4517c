// Fields of one response key that cannot be merged (spec 5.3.2): each way in which two can meet, and each in which two
// can differ.
import { getNamedType, isAbstractType, isCompositeType, isLeafType, isObjectType, isRequiredArgument } from 'graphql';
import { argument, field, fragment, inline, int, selections, spread, string } from '../nodes.mjs';
import { insertDefinition } from './shared.mjs';

const leaves = (type) => Object.values(type.getFields?.() ?? {}).filter((one) => isLeafType(getNamedType(one.type)));

// Two fields of `type` that may be selected both and not under one key.
function pair(random, type) {
  const all = leaves(type).filter((one) => one.args.length === 0);
  if (all.length < 2) return undefined;
  const [one, other] = random.shuffle(all);
  const way = random.int(0, 2);
  if (way === 0) return [field(one.name), field(other.name, { alias: one.name })];
  if (way === 1) return [field(one.name, { alias: 'x' }), field(other.name, { alias: 'x' })];
  return [field('__typename', { alias: one.name }), field(one.name)];
}

const PAGED = {
  User: ['postedJobs', 'claims', 'notifications'],
  Wallet: ['transactions'],
  Job: ['deliverables'],
  Query: ['jobs', 'claims', 'events', 'transactions'],
};

// The same field with other arguments.
function pairOfArguments(random, type) {
  const title = random.pick(PAGED[type.name]);
  const set = () => selections([field('__typename')]);
  const args = random.pick([
    [[['first', int(1)]], [['first', int(2)]]],
    [[['first', int(1)]], [['last', int(1)]]],
    [
      [['first', int(1)]],
      [
        ['first', int(1)],
        ['after', string('x')],
      ],
    ],
    [[], [['first', int(1)]]],
    [
      [
        ['first', int(1)],
        ['after', string('1')],
      ],
      [
        ['first', int(1)],
        ['after', int(1)],
      ],
    ],
  ]);
  const alias = random.chance(0.3) ? 'x' : undefined;
  return args.map((each) =>
    field(title, { alias, args: each.map(([key, value]) => argument(key, value)), set: set() }),
  );
}

// Where two selections of one set can stand apart. Each way puts both into `set` of `type`.
const apart = [
  ({ random, set, both }) => set.selections.push(...random.shuffle(both)),
  ({ random, set, both, type }) =>
    set.selections.push(both[0], inline(random.chance(0.5) ? type.name : undefined, [both[1]])),
  ({ set, both, type, define }) => set.selections.push(both[0], spread(define(type.name, [both[1]]))),
  ({ set, both, type, define }) =>
    set.selections.unshift(spread(define(type.name, [both[0]])), spread(define(type.name, [both[1]]))),
  ({ set, both, type, define }) =>
    set.selections.push(
      inline(type.name, [inline(undefined, [both[0]])]),
      spread(define(type.name, [spread(define(type.name, [both[1]]))])),
    ),
  ({ set, both, type, define }) =>
    set.selections.push(spread(define(type.name, [both[0], inline(undefined, [both[1]])]))),
];

function place(context, type, set, both) {
  const { random, document } = context;
  const define = (condition, items) => {
    const title = `Apart${document.definitions.length}`;
    insertDefinition(random, document, fragment(title, condition, items));
    return title;
  };
  random.pick(apart)({ random, set, both, type, define });
  return true;
}

const objects = ({ found }, fits) => found.sets.filter(({ type }) => isObjectType(type) && fits(type));

export const overlapping = [
  // Other fields under one key.
  (context) => {
    const { random } = context;
    const places = objects(context, (type) => leaves(type).length > 1);
    const chosen = places.length > 0 ? random.pick(places) : undefined;
    const both = chosen && pair(random, chosen.type);
    return both ? place(context, chosen.type, chosen.node, both) : false;
  },
  // The same field with other arguments.
  (context) => {
    const { random } = context;
    const places = objects(context, (type) => PAGED[type.name]);
    const chosen = places.length > 0 ? random.pick(places) : undefined;
    const both = chosen && pairOfArguments(random, chosen.type);
    return both ? place(context, chosen.type, chosen.node, both) : false;
  },
  // In sets that are merged because their fields are.
  (context) => {
    const { random, found } = context;
    const fits = found.fields.filter(
      (one) =>
        one.composite &&
        isObjectType(one.named) &&
        isObjectType(one.parent) &&
        leaves(one.named).length > 1 &&
        !one.node.alias,
    );
    if (fits.length === 0) return false;
    const chosen = random.pick(fits);
    const both = pair(random, chosen.named);
    if (!both) return false;
    const twins = both.map((item) => ({ ...structuredClone(chosen.node), selectionSet: selections([item]) }));
    const set = found.sets.find(({ node }) => node.selections.includes(chosen.node));
    chosen.node.selectionSet.selections.push(both[0]);
    return place(context, chosen.parent, set.node, [twins[0], twins[1]]);
  },
  // Two levels down.
  (context) => {
    const { random, found } = context;
    const fits = found.fields.filter(
      (one) =>
        one.composite &&
        isObjectType(one.parent) &&
        isObjectType(one.named) &&
        Object.values(one.named.getFields()).some((below) => deep(below)),
    );
    if (fits.length === 0) return false;
    const chosen = random.pick(fits);
    const below = random.pick(Object.values(chosen.named.getFields()).filter((one) => deep(one)));
    const both = pair(random, getNamedType(below.type));
    if (!both) return false;
    const set = found.sets.find(({ node }) => node.selections.includes(chosen.node));
    const twins = both.map((item) => ({
      ...structuredClone(chosen.node),
      selectionSet: selections([field(below.name, { set: [item] })]),
    }));
    return place(context, chosen.parent, set.node, twins);
  },
  // Types that no object shares: names may differ there, shapes may not.
  (context) => {
    const { random, found, schema } = context;
    const places = found.sets.filter(({ type }) => isAbstractType(type) && schema.getPossibleTypes(type).length > 1);
    if (places.length === 0) return false;
    const chosen = random.pick(places);
    const [one, other] = random.shuffle(schema.getPossibleTypes(chosen.type));
    const [first, second] = [shaped(random, one), shaped(random, other)];
    if (!first || !second) return false;
    const both = [inline(one.name, [first]), inline(other.name, [second])];
    return place(context, chosen.type, chosen.node, both);
  },
  // The same below a field that both have.
  (context) => {
    const { random, found } = context;
    const places = found.sets.filter(({ type }) => type.name === 'Node');
    if (places.length === 0) return false;
    const chosen = random.pick(places);
    const inner = random.pick([
      [
        ['Claim', 'job', [field('title', { alias: 'x' })]],
        ['Transaction', 'job', [field('version', { alias: 'x' })]],
      ],
      [
        ['Claim', 'job', [field('budget', { set: [field('amount', { alias: 'x' })] })]],
        ['Transaction', 'job', [field('budget', { set: [field('currencyCode', { alias: 'x' })] })]],
      ],
      [
        ['Claim', 'freelancer', [field('email', { alias: 'x' })]],
        ['Job', 'client', [field('displayName', { alias: 'x' })]],
      ],
      [
        ['Claim', 'freelancer', [field('roles', { alias: 'x' })]],
        ['Job', 'client', [field('skills', { alias: 'x', set: [field('id')] })]],
      ],
      [
        ['Claim', 'job', [field('skills', { alias: 'x', set: [field('id')] })]],
        ['Transaction', 'job', [field('budget', { alias: 'x', set: [field('amount')] })]],
      ],
    ]);
    const both = inner.map(([type, title, set]) => inline(type, [field(title, { alias: 'below', set })]));
    return place(context, chosen.type, chosen.node, both);
  },
];

const deep = (one) => {
  const named = getNamedType(one.type);
  return isObjectType(named) && !one.args.some(isRequiredArgument) && leaves(named).length > 1;
};

// Any field of a type under the key `x`; the judge says whether two of them differ in shape.
function shaped(random, type) {
  const one = random.pick(Object.values(type.getFields()).filter((each) => !each.args.some(isRequiredArgument)));
  const named = getNamedType(one.type);
  return field(one.name, { alias: 'x', set: isCompositeType(named) ? [field('__typename')] : undefined });
}
