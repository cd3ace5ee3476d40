import { randomUUID } from 'node:crypto';
import { expect } from 'vitest';
import type { JsonAnswer } from './rest-api.ts';

export const DATASETS = '/v1/configuration/datasets';
export const LEASES = '/v1/configuration/leases';

export const UNDECODABLE = {
  description: 'The request body could not be decoded according to the value of the\nContent-Type header.',
};

/** Expects exactly this status and this body. */
export function expectAnswer(answer: JsonAnswer, status: number, json: unknown): void {
  expect({ status: answer.status, json: answer.json }).toEqual({ status, json });
}

/** Expects an error with exactly this description and nothing else. */
export function expectError(answer: JsonAnswer, status: number, description: string): void {
  expectAnswer(answer, status, { description });
}

/** Expects the 400 of a body that is JSON and does not fit, with at least one text for people. */
export function expectBadSchema(answer: JsonAnswer): void {
  expectAnswer(answer, 400, {
    description: "The provided JSON doesn't match the required schema.",
    errors: expect.arrayContaining([expect.any(String)]) as unknown,
  });
}

/** Expects some 4xx with a description, for what the contract leaves open. */
export function expectRefusal(answer: JsonAnswer): void {
  expect(answer.status).toBeGreaterThanOrEqual(400);
  expect(answer.status).toBeLessThan(500);
  expect(answer.json).toMatchObject({ description: expect.any(String) as unknown });
}

/** A UUIDv4 that nobody else has. */
export function newId(): string {
  return randomUUID();
}
