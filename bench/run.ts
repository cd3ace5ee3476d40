import { btrfs } from './btrfs.ts';
import { ceph } from './ceph.ts';
import { csi } from './csi.ts';
import { dvdcli } from './dvdcli.ts';
import { failover } from './failover.ts';
import { isolator } from './isolator.ts';
import { provider } from './provider.ts';
import { ready } from './ready.ts';
import { scale } from './scale.ts';

const BENCHES: Readonly<Record<string, (args: readonly string[]) => Promise<void>>> = {
  btrfs,
  ceph,
  csi,
  dvdcli,
  failover,
  isolator,
  provider,
  ready,
  scale,
};

const [name = '', ...args] = process.argv.slice(2);
const bench = BENCHES[name];
if (bench === undefined) {
  process.stderr.write(
    `npm run bench -- NAME [--json] [--rounds N], where NAME is one of: ${Object.keys(BENCHES).join(', ')}\n`,
  );
  process.exitCode = 1;
} else {
  await bench(args);
}
