import { Agent, type Dispatcher } from 'undici';
import type { Clock } from '../../../kit/clock.ts';
import { errorCode, errorText } from '../../../kit/coded-error.ts';
import { withDeadline } from '../../../kit/deadline.ts';
import { StoreError } from '../store.ts';

/** How to reach an etcd, and as whom. */
export interface EtcdAccess {
  readonly members: readonly string[];
  /** PEM texts; without `ca` the connection is not encrypted. */
  readonly tls?: { readonly ca: string; readonly cert?: string; readonly key?: string };
  readonly user?: { readonly name: string; readonly password: string };
  readonly clock: Clock;
}

/** A key with its value as etcd has them. */
export interface EtcdPair {
  readonly key: string;
  readonly value: string;
  readonly createRevision: string;
  readonly modRevision: string;
}

export interface EtcdRange {
  readonly pairs: readonly EtcdPair[];
  readonly more: boolean;
  /** etcd's revision that was read. */
  readonly revision: string;
}

/** A condition of a transaction: the revision that made the key, or that changed it last; 0 for a key that is not there. */
export interface EtcdCompare {
  readonly key: string;
  readonly target: 'CREATE' | 'MOD';
  readonly revision: string;
}

export type EtcdOperation =
  | { readonly kind: 'put'; readonly key: string; readonly value: string; readonly lease?: string }
  | { readonly kind: 'remove'; readonly key: string }
  | { readonly kind: 'removePrefix'; readonly key: string };

/** Nothing is known of what etcd did with the request. */
export class EtcdUnanswered extends Error {
  override readonly name = 'EtcdUnanswered';
}

/** A member that is halted is left then; the next try goes to another. */
const REQUEST_TIMEOUT_MS = 1_500;
const CONNECT_TIMEOUT_MS = 1_000;
/** Codes of gRPC (`grpc/status.proto`): the member has no leader or is going; the token is no longer good. */
const UNAVAILABLE = 14;
const UNAUTHENTICATED = 16;
const NOT_CONNECTED = new Set([
  'ECONNREFUSED',
  'EHOSTUNREACH',
  'ENETUNREACH',
  'ENOTFOUND',
  'EAI_AGAIN',
  'UND_ERR_CONNECT_TIMEOUT',
]);

interface RawPair {
  readonly key: string;
  readonly value?: string;
  readonly create_revision?: string;
  readonly mod_revision?: string;
}

interface RawRange {
  readonly header: { readonly revision: string };
  readonly kvs?: readonly RawPair[];
  readonly more?: boolean;
}

/**
 * etcd's v3 API over its JSON gateway (since etcd 3.4 at `/v3`). Members are asked in turn. Fails with {@link EtcdUnanswered}
 * when a request may have been carried out, with a {@link StoreError} when etcd refused it.
 */
export class EtcdGateway {
  readonly #access: EtcdAccess;
  readonly #agent: Agent;
  /** The one that answered last comes first. */
  #members: readonly string[];
  #token: string | undefined;

  constructor(access: EtcdAccess) {
    this.#access = access;
    this.#members = access.members;
    this.#agent = new Agent({ connect: { timeout: CONNECT_TIMEOUT_MS, ...access.tls }, connections: 8 });
  }

  /** Pairs from `key` on, at most `limit`: of one key, or of all that begin with it. */
  async range(
    key: string,
    options: {
      readonly prefix?: boolean;
      readonly from?: string;
      readonly limit?: number;
      readonly revision?: string;
    } = {},
    signal?: AbortSignal,
  ): Promise<EtcdRange> {
    const { prefix = false, from, limit = 0, revision = '0' } = options;
    const body = {
      key: encoded(from ?? key),
      ...(prefix ? { range_end: encoded(endOf(key)) } : {}),
      ...{ limit: String(limit), revision },
    };
    const raw = (await this.#ask('/v3/kv/range', body, signal)) as unknown as RawRange;
    return { pairs: (raw.kvs ?? []).map(pairOf), more: raw.more === true, revision: raw.header.revision };
  }

  /** Whether the conditions held, and so the operations were done; the revision of etcd afterwards; the pairs of `otherwise`. */
  async transaction(
    conditions: readonly EtcdCompare[],
    operations: readonly EtcdOperation[],
    otherwise: readonly string[] = [],
    signal?: AbortSignal,
  ): Promise<{ readonly done: boolean; readonly revision: string; readonly found: readonly (EtcdPair | undefined)[] }> {
    const body = {
      compare: conditions.map(({ key, target, revision }) => ({
        ...{ result: 'EQUAL', target, key: encoded(key) },
        ...(target === 'CREATE' ? { create_revision: revision } : { mod_revision: revision }),
      })),
      success: operations.map(rawOperation),
      failure: otherwise.map((key) => ({ request_range: { key: encoded(key) } })),
    };
    const raw = (await this.#ask('/v3/kv/txn', body, signal)) as unknown as {
      readonly header: { readonly revision: string };
      readonly succeeded?: boolean;
      readonly responses?: readonly { readonly response_range?: RawRange }[];
    };
    const found = raw.succeeded === true ? [] : (raw.responses ?? []);
    return {
      done: raw.succeeded === true,
      revision: raw.header.revision,
      found: found.map(({ response_range }) => response_range?.kvs?.map(pairOf)[0]),
    };
  }

  /** A lease of `seconds`; keys that are put with it end with it. */
  async grantLease(seconds: number, signal?: AbortSignal): Promise<string> {
    const { ID } = await this.#ask('/v3/lease/grant', { TTL: String(seconds) }, signal);
    return String(ID);
  }

  /** Seconds that the lease lasts from now on; 0 when it has ended. */
  async keepLease(id: string, signal?: AbortSignal): Promise<number> {
    const { result } = await this.#ask('/v3/lease/keepalive', { ID: id }, signal);
    const { TTL } = (result ?? {}) as { readonly TTL?: string };
    return Number(TTL ?? 0);
  }

  async endLease(id: string, signal?: AbortSignal): Promise<void> {
    await this.#ask('/v3/lease/revoke', { ID: id }, signal);
  }

  /** Resolves when `key` may have been removed since `revision`, or when nothing is heard any more. */
  async untilRemoved(key: string, revision: string, signal: AbortSignal): Promise<void> {
    const start = String(BigInt(revision) + 1n);
    const body = { create_request: { key: encoded(key), start_revision: start } };
    for (const member of this.#members) {
      try {
        const answer = await this.#send(member, '/v3/watch', body, signal);
        for await (const chunk of answer.body) if (String(chunk).includes('"DELETE"')) return;
        return;
      } catch (error) {
        signal.throwIfAborted();
        if (!isNotConnected(error)) return;
      }
    }
  }

  async close(): Promise<void> {
    await this.#agent.destroy();
  }

  async #ask(path: string, body: object, parent?: AbortSignal): Promise<Readonly<Record<string, unknown>>> {
    const { clock } = this.#access;
    return await withDeadline(clock, REQUEST_TIMEOUT_MS, `etcd's answer to ${path}`, parent, async (signal) => {
      let unreached: unknown;
      for (const member of [...this.#members]) {
        try {
          const answer = await this.#answer(member, path, body, signal);
          this.#members = [member, ...this.#members.filter((other) => other !== member)];
          return answer;
        } catch (error) {
          if (error instanceof StoreError) throw error;
          this.#members = [...this.#members.filter((other) => other !== member), member];
          if (parent?.aborted === true) throw parent.reason;
          if (!isNotConnected(error)) throw new EtcdUnanswered(`${member}: ${errorText(error)}`, { cause: error });
          unreached = error;
        }
      }
      throw new EtcdUnanswered(`no member of etcd can be reached: ${errorText(unreached)}`, { cause: unreached });
    });
  }

  async #answer(
    member: string,
    path: string,
    body: object,
    signal: AbortSignal,
  ): Promise<Readonly<Record<string, unknown>>> {
    for (let isSecond = false; ; isSecond = true) {
      if (this.#access.user !== undefined && this.#token === undefined) this.#token = await this.#logIn(member, signal);
      const { statusCode, body: answer } = await this.#send(member, path, body, signal);
      const parsed = parse(await answer.text());
      if (statusCode === 200 && parsed?.['error'] === undefined && parsed !== undefined) return parsed;
      const { code, message = `status ${statusCode}` } = (parsed ?? {}) as {
        readonly code?: number;
        readonly message?: string;
      };
      // A token is good for some minutes.
      if (this.#token !== undefined && !isSecond && (code === UNAUTHENTICATED || /invalid auth token/.test(message))) {
        this.#token = undefined;
        continue;
      }
      if (code === UNAVAILABLE || code === undefined) throw new Error(message);
      throw new StoreError('store_failed', `etcd at ${member} refuses: ${message}`);
    }
  }

  async #logIn(member: string, signal: AbortSignal): Promise<string> {
    const body = { name: this.#access.user?.name ?? '', password: this.#access.user?.password ?? '' };
    const { body: answer } = await this.#send(member, '/v3/auth/authenticate', body, signal);
    const token = parse(await answer.text())?.['token'];
    if (typeof token === 'string') return token;
    throw new StoreError('store_failed', `etcd at ${member} does not take the user ${body.name} with this password`);
  }

  #send(member: string, path: string, body: object, signal: AbortSignal): Promise<Dispatcher.ResponseData> {
    const origin = `${this.#access.tls === undefined ? 'http' : 'https'}://${member}`;
    return this.#agent.request({
      ...{ origin, path, method: 'POST', body: JSON.stringify(body), signal, bodyTimeout: 0, headersTimeout: 0 },
      headers: {
        'content-type': 'application/json',
        ...(this.#token === undefined ? {} : { authorization: this.#token }),
      },
    });
  }
}

function rawOperation(operation: EtcdOperation): object {
  const key = encoded(operation.key);
  switch (operation.kind) {
    case 'put': {
      const lease = operation.lease === undefined ? {} : { lease: operation.lease };
      return { request_put: { key, value: encoded(operation.value), ...lease } };
    }
    case 'remove':
      return { request_delete_range: { key } };
    case 'removePrefix':
      return { request_delete_range: { key, range_end: encoded(endOf(operation.key)) } };
  }
}

function pairOf({ key, value = '', create_revision = '0', mod_revision = '0' }: RawPair): EtcdPair {
  return { key: decoded(key), value: decoded(value), createRevision: create_revision, modRevision: mod_revision };
}

/** The first key after all that begin with `prefix`, whose last character is plain ASCII. */
function endOf(prefix: string): string {
  return prefix.slice(0, -1) + String.fromCharCode(prefix.charCodeAt(prefix.length - 1) + 1);
}

function encoded(text: string): string {
  return Buffer.from(text).toString('base64');
}

function decoded(base64: string): string {
  return Buffer.from(base64, 'base64').toString();
}

function parse(text: string): Readonly<Record<string, unknown>> | undefined {
  try {
    const parsed: unknown = JSON.parse(text);
    return typeof parsed === 'object' && parsed !== null ? (parsed as Readonly<Record<string, unknown>>) : undefined;
  } catch {
    return undefined;
  }
}

function isNotConnected(error: unknown): boolean {
  return NOT_CONNECTED.has(errorCode(error) ?? '');
}
