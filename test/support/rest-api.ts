import { expect } from 'vitest';
import type { Credentials } from '../../src/tls/credentials.ts';
import { type HttpsAnswer, type HttpsQuestion, httpsAnswer } from './https-answer.ts';

export type Json = null | boolean | number | string | Json[] | { [key: string]: Json };

/** An answer with its body parsed; every JSON answer was checked for the contract's content type and ASCII. */
export interface JsonAnswer {
  readonly status: number;
  readonly headers: HttpsAnswer['headers'];
  readonly text: string;
  readonly json: Json;
}

/** The REST API of one control service, as a user sees it. */
export interface RestApi {
  raw(question: HttpsQuestion): Promise<HttpsAnswer>;
  get(path: string, headers?: Headers): Promise<JsonAnswer>;
  /** A string is sent as it is, anything else as JSON, undefined as no body. */
  post(path: string, body: unknown, headers?: Headers): Promise<JsonAnswer>;
  delete(path: string, headers?: Headers): Promise<JsonAnswer>;
  json(question: HttpsQuestion): Promise<JsonAnswer>;
}

type Headers = readonly (readonly [string, string])[];

/** `target` is asked anew for each request, so that it may move when a service is restarted. */
export function restApi(target: () => { readonly port: number; readonly tls: Partial<Credentials> }): RestApi {
  const raw = (question: HttpsQuestion): Promise<HttpsAnswer> => httpsAnswer(target(), question);
  const json = async (question: HttpsQuestion): Promise<JsonAnswer> => {
    const { status, headers, body } = await raw(question);
    const text = body.toString('latin1');
    expect(headers['content-type'], `${question.method} ${question.path}: ${text}`).toEqual(['application/json']);
    // oxlint-disable-next-line no-control-regex
    expect(text).toMatch(/^[\u0000-\u007f]*$/);
    return { status, headers, text, json: JSON.parse(text) as Json };
  };
  return {
    raw,
    json,
    get: (path, headers = []) => json({ method: 'GET', path, headers }),
    delete: (path, headers = []) => json({ method: 'DELETE', path, headers }),
    post: (path, body, headers = []) =>
      json({
        method: 'POST',
        path,
        headers,
        ...(body === undefined ? {} : { body: typeof body === 'string' ? body : JSON.stringify(body) }),
      }),
  };
}
