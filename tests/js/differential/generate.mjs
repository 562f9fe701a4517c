// Valid operations over the schema, and what to send with them.
//
// A document is valid by construction but for one rule: fields of one response key that differ. Those are found by
// graphql-js and given aliases afterwards (`settle`), so that many that can be merged stay.
import {
  OverlappingFieldsCanBeMergedRule,
  doTypesOverlap,
  getNamedType,
  isAbstractType,
  isCompositeType,
  isInterfaceType,
  isLeafType,
  isObjectType,
  isRequiredArgument,
  isUnionType,
  validate,
} from 'graphql';
import {
  argument,
  boolean,
  directive,
  document,
  field,
  fragment,
  inline,
  name,
  operation,
  selections,
  spread,
} from './nodes.mjs';
import { Variables, literal } from './values.mjs';

// What would end the very session that the documents are sent with.
const ENDS_SESSIONS = new Set(['signOut', 'changePassword', 'setUserSuspended', 'setUserRoles']);
// One of these a request, by our limits (src/schema/mod.rs, SINGLE_MUTATIONS).
const ALONE = new Set([
  'signUp',
  'signIn',
  'refreshSession',
  'changePassword',
  'deposit',
  'withdraw',
  'confirmTransaction',
  'postJob',
  'publishJob',
  'updateJob',
  'cancelJob',
  'approveDeliverable',
]);
// Roots with much below them come often.
const WEIGHTS = { viewer: 6, jobs: 5, node: 4, nodes: 4, claims: 3, events: 3, job: 3, wallet: 3, transactions: 1 };

// What fits in a document well within our limits.
const BUDGET = { fields: 40, directives: 10, aliases: 14, lists: 2 };

export class Generator {
  constructor(random, schema, pools, options = {}) {
    Object.assign(this, { random, schema, pools, options });
    this.variables = new Variables(random, pools, { often: options.often ?? 0.25 });
    this.fragments = [];
    this.left = { ...BUDGET };
    this.composites = Object.values(schema.getTypeMap()).filter(
      (type) => isCompositeType(type) && !type.name.startsWith('__'),
    );
    this.names = 0;
  }

  // { document, variables, operationName, kind }
  make(kind = 'query') {
    const { random, schema } = this;
    const root = {
      query: schema.getQueryType(),
      mutation: schema.getMutationType(),
      subscription: schema.getSubscriptionType(),
    }[kind];
    const set = this.root(root, kind);
    const title = random.chance(0.75) ? this.fresh(['Q', 'query', 'on', 'Feed', '_x']) : undefined;
    const made = operation(kind, { title, variables: this.variables.nodes(), set });
    const definitions = [made, ...this.fragments];
    let operationName = title && random.chance(0.3) ? title : undefined;
    if (title && random.chance(0.1)) {
      definitions.push({ ...structuredClone(made), name: name(`${title}Too`) });
      operationName = random.chance(0.5) ? title : `${title}Too`;
    }
    const variables = { ...this.variables.sent };
    // What no operation declares is ignored.
    if (random.chance(0.1)) variables[this.fresh(['undeclared'])] = random.pick([1, null, 'x', { a: [1] }]);
    const settled = settle(schema, document(random.shuffle(definitions)));
    return { document: settled, variables, operationName, kind };
  }

  root(type, kind) {
    const { random } = this;
    const fields = Object.values(type.getFields()).filter((one) => !ENDS_SESSIONS.has(one.name));
    const count = kind === 'query' ? random.int(1, 3) : 1;
    const items = Array.from({ length: count }, () =>
      this.field(random.weighted(fields.map((one) => [WEIGHTS[one.name] ?? 1, one])), 4),
    );
    if (kind === 'mutation' && !ALONE.has(items[0].name.value) && random.chance(0.4)) {
      const others = fields.filter((one) => !ALONE.has(one.name));
      items.push(this.field(random.pick(others), 3, { alias: this.fresh(['second']) }));
    }
    if (kind === 'query' && random.chance(0.15))
      items.push(field('__typename', { alias: random.chance(0.5) ? this.fresh(['t']) : undefined }));
    if (random.chance(0.25)) items.push(this.twin(random.pick(items), type, 3));
    const conditional = kind !== 'subscription';
    return selections(items.map((item) => this.wrapped(item, type, conditional)));
  }

  set(type, depth) {
    const { random } = this;
    const items = [];
    // The judge of shapes needs it to know which type came.
    if (isAbstractType(type)) items.push(field('__typename'));
    const count = random.int(1, depth > 1 ? 4 : 3);
    for (let made = 0; made < count && this.left.fields > 0; made += 1) {
      items.push(...this.selection(type, depth));
    }
    if (items.length === 0) items.push(field('__typename'));
    const fields = items.filter((item) => item.kind === 'Field');
    if (fields.length > 0 && random.chance(0.12)) items.push(this.twin(random.pick(fields), type, depth - 1));
    return selections(isAbstractType(type) ? [items[0], ...random.shuffle(items.slice(1))] : random.shuffle(items));
  }

  selection(type, depth) {
    const { random } = this;
    const deeper = depth > 0 ? 1 : 0;
    const fields = isUnionType(type) ? 0 : 12;
    const inlines = deeper * (isAbstractType(type) ? 9 : 2.5);
    const way = random.weighted([
      [fields, 'field'],
      [inlines, 'inline'],
      [deeper * 2, 'spread'],
      [1, 'name'],
    ]);
    if (way === 'name') return [field('__typename', { alias: this.alias(0.6), directives: this.conditions() })];
    if (way === 'spread') return this.spread(type, depth);
    if (way === 'inline') {
      const condition = random.chance(0.2) ? undefined : this.overlapping(type);
      return [inline(condition?.name, this.set(condition ?? type, depth - 1), this.conditions())];
    }
    const all = Object.values(type.getFields());
    const leaves = all.filter((one) => isLeafType(getNamedType(one.type)));
    const one = depth <= 0 && leaves.length > 0 ? random.pick(leaves) : random.pick(all);
    if (depth <= 0 && leaves.length === 0) return [field('__typename')];
    if (one.args.some((arg) => arg.name === 'first') && (this.left.lists -= 1) < 0) return [field('__typename')];
    const made = this.field(one, depth - 1);
    return [this.wrapped(made, type, true)];
  }

  field(one, depth, { alias } = {}) {
    this.left.fields -= 1;
    const named = getNamedType(one.type);
    return field(one.name, {
      alias: alias ?? this.alias(0.15),
      args: this.args(one),
      directives: [],
      set: isCompositeType(named) ? this.set(named, depth) : undefined,
    });
  }

  args(one) {
    const { random } = this;
    const isConnection = one.args.some((arg) => arg.name === 'last');
    const page = isConnection && random.chance(0.95) ? (random.chance(0.75) ? 'first' : 'last') : undefined;
    const wanted = one.args.filter((arg) => {
      if (isConnection && (arg.name === 'first' || arg.name === 'last')) return arg.name === page;
      if (arg.name === 'after' && one.name !== 'events' && this.options.after) return true;
      return isRequiredArgument(arg) || random.chance(/^(after|before)$/.test(arg.name) ? 0.12 : 0.35);
    });
    return random.shuffle(wanted).map((arg) =>
      argument(
        arg.name,
        literal(this.variables, this.schema, arg.type, {
          hint: this.hint(one, arg),
          locationHasDefault: arg.defaultValue !== undefined,
        }),
      ),
    );
  }

  // An id is looked up by what it is for.
  hint(one, arg) {
    if (arg.name === 'id' || arg.name === 'ids') return { job: 'jobId', claim: 'claimId' }[one.name] ?? arg.name;
    return arg.name;
  }

  // A second selection of the same field, with a set of its own: the two are merged.
  twin(first, type, depth) {
    const { random } = this;
    const same = structuredClone(first);
    if (!same.selectionSet) return same;
    const one = type.getFields?.()[same.name.value];
    if (one) same.selectionSet = this.set(getNamedType(one.type), depth);
    // The order of arguments means nothing.
    same.arguments = random.shuffle(same.arguments);
    return same;
  }

  // As it is, or inside a fragment that changes nothing.
  wrapped(item, type, conditional) {
    const { random } = this;
    const directives = () => (conditional ? this.conditions() : []);
    if (item.kind === 'Field') item.directives = [...item.directives, ...directives()];
    if (!random.chance(0.15)) return item;
    const condition = isObjectType(type) && random.chance(0.7) ? type : undefined;
    if (condition && random.chance(0.5)) return spread(this.define(condition, selections([item])), directives());
    return inline(condition?.name, [item], directives());
  }

  spread(type, depth) {
    const { random } = this;
    const known = this.fragments.filter((one) =>
      doTypesOverlap(this.schema, type, this.schema.getType(one.typeCondition.name.value)),
    );
    if (known.length > 0 && random.chance(0.4)) return [spread(random.pick(known).name.value, this.conditions())];
    const condition = this.overlapping(type);
    return [spread(this.define(condition, this.set(condition, depth - 1)), this.conditions())];
  }

  define(condition, set) {
    const made = fragment(this.fresh(['F', 'fragment', 'Parts', 'query']), condition.name, set);
    this.fragments.push(made);
    return made.name.value;
  }

  overlapping(type) {
    const { random, schema } = this;
    const near = this.composites.filter((other) => doTypesOverlap(schema, type, other));
    // Objects below an abstract type give the most; interfaces and unions above an object the rest.
    return random.weighted(near.map((other) => [other === type ? 2 : isInterfaceType(other) ? 2 : 1, other]));
  }

  conditions() {
    const { random } = this;
    if (this.left.directives <= 0 || !random.chance(0.13)) return [];
    const wanted = random.chance(0.15) ? random.shuffle(['skip', 'include']) : [random.pick(['skip', 'include'])];
    this.left.directives -= wanted.length;
    const type = this.schema.getDirective('include').args[0].type;
    return wanted.map((which) => {
      const value = random.chance(0.65)
        ? this.variables.use(this.schema, type, false, 'if')
        : boolean(random.chance(0.5));
      return directive(which, [argument('if', value)]);
    });
  }

  alias(probability) {
    if (this.left.aliases <= 0 || !this.random.chance(probability)) return undefined;
    this.left.aliases -= 1;
    return this.fresh(['a', 'id', 'on', 'true', 'jobs']);
  }

  fresh(stems) {
    this.names += 1;
    return `${this.random.pick(stems)}${this.names}`;
  }
}

// Gives aliases to fields that cannot be merged, until all can.
export function settle(schema, made) {
  let aliases = 0;
  for (let round = 0; round < 40; round += 1) {
    const errors = validate(schema, made, [OverlappingFieldsCanBeMergedRule]);
    if (errors.length === 0) return made;
    for (const error of errors) {
      // The deepest that conflict come last for each side; one of the two is enough.
      const fields = error.nodes.filter((node) => node.kind === 'Field' && node.name.value !== '__typename');
      if (fields.length === 0) continue;
      const chosen = fields[fields.length - 1];
      aliases += 1;
      chosen.alias = name(`settled${aliases}`);
    }
  }
  throw new Error('a document whose fields cannot be merged was not mended');
}
