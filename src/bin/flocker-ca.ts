#!/usr/bin/env node
import { errorText } from '../kit/coded-error.ts';
import { flockerCaProgram } from './flocker-ca-program.ts';

try {
  await flockerCaProgram().parseAsync();
} catch (error) {
  process.stderr.write(`Error: ${errorText(error)}\n`);
  process.exitCode = 1;
}
