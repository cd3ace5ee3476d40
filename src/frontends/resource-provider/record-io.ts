import { CodedError } from '../../kit/coded-error.ts';

/** Longer than any state that an agent sends; what claims to be more is no RecordIO. */
const LONGEST_RECORD_BYTES = 64 * 2 ** 20;

/** A stream that is not made of records. */
class RecordIoError extends CodedError<'bad_record'> {
  override readonly name = 'RecordIoError';
}

/** Splits Mesos's RecordIO: `<decimal length>\n<bytes>` again and again, however it is cut into chunks. */
export class RecordIo {
  #waiting: Buffer = Buffer.alloc(0);

  /** The records that are whole with this chunk. Throws on what is no RecordIO. */
  push(chunk: Buffer): string[] {
    this.#waiting = this.#waiting.length === 0 ? chunk : Buffer.concat([this.#waiting, chunk]);
    const records: string[] = [];
    for (;;) {
      const end = this.#waiting.indexOf(0x0a);
      const head = this.#waiting.subarray(0, end < 0 ? 20 : end).toString('latin1');
      if (end > 12 || (end < 0 && this.#waiting.length > 12) || !/^\d*$/.test(head) || end === 0)
        throw new RecordIoError(
          'bad_record',
          `the agent sent ${JSON.stringify(head)} where the length of a record belongs`,
        );
      if (end < 0) return records;
      const length = Number(head);
      if (length > LONGEST_RECORD_BYTES)
        throw new RecordIoError('bad_record', `the agent announced a record of ${length} bytes`);
      if (this.#waiting.length < end + 1 + length) return records;
      records.push(this.#waiting.subarray(end + 1, end + 1 + length).toString('utf8'));
      this.#waiting = this.#waiting.subarray(end + 1 + length);
    }
  }
}
