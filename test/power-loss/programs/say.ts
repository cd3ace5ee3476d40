import { writeSync } from 'node:fs';

/** Acknowledges something: what it says has to be on disk. */
export function say(line: string): void {
  writeSync(1, `${line}\n`);
}
