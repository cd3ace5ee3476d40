import { randomUUID } from 'node:crypto';
import { connectMesosAgent } from '../../../src/frontends/resource-provider/mesos-agent.ts';
import { Provider, type ProviderStorage } from '../../../src/frontends/resource-provider/provider.ts';
import { emptyRecord, type ProviderRecord } from '../../../src/frontends/resource-provider/provider-record.ts';
import type {
  Disk,
  OfferSettings,
  StorageLook,
  Work,
  WorkOutcome,
} from '../../../src/frontends/resource-provider/provider-state.ts';
import { systemClock } from '../../../src/kit/clock.ts';
import { silentLogger } from '../../../src/kit/logger.ts';
import type { MesosProviderManager } from '../mesos-provider-manager.ts';

export const GIB = 2 ** 30;

export const OFFERS: OfferSettings = {
  vendor: 'flocker',
  defaultReservations: [],
  mountRoot: '/var/lib/flocker/mesos',
  profiles: null,
  share: 1,
  offerExisting: false,
  adjustEveryMs: 60_000,
};

/** Storage in memory: does what it is told, unless a test says otherwise. */
export class MemoryStorage implements ProviderStorage {
  freeBytes = 100 * GIB;
  datasets: StorageLook['datasets'] = [];
  readonly work: Work[] = [];
  readonly published: (readonly Disk[])[] = [];
  outcome: (work: Work) => Promise<WorkOutcome> = () => Promise.resolve({ ok: true });
  publishing: (disks: readonly Disk[]) => Promise<boolean> = () => Promise.resolve(true);

  async perform(work: Work): Promise<WorkOutcome> {
    this.work.push(work);
    const outcome = await this.outcome(work);
    if (outcome.ok && work.kind === 'make') this.freeBytes -= work.sizeBytes;
    return outcome;
  }

  publish(disks: readonly Disk[]): Promise<boolean> {
    this.published.push(disks);
    return this.publishing(disks);
  }

  doom(): Promise<void> {
    return Promise.resolve();
  }

  look(): Promise<Omit<StorageLook, 'diskEpoch' | 'atMs'>> {
    return Promise.resolve({
      profiles: [
        {
          profile: 'gold',
          labels: [
            { key: 'media', value: 'ssd' },
            { key: 'compression', value: 'zstd' },
          ],
        },
      ],
      freeBytes: this.freeBytes,
      totalBytes: 100 * GIB,
      datasets: this.datasets,
    });
  }
}

/** A real provider process's inside, attached to a stand-in for the Mesos agent; `record` outlives it as a file would. */
export class ProviderBench {
  readonly storage = new MemoryStorage();
  record: ProviderRecord = emptyRecord('io.flocker.rp', 'bench');
  provider: Provider | undefined;
  ended = false;
  readonly #manager: MesosProviderManager;

  constructor(manager: MesosProviderManager) {
    this.#manager = manager;
  }

  start(offers: Partial<OfferSettings> = {}, lookEveryMs = 30_000): Provider {
    const { storage } = this;
    this.provider = new Provider({
      record: this.record,
      save: (record) => {
        this.record = structuredClone(record);
        return Promise.resolve();
      },
      agent: connectMesosAgent({ url: this.#manager.url, clock: systemClock }),
      storage,
      look: () => storage.look(),
      settings: { ...OFFERS, ...offers },
      onEnd: () => {
        this.ended = true;
      },
      clock: systemClock,
      random: Math.random,
      newUuid: randomUUID,
      logger: silentLogger,
      // The least that is safe with a real agent.
      restMs: 1_100,
      lookEveryMs,
    });
    this.provider.start();
    return this.provider;
  }

  async close(): Promise<void> {
    await this.provider?.close();
  }
}
