import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  DATASETS,
  expectAnswer,
  expectBadSchema,
  expectError,
  LEASES,
  newId,
  UNDECODABLE,
} from '../support/contract-bodies.ts';
import { startTestControl, type TestControl } from '../support/control.ts';

let control: TestControl;
beforeAll(async () => {
  control = await startTestControl();
});
afterAll(() => control.close());

const create = (): string => JSON.stringify({ primary: newId() });

describe('transport (contract 1.1)', () => {
  it('answers the version', async () => {
    expectAnswer(await control.api.get('/v1/version'), 200, { flocker: '1.15.0' });
  });

  it.each([
    ['none', []],
    ['text/plain', [['content-type', 'text/plain']]],
    ['a form', [['content-type', 'application/x-www-form-urlencoded']]],
    ['multipart', [['content-type', 'multipart/form-data; boundary=x']]],
    ['JSON with a charset', [['content-type', 'application/json; charset=latin-1']]],
    ['empty', [['content-type', '']]],
    ['no media type at all', [['content-type', ';;']]],
    [
      'sent twice',
      [
        ['content-type', 'text/plain'],
        ['content-type', 'application/json'],
      ],
    ],
  ] as [string, [string, string][]][])('parses a body as JSON whatever its content type: %s', async (_, headers) => {
    const answer = await control.api.json({ method: 'POST', path: DATASETS, headers, body: create() });
    expect(answer.status).toBe(201);
  });

  it('takes a body in chunks', async () => {
    const answer = await control.api.json({ method: 'POST', path: DATASETS, body: create(), chunked: true });
    expect(answer.status).toBe(201);
  });

  it.each([
    ['no body', undefined],
    ['an empty body', ''],
    ['white space', ' \n'],
    ['text', 'junk'],
    ['half an object', '{"primary": "'],
    ['half an object with a fractional size', '{"maximum_size": 67108864.0'],
    ['two values', '{} {}'],
    ['single quotes', "{'primary': 'x'}"],
    ['a trailing comma', '{"primary": "x",}'],
    ['a byte order mark', '\ufeff{}'],
    ['a raw newline in a string', '{"primary": "\n"}'],
  ])('refuses what is not JSON on every POST: %s', async (_, body) => {
    for (const path of [DATASETS, `${DATASETS}/${newId()}`, LEASES]) {
      expectAnswer(await control.api.post(path, body), 400, UNDECODABLE);
    }
  });

  it.each([false, true])('refuses bytes that are no UTF-8 (chunked: %s)', async (chunked) => {
    const body = Buffer.concat([
      Buffer.from(`{"primary": "${newId()}", "metadata": {"name": "`),
      Buffer.of(0xff, 0xfe),
      Buffer.from('"}}'),
    ]);
    expectAnswer(await control.api.json({ method: 'POST', path: DATASETS, body, chunked }), 400, UNDECODABLE);
  });

  it.each(['null', 'true', '1', '"text"', '[]', '[{}]'])('refuses JSON that is no object: %s', async (body) => {
    for (const path of [DATASETS, `${DATASETS}/${newId()}`, LEASES])
      expectBadSchema(await control.api.post(path, body));
  });

  it('writes ASCII only, with the contract’s spelling of everything else', async () => {
    const metadata = { name: 'gemüse 蔬菜 😀', clé: '\u007f\u0000"\\/' };
    const answer = await control.api.post(DATASETS, { primary: newId(), metadata });
    expect(answer.status).toBe(201);
    expect(answer.text).toContain('gem\\u00fcse \\u852c\\u83dc \\ud83d\\ude00');
    expect(answer.json).toMatchObject({ metadata });
  });

  it('ignores the body of a GET', async () => {
    const answer = await control.api.json({ method: 'GET', path: '/v1/version', body: 'junk' });
    expect(answer.status).toBe(200);
  });

  it.each([
    ['content-type', ';;'],
    ['content-type', 'application/json'],
    ['x-other', 'x'],
  ])('ignores the body of a DELETE (%s: %s)', async (name, value) => {
    const { json } = await control.api.post(DATASETS, { primary: newId() });
    const { dataset_id: id } = json as { dataset_id: string };
    const path = `${DATASETS}/${id}`;
    const answer = await control.api.json({ method: 'DELETE', path, headers: [[name, value]], body: '{"junk"' });
    expect(answer.status).toBe(200);
    expect(answer.json).toMatchObject({ dataset_id: id, deleted: true });
  });

  it.each([DATASETS, LEASES, '/v1/version', '/v1/state/datasets', '/v1/state/nodes', '/v1/state/nodes/by_era/x'])(
    'answers HEAD %s with 400 and no body',
    async (path) => {
      const { status, headers, body } = await control.api.raw({ method: 'HEAD', path });
      expect(status).toBe(400);
      expect(headers['content-type']).toEqual(['application/json']);
      expect(body).toHaveLength(0);
    },
  );

  it.each([
    ['PUT', DATASETS, 'GET, POST'],
    ['PATCH', DATASETS, 'GET, POST'],
    ['OPTIONS', DATASETS, 'GET, POST'],
    ['DELETE', DATASETS, 'GET, POST'],
    ['GET', `${DATASETS}/x`, 'DELETE, POST'],
    ['PUT', `${DATASETS}/x`, 'DELETE, POST'],
    ['PUT', LEASES, 'GET, POST'],
    ['GET', `${LEASES}/x`, 'DELETE'],
    ['POST', `${LEASES}/x`, 'DELETE'],
    ['POST', '/v1/version', 'GET'],
    ['DELETE', '/v1/state/datasets', 'GET'],
    ['POST', '/v1/state/nodes', 'GET'],
    ['POST', '/v1/state/nodes/by_era/x', 'GET'],
  ])('answers %s %s with 405 and the methods that are allowed', async (method, path, allow) => {
    for (const body of [undefined, '{}', 'junk']) {
      const answer = await control.api.json({ method, path, ...(body === undefined ? {} : { body }) });
      expect(answer.status).toBe(405);
      expect(answer.headers['allow']).toEqual([allow]);
      expect(answer.json).toEqual({ description: expect.any(String) as unknown });
    }
  });

  it('answers HEAD of a route without GET with 405', async () => {
    const { status, headers } = await control.api.raw({ method: 'HEAD', path: `${DATASETS}/x` });
    expect(status).toBe(405);
    expect(headers['allow']).toEqual(['DELETE, POST']);
  });

  it.each([
    '/',
    '/v1',
    '/v1/',
    '/v1/nothing',
    '/v2/version',
    '/v1/version/',
    '/v1/Version',
    '//v1/version',
    `${DATASETS}/`,
    `${DATASETS}/a/b`,
    `${LEASES}/`,
    '/v1/state/nodes/by_era',
    '/v1/state/nodes/by_era/',
    '/%zz',
    `${DATASETS}/%zz`,
  ])('knows no %s', async (path) => {
    for (const method of ['GET', 'POST', 'DELETE', 'PUT']) {
      const answer = await control.api.json({ method, path });
      expect(answer.status, method).toBe(404);
      expect(answer.json).toEqual({ description: expect.any(String) as unknown });
    }
  });

  it('takes an id of any length for an unknown one', async () => {
    const id = 'a'.repeat(4000);
    expectError(await control.api.delete(`${DATASETS}/${id}`), 404, 'Dataset not found.');
    expectError(await control.api.post(`${DATASETS}/${id}`, {}), 404, 'Dataset not found.');
  });

  it('ignores a query and the tracing header', async () => {
    const answer = await control.api.get('/v1/version?x=1&x=2', [['x-eliot-task-id', 'junk']]);
    expect(answer.status).toBe(200);
  });
});

describe('what the original had and nobody needs (contract 1.7, 1.8)', () => {
  it.each([
    ['GET', '/v1/configuration/containers'],
    ['POST', '/v1/configuration/containers'],
    ['POST', '/v1/configuration/containers/web'],
    ['DELETE', '/v1/configuration/containers/web'],
    ['GET', '/v1/state/containers'],
    ['POST', '/v1/configuration/_compose'],
  ])('answers %s %s with a JSON 404', async (method, path) => {
    const answer = await control.api.json({ method, path, body: '{"applications": {}, "deployment": {}}' });
    expect(answer.status).toBe(404);
    expect(answer.json).toEqual({ description: expect.any(String) as unknown });
  });
});
