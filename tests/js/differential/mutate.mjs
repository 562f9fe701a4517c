// Documents that break one validation rule of the specification each, made of valid ones.
//
// `MUTATORS` names for each mutator the rule of graphql-js that must refuse what it makes; corpus.mjs throws a document
// away that the rule accepts, and run.mjs fails if a rule is left without documents. A mutator changes the document in
// place and says so, or returns false where it has nothing to work on.
import { args, directives, values } from './mutators/inputs.mjs';
import { overlapping } from './mutators/overlapping.mjs';
import { structure, subscriptions } from './mutators/structure.mjs';
import { types } from './mutators/types.mjs';
import { variables } from './mutators/variables.mjs';
import { sites } from './sites.mjs';

const groups = {
  ...structure,
  ...types,
  ...variables,
  ...directives,
  ...args,
  ...values,
  ...subscriptions,
  OverlappingFieldsCanBeMerged: overlapping,
};

// [{ rule, name, kind, apply(context) }], kind being that of the operation to begin with if it matters.
export const MUTATORS = Object.entries(groups).flatMap(([rule, all]) =>
  all.map((apply, at) => ({
    rule: `${rule}Rule`,
    name: `${rule}${all.length > 1 ? `#${at + 1}` : ''}`,
    kind: rule === 'SingleFieldSubscriptions' ? 'subscription' : undefined,
    apply,
  })),
);

// Changes a copy; undefined where the mutator found nothing to work on.
export function mutate({ mutator, random, schema, generator, document }) {
  const copy = structuredClone(document);
  const found = sites(schema, copy);
  return mutator.apply({ random, schema, document: copy, found, generator }) ? copy : undefined;
}
