import { parseDocument } from 'yaml';

/**
 * What a YAML text says. Throws an `Error` with the place of the first fault, also for aliases of nothing and for those that
 * would multiply without end.
 */
export function yamlValue(text: string): unknown {
  const document = parseDocument(text);
  const [fault] = document.errors;
  if (fault !== undefined) throw fault;
  return document.toJS();
}
