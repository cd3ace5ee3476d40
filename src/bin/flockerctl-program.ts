import type { Command } from 'commander';
import { ctlCandidates, ctlCommand } from '../cli/ctl/ctl-command.ts';
import type { CtlEnvironment } from '../cli/ctl/ctl-environment.ts';
import { systemClock } from '../kit/clock.ts';
import { version } from './version.ts';

/** Longer than a lease of leadership lasts, and reading the store of most clusters takes. */
const TAKEOVER_TIMEOUT_MS = 10_000;

/** The whole of the program `flockerctl`, at work for this process. */
export function flockerctlProgram(): Command {
  return ctlCommand(environment);
}

/** What its completion script is answered. */
export function flockerctlCandidates(words: readonly string[]): Promise<string> {
  return ctlCandidates(flockerctlProgram(), words, environment);
}

const environment: CtlEnvironment = {
  cwd: process.cwd(),
  env: process.env,
  stdout: process.stdout,
  stderr: process.stderr,
  clock: systemClock,
  version,
  setExitCode: (code) => {
    process.exitCode = code;
  },
  openPassage: async ({ urls, credentials }) => {
    const [{ loadCredentials }, { connectPassage }, { silentLogger }] = await Promise.all([
      import('../tls/credentials.ts'),
      import('../client/connect-passage.ts'),
      import('../kit/logger.ts'),
    ]);
    const tls = await loadCredentials(credentials, systemClock);
    return connectPassage({ urls, tls, clock: systemClock, logger: silentLogger });
  },
  interrupted: () =>
    new Promise((resolve) => {
      for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => resolve());
    }),
  // Loaded only here, so that --help and usage errors do not wait for it.
  connect: async ({ urls, credentials }) => {
    const [{ loadCredentials }, { connectFlocker }, { silentLogger }] = await Promise.all([
      import('../tls/credentials.ts'),
      import('../client/connect-flocker.ts'),
      import('../kit/logger.ts'),
    ]);
    const tls = await loadCredentials(credentials, systemClock);
    return connectFlocker({
      ...{ urls, tls, clock: systemClock, random: Math.random, logger: silentLogger },
      takeoverTimeoutMs: TAKEOVER_TIMEOUT_MS,
    });
  },
};
