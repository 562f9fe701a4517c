// Whether an answer has the shape that its document demands.
//
// graphql-js executes the document once more, on the answer: each field resolves to what the answer has at its place.
// What comes out has the fields that graphql-js collects, merged, skipped and in its order, lists as deep and nulls where
// the types allow them; so it must be the answer, byte for byte.
import { execute, getNamedType, isAbstractType, isListType, isNonNullType, isObjectType } from 'graphql';

// What differs, in words; undefined if nothing does.
export function misshapen(schema, { document, operation }, variables, operationName, answer) {
  let unlike;
  const expected = execute({
    schema,
    document,
    rootValue: answer.data,
    variableValues: variables,
    operationName,
    fieldResolver: (source, args, _context, info) => {
      const value = source[info.path.key];
      unlike ??= disobeyed(args, value, info);
      return value;
    },
    // Every set on an abstract type selects __typename (generate.mjs).
    typeResolver: (value) => value.__typename,
  });
  if (answer.data === null && expected.data !== null && operation.operation !== 'subscription') {
    return `no data where ${JSON.stringify(expected.data).slice(0, 300)} could be`;
  }
  const [got, wanted] = [JSON.stringify(answer.data), JSON.stringify(expected.data)];
  if (answer.data !== null && got !== wanted) return difference(got, wanted, expected.errors);
  if (unlike) return unlike;
  for (const error of expected.errors ?? []) {
    // The reference has the field fail as well, e.g. by a variable that is null where null cannot be.
    if (!answer.errors.some((known) => within(known.path, error.path))) {
      return `no error at ${JSON.stringify(error.path)}, where graphql-js says: ${error.message}`;
    }
  }
  for (const error of answer.errors) {
    const wrong = misplaced(schema, document, operation, answer.data, error.path);
    if (wrong) return `${wrong}: ${error.message}`;
  }
  return undefined;
}

// What an argument asked for and the answer is not, as far as answers show it: an argument that never reached its resolver
// gives an answer of the right shape, too.
function disobeyed(args, value, info) {
  if (value === null || typeof value !== 'object') return undefined;
  const at = `${info.parentType.name}.${info.fieldName}(${JSON.stringify(args)})`;
  if ((args.first ?? args.last) !== undefined && (args.first ?? args.last) !== null) {
    const lists = Array.isArray(value) ? [value] : Object.values(value).filter(Array.isArray);
    const long = lists.find((items) => items.length > (args.first ?? args.last));
    if (long) return `${at} has ${long.length} items`;
  }
  if (typeof args.id === 'string' && typeof value.id === 'string' && value.id !== args.id)
    return `${at} has the id ${value.id}`;
  if (Array.isArray(args.ids) && Array.isArray(value)) {
    if (value.length !== args.ids.length) return `${at} has ${value.length} items`;
    const wrong = value.findIndex((item, place) => typeof item?.id === 'string' && item.id !== args.ids[place]);
    if (wrong >= 0) return `${at} has the id ${value[wrong].id} at ${wrong}`;
  }
  const statuses = args.status ?? args.filter?.status;
  if (Array.isArray(statuses) && statuses.length > 0 && Array.isArray(value.nodes)) {
    const wrong = value.nodes.find((item) => typeof item?.status === 'string' && !statuses.includes(item.status));
    if (wrong) return `${at} has a node with the status ${wrong.status}`;
  }
  return undefined;
}

const within = (path, other) =>
  Array.isArray(path) && Array.isArray(other) && other.every((key, at) => at >= path.length || path[at] === key);

function difference(got, wanted, errors) {
  let at = 0;
  while (at < got.length && got[at] === wanted[at]) at += 1;
  const from = Math.max(0, at - 120);
  const said = errors?.length
    ? `\n    graphql-js: ${errors
        .map((error) => error.message)
        .slice(0, 3)
        .join(' | ')}`
    : '';
  return `answer ..${got.slice(from, at + 120)}..\n    wanted ..${wanted.slice(from, at + 120)}..${said}`;
}

// An error nulls its field or, where that cannot be null, the nearest parent that can (spec 6.4.4).
function misplaced(schema, document, operation, data, path) {
  if (!Array.isArray(path) || path.length === 0) return 'an error of a field has no path';
  if (data === null) return undefined;
  const fragments = new Map(
    document.definitions.filter((one) => one.kind === 'FragmentDefinition').map((one) => [one.name.value, one]),
  );
  const root = {
    query: schema.getQueryType(),
    mutation: schema.getMutationType(),
    subscription: schema.getSubscriptionType(),
  }[operation.operation];
  let sets = [{ type: root, set: operation.selectionSet }];
  let type;
  let value = data;
  for (const [at, key] of path.entries()) {
    if (typeof key === 'number') {
      if (!isListType(nullable(type))) return `${show(path)} leads into a list that is none`;
      type = nullable(type).ofType;
    } else {
      const fields = sets.flatMap(({ type: parent, set }) => named(schema, fragments, parent, set, key));
      if (fields.length === 0) return `${show(path)} names no field that was asked for`;
      type = fields[0].type;
      // Fields of one key may differ in type below different objects, but not in whether they can be null.
      sets = fields
        .filter(({ node }) => node.selectionSet)
        .map((one) => ({ type: getNamedType(one.type), set: one.node.selectionSet }));
    }
    if (value === null) {
      // Nulled above: this field, and all on the way to it, must be ones that cannot be null.
      if (!isNonNullType(type))
        return `${show(path.slice(0, at))} is null, though ${show(path.slice(0, at + 1))} could have been`;
      continue;
    }
    value = value[key];
    if (value === undefined) return `${show(path)} is not in the answer`;
  }
  return value === null ? undefined : `${show(path)} failed and is not null`;
}

const nullable = (type) => (isNonNullType(type) ? type.ofType : type);
const show = (path) => `"${path.join('.')}"`;

function named(schema, fragments, parent, set, key) {
  return set.selections.flatMap((item) => {
    if (item.kind === 'Field') {
      if ((item.alias ?? item.name).value !== key) return [];
      if (item.name.value === '__typename') return [];
      const definition =
        isObjectType(parent) || (isAbstractType(parent) && parent.getFields)
          ? parent.getFields()[item.name.value]
          : undefined;
      return definition ? [{ node: item, type: definition.type }] : [];
    }
    const part = item.kind === 'FragmentSpread' ? fragments.get(item.name.value) : item;
    return named(
      schema,
      fragments,
      part.typeCondition ? schema.getType(part.typeCondition.name.value) : parent,
      part.selectionSet,
      key,
    );
  });
}
