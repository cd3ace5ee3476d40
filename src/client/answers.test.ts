import { describe, expect, it } from 'vitest';
import { DESCRIPTIONS } from '../api/errors.ts';
import { bodyOf, failureOfStatus } from './answers.ts';
import { SHAPES } from './shapes.ts';

const url = 'https://control:4523';
const failure = (status: number, body: unknown): unknown => {
  const text = typeof body === 'string' ? body : JSON.stringify(body);
  const { code, message } = failureOfStatus({ url, status, text }, 'POST /x');
  return { code, message };
};

describe('failureOfStatus', () => {
  it.each([
    [400, 'The size is wrong.', 'bad_request'],
    [404, DESCRIPTIONS.datasetNotFound, 'not_found'],
    [405, DESCRIPTIONS.datasetDeleted, 'deleted'],
    [405, 'Method not allowed.', 'unexpected_answer'],
    [409, DESCRIPTIONS.datasetIdInUse, 'id_in_use'],
    [409, DESCRIPTIONS.leaseHeld, 'lease_held'],
    [409, 'The container name already exists.', 'unexpected_answer'],
    [412, "Tag doesn't match. Required: a, current: b", 'condition_failed'],
    [500, 'The store failed.', 'server_failed'],
    [503, 'Too many streams.', 'server_failed'],
    [418, 'I am a teapot.', 'unexpected_answer'],
    [302, 'Elsewhere.', 'unexpected_answer'],
  ])('%i "%s" is %s', (status, description, code) => {
    expect(failure(status, { description })).toEqual({
      code,
      message: expect.stringContaining(description) as unknown,
    });
    expect(failure(status, { description })).toHaveProperty('message', expect.stringContaining(url));
  });

  it('tells what the server found wrong', () => {
    const body = { description: DESCRIPTIONS.schema, errors: ["'primary' is a required property", 'no junk'] };
    const message = expect.stringMatching(/required schema.*'primary' is a required property; no junk/) as unknown;
    expect(failure(400, body)).toEqual({ code: 'bad_request', message });
  });

  it('names the incident of a bare JSON string', () => {
    const message = expect.stringContaining('3f1c@/2') as unknown;
    expect(failure(500, '"3f1c@/2"')).toEqual({ code: 'server_failed', message });
  });

  it('takes no page of HTML for a dataset that is not there', () => {
    expect(failure(404, '<html>404 Not Found</html>')).toMatchObject({ code: 'unexpected_answer' });
    expect(failure(405, '<html>Method Not Allowed</html>')).toMatchObject({ code: 'unexpected_answer' });
    expect(failure(502, '<html>Bad Gateway</html>')).toMatchObject({ code: 'server_failed' });
    expect(failure(412, '')).toMatchObject({ code: 'condition_failed' });
  });
});

describe('bodyOf', () => {
  it('wants exactly the statuses of the contract', () => {
    const text = '{"flocker":"1.15.0"}';
    expect(bodyOf({ url, status: 200, text }, [200], SHAPES.version, 'GET /')).toEqual({ flocker: '1.15.0' });
    const other = (): unknown => bodyOf({ url, status: 201, text }, [200], SHAPES.version, 'GET /');
    expect(other).toThrow(expect.objectContaining({ code: 'unexpected_answer' }));
  });

  it.each(['', 'null', '[]', '{"flocker":1}', '{"flocker":"1.', '<html></html>'])('does not take %j', (text) => {
    const read = (): unknown => bodyOf({ url, status: 200, text }, [200], SHAPES.version, 'GET /v1/version');
    expect(read).toThrow(expect.objectContaining({ code: 'unexpected_answer' }));
  });

  it('takes fields that a newer server adds', () => {
    const text = '[{"dataset_id":"d","node_uuid":"n","expires":null,"holder":"me"}]';
    expect(bodyOf({ url, status: 200, text }, [200], SHAPES.leases, 'GET /')).toHaveLength(1);
  });
});
