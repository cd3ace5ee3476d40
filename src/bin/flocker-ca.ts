#!/usr/bin/env node
import { randomBytes, randomUUID } from 'node:crypto';
import { caCommand } from '../cli/ca.ts';
import { systemClock } from '../kit/clock.ts';
import { errorText } from '../kit/coded-error.ts';
import { version } from './version.ts';

const program = caCommand({
  cwd: process.cwd(),
  stdout: process.stdout,
  stderr: process.stderr,
  clock: systemClock,
  newUuid: randomUUID,
  randomBytes: (count) => randomBytes(count),
  setExitCode: (code) => {
    process.exitCode = code;
  },
})
  .name('flocker-ca')
  .version(version);

try {
  await program.parseAsync();
} catch (error) {
  process.stderr.write(`Error: ${errorText(error)}\n`);
  process.exitCode = 1;
}
