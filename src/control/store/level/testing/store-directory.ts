import { strict as assert } from 'node:assert';
import { randomUUID } from 'node:crypto';
import { mkdtemp, realpath, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Logger } from '../../../../kit/logger.ts';
import { silentLogger } from '../../../../kit/logger.ts';
import { type Store, StoreError, type StoreErrorCode } from '../../store.ts';
import { openLevelStore } from '../open-level-store.ts';

/** Runs `work` with a new empty directory and removes it afterwards. */
export async function inDirectory(work: (directory: string) => Promise<void>): Promise<void> {
  const directory = await realpath(await mkdtemp(join(tmpdir(), 'level-store-')));
  try {
    await work(directory);
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}

export function openStore(directory: string, options: { logger?: Logger; acceptLoss?: boolean } = {}): Promise<Store> {
  return openLevelStore({ directory, newUuid: randomUUID, logger: silentLogger, ...options });
}

/** A logger that keeps its messages, as `warn: text`. */
export function recordingLogger(): { readonly logger: Logger; readonly lines: string[] } {
  const lines: string[] = [];
  const logger: Logger = {
    debug: (_, message) => void lines.push(`debug: ${message}`),
    info: (_, message) => void lines.push(`info: ${message}`),
    warn: (_, message) => void lines.push(`warn: ${message}`),
    error: (_, message) => void lines.push(`error: ${message}`),
    child: () => logger,
  };
  return { logger, lines };
}

/** Expects `work` to be refused with `code` and a message that matches `text`. */
export async function expectStoreError(work: Promise<unknown>, code: StoreErrorCode, text: RegExp): Promise<void> {
  const error = await work.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  assert(error instanceof StoreError, `expected a StoreError, got ${String(error)}`);
  assert.equal(error.code, code);
  assert.match(error.message, text);
}
