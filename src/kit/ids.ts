import { createHash } from 'node:crypto';

declare const brand: unique symbol;
type Branded<Name extends string> = string & { readonly [brand]: Name };

/** A dataset's identity: a lower-case UUIDv4. */
export type DatasetId = Branded<'DatasetId'>;
/** A node's identity: a lower-case UUIDv4, the part of its certificate's CN after `node-`. */
export type NodeId = Branded<'NodeId'>;

/** A snapshot's identity: a lower-case UUIDv4. */
export type SnapshotId = Branded<'SnapshotId'>;

/** The pattern Flocker's schemas use for every UUID: version 4 only, either case. */
export const UUID_V4_PATTERN = '^[A-Fa-f0-9]{8}-[A-Fa-f0-9]{4}-4[A-Fa-f0-9]{3}-[89abAB][A-Fa-f0-9]{3}-[A-Fa-f0-9]{12}$';
const UUID_V4 = new RegExp(UUID_V4_PATTERN);

/** The id in lower case, or undefined when `text` is no UUIDv4. */
export function parseDatasetId(text: string): DatasetId | undefined {
  return UUID_V4.test(text) ? (text.toLowerCase() as DatasetId) : undefined;
}

/** The id in lower case, or undefined when `text` is no UUIDv4. */
export function parseNodeId(text: string): NodeId | undefined {
  return UUID_V4.test(text) ? (text.toLowerCase() as NodeId) : undefined;
}

/** The id in lower case, or undefined when `text` is no UUIDv4. */
export function parseSnapshotId(text: string): SnapshotId | undefined {
  return UUID_V4.test(text) ? (text.toLowerCase() as SnapshotId) : undefined;
}

/**
 * Text of a UUID in any form that Python's `uuid.UUID` takes (braces, `urn:uuid:`, missing hyphens), as a lower-case
 * hyphenated UUID of any version; undefined when it is none. Eras are written this way in Flocker.
 */
export function parseAnyUuid(text: string): string | undefined {
  const hex = text
    .replace(/^urn:/, '')
    .replace(/^uuid:/, '')
    .replace(/[{}]/g, '')
    .replaceAll('-', '');
  return /^[A-Fa-f0-9]{32}$/.test(hex) ? hyphenate(hex.toLowerCase()) : undefined;
}

/** The id a lease is taken on: any UUID, whether or not a dataset can have it (contract 1.6). */
export function parseLeasedId(text: string): DatasetId | undefined {
  return parseAnyUuid(text) as DatasetId | undefined;
}

/** A random source of UUIDv4 text; `crypto.randomUUID` in production. */
export type NewUuid = () => string;

export function newDatasetId(newUuid: NewUuid): DatasetId {
  return newUuid().toLowerCase() as DatasetId;
}

/** A UUID (shaped as version 4) that is always the same for the same parts. */
export function derivedUuid(...parts: readonly string[]): string {
  const hex = createHash('sha256').update(JSON.stringify(parts)).digest('hex');
  return hyphenate(`${hex.slice(0, 12)}4${hex.slice(13, 16)}8${hex.slice(17, 32)}`);
}

function hyphenate(hex: string): string {
  return [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20)].join('-');
}
