// The documents of a seed: which kinds, in which order, and how each is made.
import { parse, print, typeFromAST } from 'graphql';
import { Generator } from './generate.mjs';
import { breaks, judge } from './judge.mjs';
import { MUTATORS, mutate } from './mutate.mjs';
import { Random } from './random.mjs';
import { respell } from './respell.mjs';
import { SYNTAX } from './syntax.mjs';
import { WRONG_VARIABLES, breakVariables, richDocument } from './variables.mjs';
import { Variables, json } from './values.mjs';

// Of ten documents, four to five are valid; what is broken takes turns, so that each way comes as often.
const TURNS = ['query', 'rule', 'query', 'rule', 'query', 'variables', 'query', 'rule', 'rare', 'syntax'];
const ATTEMPTS = 60;

// One document and perhaps some that share its text: [{ seed, what, phase, rule?, text, variables, operationName, kind, viewer }].
export function make(schema, pools, seed, index) {
  const turn = TURNS[index % TURNS.length];
  const round = Math.floor(index / TURNS.length);
  const label = `${seed}:${index}`;
  for (let attempt = 0; attempt < ATTEMPTS; attempt += 1) {
    const random = new Random(`${label}:${attempt}`);
    const made = kinds[turn](random, schema, pools, round, index);
    if (made)
      return sequence({ seed: label, viewer: random.pick(['ada', 'ada', 'ben', 'ben', 'root', undefined]), ...made });
  }
  throw new Error(`${label}: no ${turn} came of ${ATTEMPTS} attempts`);
}

// The document, and behind it the same text with what `again` changes: a server that remembers texts must judge each
// request anew.
function sequence({ again = [], ...made }) {
  return [made, ...again.map((other, at) => ({ ...made, seed: `${made.seed}+${at + 1}`, ...other }))];
}

const kinds = {
  query: (random, schema, pools) => valid(random, schema, pools, 'query'),
  // Mutations and subscriptions take turns: they are slower.
  rare: (random, schema, pools, round) => valid(random, schema, pools, round % 2 === 0 ? 'mutation' : 'subscription'),
  rule(random, schema, pools, round, index) {
    // The three turns of a round take three mutators.
    const place = round * 3 + Math.floor((index % TURNS.length) / 3);
    const mutator = MUTATORS[place % MUTATORS.length];
    // Input objects stand in nearly every mutation and in few queries.
    const ofInputs = /^(UniqueInputFieldNames|ValuesOfCorrectType)/.test(mutator.name);
    const kind =
      mutator.kind ??
      random.weighted([
        [8, 'query'],
        [ofInputs ? 8 : 3, 'mutation'],
      ]);
    const generator = new Generator(random, schema, pools, { often: 0.35 });
    const made = generator.make(kind);
    const broken = mutate({ mutator, random, schema, generator, document: made.document });
    if (!broken || !breaks(schema, broken, mutator.rule)) return undefined;
    const text = respell(random, broken);
    if (!breaks(schema, parse(text), mutator.rule)) return undefined;
    return {
      what: mutator.name,
      rule: mutator.rule,
      phase: 'validation',
      text,
      variables: made.variables,
      operationName: made.operationName,
      kind,
    };
  },
  syntax(random, schema, pools, round) {
    const way = SYNTAX[round % SYNTAX.length];
    const made = new Generator(random, schema, pools, { often: 0.1 }).make('query');
    const text = way.apply(random, respell(random, made.document));
    if (text === undefined || judge(schema, text, made.variables, made.operationName).phase !== 'parse')
      return undefined;
    return {
      what: `syntax: ${way.name}`,
      phase: 'parse',
      text,
      variables: made.variables,
      operationName: made.operationName,
      kind: 'query',
    };
  },
  variables(random, schema, pools, round) {
    const way = WRONG_VARIABLES[round % WRONG_VARIABLES.length];
    const generated = random.chance(0.3);
    const made = generated
      ? new Generator(random, schema, pools, { often: 0.9 }).make('query')
      : rich(random, schema, pools);
    const text = respell(random, made.document);
    const { phase, operation } = judge(schema, text, made.variables, made.operationName);
    const right = structuredClone(made.variables);
    if (phase !== 'executed' || !breakVariables(random, schema, way, operation, made.variables)) return undefined;
    if (judge(schema, text, made.variables, made.operationName).phase !== 'variables') return undefined;
    // First as it should be, every other time: the text is known then.
    const wrong = { what: `variables: ${way}`, phase: 'variables', text, ...made };
    if (round % 2 === 0) return wrong;
    return { ...wrong, what: 'variables: none wrong', phase: 'executed', variables: right, again: [wrong] };
  },
};

function valid(random, schema, pools, kind) {
  const subscription = kind === 'subscription';
  const made = new Generator(random, schema, subscription ? { ...pools, replay: pools.beginning } : pools, {
    often: random.pick([0.05, 0.25, 0.6]),
    after: subscription,
  }).make(kind);
  const text = respell(random, made.document);
  const { phase, errors } = judge(schema, text, made.variables, made.operationName);
  if (phase === 'operation') return undefined;
  // By construction; if not, the generator is wrong and every verdict on what it makes is worth less.
  if (phase !== 'executed')
    throw new Error(`a valid ${kind} is refused: ${errors[0]?.message}\n${print(made.document)}`);
  return { what: `valid ${kind}`, phase, text, ...made, again: again(random, made) };
}

// The other operation of the document, or the same one with conditions turned round.
function again(random, { document, variables, operationName }) {
  const operations = document.definitions.filter((one) => one.kind === 'OperationDefinition');
  if (operations.length > 1) {
    const other = operations.find(({ name }) => name.value !== operationName);
    const none = random.chance(0.3) ? [{ operationName: 'Nothing', what: 'no such operation' }] : [];
    return [{ operationName: other.name.value }, ...none];
  }
  const booleans = operations[0].variableDefinitions.filter(({ type }) => /Boolean/.test(print(type)));
  if (booleans.length === 0 || random.chance(0.7)) return [];
  const turned = { ...variables };
  for (const { variable, defaultValue } of booleans) {
    const { value } = variable.name;
    // What is left out by one is given by the other, where a default allows it.
    if (value in turned && defaultValue && random.chance(0.5)) delete turned[value];
    else turned[value] = !(variables[value] ?? defaultValue?.value);
  }
  return [{ variables: turned }];
}

function rich(random, schema, pools) {
  const document = richDocument(random);
  const [operation] = document.definitions;
  const variables = {};
  const values = new Variables(random, pools);
  for (const one of operation.variableDefinitions) {
    const type = typeFromAST(schema, one.type);
    variables[one.variable.name.value] = json(values, type, one.variable.name.value);
  }
  return { document, variables, operationName: undefined, kind: operation.operation };
}
