#!/usr/bin/env node
import { caCommand } from '../cli/ca.ts';
import { errorText } from '../kit/coded-error.ts';
import { caEnvironment } from './ca-environment.ts';
import { version } from './version.ts';

const program = caCommand(caEnvironment).name('flocker-ca').version(version);

try {
  await program.parseAsync();
} catch (error) {
  process.stderr.write(`Error: ${errorText(error)}\n`);
  process.exitCode = 1;
}
