// What must never reach the disk: tokens and passwords.
//
// GraphiQL writes tabs and history into the browser's storage as they are typed and run. `scrub` takes secrets out of
// such texts: those that this page has seen, whatever looks like one of our tokens, and the values of fields whose name
// says that they are secret.

const known = new Set();

// Too short to be taken out wherever it stands: it would take ordinary words along.
const SHORTEST = 6;

export function remember(secret) {
  if (typeof secret === 'string' && secret.length >= SHORTEST) known.add(secret);
}

const NAME = String.raw`\w*(?:password|secret|token)\w*`;
const STRING = String.raw`"""[^]*?"""|"(?:[^"\\\n]|\\.)*"?`;
// In variables (`"password": ".."`) and in documents (`password: ".."`).
const FIELD = new RegExp(String.raw`("?${NAME}"?\s*:\s*)(?:${STRING})`, 'gi');
const TOKEN = /\beyJ[\w-]+\.[\w-]+\.[\w-]*/g;
const BEARER = /\bbearer\s+[^\s"]+/gi;
// `password: $p` in a document makes a secret of the variable `p`.
const USE = new RegExp(String.raw`${NAME}\s*:\s*\$(\w+)`, 'gi');

export function scrub(text) {
  if (typeof text !== 'string') return text;
  let clean = text.replace(FIELD, '$1""').replace(TOKEN, '').replace(BEARER, 'Bearer');
  for (const secret of known) clean = clean.replaceAll(secret, '');
  return clean;
}

// Document and variables of one tab, or of one line of the history. Headers are left out whole: what people put there
// is credentials.
export function scrubOperation(operation) {
  const names = [...(operation.query ?? '').matchAll(USE)].map(([, name]) => name);
  let { variables } = operation;
  if (typeof variables === 'string') {
    for (const name of names) {
      const field = new RegExp(String.raw`("${name}"\s*:\s*)(?:${STRING})`, 'g');
      variables = variables.replace(field, '$1""');
    }
  }
  return { ...operation, query: scrub(operation.query), variables: scrub(variables), headers: null };
}

// The values in an operation that is about to be sent which are secret by their names.
export function rememberVariables(query, variables) {
  const names = new Set([...query.matchAll(USE)].map(([, name]) => name));
  const isSecret = new RegExp(`^${NAME}$`, 'i');
  const visit = (name, value) => {
    if (typeof value === 'string' && (names.has(name) || isSecret.test(name))) remember(value);
    else if (value && typeof value === 'object') Object.entries(value).forEach(([key, inner]) => visit(key, inner));
  };
  Object.entries(variables ?? {}).forEach(([key, value]) => visit(key, value));
}
