import { expect } from 'vitest';
import type { ClientErrorCode } from '../flocker-client.ts';

/** For `toMatchObject`: a ClientError whose message holds these texts in this order. */
export function errorLike(code: ClientErrorCode, ...texts: readonly string[]): { code: string; message: unknown } {
  const pattern = texts.map((text) => text.replace(/[.*+?^${}()|[\]\\]/g, '\\$&')).join('[^]*');
  return { code, message: expect.stringMatching(pattern) as unknown };
}
