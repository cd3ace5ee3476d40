/** A JSON Schema, as far as ours go. */
export interface Schema {
  readonly type?: string | readonly string[];
  readonly description?: string;
  readonly default?: string | number | boolean;
  readonly const?: string | number | boolean;
  readonly enum?: readonly (string | number | boolean)[];
  readonly minimum?: number;
  readonly maximum?: number;
  readonly exclusiveMinimum?: number;
  readonly multipleOf?: number;
  readonly pattern?: string;
  readonly properties?: Readonly<Record<string, Schema>>;
  readonly patternProperties?: Readonly<Record<string, Schema>>;
  readonly additionalProperties?: boolean | Schema;
  readonly required?: readonly string[];
  readonly items?: Schema;
  readonly anyOf?: readonly Schema[];
}

/** What values a schema takes, in a few words: `1 to 65535`, `delete | keep`, `absolute path`. */
export function typeText(schema: Schema): string {
  if (schema.anyOf !== undefined) return schema.anyOf.map(typeText).join(' | ');
  if (schema.const !== undefined) return `\`${String(schema.const)}\``;
  if (schema.enum !== undefined) return schema.enum.map((value) => `\`${String(value)}\``).join(' | ');
  switch (schema.type) {
    case 'boolean':
      return 'true, false';
    case 'integer':
    case 'number':
      return numberText(schema);
    case 'string':
      return schema.pattern === '^/' ? 'absolute path' : 'text';
    case 'array':
      return `list of ${schema.items === undefined ? 'anything' : typeText(schema.items)}`;
    case 'object':
      return 'mapping';
    case undefined:
      return 'anything';
    default:
      return [schema.type].flat().join(' | ');
  }
}

function numberText({ type, minimum, maximum, exclusiveMinimum }: Schema): string {
  const kind = type === 'integer' ? 'whole number' : 'number';
  if (minimum !== undefined && maximum !== undefined) return `${minimum} to ${maximum}`;
  if (exclusiveMinimum !== undefined && maximum !== undefined) return `above ${exclusiveMinimum}, up to ${maximum}`;
  if (minimum !== undefined) return `${kind} from ${minimum}`;
  return exclusiveMinimum === undefined ? kind : `${kind} above ${exclusiveMinimum}`;
}

/** A body as programmers write types, with descriptions as comments; `indent` is that of its first line. */
export function bodyText(schema: Schema, indent = ''): string {
  if (schema.anyOf !== undefined) return schema.anyOf.map((one) => bodyText(one, indent)).join(' | ');
  if (schema.const !== undefined) return JSON.stringify(schema.const);
  if (schema.enum !== undefined) return schema.enum.map((value) => JSON.stringify(value)).join(' | ');
  if (schema.type === 'array') return `${bracketed(bodyText(schema.items ?? {}, indent))}[]`;
  if (schema.properties !== undefined) return objectText(schema, indent);
  const values = Object.values(schema.patternProperties ?? {})[0] ?? schema.additionalProperties;
  if (schema.type === 'object' && typeof values === 'object') return `{ [key: string]: ${bodyText(values, indent)} }`;
  return Array.isArray(schema.type) ? schema.type.join(' | ') : String(schema.type ?? 'any');
}

function bracketed(text: string): string {
  return text.includes(' | ') && !text.startsWith('{') ? `(${text})` : text;
}

function objectText({ properties = {}, required = [] }: Schema, indent: string): string {
  const inner = `${indent}  `;
  const lines = Object.entries(properties).map(([name, property]) => {
    const optional = required.includes(name) ? '' : '?';
    const comment = property.description === undefined ? '' : ` // ${property.description}`;
    return `${inner}${name}${optional}: ${bodyText(property, inner)}${comment}\n`;
  });
  return lines.length === 0 ? '{}' : `{\n${lines.join('')}${indent}}`;
}
