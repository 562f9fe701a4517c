// What graphql-js says of a document and its variables: in which phase it is refused, or that it is executed.
import { getOperationAST, parse, specifiedRules, validate } from 'graphql';
import { getVariableValues } from 'graphql/execution/values.js';

// { phase, errors, document } with phase `parse`, `validation`, `operation`, `variables` or `executed`.
export function judge(schema, text, variables, operationName) {
  let document;
  try {
    document = parse(text);
  } catch (error) {
    return { phase: 'parse', errors: [error] };
  }
  const errors = validate(schema, document, specifiedRules, { maxErrors: 20 });
  if (errors.length > 0) return { phase: 'validation', errors, document };
  const operation = getOperationAST(document, operationName);
  if (!operation) return { phase: 'operation', errors: [new Error('no such operation, or several')], document };
  const coerced = getVariableValues(schema, operation.variableDefinitions ?? [], variables ?? {});
  if (coerced.errors) return { phase: 'variables', errors: coerced.errors, document, operation };
  return { phase: 'executed', errors: [], document, operation };
}

// Whether this one rule refuses the document.
export function breaks(schema, document, ruleName) {
  const rule = specifiedRules.find(({ name }) => name === ruleName);
  if (!rule) throw new Error(`graphql-js has no rule ${ruleName}`);
  return validate(schema, document, [rule]).length > 0;
}

export const RULES = specifiedRules.map(({ name }) => name);
