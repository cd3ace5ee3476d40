import { bodyText, type Schema } from './schema-text.ts';

interface Parameter {
  readonly name: string;
  readonly in: string;
  readonly required?: boolean;
  readonly description?: string;
  readonly schema?: Schema;
}

interface Media {
  readonly schema?: Schema;
}

interface Operation {
  readonly summary?: string;
  readonly description?: string;
  readonly parameters?: readonly Parameter[];
  readonly requestBody?: { readonly content?: Readonly<Record<string, Media>> };
  readonly responses?: Readonly<
    Record<string, { readonly description?: string; readonly content?: Readonly<Record<string, Media>> }>
  >;
}

/** As much of an OpenAPI document as the page is made from. */
export interface ApiDocument {
  readonly paths: Readonly<Record<string, Readonly<Record<string, Operation>>>>;
}

const INTRO = `# REST API

Every path of the control service, on port 4523 behind mutual TLS: only certificates of users are admitted ([certificates](../tls.md)). This page is
generated from the OpenAPI document that the service answers at \`/v1/openapi.json\`: run \`npm run docs\` after changing a route. What is
marked as an addition is not in ClusterHQ's Flocker; the rest is its API v1, with its statuses and texts.

Bodies are JSON in ASCII whatever the content type says. Every error has a body \`{ description, errors? }\`: what is wrong, and where.
Two conditions spoil no change of anybody else: \`X-If-Configuration-Matches\` and our \`X-Flocker-If-Name-Unused\`; see the requests that
take them. An answer in the 200s is durable.
`;

/** The reference page of the REST API. */
export function restPage({ paths }: ApiDocument): string {
  const sections = Object.keys(paths)
    .toSorted()
    .flatMap((path) =>
      Object.entries(paths[path] ?? {}).map(([method, operation]) => sectionOf(method.toUpperCase(), path, operation)),
    );
  return `${INTRO}\n${sections.join('\n')}`;
}

function sectionOf(method: string, path: string, operation: Operation): string {
  const { summary = '', description, parameters = [], requestBody, responses = {} } = operation;
  const parts = [`## ${method} ${path}`, '', `${summary}.`];
  if (description !== undefined) parts.push('', description);
  if (parameters.length > 0) {
    parts.push('', '| parameter | in | |', '|---|---|---|');
    for (const { name, in: place, required, description: text = '' } of parameters)
      parts.push(`| \`${name}\` | ${place} | ${required === true ? 'Needed. ' : ''}${text} |`);
  }
  const body = schemaOf(requestBody?.content);
  if (body !== undefined) parts.push('', 'Body:', '', ...code(bodyText(body)));
  for (const [status, response] of Object.entries(responses)) {
    const schema = schemaOf(response.content);
    if (status === '4xx' || status === '4XX' || isError(schema)) continue;
    const type = Object.keys(response.content ?? {})[0];
    if (schema === undefined || type !== 'application/json') parts.push('', `${status}: ${type ?? 'no body'}`);
    else parts.push('', `${status}:`, '', ...code(bodyText(schema)));
  }
  return `${parts.join('\n')}\n`;
}

/** Errors all look the same, and are described once. */
function isError(schema: Schema | undefined): boolean {
  const names = Object.keys(schema?.properties ?? {});
  return names.length > 0 && names.every((name) => name === 'description' || name === 'errors');
}

function schemaOf(content: Readonly<Record<string, Media>> | undefined): Schema | undefined {
  return Object.values(content ?? {})[0]?.schema;
}

function code(text: string): string[] {
  return ['```ts', text, '```'];
}
