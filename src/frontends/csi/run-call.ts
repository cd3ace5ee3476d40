import type { Clock } from '../../kit/clock.ts';
import { errorText } from '../../kit/coded-error.ts';
import { withDeadline } from '../../kit/deadline.ts';
import type { Logger } from '../../kit/logger.ts';
import { CsiError, csiErrorOf, STATUS } from './csi-error.ts';

/** One call as it came in. */
export interface IncomingCall {
  readonly name: string;
  readonly request: object;
  /** Wall clock, milliseconds since the epoch; infinite when the caller has time. */
  readonly dueMs: number;
}

/** Nobody waits for longer, whatever the caller allows: milliseconds. */
const LONGEST_CALL_MS = 120_000;
/** An answer takes a moment to arrive: the caller rather reads what it waited for than that its time is over. */
const ANSWER_MS = 300;
/** Work that is out of time gets this long to say what it was waiting for, milliseconds. */
const LAST_WORD_MS = 250;

/** Runs the work of calls under their deadlines, logs what comes of it, and makes every failure one of gRPC's. */
export class CallRunner {
  readonly #clock: Clock;
  readonly #logger: Logger;

  constructor(clock: Clock, logger: Logger) {
    this.#clock = clock;
    this.#logger = logger;
  }

  async run<T>(call: IncomingCall, cancelled: AbortSignal, work: (signal: AbortSignal) => Promise<T>): Promise<T> {
    const startedMs = this.#clock.monotonicMs();
    const leftMs = Math.max(1, Math.min(LONGEST_CALL_MS, call.dueMs - this.#clock.wallMs() - ANSWER_MS));
    try {
      const answer = await withDeadline(this.#clock, leftMs, call.name, cancelled, (signal) =>
        this.#lastWord(work(signal), signal),
      );
      this.#logger.debug({ ...this.#fields(call, startedMs) }, 'a CSI call');
      return answer;
    } catch (error) {
      const told = cancelled.aborted
        ? new CsiError('CANCELLED', `${call.name}: ${errorText(cancelled.reason)}`, { cause: error })
        : csiErrorOf(error);
      const fields = { ...this.#fields(call, startedMs), code: told.code, error: told.message };
      if (told.code === 'INTERNAL') this.#logger.error({ ...fields, err: told.cause }, 'a CSI call failed');
      else this.#logger.info(fields, 'a CSI call was refused or failed');
      throw told;
    }
  }

  /** Work that does not end when it should goes on alone. */
  #lastWord<T>(work: Promise<T>, signal: AbortSignal): Promise<T> {
    return new Promise((resolve, reject) => {
      let cancel = (): void => undefined;
      const onAbort = (): void => {
        cancel = this.#clock.timer(LAST_WORD_MS, () => reject(signal.reason as Error));
      };
      if (signal.aborted) onAbort();
      else signal.addEventListener('abort', onAbort, { once: true });
      work.then(resolve, reject).finally(() => {
        cancel();
        signal.removeEventListener('abort', onAbort);
      });
    });
  }

  /** Chosen fields only: requests carry secrets, and whatever a newer caller adds may be one. */
  #fields({ name, request }: IncomingCall, startedMs: number): object {
    const {
      volumeId,
      name: named,
      nodeId,
      targetPath,
      stagingTargetPath,
      snapshotId,
    } = request as Record<string, unknown>;
    return {
      call: name,
      ...{ volumeId, name: named, nodeId, targetPath, stagingTargetPath, snapshotId },
      ms: Math.round((this.#clock.monotonicMs() - startedMs) * 10) / 10,
    };
  }
}

/** As grpc-js takes it. */
export function statusOf(error: unknown): { readonly code: number; readonly details: string } {
  const { code, message } = csiErrorOf(error);
  return { code: STATUS[code], details: message };
}
