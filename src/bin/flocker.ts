#!/usr/bin/env node
import { errorText } from '../kit/coded-error.ts';
import { flockerProgram } from './flocker-program.ts';

try {
  await flockerProgram().parseAsync();
} catch (error) {
  process.stderr.write(`flocker: ${errorText(error)}\n`);
  process.exitCode = 1;
}
