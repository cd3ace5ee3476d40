import type { IncomingHttpHeaders } from 'node:http';
import {
  COPY_AGAINST_HEADER,
  COPY_ALONG_HEADER,
  COPY_BASES_HEADER,
  COPY_KEEPS_HEADER,
} from '../../api/copy-channel.ts';
import type { CopyBases, CopyLineage } from '../backends/backend.ts';

/** Most versions that one request may name. */
const MOST_KNOWN = 64;
const UUID = /^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;

/** Headers of a request by a node that has these versions. */
export function basesHeaders({ known, keepsOne }: CopyBases): Readonly<Record<string, string>> {
  return { [COPY_BASES_HEADER]: known.join(','), ...(keepsOne ? { [COPY_KEEPS_HEADER]: '1' } : {}) };
}

/** What a request says of its node's versions: undefined when it says nothing, `malformed` when it is not to be trusted. */
export function basesIn(headers: IncomingHttpHeaders): CopyBases | 'malformed' | undefined {
  const [text, keeps] = [headers[COPY_BASES_HEADER], headers[COPY_KEEPS_HEADER]];
  if (text === undefined) return undefined;
  const known = text === '' ? [] : String(text).split(',', MOST_KNOWN + 1);
  if (known.length > MOST_KNOWN || !known.every((one) => UUID.test(one))) return 'malformed';
  return { known, keepsOne: keeps === '1' };
}

/** Headers of an answer. */
export function lineageHeaders({ against, along }: CopyLineage): Readonly<Record<string, string>> {
  return {
    ...(against === null ? {} : { [COPY_AGAINST_HEADER]: against }),
    ...(along === null ? {} : { [COPY_ALONG_HEADER]: along }),
  };
}

/** What an answer builds on; undefined when that is nothing that `asked` allows. */
export function lineageIn(headers: IncomingHttpHeaders, asked: CopyBases | undefined): CopyLineage | undefined {
  const [against = null, along = null] = [headers[COPY_AGAINST_HEADER], headers[COPY_ALONG_HEADER]].map((text) =>
    text === undefined ? undefined : String(text),
  );
  if (against !== null && asked?.known.includes(against) !== true) return undefined;
  if (along !== null && (asked?.keepsOne !== true || !UUID.test(along))) return undefined;
  return { against, along };
}
