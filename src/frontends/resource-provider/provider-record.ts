import { readFile } from 'node:fs/promises';
import { type Static, Type } from 'typebox';
import { Compile } from 'typebox/compile';
import { writeFileDurably } from '../../kit/atomic-file.ts';
import { CodedError, errorCode } from '../../kit/coded-error.ts';
import { ResourcesSchema, StoredOperation } from './mesos-messages.ts';

const Text = Type.Union([Type.String(), Type.Null()]);
const Labels = Type.Array(Type.Object({ key: Type.String(), value: Type.String() }));

const ProviderRecord = Type.Object({
  version: Type.Literal(1),
  type: Type.String(),
  name: Type.String(),
  /** The agent that gave the id; null before the first one did. */
  agentId: Text,
  /** Null until an agent gave one. */
  providerId: Text,
  /** The operator of Mesos has removed this provider for good. */
  tornDown: Type.Boolean(),
  /** What there is, without allocations, with every conversion that has ended. */
  totals: ResourcesSchema,
  /** Those that the framework has not acknowledged, in the order they came. */
  operations: Type.Array(StoredOperation),
  /** What unconverted pools look like, also while nothing is left of them. */
  pools: Type.Array(Type.Object({ profile: Type.String(), labels: Labels })),
  /** Datasets that were, or may have been, made for disks that were never handed out. They are deleted. */
  doomed: Type.Array(Type.String()),
});
/** All that a provider must remember, as it is on disk. */
export type ProviderRecord = Readonly<Static<typeof ProviderRecord>>;
const record = Compile(ProviderRecord);

/** A record that cannot be used. */
export class RecordError extends CodedError<'record_damaged' | 'record_of_another'> {
  override readonly name = 'RecordError';
}

export function emptyRecord(type: string, name: string): ProviderRecord {
  return {
    version: 1,
    type,
    name,
    agentId: null,
    providerId: null,
    tornDown: false,
    totals: [],
    operations: [],
    pools: [],
    doomed: [],
  };
}

/** The record at `path`; an empty one when there is none. A damaged one is an error, never an empty one. */
export async function readRecord(path: string, type: string, name: string): Promise<ProviderRecord> {
  let text: string;
  try {
    text = await readFile(path, 'utf8');
  } catch (error) {
    if (errorCode(error) === 'ENOENT') return emptyRecord(type, name);
    throw error;
  }
  const parsed = parse(text);
  if (parsed === undefined) {
    throw new RecordError(
      'record_damaged',
      `${path} cannot be read. It says which disks Mesos was given: restore it, or move it away to attach as a new provider.`,
    );
  }
  if (parsed.type !== type || parsed.name !== name) {
    throw new RecordError(
      'record_of_another',
      `${path} is of the provider ${parsed.type} ${parsed.name}, and this one is ${type} ${name}: Mesos would refuse it. ` +
        'Keep type and name, or give another state path.',
    );
  }
  return parsed;
}

export async function writeRecord(path: string, value: ProviderRecord): Promise<void> {
  await writeFileDurably(path, `${JSON.stringify(value)}\n`, 0o600);
}

function parse(text: string): ProviderRecord | undefined {
  try {
    const value: unknown = JSON.parse(text);
    return record.Check(value) ? value : undefined;
  } catch {
    return undefined;
  }
}
