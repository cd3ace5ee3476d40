import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { stringify } from 'yaml';
import { parseAgentConfig } from '../../src/agent/agent-config.ts';
import { systemClock } from '../../src/kit/clock.ts';
import { errorCode } from '../../src/kit/coded-error.ts';
import { type Credentials, loadCredentials } from '../../src/tls/credentials.ts';
import { TlsError } from '../../src/tls/tls-error.ts';
import { type ClusterCertificates, clusterCertificates } from '../support/cluster-certificates.ts';
import { tried, twisted } from './twisted.ts';

/** A whole agent.yml as an operator writes it. */
const AGENT_YML = {
  version: 1,
  'control-service': { hostname: 'control.example.com', port: 4524, 'rest-port': 4523 },
  dataset: { backend: 'loopback', root_path: '/srv', profiles: { gold: { filesystem: 'xfs' } } },
  node: { 'state-path': '/x', socket: '/y', 'docker-socket': false, 'storage-report-seconds': 5 },
  isolator: { 'allowed-paths': ['/data'], volumes: [{ pattern: 'x*', roles: ['*'] }] },
};

/** The text cut short, or with some bytes replaced. */
function damaged(text: string): fc.Arbitrary<string> {
  const cut = fc.nat(text.length).map((length) => text.slice(0, length));
  const overwritten = fc
    .array(fc.tuple(fc.nat(text.length - 1), fc.string({ minLength: 1, maxLength: 4 })), { minLength: 1, maxLength: 4 })
    .map((changes) => changes.reduce((so, [at, more]) => so.slice(0, at) + more + so.slice(at + more.length), text));
  return fc.oneof(cut, overwritten);
}

describe('an agent.yml that is not what it should be', () => {
  const read = (text: string): void => {
    const startedMs = performance.now();
    try {
      parseAgentConfig(text, '/etc/flocker/agent.yml');
    } catch (error) {
      expect(errorCode(error), String(error)).toBe('bad_agent_yml');
      expect((error as Error).message).toContain('/etc/flocker/agent.yml');
      expect((error as Error).message.length).toBeLessThan(5_000);
    }
    expect(performance.now() - startedMs).toBeLessThan(2_000);
  };

  it('is read or refused with the file and the fault', () => {
    const text = fc.oneof(damaged(stringify(AGENT_YML)), twisted(fc.constant(AGENT_YML)).map(toYaml), fc.string());
    fc.assert(fc.property(text, read), tried(500));
  });

  it.each([
    ['aliases that multiply', aliases()],
    ['deep nesting', '['.repeat(1_000)],
    ['deep nesting that ends', '['.repeat(500) + ']'.repeat(500)],
    ['a key twice', 'version: 1\nversion: 1\n'],
    ['an unknown tag', 'version: !!js/function "x"\n'],
    ['an alias of nothing', 'version: *nothing\n'],
    ['a document after the first', `${stringify(AGENT_YML)}---\nversion: 2\n`],
  ])('is refused soon: %s', (_, text) => {
    read(text);
    expect(() => parseAgentConfig(text, '/etc/flocker/agent.yml')).toThrow('/etc/flocker/agent.yml');
  });
});

function aliases(): string {
  const lines = ['a0: &a0 [x, x, x, x, x, x, x, x, x, x]'];
  for (let level = 1; level < 12; level += 1)
    lines.push(`a${level}: &a${level} [${Array.from({ length: 10 }, () => `*a${level - 1}`).join(', ')}]`);
  return lines.join('\n');
}

function toYaml(value: unknown): string {
  try {
    return stringify(value);
  } catch {
    return '';
  }
}

describe('files of certificates that are not what they should be', () => {
  let certificates: ClusterCertificates;
  let directory: string;
  let good: Credentials;
  let other: Credentials;
  beforeAll(async () => {
    certificates = await clusterCertificates('files');
    directory = await mkdtemp(join(tmpdir(), 'flocker-files-'));
    good = await certificates.user('someone');
    other = await certificates.user('other');
  });
  afterAll(async () => {
    await certificates.dispose();
    await rm(directory, { recursive: true, force: true });
  });

  it('are refused with the name of the file, and no key in the words', async () => {
    const paths = { ca: join(directory, 'cluster.crt'), cert: join(directory, 'x.crt'), key: join(directory, 'x.key') };
    const contents = fc
      .constantFrom('ca', 'cert', 'key')
      .chain((which) =>
        fc
          .oneof(
            damaged(good[which]),
            fc.string(),
            fc.constantFrom(other.cert, other.key, good.ca, `${good.cert}${good.key}`),
          )
          .map((text) => ({ ...good, [which]: text })),
      );
    await fc.assert(
      fc.asyncProperty(contents, async (texts) => {
        for (const which of ['ca', 'cert', 'key'] as const) await writeFile(paths[which], texts[which]);
        const failure = await loadCredentials(paths, systemClock).then(
          () => undefined,
          (error: unknown) => error as Error,
        );
        if (failure === undefined) return;
        expect(failure).toBeInstanceOf(TlsError);
        expect(failure.message).toContain(directory);
        for (const line of good.key.split('\n').filter((one) => one.length > 20 && !one.startsWith('---')))
          expect(failure.message).not.toContain(line);
      }),
      tried(150),
    );
    expect(await readFile(paths.cert, 'utf8')).toBeDefined();
  }, 60_000);
});
