#!/usr/bin/env node
import { dvdcli } from '../frontends/dvdcli/dvdcli.ts';
import { systemClock } from '../kit/clock.ts';

process.exitCode = await dvdcli(process.argv.slice(2), {
  env: process.env,
  clock: systemClock,
  // An import of node:net takes several times as long: it looks at every export, and so loads what few of them need.
  connect: process.getBuiltinModule('node:net').connect,
  stdout: (text) => process.stdout.write(text),
  stderr: (text) => process.stderr.write(text),
  versionText: async () => {
    const [{ version }, { realpathSync }, { machine, type }] = await Promise.all([
      import('./version.ts'),
      import('node:fs'),
      import('node:os'),
    ]);
    const binary = realpathSync(process.argv[1] ?? '');
    const unknown = 'not recorded';
    return (
      `Binary: ${binary}\nSemVer: ${version}\nOsArch: ${type()}-${machine()}\n` +
      `Branch: ${unknown}\nCommit: ${unknown}\nFormed: ${unknown}\n`
    );
  },
});
