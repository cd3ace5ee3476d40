import { expect } from 'vitest';
import type { Backend } from '../../src/agent/backends/backend.ts';
import type { DatasetId } from '../../src/kit/ids.ts';

/** Expects what a backend says of its pool and of a mounted volume to be whole numbers of bytes, or unknown. */
export async function expectSoundFigures(backend: Backend, mounted: DatasetId, signal: AbortSignal): Promise<void> {
  const bytes = expect.toSatisfy((value) => value === null || (Number.isSafeInteger(value) && value >= 0)) as unknown;
  const usage = await backend.usage?.(mounted, signal);
  if (usage !== undefined) expect(usage).toEqual({ usedBytes: bytes, availableBytes: bytes });
  const report = await backend.describePool?.(signal);
  if (report === undefined) return;
  expect(report.profiles.map(({ name }) => name)).toEqual(backend.profiles);
  expect(report.figures).toEqual({
    totalBytes: bytes,
    availableBytes: bytes,
    usedBytes: bytes,
    logicalBytes: bytes,
    physicalBytes: bytes,
    compressionSavedBytes: bytes,
    sharedSavedBytes: bytes,
  });
  const { totalBytes, availableBytes } = report.figures;
  if (totalBytes !== null) expect(availableBytes ?? 0).toBeLessThanOrEqual(totalBytes);
  await expect(backend.describePool?.(AbortSignal.abort(new Error('shutting down')))).rejects.toThrow('shutting down');
}
