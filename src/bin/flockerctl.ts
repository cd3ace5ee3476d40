#!/usr/bin/env node
import { ctlCommand } from '../cli/ctl/ctl-command.ts';
import { systemClock } from '../kit/clock.ts';
import { errorCode, errorText } from '../kit/coded-error.ts';
import { version } from './version.ts';

// `flockerctl list | head` closes the pipe early; that is no failure.
process.stdout.on('error', (error) => {
  if (errorCode(error) === 'EPIPE') process.exit();
  throw error;
});

const program = ctlCommand({
  cwd: process.cwd(),
  env: process.env,
  stdout: process.stdout,
  stderr: process.stderr,
  clock: systemClock,
  version,
  setExitCode: (code) => {
    process.exitCode = code;
  },
  // Loaded only here, so that --help and usage errors do not wait for it.
  connect: async ({ url, credentials }) => {
    const [{ loadCredentials }, { connectFlocker }, { silentLogger }] = await Promise.all([
      import('../tls/credentials.ts'),
      import('../client/connect-flocker.ts'),
      import('../kit/logger.ts'),
    ]);
    const tls = await loadCredentials(credentials, systemClock);
    return connectFlocker({ urls: [url], tls, clock: systemClock, random: Math.random, logger: silentLogger });
  },
});

try {
  await program.parseAsync();
} catch (error) {
  process.stderr.write(`flockerctl: ${errorText(error)}\n`);
  process.exitCode = 1;
}
