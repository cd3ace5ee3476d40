#!/usr/bin/env node
import { ASK_WORD } from '../cli/completion/scripts.ts';
import { errorCode, errorText } from '../kit/coded-error.ts';
import { flockerctlCandidates, flockerctlProgram } from './flockerctl-program.ts';

// `flockerctl list | head` closes the pipe early; that is no failure.
process.stdout.on('error', (error) => {
  if (errorCode(error) === 'EPIPE') process.exit();
  throw error;
});

try {
  const [, , word, ...words] = process.argv;
  if (word === ASK_WORD) process.stdout.write(await flockerctlCandidates(words));
  else await flockerctlProgram().parseAsync();
} catch (error) {
  process.stderr.write(`flockerctl: ${errorText(error)}\n`);
  process.exitCode = 1;
}
