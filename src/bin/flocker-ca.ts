#!/usr/bin/env node
import { candidateLines } from '../cli/completion/completion-command.ts';
import { ASK_WORD } from '../cli/completion/scripts.ts';
import { errorText } from '../kit/coded-error.ts';
import { flockerCaProgram } from './flocker-ca-program.ts';

try {
  const [, , word, ...words] = process.argv;
  if (word === ASK_WORD)
    process.stdout.write(await candidateLines(flockerCaProgram(), words, () => Promise.resolve([])));
  else await flockerCaProgram().parseAsync();
} catch (error) {
  process.stderr.write(`Error: ${errorText(error)}\n`);
  process.exitCode = 1;
}
