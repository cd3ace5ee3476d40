import { resolve } from 'node:path';
import { Command } from 'commander';
import { withDeadline } from '../../kit/deadline.ts';
import type { Screen } from '../ctl/ctl-environment.ts';
import { type Paint, paintFor } from '../ctl/paint.ts';
import { printable } from '../ctl/text-width.ts';
import type { DoctorWorld, Section } from './doctor.ts';
import type { Finding } from './finding.ts';

/** What the command takes from its process. */
export interface DoctorEnvironment extends DoctorWorld {
  readonly stdout: Screen;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly setExitCode: (code: number) => void;
}

const TIMEOUT_MS = 30_000;
const MARKS = { ok: '✓', warning: '!', fault: '✗', unknown: '?' } as const;
const COLOURS = { ok: 'green', warning: 'yellow', fault: 'red', unknown: 'dim' } as const;

/** `flocker doctor`: exit code 0 when there is no fault, 1 when there is one. */
export function doctorCommand(load: () => Promise<DoctorEnvironment>): Command {
  return new Command('doctor')
    .description(
      'Look whether this machine and the node agent on it are as they must be, and say what to do. Changes nothing.',
    )
    .option('-c, --agent-config <file>', 'agent.yml, with the certificates beside it', '/etc/flocker/agent.yml')
    .option('--json', 'print one JSON value')
    .addHelpText('after', '\nExit code: 0 without faults, 1 with faults. Warnings are no faults.\n')
    .action(async (options: { agentConfig: string; json?: true }) => {
      const [environment, { examine }] = await Promise.all([load(), import('./doctor.ts')]);
      const path = resolve(options.agentConfig);
      const sections = await withDeadline(environment.clock, TIMEOUT_MS, 'flocker doctor', undefined, (signal) =>
        examine(path, environment, signal),
      );
      const counts = countOf(sections);
      environment.stdout.write(
        options.json === true
          ? `${JSON.stringify({ ...counts, sections })}\n`
          : report(sections, counts, paintFor(environment)),
      );
      environment.setExitCode(counts.faults > 0 ? 1 : 0);
    });
}

interface Counts {
  readonly checks: number;
  readonly faults: number;
  readonly warnings: number;
}

function countOf(sections: readonly Section[]): Counts {
  const all = sections.flatMap(({ findings }) => findings);
  const count = (status: Finding['status']): number => all.filter((finding) => finding.status === status).length;
  return { checks: all.length, faults: count('fault'), warnings: count('warning') };
}

function report(sections: readonly Section[], { checks, faults, warnings }: Counts, paint: Paint): string {
  const parts = sections.map(({ title, findings }) => `${title}\n${findings.map((one) => line(one, paint)).join('')}`);
  return `${parts.join('\n')}\n${checks} checks: ${faults} faults, ${warnings} warnings\n`;
}

function line({ status, text, remedy }: Finding, paint: Paint): string {
  const what = `  ${paint(COLOURS[status], MARKS[status])} ${printable(text)}\n`;
  return remedy === undefined ? what : `${what}      ${printable(remedy)}\n`;
}
