import { getSystemErrorMap } from 'node:util';
import { CodedError } from '../../kit/coded-error.ts';

/** A system call that the kernel refused. `code` is the errno name: `EBUSY`, `ENOSPC`, `EPERM`, … */
export class SystemCallError extends CodedError<string> {
  override readonly name = 'SystemCallError';

  constructor(call: string, errno: number) {
    const [code, text] = getSystemErrorMap().get(-errno) ?? [`errno ${errno}`, 'unknown error'];
    super(code, `${call}: ${code}, ${text}`);
  }
}
