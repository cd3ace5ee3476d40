import { CodedError } from '../kit/coded-error.ts';

/** Longer than any state that an agent sends, and most masters; what claims to be more is not taken in. */
const LONGEST_RECORD_BYTES = 64 * 2 ** 20;

/** A stream that is not made of records. */
class RecordIoError extends CodedError<'bad_record'> {
  override readonly name = 'RecordIoError';
}

/** Splits Mesos's RecordIO: `<decimal length>\n<bytes>` again and again, however it is cut into chunks. */
export class RecordIo {
  /** Chunks whose bytes belong to no whole record yet, and how many bytes they are. */
  #chunks: Buffer[] = [];
  #waitingBytes = 0;
  /** What has to be there before it is worth looking again: a long record comes in a thousand chunks. */
  #neededBytes = 1;

  /** The records that are whole with this chunk. Throws on what is no RecordIO. */
  push(chunk: Buffer): string[] {
    this.#chunks.push(chunk);
    this.#waitingBytes += chunk.length;
    if (this.#waitingBytes < this.#neededBytes) return [];
    const records: string[] = [];
    let waiting = this.#chunks.length === 1 ? chunk : Buffer.concat(this.#chunks);
    for (;;) {
      const head = headOf(waiting);
      const end = head === undefined ? 0 : head.recordAt + head.recordBytes;
      if (head === undefined || waiting.length < end) {
        // What is kept is a copy: a view of a few bytes would keep the whole chunk.
        this.#chunks = waiting.length === 0 ? [] : [records.length === 0 ? waiting : Buffer.from(waiting)];
        this.#waitingBytes = waiting.length;
        this.#neededBytes = head === undefined ? 1 : end;
        return records;
      }
      records.push(waiting.subarray(head.recordAt, end).toString('utf8'));
      waiting = waiting.subarray(end);
    }
  }
}

/** Where the record that `waiting` begins with lies in it; undefined while its length is not whole. */
function headOf(waiting: Buffer): { readonly recordAt: number; readonly recordBytes: number } | undefined {
  const end = waiting.indexOf(0x0a);
  const head = waiting.subarray(0, end < 0 ? 20 : end).toString('latin1');
  if (end > 12 || (end < 0 && waiting.length > 12) || !/^\d*$/.test(head) || end === 0)
    throw new RecordIoError('bad_record', `Mesos sent ${JSON.stringify(head)} where the length of a record belongs`);
  if (end < 0) return undefined;
  const recordBytes = Number(head);
  if (recordBytes > LONGEST_RECORD_BYTES)
    throw new RecordIoError('bad_record', `Mesos announced a record of ${recordBytes} bytes`);
  return { recordAt: end + 1, recordBytes };
}
