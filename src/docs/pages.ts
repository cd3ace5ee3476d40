import { flockerCaProgram } from '../bin/flocker-ca-program.ts';
import { flockerProgram } from '../bin/flocker-program.ts';
import { flockerctlProgram } from '../bin/flockerctl-program.ts';
import { cliPage } from './cli-page.ts';

/** A page that is made from the code. */
interface GeneratedPage {
  /** From the root of the repository. */
  readonly path: string;
  readonly text: () => string | Promise<string>;
}

/** Every generated page. A new one needs only its line here. */
export const generatedPages: readonly GeneratedPage[] = [
  {
    path: 'docs/reference/cli.md',
    text: () => cliPage([flockerProgram(), flockerctlProgram(), flockerCaProgram()]),
  },
];
