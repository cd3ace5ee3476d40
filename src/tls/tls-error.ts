import { getSystemErrorMap } from 'node:util';
import { CodedError, errorCode } from '../kit/coded-error.ts';

/**
 * - `file_missing`, `file_unreadable`: a PEM file cannot be read. `not_pem`: it can, but holds no usable certificate or key.
 * - `file_exists`, `file_unwritable`: a new file cannot be made; nothing was replaced and nothing was left behind.
 * - `key_mismatch`: the private key belongs to another certificate.
 * - `not_yet_valid`, `expired`: outside the certificate's dates by this machine's clock.
 * - `foreign_authority`: another authority signed the certificate. `not_an_authority`: the certificate may not sign.
 * - `bad_name`: a name that cannot stand in a certificate or a file name.
 */
export type TlsErrorCode =
  | 'file_missing'
  | 'file_unreadable'
  | 'file_exists'
  | 'file_unwritable'
  | 'not_pem'
  | 'key_mismatch'
  | 'not_yet_valid'
  | 'expired'
  | 'foreign_authority'
  | 'not_an_authority'
  | 'bad_name';

/** Certificates or keys that cannot be made or used. */
export class TlsError extends CodedError<TlsErrorCode> {
  override readonly name = 'TlsError';
}

/** Scripts match the C library's wording, which differs from libuv's. */
const C_LIBRARY_TEXT: Readonly<Record<string, string>> = {
  EACCES: 'Permission denied',
  EEXIST: 'File exists',
  EISDIR: 'Is a directory',
  ELOOP: 'Too many levels of symbolic links',
  ENAMETOOLONG: 'File name too long',
  ENOENT: 'No such file or directory',
  ENOSPC: 'No space left on device',
  ENOTDIR: 'Not a directory',
  EPERM: 'Operation not permitted',
  EROFS: 'Read-only file system',
};

/** What went wrong in the words of `strerror(3)`; the error's own message when it is no system error. */
export function systemErrorText(error: unknown): string {
  const code = errorCode(error);
  const known = code === undefined ? undefined : C_LIBRARY_TEXT[code];
  if (known !== undefined) return known;
  for (const [name, text] of getSystemErrorMap().values()) if (name === code) return text;
  return error instanceof Error ? error.message : String(error);
}
