// Variables that cannot be coerced to what the operation declares for them (spec 6.1.2), in each way and at each depth.
import {
  getNullableType,
  isEnumType,
  isInputObjectType,
  isListType,
  isNonNullType,
  isRequiredInputField,
  parse,
  typeFromAST,
} from 'graphql';

// Operations that declare every kind of input; they take turns with generated ones.
const RICH = [
  'query Rich($filter: JobFilter, $order: JobOrder, $first: Int!, $query: String, $after: String) { jobs(filter: $filter, orderBy: $order, first: $first, query: $query, after: $after) { totalCount } }',
  'query ($ids: [ID!]!, $id: ID!, $on: Boolean!) { nodes(ids: $ids) { __typename } node(id: $id) @include(if: $on) { __typename } }',
  'query ($status: [ClaimStatus!], $first: Int = 2, $unread: Boolean) { claims(status: $status, first: $first) { totalCount } viewer { notifications(first: 1, unreadOnly: $unread) { unreadCount } } }',
  'query ($range: MoneyRange, $status: JobStatus!, $skills: [String!] = ["rust"], $when: DateTime) { jobs(first: 1, filter: {budget: $range, status: [OPEN, $status], allSkills: $skills, postedAfter: $when}) { totalCount } }',
  'query ($size: Int! = 1, $field: JobOrderField!, $direction: OrderDirection! = ASC) { jobs(last: $size, orderBy: {field: $field, direction: $direction}) { totalCount } }',
  'mutation ($input: DraftJobInput!) { draftJob(input: $input) { job { id } errors { __typename } } }',
  'mutation ($input: UpdateProfileInput!) { updateProfile(input: $input) { errors { code } } }',
  'mutation ($budget: MoneyInput!, $title: String, $skills: [String!]!) { draftJob(input: {idempotencyKey: "k", title: "t", description: "d", budget: $budget, skills: $skills}) { job { id } } updateProfile(input: {displayName: $title}) { errors { code } } }',
  'mutation ($id: ID!, $amount: Decimal!, $code: CurrencyCode!, $outcome: SettlementOutcome! = POST) { confirmTransaction(input: {transactionId: $id, idempotencyKey: "k", outcome: $outcome}) { transaction { id } } draftJob(input: {idempotencyKey: "k", title: "t", description: "d", budget: {amount: $amount, currencyCode: $code}, skills: []}) { job { id } } }',
  'mutation ($user: ID!, $roles: [Role!]!) { setUserRoles(input: {userId: $user, roles: $roles}) { errors { code } } }',
  'mutation ($input: SignUpInput!) { signUp(input: $input) { errors { __typename } } }',
  'query ($a: Boolean!, $b: Boolean = true) { viewer { id @include(if: $a) displayName @skip(if: $b) } }',
];

export function richDocument(random) {
  return parse(random.pick(RICH), { noLocation: true });
}

// Something wrong for `type`, and what is wrong about it; undefined if this way does not fit the type.
const WAYS = {
  'null for non-null': (random, type) => (isNonNullType(type) ? { value: null } : undefined),
  'wrong kind': (random, type) => {
    const nullable = getNullableType(type);
    if (isListType(nullable)) return undefined;
    if (isInputObjectType(nullable)) return { value: random.pick(['{}', 1, true, [], [{}], 'x']) };
    if (isEnumType(nullable)) return { value: random.pick([1, true, {}, ['OPEN'], 0.5]) };
    switch (nullable.name) {
      case 'Int':
        return { value: random.pick(['1', true, {}, [1], '']) };
      case 'Boolean':
        return { value: random.pick(['true', 1, 0, {}, [true], '']) };
      case 'String':
        return { value: random.pick([1, true, {}, ['x'], 1.5]) };
      case 'ID':
        return { value: random.pick([true, {}, ['x'], [1], false]) };
      case 'DateTime':
        return { value: random.pick([1, true, {}, [], ['2026-11-21T09:30:00.000Z']]) };
      case 'Decimal':
        return { value: random.pick([true, {}, [], ['1.00']]) };
      default:
        return { value: random.pick([1, true, {}, ['x']]) };
    }
  },
  'integer out of 32 bits': (random, type) =>
    named(type, 'Int') ? { value: random.pick([2147483648, -2147483649, 1e10, 1e20]) } : undefined,
  'fraction for an integer': (random, type) =>
    named(type, 'Int') ? { value: random.pick([1.5, 0.1, -2.25, 1e-3]) } : undefined,
  'fraction for an id': (random, type) => (named(type, 'ID') ? { value: random.pick([1.5, -0.25]) } : undefined),
  'unknown enum value': (random, type) => {
    const nullable = getNullableType(type);
    if (!isEnumType(nullable)) return undefined;
    const known = random.pick(nullable.getValues()).name;
    return { value: random.pick([known.toLowerCase(), `${known} `, 'NOTHING', '', `"${known}"`, `${known}\u0000`]) };
  },
  'text that the scalar refuses': (random, type) =>
    named(type, 'DateTime')
      ? { value: random.pick(['yesterday', '', '2026-13-01T00:00:00Z', '2026-11-21', '2026-11-21T25:00:00Z']) }
      : undefined,
};

const named = (type, wanted) => getNullableType(type).name === wanted;

// All places in the JSON of a variable, with the types they have.
function places(type, value, put, found) {
  found.push({ type, put });
  if (value === null || value === undefined) return;
  const nullable = getNullableType(type);
  if (isListType(nullable)) {
    if (!Array.isArray(value)) return places(nullable.ofType, value, put, found);
    found.push({ type: nullable.ofType, put: (wrong) => value.splice(0, value.length, ...value, wrong), item: true });
    return value.forEach((item, at) =>
      places(
        nullable.ofType,
        item,
        (wrong) => {
          value[at] = wrong;
        },
        found,
      ),
    );
  }
  if (!isInputObjectType(nullable) || typeof value !== 'object') return;
  found.push({ type: nullable, object: value, put });
  for (const one of Object.values(nullable.getFields())) {
    if (Object.hasOwn(value, one.name))
      places(
        one.type,
        value[one.name],
        (wrong) => {
          value[one.name] = wrong;
        },
        found,
      );
    else
      found.push({
        type: one.type,
        put: (wrong) => {
          value[one.name] = wrong;
        },
      });
  }
}

const ofObjects = {
  'unknown input field': (random, { object }) => {
    object[random.pick(['nothing', 'ID', '__typename', 'Status', 'status '])] = random.pick([1, null, 'x']);
    return true;
  },
  'input field left out': (random, { type, object }) => {
    const needed = Object.values(type.getFields()).filter(
      (one) => isRequiredInputField(one) && Object.hasOwn(object, one.name),
    );
    if (needed.length === 0) return false;
    delete object[random.pick(needed).name];
    return true;
  },
};

export const WRONG_VARIABLES = [...Object.keys(WAYS), ...Object.keys(ofObjects), 'left out'];

// Changes `variables` in place; false where the way finds no place.
export function breakVariables(random, schema, way, operation, variables) {
  const declared = operation.variableDefinitions.map((one) => ({
    name: one.variable.name.value,
    type: typeFromAST(schema, one.type),
    hasDefault: one.defaultValue !== undefined,
  }));
  if (way === 'left out') {
    const needed = declared.filter((one) => isNonNullType(one.type) && !one.hasDefault);
    if (needed.length === 0) return false;
    delete variables[random.pick(needed).name];
    return true;
  }
  const found = [];
  for (const one of declared) {
    places(
      one.type,
      variables[one.name],
      (wrong) => {
        variables[one.name] = wrong;
      },
      found,
    );
  }
  if (way in ofObjects) {
    const objects = found.filter((place) => place.object);
    return objects.length > 0 && ofObjects[way](random, random.pick(objects));
  }
  for (const place of random.shuffle(found.filter((one) => !one.object))) {
    const wrong = WAYS[way](random, place.type);
    if (wrong) {
      place.put(wrong.value);
      return true;
    }
  }
  return false;
}
