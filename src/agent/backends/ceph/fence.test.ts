import type { ChildProcess } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, afterEach, beforeEach, describe, expect, it } from 'vitest';
import { BackendWorld } from '../../../../test/contract/backend-world.ts';
import { CephCluster, cephSkipReason } from '../../../../test/support/ceph-cluster.ts';
import { NetNamespace } from '../../../../test/support/net-namespace.ts';
import { type DatasetId, newDatasetId } from '../../../kit/ids.ts';
import type { Backend } from '../backend.ts';

const skip = await cephSkipReason();
const network = skip === null ? await NetNamespace.make() : undefined;
const cluster = network === undefined ? undefined : await CephCluster.start(network.hostIp);
const TIMEOUT_MS = 100_000;

afterAll(async () => {
  await cluster?.stop();
  await network?.remove();
});

/** Appends numbered records, each on disk before the next, and says the number of each; at an error, its code. */
const WRITER = `
  const { openSync, writeSync, fsyncSync } = await import('node:fs');
  const file = openSync(process.argv[1], 'a');
  for (let count = 1; ; count += 1) {
    try {
      writeSync(file, count + '\\n');
      fsyncSync(file);
    } catch (error) {
      process.stdout.write(error.code + '\\n');
      break;
    }
    process.stdout.write(count + '\\n');
  }`;

const KINDS = { directories: {}, images: { image_pool: CephCluster.imagePool } };

describe.skipIf(skip !== null).each(Object.entries(KINDS))(
  `a node that is cut off by Ceph, with %s${skip ?? ''}`,
  (_, kind) => {
    let world: BackendWorld;
    let b: Backend;
    let id: DatasetId;

    beforeEach(async () => {
      world = await BackendWorld.make({ backend: 'ceph', ...kind }, (directory) => must(cluster).place(directory));
      b = await world.node('b');
      id = newDatasetId(randomUUID);
      await agentOfA(`
      await backend.recover();
      await backend.create({ datasetId: '${id}', sizeBytes: 64 * 2 ** 20, metadata: {} }, signal);
      await backend.attach('${id}', signal);
      await backend.mount('${id}', signal);`);
    }, TIMEOUT_MS);

    afterEach(async () => {
      const problems: unknown[] = [];
      for (const instance of ['a', 'b']) problems.push(...(await world.teardown(instance)));
      expect([...problems, ...(await world.close())]).toEqual([]);
    }, TIMEOUT_MS);

    /** Runs steps of node a behind its link, to the end. */
    const agentOfA = async (body: string): Promise<string> => {
      const child = await world.agentThat(
        'a',
        `${body} process.stdout.write('done\\n'); process.exit();`,
        must(network).enter,
      );
      const said = collect(child);
      child.stdin?.write('go\n');
      await once(child, 'exit');
      expect(said.text()).toContain('done');
      return said.text();
    };
    const writing = async (): Promise<ChildProcess & { readonly said: () => string }> => {
      const file = join(world.mountRoot('a'), id, 'records');
      const child = await world.hold(process.execPath, ['--input-type=module', '-e', WRITER, file]);
      const said = collect(child);
      await expect.poll(() => last(said.text()), { timeout: 20_000 }).toBeGreaterThan(20);
      return Object.assign(child, { said: said.text });
    };
    const records = async (): Promise<string> => readFile(join(world.mountRoot('b'), id, 'records'), 'utf8');
    const takenOver = async (): Promise<string> => {
      await b.seize?.(id, ['a'], world.signal);
      await b.mount(id, world.signal);
      return await records();
    };

    it('writes not one record more, and all it was told are on disk are there', { timeout: TIMEOUT_MS }, async () => {
      const writer = await writing();
      const seen = await takenOver();
      await expect.poll(() => writer.said(), { timeout: 20_000 }).toMatch(/E[A-Z]+|Unknown/);
      const told = last(writer.said());
      expect(last(seen)).toBeGreaterThanOrEqual(told);
      expect(seen.split('\n').slice(0, -1)).toEqual(
        Array.from({ length: last(seen) }, (_, index) => String(index + 1)),
      );
      expect(await records()).toBe(seen);
    });

    it('sends nothing when it is back after its link was cut, and rejoins', { timeout: TIMEOUT_MS }, async () => {
      const writer = await writing();
      await must(network).cut();
      try {
        const seen = await takenOver();
        expect(last(seen)).toBeGreaterThanOrEqual(last(writer.said()));
        await must(network).heal();
        await expect.poll(() => writer.said(), { timeout: 60_000 }).toMatch(/E[A-Z]+|Unknown/);
        expect(last(writer.said())).toBeLessThanOrEqual(last(seen));
        expect(await records()).toBe(seen);
        // What is left of its mounts goes away by itself, and it can have volumes again.
        const back = await agentOfA(`
        await backend.recover();
        process.stdout.write(JSON.stringify([[...await backend.listHere()], await backend.discover('${id}')]) + '\\n');`);
        expect(back).toContain(JSON.stringify([[], { kind: 'elsewhere', instance: 'b' }]));
        expect(await readdir(world.mountRoot('a'))).toEqual([]);
        await b.unmount(id, world.signal);
        await b.detach(id, world.signal);
        await agentOfA(`await backend.attach('${id}', signal); await backend.mount('${id}', signal);`);
        expect(await readFile(join(world.mountRoot('a'), id, 'records'), 'utf8')).toBe(seen);
      } finally {
        await must(network).heal();
      }
    });
  },
);

function collect(child: ChildProcess): { readonly text: () => string } {
  let text = '';
  child.stdout?.setEncoding('utf8').on('data', (part: string) => {
    text += part;
  });
  return { text: () => text };
}

/** The last number among lines; 0 when there is none. */
function last(text: string): number {
  return Number(text.match(/^\d+$/gm)?.at(-1) ?? 0);
}

function must<T>(value: T | undefined): T {
  if (value === undefined) throw new Error('a value is missing');
  return value;
}
