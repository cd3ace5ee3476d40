import { randomUUID } from 'node:crypto';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { storeContract } from '../../../../test/contract/store.ts';
import { etcdSkipReason, TestEtcd } from '../../../../test/support/etcd.ts';
import { systemClock } from '../../../kit/clock.ts';
import { silentLogger } from '../../../kit/logger.ts';
import type { StoreChange, StoreError } from '../store.ts';
import { parseEtcdAddress } from './etcd-address.ts';
import { EtcdGateway } from './etcd-gateway.ts';
import type { EtcdStore } from './etcd-store.ts';
import { openEtcdStore } from './open-etcd-store.ts';

const skip = await etcdSkipReason();
const TIMEOUT_MS = 30_000;

describe('the address of an etcd', () => {
  it.each([
    ['etcd://a', ['a:2379'], '/flocker/'],
    ['etcd://a:1,b.example.com:2/', ['a:1', 'b.example.com:2'], '/flocker/'],
    ['etcd://[::1]:9,10.0.0.1/x/y/', ['[::1]:9', '10.0.0.1:2379'], '/x/y/'],
  ])('%s is read', (text, members, prefix) => {
    expect(parseEtcdAddress(text)).toEqual({ members, prefix });
  });

  it.each(['etcd://', 'etcd://a:0', 'etcd://a:70000', 'etcd://a,,b', 'etcd://a b', 'etcd://a?x', 'etcd://u@a'])(
    '%s is refused',
    (text) => {
      expect(() => parseEtcdAddress(text)).toThrow('no address of etcd');
    },
  );

  it('is what begins so, and nothing else', () => {
    expect(parseEtcdAddress('/var/lib/flocker')).toBeUndefined();
  });
});

describe.skipIf(skip !== null)(`etcd${skip ?? ''}`, () => {
  let etcd: TestEtcd;
  const opened: EtcdStore[] = [];
  beforeAll(async () => {
    etcd = await TestEtcd.start();
  });
  afterEach(async () => {
    await Promise.all(opened.splice(0).map((store) => store.close()));
  });
  afterAll(() => etcd.dispose());

  const open = async (
    prefix: string,
    fields: { onLost?: (error: StoreError) => void; signal?: AbortSignal; name?: string } = {},
  ): Promise<EtcdStore> => {
    const store = await openEtcdStore({
      address: { members: etcd.members, prefix },
      ...{ clock: systemClock, newUuid: randomUUID, logger: silentLogger, name: 'test', onLost: () => undefined },
      signal: AbortSignal.timeout(TIMEOUT_MS),
      ...fields,
    });
    opened.push(store);
    return store;
  };
  const put = (key: string, value: number | string): StoreChange => ({ kind: 'put', key, value });
  const gateway = (): EtcdGateway => new EtcdGateway({ members: etcd.members, clock: systemClock });

  storeContract('etcd', () => {
    const prefix = `/contract-${randomUUID()}/`;
    return Promise.resolve({ open: () => open(prefix), dispose: () => Promise.resolve() });
  });

  it('is open in one process at a time: another stands by until that gives up', async () => {
    const prefix = `/one-${randomUUID()}/`;
    const first = await open(prefix);
    await first.commit([put('k', 1)]);
    let isOpen = false;
    const second = open(prefix).then((store) => {
      isOpen = true;
      return store;
    });
    await new Promise((resolve) => setTimeout(resolve, 4_000));
    expect(isOpen).toBe(false);
    first.assertCurrent();
    await first.commit([put('k', 2)]);
    const beganMs = performance.now();
    await first.close();
    expect([...(await second).entries()]).toEqual([['k', 2]]);
    expect(performance.now() - beganMs).toBeLessThan(2_500);
    expect((await second).clusterId).toBe(first.clusterId);
  });

  it('takes no write, and tells nothing, of one that no longer leads', async () => {
    const prefix = `/deposed-${randomUUID()}/`;
    const lost: StoreError[] = [];
    const first = await open(prefix, { onLost: (error) => lost.push(error) });
    await first.commit([put('k', 'first')]);
    // As when its lease ended while it was halted.
    const raw = gateway();
    await raw.transaction([], [{ kind: 'remove', key: `${prefix}leader` }]);
    const second = await open(prefix);
    await second.commit([put('k', 'second')]);
    await expect(first.commit([put('k', 'first again')])).rejects.toMatchObject({ code: 'store_failed' });
    await expect(first.commit([put('k', 'and again')])).rejects.toMatchObject({ code: 'store_failed' });
    expect(() => first.assertCurrent()).toThrow('no longer leads');
    expect(lost).toHaveLength(1);
    await second.close();
    expect([...(await open(prefix)).entries()]).toEqual([['k', 'second']]);
    await raw.close();
  });

  it('keeps a commit of any size whole, also when its leader ends in the middle of it', async () => {
    const prefix = `/large-${randomUUID()}/`;
    const first = await open(prefix);
    await first.commit(Array.from({ length: 5_000 }, (_, index) => put(`entry/${index}`, 'x'.repeat(500))));
    await first.commit([
      { kind: 'remove', key: 'entry/0' },
      ...Array.from({ length: 200 }, (_, index) => put(`more/${index}`, index)),
    ]);
    expect(first.revision).toBe(2);
    await first.close();
    // In force, and not yet where it belongs; and one that never came into force.
    const raw = gateway();
    const changes = [{ key: 'entry/1', text: '"changed"' }, { key: 'entry/2' }];
    await raw.transaction(
      [],
      [
        { kind: 'put', key: `${prefix}journal-parts/00000000`, value: JSON.stringify(changes) },
        { kind: 'put', key: `${prefix}journal-parts/00000001`, value: JSON.stringify([{ key: 'never', text: '1' }]) },
        { kind: 'put', key: `${prefix}journal`, value: '1' },
      ],
    );
    const entries = (await open(prefix)).entries();
    expect(entries.size).toBe(5_000 - 2 + 200);
    expect(entries.get('entry/1')).toBe('changed');
    expect(entries.has('entry/0') || entries.has('entry/2') || entries.has('never')).toBe(false);
    expect((await raw.range(`${prefix}journal`, { prefix: true })).pairs).toEqual([]);
    await raw.close();
  });

  it('is refused when it is damaged or of a newer version, and changed by nothing then', async () => {
    for (const [key, value, code] of [
      ['meta', '{"version":2,"clusterId":"x"}', 'store_unsupported'],
      ['meta', 'x', 'store_damaged'],
      ['head', '{}', 'store_damaged'],
      ['entries/k', '{', 'store_damaged'],
      ['journal', '1', 'store_damaged'],
    ] as const) {
      const prefix = `/damaged-${randomUUID()}/`;
      const store = await open(prefix);
      await store.commit([put('k', 1)]);
      await store.close();
      const raw = gateway();
      await raw.transaction([], [{ kind: 'put', key: prefix + key, value }]);
      const before = await raw.range(prefix, { prefix: true });
      await expect(open(prefix), key).rejects.toMatchObject({ code });
      expect((await raw.range(prefix, { prefix: true })).pairs).toEqual(before.pairs);
      await raw.close();
    }
  });

  it('stops standing by with the signal', async () => {
    const prefix = `/stop-${randomUUID()}/`;
    await open(prefix);
    const reason = new Error('stopped');
    const controller = new AbortController();
    const waiting = open(prefix, { signal: controller.signal });
    setTimeout(() => controller.abort(reason), 200);
    await expect(waiting).rejects.toBe(reason);
  });
});

describe.skipIf(skip !== null)(`etcd with three members${skip ?? ''}`, () => {
  it('loses no commit when members are killed and halted, and stops being told when there is no majority', async () => {
    const etcd = await TestEtcd.start(3);
    const lost: StoreError[] = [];
    const store = await openEtcdStore({
      address: { members: etcd.members, prefix: '/three/' },
      ...{ clock: systemClock, newUuid: randomUUID, logger: silentLogger, name: 'test' },
      // Where other tests run as well, etcd may take seconds for an answer.
      leaseSeconds: 10,
      onLost: (error) => lost.push(error),
      signal: AbortSignal.timeout(TIMEOUT_MS),
    });
    try {
      const acknowledged: number[] = [];
      const write = async (from: number, to: number): Promise<void> => {
        for (let value = from; value < to; value += 1) {
          await store.commit([{ kind: 'put', key: `k/${value}`, value }]);
          acknowledged.push(value);
        }
      };
      await write(0, 20);
      etcd.signalMember(0, 'SIGKILL');
      await write(20, 40);
      await etcd.startMember(0);
      await etcd.ready();
      await write(40, 60);
      store.assertCurrent();
      // Whichever it talks to: one that is halted takes requests and answers none.
      for (const member of [0, 1, 2]) {
        etcd.signalMember(member, 'SIGSTOP');
        await write(60 + 10 * member, 70 + 10 * member);
        store.assertCurrent();
        etcd.signalMember(member, 'SIGCONT');
        await etcd.ready();
      }
      for (const member of [0, 1]) etcd.signalMember(member, 'SIGSTOP');
      await expect(store.commit([{ kind: 'put', key: 'never', value: 1 }])).rejects.toMatchObject({
        code: 'store_failed',
      });
      expect(lost).toHaveLength(1);
      expect(() => store.assertCurrent()).toThrow('no longer leads');
      for (const member of [0, 1]) etcd.signalMember(member, 'SIGCONT');
      await store.close();
      const next = await openEtcdStore({
        address: { members: etcd.members, prefix: '/three/' },
        ...{ clock: systemClock, newUuid: randomUUID, logger: silentLogger, name: 'test', onLost: () => undefined },
        signal: AbortSignal.timeout(TIMEOUT_MS),
      });
      const entries = next.entries();
      expect(acknowledged.filter((value) => entries.get(`k/${value}`) !== value)).toEqual([]);
      expect(acknowledged).toHaveLength(90);
      await next.close();
    } finally {
      await store.close();
      await etcd.dispose();
    }
  }, 90_000);
});
