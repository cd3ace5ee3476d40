import { link, mkdir, mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Json, StoreErrorCode } from '../store.ts';
import { StoreError } from '../store.ts';
import { openStore } from './testing/store-directory.ts';

const COMMITS = 40;
/** Commits after which the store is closed and opened again, so that tables exist beside the log. */
const REOPENED_AFTER = [15, 28];
/** Bytes between two places that are damaged; in logs and manifests the ends of records come on top. */
const LOG_STEP = 7;
const TABLE_STEP = 37;
const AT_ONCE = 4;
/** LevelDB's diary and its lock file. */
const NO_DATA = /LO(?:G|G\.old|CK)$/;

let parent = '';
let original = '';
let clusterId = '';
const model = new Map<string, Json>();

beforeAll(async () => {
  parent = await mkdtemp(join(tmpdir(), 'level-store-'));
  original = join(parent, 'original');
  let store = await openStore(original);
  clusterId = store.clusterId;
  for (let index = 0; index < COMMITS; index += 1) {
    if (REOPENED_AFTER.includes(index)) {
      await store.close();
      store = await openStore(original);
    }
    const key = `dataset/${index % 25}`;
    await store.commit([
      { kind: 'put', key, value: { index } },
      { kind: 'remove', key: `dataset/${(index * 7) % 25}x` },
    ]);
    model.set(key, { index });
  }
  await store.close();
});
afterAll(() => rm(parent, { recursive: true, force: true }));

async function filesOf(directory: string): Promise<string[]> {
  const entries = await readdir(directory, { recursive: true, withFileTypes: true });
  return entries
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name).slice(directory.length + 1));
}

/** Where each record of a LevelDB log or MANIFEST begins: a header of 7 bytes, of which two are the length. */
function recordStarts(bytes: Buffer): number[] {
  const starts: number[] = [];
  for (let at = 0; at + 7 <= bytes.length; at += 7 + bytes.readUInt16LE(at + 4)) starts.push(at);
  return starts;
}

function placesIn(name: string, bytes: Buffer): number[] {
  const step = name.endsWith('.log') ? LOG_STEP : name.endsWith('.ldb') ? TABLE_STEP : 1;
  const places = new Set(Array.from({ length: Math.ceil(bytes.length / step) }, (_, index) => index * step));
  if (/\.log$|MANIFEST/.test(name)) {
    for (const start of recordStarts(bytes)) for (const near of [-1, 0, 1, 4, 6, 7]) places.add(start + near);
  }
  return [...places].filter((place) => place >= 0 && place < bytes.length);
}

/** `whole`, or the code of the refusal. */
type Outcome = 'whole' | StoreErrorCode;

/** Opens a copy with one file replaced. Anything but the whole content or a StoreError fails the test. */
async function outcomeOf(name: string, bytes: Buffer, place: number): Promise<Outcome> {
  const directory = await mkdtemp(join(parent, 'copy-'));
  try {
    await mkdir(join(directory, 'entries'));
    for (const other of await filesOf(original)) {
      if (other !== name && !NO_DATA.test(other)) await link(join(original, other), join(directory, other));
    }
    await writeFile(join(directory, name), bytes);
    const store = await openStore(directory);
    const seen = { clusterId: store.clusterId, revision: store.revision, entries: new Map(store.entries()) };
    await store.close();
    expect(seen, `${name} at ${place}`).toEqual({ clusterId, revision: COMMITS, entries: model });
    return 'whole';
  } catch (error) {
    if (error instanceof StoreError) return error.code;
    throw error;
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}

async function outcomes(damage: (bytes: Buffer, place: number) => Buffer): Promise<Map<string, Map<Outcome, number>>> {
  const cases: { name: string; bytes: Buffer; place: number }[] = [];
  for (const name of await filesOf(original)) {
    if (NO_DATA.test(name)) continue;
    const bytes = await readFile(join(original, name));
    for (const place of placesIn(name, bytes)) cases.push({ name, bytes: damage(bytes, place), place });
  }
  const found = new Map<string, Map<Outcome, number>>();
  const take = async (): Promise<void> => {
    for (let one = cases.pop(); one !== undefined; one = cases.pop()) {
      const outcome = await outcomeOf(one.name, one.bytes, one.place);
      const kind = one.name.replaceAll(/\d+/g, '#');
      const counts = found.get(kind) ?? new Map<Outcome, number>();
      found.set(kind, counts.set(outcome, (counts.get(outcome) ?? 0) + 1));
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, take));
  return found;
}

const refusals = (counts: Map<Outcome, number> | undefined): string[] => [...(counts?.keys() ?? [])].sort();

describe('a damaged level store', () => {
  it('consists of what these tests damage', async () => {
    const names = (await filesOf(original)).map((name) => name.replaceAll(/\d+/g, '#'));
    for (const name of ['acknowledged', 'entries/CURRENT', 'entries/MANIFEST-#', 'entries/#.log', 'entries/#.ldb']) {
      expect(names).toContain(name);
    }
    for (const name of await filesOf(original)) {
      if (name.endsWith('.log')) expect((await stat(join(original, name))).size).toBeGreaterThan(2000);
    }
  });

  it('opens whole or not at all when a file is cut short anywhere', { timeout: 60_000 }, async () => {
    const found = await outcomes((bytes, place) => bytes.subarray(0, place));
    expect(refusals(found.get('entries/#.log'))).toEqual(['store_rolled_back']);
    expect(refusals(found.get('entries/#.ldb'))).toEqual(['store_damaged']);
    expect(refusals(found.get('entries/CURRENT'))).toEqual(['store_damaged']);
    expect(refusals(found.get('acknowledged'))).toEqual(['whole']);
  });

  it('opens whole or not at all when a byte is flipped anywhere', { timeout: 60_000 }, async () => {
    const found = await outcomes((bytes, place) => {
      const flipped = Buffer.from(bytes);
      flipped.writeUInt8(bytes.readUInt8(place) ^ (1 << (place % 8)), place);
      return flipped;
    });
    expect(refusals(found.get('entries/#.log'))).toEqual(['store_rolled_back']);
    expect(refusals(found.get('entries/#.ldb'))).toEqual(['store_damaged']);
    expect(refusals(found.get('entries/CURRENT'))).toEqual(['store_damaged']);
    expect(refusals(found.get('acknowledged'))).toEqual(['whole']);
  });
});
