import { AgentYml } from '../agent/agent-config.ts';
import { DATASET_SETTINGS } from '../agent/backends/dataset-settings.ts';
import { ProviderYml } from '../frontends/resource-provider/provider-config.ts';
import { type Schema, typeText } from './schema-text.ts';

/** A line of a table of settings. */
type Row = readonly [key: string, type: string, byDefault: string, description: string];

/** The reference page of everything that is set in files. Throws for a key without a description. */
export function settingsPage(): string {
  return [
    '# Settings',
    '',
    'Every key of the configuration files. This page is generated from the schemas that the files are checked against: run `npm run docs` after',
    'changing one. Flags and environment variables are on the page of the [command-line tools](cli.md); what the settings are for, and where the',
    'files lie, is in [configuration](../configuration.md). Keys of `node`, `isolator`, `dataset` and `provider.yml` that are not listed are refused.',
    '',
    '## agent.yml',
    '',
    "Of the node agent, in Flocker's own format.",
    '',
    ...table(rowsOf(asSchema(AgentYml), '', ['dataset.backend'])),
    '',
    '### The `dataset` section',
    '',
    'Which keys it takes depends on the backend.',
    '',
    '| key | backends | values | default | |',
    '|---|---|---|---|---|',
    ...DATASET_SETTINGS.map(
      ({ key, backends, type, default: byDefault, description }) =>
        `| \`dataset.${key}\` | ${backends.length === 3 ? 'all' : backends.join(', ')} | ${type} | ${byDefault ?? '–'} | ${description} |`,
    ),
    '',
    '## provider.yml',
    '',
    'Of the [Mesos resource provider](../resource-provider.md).',
    '',
    ...table(rowsOf(asSchema(ProviderYml), '', [])),
    '',
  ].join('\n');
}

/** The types of schemas say more than what is read of them here. */
function asSchema(schema: unknown): Schema {
  return schema as Schema;
}

function rowsOf(schema: Schema, prefix: string, leftOut: readonly string[]): Row[] {
  return Object.entries(schema.properties ?? {}).flatMap(([name, property]): Row[] => {
    const key = `${prefix}${name}`;
    if (leftOut.includes(key)) return [];
    const items =
      property.items?.properties === undefined || property.description !== undefined ? undefined : property.items;
    if (property.properties !== undefined) return rowsOf(property, `${key}.`, leftOut);
    if (items !== undefined) return rowsOf(items, `${key}[].`, leftOut);
    if (property.description === undefined) throw new Error(`the setting ${key} has no description in its schema`);
    const needed = schema.required?.includes(name) === true ? 'needed' : '–';
    return [
      [
        key,
        typeText(property),
        property.default === undefined ? needed : codeText(String(property.default)),
        property.description,
      ],
    ];
  });
}

/** What would be taken for a tag is shown as code. */
function codeText(text: string): string {
  return text.includes('<') ? `\`${text}\`` : text;
}

function table(rows: readonly Row[]): string[] {
  const lines = rows.map(
    ([key, type, byDefault, text]) => `| \`${key}\` | ${type.replaceAll('|', '\\|')} | ${byDefault} | ${text} |`,
  );
  return ['| key | values | default | |', '|---|---|---|---|', ...lines];
}
