import type { Command } from 'commander';
import { caCommand } from '../cli/ca.ts';
import { completionCommand } from '../cli/completion/completion-command.ts';
import { caEnvironment } from './ca-environment.ts';
import { version } from './version.ts';

/** The whole of the program `flocker-ca`. */
export function flockerCaProgram(): Command {
  const command = caCommand(caEnvironment).name('flocker-ca').version(version);
  return command.addCommand(completionCommand('flocker-ca', process.stdout));
}
