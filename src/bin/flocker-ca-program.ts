import type { Command } from 'commander';
import { caCommand } from '../cli/ca.ts';
import { caEnvironment } from './ca-environment.ts';
import { version } from './version.ts';

/** The whole of the program `flocker-ca`. */
export function flockerCaProgram(): Command {
  return caCommand(caEnvironment).name('flocker-ca').version(version);
}
