import { writeFileSync } from 'node:fs';
import { join } from 'node:path';

/** Steps after or before which a process can be killed by tests. */
export const FAILPOINTS = [
  ...(['create', 'attach', 'grow', 'mount', 'unmount', 'detach', 'destroy'] as const).flatMap(
    (step) => [`agent.${step}.before`, `agent.${step}.after`] as const,
  ),
  'agent.snapshot.before',
  'agent.snapshot.after',
  'pool.filled',
  'pool.published',
  'ledger.written',
  'store.before',
  'store.written',
  'control.committed',
  'control.reported',
] as const;
export type Failpoint = (typeof FAILPOINTS)[number];

const armed = arm(process.env['FLOCKER_FAILPOINTS']);

/**
 * A named step, which does nothing. With `FLOCKER_FAILPOINTS=DIRECTORY:NAME[,NAME]` in the environment the first process that comes to one of
 * these names kills itself (SIGKILL) there, once: a file of that name in the directory says that it was done.
 */
export function failpoint(name: Failpoint): void {
  if (armed?.names.has(name) !== true) return;
  try {
    writeFileSync(join(armed.directory, name), `${process.pid}\n`, { flag: 'wx' });
  } catch {
    return;
  }
  process.kill(process.pid, 'SIGKILL');
  // Nothing of this thread happens any more, however long the signal takes.
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0);
}

function arm(text = ''): { readonly directory: string; readonly names: ReadonlySet<string> } | undefined {
  const [, directory = '', names = ''] = /^(\/[^:]*):(.*)$/.exec(text) ?? [];
  return directory === '' ? undefined : { directory, names: new Set(names.split(',')) };
}
