import { getSystemErrorMap } from 'node:util';
import { CodedError } from '../../kit/coded-error.ts';

/** What filesystems and block devices say and node has no name for (errno(3)). */
const FILESYSTEM_ERRORS: ReadonlyMap<number, readonly [string, string]> = new Map([
  [117, ['EUCLEAN', 'structure needs cleaning']],
  [122, ['EDQUOT', 'disk quota exceeded']],
]);

/** A system call that the kernel refused. `code` is the errno name: `EBUSY`, `ENOSPC`, `EPERM`, … */
export class SystemCallError extends CodedError<string> {
  override readonly name = 'SystemCallError';

  constructor(call: string, errno: number) {
    const known = getSystemErrorMap().get(-errno) ?? FILESYSTEM_ERRORS.get(errno);
    const [code, text] = known ?? [`errno ${errno}`, 'unknown error'];
    super(code, `${call}: ${code}, ${text}`);
  }
}
