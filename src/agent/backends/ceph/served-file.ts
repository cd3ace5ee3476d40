import { read, writeSync } from 'node:fs';
import { promisify } from 'node:util';
import { errorCode } from '../../../kit/coded-error.ts';
import {
  attributesAnswer,
  bodyOf,
  extentOf,
  FuseOp,
  type FuseRequest,
  failure,
  filesystemAnswer,
  initAnswer,
  newAnswer,
  openAnswer,
  parseRequest,
  REQUEST_BYTES,
  writtenAnswer,
  writtenBytes,
  zeroedExtent,
} from './fuse-protocol.ts';
import type { OpenImage } from './librbd.ts';

const readFrom = promisify(read);

const EIO = 5;
const ENOSPC = 28;
const ENOSYS = 38;
const EOPNOTSUPP = 95;
/** Of an image's smallest part that is given back; Ceph rounds smaller ones away (`rbd_discard_granularity_bytes`). */
const DISCARD_BYTES = 65536;
const NO_ANSWER: ReadonlySet<number> = new Set([FuseOp.forget, FuseOp.batchForget, FuseOp.interrupt]);

export interface ServedFileOptions {
  /** `/dev/fuse`, open and mounted. */
  readonly device: number;
  readonly image: OpenImage;
  readonly sizeBytes: number;
  /** So many requests the kernel has under way. */
  readonly requestsAtOnce: number;
  /** The last who had it open has closed it, and nothing is under way. */
  readonly onLastClose: () => void;
}

/**
 * An image as a file of the kernel. Every write is on the storage daemons before it is answered. Once one has failed, no fsync succeeds
 * any more, so that nobody is told that data are on disk which are not.
 */
export class ServedFile {
  readonly #options: ServedFileOptions;
  #sizeBytes: number;
  #openFiles = 0;
  #hasFailed = false;

  constructor(options: ServedFileOptions) {
    this.#options = options;
    this.#sizeBytes = options.sizeBytes;
  }

  /** What stat(2) says from now on. */
  set sizeBytes(sizeBytes: number) {
    this.#sizeBytes = sizeBytes;
  }

  /** Answers the kernel until the file is unmounted. */
  async serve(): Promise<void> {
    const spare: Buffer[] = [];
    for (;;) {
      const buffer = spare.pop() ?? Buffer.allocUnsafeSlow(REQUEST_BYTES);
      try {
        await readFrom(this.#options.device, buffer, 0, buffer.length, null);
      } catch (error) {
        // ENOENT: who asked was killed meanwhile.
        const code = errorCode(error);
        if (code === 'ENODEV') return;
        if (code !== 'ENOENT' && code !== 'EINTR' && code !== 'EAGAIN') throw error;
        spare.push(buffer);
        continue;
      }
      void this.#handle(parseRequest(buffer)).finally(() => spare.push(buffer));
    }
  }

  async #handle(request: FuseRequest): Promise<void> {
    if (NO_ANSWER.has(request.opcode)) return;
    let answer: Buffer;
    try {
      answer = await this.#answer(request);
    } catch (error) {
      answer = failure(request.unique, errorCode(error) === 'ENOSPC' ? ENOSPC : EIO);
    }
    try {
      writeSync(this.#options.device, answer);
    } catch (error) {
      // Who asked was killed, or all is over.
      const code = errorCode(error);
      if (code !== 'ENOENT' && code !== 'ENODEV' && code !== 'EPERM') throw error;
    }
    if (request.opcode === FuseOp.release && this.#openFiles === 0) this.#options.onLastClose();
  }

  async #answer(request: FuseRequest): Promise<Buffer> {
    const { unique, opcode } = request;
    const { image, requestsAtOnce } = this.#options;
    switch (opcode) {
      case FuseOp.init:
        return initAnswer(request, requestsAtOnce);
      case FuseOp.getAttributes:
        return attributesAnswer(unique, this.#sizeBytes);
      case FuseOp.statFilesystem:
        return filesystemAnswer(unique, DISCARD_BYTES);
      case FuseOp.open:
        this.#openFiles += 1;
        return openAnswer(unique);
      case FuseOp.release:
        this.#openFiles -= 1;
        return newAnswer(unique, 0);
      case FuseOp.flush:
      case FuseOp.destroy:
        return newAnswer(unique, 0);
      case FuseOp.read: {
        const { offset, length } = extentOf(request);
        const answer = newAnswer(unique, Math.max(0, Math.min(length, this.#sizeBytes - offset)));
        await image.read(offset, bodyOf(answer));
        return answer;
      }
      case FuseOp.write: {
        const bytes = writtenBytes(request);
        await this.#change(() => image.write(extentOf(request).offset, bytes));
        return writtenAnswer(unique, bytes.length);
      }
      case FuseOp.allocate: {
        const extent = zeroedExtent(request);
        if (extent === undefined) return failure(unique, EOPNOTSUPP);
        await this.#change(() => image.zero(extent.offset, extent.length));
        return newAnswer(unique, 0);
      }
      case FuseOp.fsync:
        if (this.#hasFailed) return failure(unique, EIO);
        await this.#change(() => image.flush());
        return newAnswer(unique, 0);
      default:
        return failure(unique, ENOSYS);
    }
  }

  async #change(work: () => Promise<void>): Promise<void> {
    try {
      await work();
    } catch (error) {
      this.#hasFailed = true;
      throw error;
    }
  }
}
