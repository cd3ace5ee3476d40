import { expect } from 'vitest';
import type { ProblemCode } from '../../src/model/volume-state.ts';

/** Awaits a refusal with `code` whose message names the volume; returns the message. */
export async function expectCode(step: Promise<unknown>, code: ProblemCode, datasetId: string | null): Promise<string> {
  const error: unknown = await step.then(
    () => new Error('the step was done'),
    (thrown: unknown) => thrown,
  );
  expect(error).toMatchObject({ code });
  const message = error instanceof Error ? error.message : '';
  if (datasetId !== null) expect(message).toContain(datasetId);
  return message;
}
