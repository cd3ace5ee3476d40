#!/usr/bin/env node
import { candidateLines } from '../cli/completion/completion-command.ts';
import { ASK_WORD } from '../cli/completion/scripts.ts';
import { errorText } from '../kit/coded-error.ts';
import { flockerProgram } from './flocker-program.ts';

try {
  const [, , word, ...words] = process.argv;
  if (word === ASK_WORD) process.stdout.write(await candidateLines(flockerProgram(), words, () => Promise.resolve([])));
  else await flockerProgram().parseAsync();
} catch (error) {
  process.stderr.write(`flocker: ${errorText(error)}\n`);
  process.exitCode = 1;
}
