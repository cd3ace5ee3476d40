/** What an inbox needs of a WebSocket. */
interface Pausable {
  pause(): void;
  resume(): void;
}

/** No more is read of a connection while more than this waits, bytes. */
const MOST_WAITING_BYTES = 2 ** 20;

/**
 * The messages of one connection, taken one after the other: a report must not overtake the hello before it. An agent that sends
 * faster than it is served is read no further, so that what waits stays small.
 */
export class AgentInbox {
  readonly #socket: Pausable;
  readonly #take: (message: Buffer) => Promise<void>;
  readonly #failed: (error: unknown) => void;
  #waiting: Buffer[] = [];
  #waitingBytes = 0;
  #working = false;
  #closed = false;

  /** `take` is never called again once it has rejected; `failed` is told why. */
  constructor(socket: Pausable, take: (message: Buffer) => Promise<void>, failed: (error: unknown) => void) {
    this.#socket = socket;
    this.#take = take;
    this.#failed = failed;
  }

  push(message: Buffer): void {
    if (this.#closed) return;
    this.#waiting.push(message);
    this.#waitingBytes += message.length;
    if (this.#waitingBytes > MOST_WAITING_BYTES) this.#socket.pause();
    if (!this.#working) void this.#work();
  }

  /** Drops what waits. */
  close(): void {
    this.#closed = true;
    this.#waiting = [];
  }

  async #work(): Promise<void> {
    this.#working = true;
    for (let message = this.#waiting.shift(); message !== undefined; message = this.#waiting.shift()) {
      try {
        await this.#take(message);
      } catch (error) {
        this.close();
        this.#failed(error);
        return;
      }
      this.#waitingBytes -= message.length;
      if (this.#waitingBytes <= MOST_WAITING_BYTES) this.#socket.resume();
    }
    this.#working = false;
  }
}
