// What mutators share: how to find a place and how to change it.
import { isCompositeType } from 'graphql';

export const add = (definitions, made) => {
  definitions.push(made);
  return true;
};

export const insert = (random, set, item) => {
  set.selections.splice(random.int(0, set.selections.length), 0, item);
  return true;
};

export const insertDefinition = (random, document, made) => {
  document.definitions.splice(random.int(0, document.definitions.length), 0, made);
  return true;
};

export const some = (random, items) => (items.length > 0 ? random.pick(items) : undefined);

export const unknown = (random) => random.pick(['Nothing', 'job', 'JOB', 'Jobs', '_', 'string', '__Nothing']);

export const composites = (schema) =>
  Object.values(schema.getTypeMap()).filter((type) => isCompositeType(type) && !type.name.startsWith('__'));

// Declares a variable in one operation.
export const declareIn = (random, operation, made) => {
  operation.variableDefinitions = random.shuffle([...operation.variableDefinitions, made]);
  return true;
};

// In the first.
export const declare = (random, found, made) => declareIn(random, found.operations[0], made);

// Puts `value` in the place of a literal.
export const replace = ({ holder, key }, value) => {
  if (Array.isArray(holder)) holder[key] = value;
  else holder.value = value;
};

export const nameOfType = (type) => (type.kind === 'NamedType' ? type.name.value : nameOfType(type.type));

// All variable definitions of a document.
export const declared = (found) => found.operations.flatMap((one) => one.variableDefinitions);
