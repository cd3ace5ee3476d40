import { Compile } from 'typebox/schema';

type Node = Readonly<Record<string, unknown>>;

const METHODS = new Set(['get', 'put', 'post', 'delete', 'options', 'head', 'patch', 'trace']);

/**
 * What is wrong with an OpenAPI 3.1 document by the rules of the specification that a generated one can break: required
 * parts, parameters of paths, kinds of answers, and schemas that are sound JSON Schema. References are not resolved, and
 * there must be none.
 */
export function openApiFaults(document: unknown): string[] {
  const faults: string[] = [];
  const root = nodeAt(document);
  const info = nodeAt(root['info']);
  if (typeof info['title'] !== 'string' || typeof info['version'] !== 'string')
    faults.push('info needs title and version');
  if (JSON.stringify(document).includes('"$ref"')) faults.push('there are references');
  for (const [path, item] of Object.entries(nodeAt(root['paths']))) {
    if (!path.startsWith('/')) faults.push(`${path} does not begin with /`);
    for (const [method, operation] of Object.entries(nodeAt(item))) {
      const where = `${method} ${path}`;
      if (!METHODS.has(method)) faults.push(`${where} is no method`);
      faults.push(...operationFaults(where, path, nodeAt(operation)));
    }
  }
  return faults;
}

function operationFaults(where: string, path: string, operation: Node): string[] {
  const faults: string[] = [];
  const parameters = Array.isArray(operation['parameters']) ? operation['parameters'].map(nodeAt) : [];
  const inPath = parameters.filter((parameter) => parameter['in'] === 'path');
  const named = [...path.matchAll(/\{([^}]+)\}/g)].map(([, name]) => name);
  if (named.join() !== inPath.map(({ name }) => name).join()) faults.push(`${where}: parameters of the path differ`);
  for (const parameter of parameters) {
    if (parameter['in'] === 'path' && parameter['required'] !== true)
      faults.push(`${where}: a parameter is not required`);
    faults.push(...schemaFaults(where, parameter['schema']));
  }
  const body = operation['requestBody'];
  if (body !== undefined) faults.push(...contentFaults(`${where} body`, nodeAt(body)));
  const responses = Object.entries(nodeAt(operation['responses']));
  if (responses.length === 0) faults.push(`${where} has no responses`);
  for (const [status, response] of responses) {
    if (!/^([1-5]\d\d|[1-5]XX|default)$/.test(status)) faults.push(`${where}: ${status} is no status`);
    if (typeof nodeAt(response)['description'] !== 'string') faults.push(`${where} ${status} has no description`);
    faults.push(...contentFaults(`${where} ${status}`, nodeAt(response)));
  }
  return faults;
}

function contentFaults(where: string, node: Node): string[] {
  return Object.values(nodeAt(node['content'])).flatMap((media) => schemaFaults(where, nodeAt(media)['schema']));
}

function schemaFaults(where: string, schema: unknown): string[] {
  if (typeof schema !== 'object' || schema === null) return [`${where}: a schema is missing`];
  // OpenAPI 3.0 only.
  const faults = JSON.stringify(schema).includes('"nullable"') ? [`${where}: nullable is of OpenAPI 3.0`] : [];
  try {
    Compile(schema).Check({});
  } catch (error) {
    faults.push(`${where}: ${String(error)}`);
  }
  return faults;
}

function nodeAt(value: unknown): Node {
  return typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Node) : {};
}
