import { link, open, readdir, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { syncDirectory } from '../../kit/atomic-file.ts';
import { errorCode, errorText } from '../../kit/coded-error.ts';
import { type NewUuid, parseAnyUuid } from '../../kit/ids.ts';
import { BackendError } from './backend.ts';

const FILE_NAME = 'pool.json';

export interface PoolPlace {
  readonly rootPath: string;
  /** Backend that owns the pool: an image is no directory. */
  readonly kind: string;
  readonly instance: string;
}

/**
 * The id of the pool at `rootPath`, made on first use. Nodes that start on a shared pool at the same time agree on one.
 * A pool that has volumes but no id is refused: with a new id its volumes would pass for lost.
 */
export async function openPoolIdentity(place: PoolPlace, newUuid: NewUuid): Promise<string> {
  const known = await readPoolIdentity(place);
  if (known !== undefined) return known;
  const hasVolumes = await holdsVolumes(place.rootPath);
  const path = join(place.rootPath, FILE_NAME);
  const draft = `${path}.${place.instance}`;
  await rm(draft, { force: true });
  const file = await open(draft, 'wx', 0o600);
  try {
    await file.writeFile(`${JSON.stringify({ version: 1, pool: newUuid(), kind: place.kind }, null, 2)}\n`);
    await file.sync();
  } finally {
    await file.close();
  }
  try {
    // Another node may have made the id and its first volume since the look above; link(2) then fails with EEXIST.
    if (!hasVolumes) await link(draft, path);
  } catch (error) {
    if (errorCode(error) !== 'EEXIST') throw error;
  } finally {
    await rm(draft, { force: true });
  }
  await syncDirectory(place.rootPath);
  const agreed = await readPoolIdentity(place);
  if (agreed !== undefined) return agreed;
  throw new BackendError(
    'pool_unreachable',
    `pool ${place.rootPath} holds volumes but ${path} is missing; restore that file, or move the volumes away to start a new pool`,
  );
}

/** The id of the pool at `rootPath`; undefined when it has none. Fails when the file cannot be read or trusted. */
export async function readPoolIdentity(place: PoolPlace): Promise<string | undefined> {
  const path = join(place.rootPath, FILE_NAME);
  const unusable = (why: string, cause?: unknown): BackendError =>
    new BackendError('pool_unreachable', `pool ${place.rootPath} cannot be used: ${path} ${why}`, { cause });
  let content: unknown;
  try {
    content = JSON.parse(await readFile(path, 'utf8'));
  } catch (error) {
    if (errorCode(error) === 'ENOENT') return undefined;
    throw unusable(`cannot be read (${errorText(error)}); restore it`, error);
  }
  if (typeof content !== 'object' || content === null) throw unusable('holds no object; restore it');
  const { version, pool, kind } = content as Record<string, unknown>;
  if (version !== 1) throw unusable(`has version ${String(version)}, this release knows version 1`);
  if (kind !== place.kind) {
    throw unusable(`belongs to the backend ${String(kind)}, not ${place.kind}; set another root_path in agent.yml`);
  }
  const id = typeof pool === 'string' ? parseAnyUuid(pool) : undefined;
  if (id === undefined) throw unusable('has no pool id; restore it');
  return id;
}

async function holdsVolumes(rootPath: string): Promise<boolean> {
  for (const part of ['unattached', 'snapshots']) {
    if ((await readdir(join(rootPath, part))).length > 0) return true;
  }
  const instances = await readdir(join(rootPath, 'attached'));
  const lists = await Promise.all(instances.map((instance) => readdir(join(rootPath, 'attached', instance))));
  return lists.some((list) => list.length > 0);
}
