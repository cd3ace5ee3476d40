import { execFile } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { promisify } from 'node:util';
import { describe, expect, it } from 'vitest';
import { findProgram } from './support/find-program.ts';
import { UpCluster } from './support/up.ts';

const run = promisify(execFile);
const program = await findProgram('schemathesis', 'SCHEMATHESIS');
const TIMEOUT_MS = 300_000;
/** The contract asks for more than a schema says (UUIDs in the old places) and for conditions to come before the body. */
const NOT_OURS = 'positive_data_acceptance,negative_data_rejection';

const why =
  program === undefined ? ' (skipped: no schemathesis on the PATH or in SCHEMATHESIS; .ci/run installs it)' : '';

describe(`schemathesis, hostile requests made from our OpenAPI document${why}`, () => {
  it.runIf(program !== undefined)(
    'finds no answer that the document does not allow, no 5xx, and a control service that goes on',
    async () => {
      const cluster = await UpCluster.start('--backend', 'directory');
      try {
        const { control, tls, pids } = await cluster.json();
        const args = ['run', `${control.url}/v1/openapi.json`, '--tls-verify', tls.ca];
        args.push('--request-cert', tls.cert, '--request-cert-key', tls.key, '--request-timeout', '3');
        args.push('--exclude-checks', NOT_OURS, '--max-examples', '10', '--seed', '1', '--no-color');
        const { stdout } = await run(program ?? '', args, {
          timeout: TIMEOUT_MS,
          maxBuffer: 1 << 26,
          cwd: cluster.scratch.directory,
        }).catch((error: unknown) => error as { stdout: string });
        const said = stdout.slice(-20_000);
        const [, generated, passed] = /(\d+) generated, (\d+) passed/.exec(said) ?? [];
        expect(passed, said).toBe(generated);
        expect(Number(generated), said).toBeGreaterThan(300);
        expect((await cluster.json()).pids).toEqual(pids);
        const log = await readFile(`${cluster.directory}/logs/control.log`, 'utf8');
        expect(log.split('\n').filter((line) => line.includes('"level":50'))).toEqual([]);
      } finally {
        await cluster.remove();
      }
    },
    400_000,
  );
});
