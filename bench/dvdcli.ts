import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { median, rounded, timed } from './figures.ts';
import { onCluster } from './on-cluster.ts';
import { benchOptions } from './options.ts';

const run = promisify(execFile);
const DVDCLI = fileURLToPath(new URL('../src/bin/dvdcli.js', import.meta.url));

/** Whole-process time of `dvdcli path`, with a node agent and a control service behind it, against a bare `node -e 0`. */
export async function dvdcli(args: readonly string[]): Promise<void> {
  const { json, rounds } = benchOptions(args);
  await onCluster({ nodes: 1, backend: 'directory' }, async (cluster) => {
    const env = { ...process.env, FLOCKER_AGENT_SOCKET: cluster.json.nodes[0]?.socket };
    const ask = async (command: string): Promise<string> => {
      const volume = [command, '--volumedriver=flocker', '--volumename=bench'];
      return (await run(process.execPath, [DVDCLI, ...volume], { env })).stdout;
    };
    const mounted = await ask('mount');
    const times = { path: [] as number[], bare: [] as number[] };
    for (let round = 0; round < rounds; round += 1) {
      times.bare.push(await timed(() => run(process.execPath, ['-e', '0'], { env })));
      let path = '';
      times.path.push(
        await timed(async () => {
          path = await ask('path');
        }),
      );
      if (path !== mounted) throw new Error(`dvdcli path printed ${JSON.stringify(path)}`);
    }
    const [pathMs, nodeMs] = [median(times.path), median(times.bare)];
    const figures = { path_ms: rounded(pathMs), node_ms: rounded(nodeMs), ratio: rounded(pathMs / nodeMs) };
    await ask('unmount');
    const table = `Medians of ${rounds} rounds: dvdcli path ${figures.path_ms} ms, node -e 0 ${figures.node_ms} ms, ratio ${figures.ratio}\n`;
    process.stdout.write(json ? `${JSON.stringify({ dvdcli: figures })}\n` : table);
  });
}
