import fastify, { type FastifyInstance } from 'fastify';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { silentLogger } from '../../kit/logger.ts';
import { replyByContract } from './contract-replies.ts';
import { sendList } from './long-list.ts';

const ALL = Array.from({ length: 1234 }, (_, index) => index);

describe('lists', () => {
  let app: FastifyInstance;
  let read: (keys: readonly number[]) => Promise<unknown[]>;
  let parts: number[];
  beforeEach(() => {
    app = fastify();
    replyByContract(app, silentLogger);
    parts = [];
    app.get<{ Params: { count: string } }>('/:count', (request, reply) =>
      sendList(reply, ALL.slice(0, Number(request.params.count)), (keys) => {
        parts.push(keys.length);
        return read(keys);
      }),
    );
  });
  afterEach(() => app.close());

  const rowsOf = (keys: readonly number[]): unknown[] => keys.map((key) => ({ key, name: 'Größe' }));

  it.each([0, 1, 500, 501, 1000, 1234])('have all of %i, escaped as the contract says', async (count) => {
    read = (keys) => Promise.resolve(rowsOf(keys));
    const answer = await app.inject(`/${count}`);
    expect(answer.headers['content-type']).toBe('application/json');
    expect(answer.payload).not.toContain('ö');
    expect(answer.json()).toEqual(rowsOf(ALL.slice(0, count)));
    expect(Math.max(0, ...parts)).toBeLessThanOrEqual(500);
  });

  it('leave out what is gone when its turn comes, wherever that is', async () => {
    for (const gone of [
      (key: number) => key < 500,
      (key: number) => key >= 500 && key < 1000,
      (key: number) => key >= 1000,
      () => true,
    ]) {
      read = (keys) => Promise.resolve(rowsOf(keys.filter((key) => !gone(key))));
      expect((await app.inject('/1234')).json()).toEqual(rowsOf(ALL.filter((key) => !gone(key))));
    }
  });

  it('let others be answered in between', async () => {
    let others = 0;
    const count = (): void => {
      others += 1;
      if (parts.length < 3) setImmediate(count);
    };
    read = (keys) => {
      if (keys[0] === 0) setImmediate(count);
      return Promise.resolve(rowsOf(keys));
    };
    await app.inject('/1234');
    expect(others).toBeGreaterThanOrEqual(2);
  });

  it('fail as everything does before they began, and break off later', async () => {
    read = () => Promise.reject(new Error('no longer'));
    expect((await app.inject('/1234')).statusCode).toBe(500);
    read = (keys) => (keys[0] === 0 ? Promise.resolve(rowsOf(keys)) : Promise.reject(new Error('no longer')));
    const broken = await app.inject('/1234').catch((error: unknown) => error);
    expect(broken).toBeInstanceOf(Error);
  });
});
