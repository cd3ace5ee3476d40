import { randomUUID } from 'node:crypto';
import { setFlagsFromString } from 'node:v8';
import { type Clock, systemClock } from '../kit/clock.ts';
import { errorText } from '../kit/coded-error.ts';
import type { NewUuid } from '../kit/ids.ts';
import { jsonLogger, type Logger } from '../kit/logger.ts';

/** What every daemon of ours is built from. */
export interface DaemonWorld {
  readonly clock: Clock;
  readonly newUuid: NewUuid;
  readonly random: () => number;
  readonly logger: Logger;
  /** Ends the process at once with exit status 1: for a state in which going on would do harm. */
  readonly fatal: (error: unknown) => void;
}

/** A daemon that runs. */
export interface Daemon {
  close(): Promise<void>;
}

/** A daemon that takes longer than this to close is ended. */
const CLOSE_TIMEOUT_MS = 15_000;
/**
 * V8 collects when the heap is so much larger, percent, than what lived at its last collection. Left to itself it lets a small
 * heap grow to three times that, and the memory never goes back.
 */
const HEAP_GROWING_PERCENT = 40;

/**
 * Runs a daemon until SIGTERM, SIGINT, or the end of the parent that started it with an IPC channel (which is told
 * `ready`). Exit status 0 after a clean stop, 1 when it could not start or failed.
 */
export async function runDaemon(
  name: string,
  level: string,
  start: (world: DaemonWorld) => Promise<Daemon>,
): Promise<void> {
  setFlagsFromString(`--heap-growing-percent=${HEAP_GROWING_PERCENT}`);
  const logger = jsonLogger(name, level);
  const fatal = (error: unknown): void => {
    logger.error({ err: error }, `${name} stops: ${errorText(error)}`);
    process.exit(1);
  };
  process.on('uncaughtException', fatal);
  process.on('unhandledRejection', fatal);
  // Whoever does not serve yet has nothing to close; a control service that stands by may be there for months.
  let close = (): Promise<void> => Promise.resolve();
  let stopping = false;
  const stop = (why: string): void => {
    if (stopping) return;
    stopping = true;
    logger.info({ why }, `${name} stops`);
    setTimeout(() => fatal(new Error(`did not stop within ${CLOSE_TIMEOUT_MS / 1000} s`)), CLOSE_TIMEOUT_MS).unref();
    close().then(() => process.exit(0), fatal);
  };
  process.on('SIGTERM', () => stop('SIGTERM'));
  process.on('SIGINT', () => stop('SIGINT'));
  process.on('disconnect', () => stop('parent ended'));
  try {
    const daemon = await start({ clock: systemClock, newUuid: randomUUID, random: Math.random, logger, fatal });
    close = () => daemon.close();
  } catch (error) {
    logger.error({ code: codeOf(error) }, errorText(error));
    process.stderr.write(`${name}: ${errorText(error)}\n`);
    process.exit(1);
  }
  process.send?.('ready');
}

function codeOf(error: unknown): unknown {
  return typeof error === 'object' && error !== null && 'code' in error ? error.code : undefined;
}
