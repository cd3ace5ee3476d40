#!/usr/bin/env node
import { errorCode, errorText } from '../kit/coded-error.ts';
import { flockerctlProgram } from './flockerctl-program.ts';

// `flockerctl list | head` closes the pipe early; that is no failure.
process.stdout.on('error', (error) => {
  if (errorCode(error) === 'EPIPE') process.exit();
  throw error;
});

try {
  await flockerctlProgram().parseAsync();
} catch (error) {
  process.stderr.write(`flockerctl: ${errorText(error)}\n`);
  process.exitCode = 1;
}
