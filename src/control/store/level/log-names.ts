import { readdirSync } from 'node:fs';
import { syncDirectory } from '../../../kit/atomic-file.ts';

const LOG = /^\d+\.log$/;

/**
 * Makes the names of LevelDB's logs durable. LevelDB syncs a log but, when it begins a new one, not the directory before its
 * next manifest: until then a power cut may take away the file with all that was synced in it.
 */
export class LogNames {
  readonly #directory: string;
  #durable: ReadonlySet<string> = new Set();

  /** `directory` is the database's. */
  constructor(directory: string) {
    this.#directory = directory;
  }

  /** To be called after a synced write: resolves when the log that has it is there after a power cut. */
  async makeDurable(): Promise<void> {
    // Without waiting for another thread: it is only a few names.
    const logs = readdirSync(this.#directory).filter((name) => LOG.test(name));
    if (logs.every((name) => this.#durable.has(name))) return;
    await syncDirectory(this.#directory);
    this.#durable = new Set(logs);
  }
}
