import { join } from 'node:path';
import type { RunningCluster } from '../up/start-cluster.ts';

/** Where things are, for people. */
export function whereThingsAre(cluster: RunningCluster): string {
  const { json } = cluster;
  const rows: (readonly [string, string])[] = [
    ['REST API', [json.control.url, ...(json.control.other_urls ?? [])].map((url) => `${url}/v1/`).join(' or ')],
    ['certificate', `${json.tls.cert} (key beside it, authority ${json.tls.ca})`],
    ...json.nodes.map((node, index): [string, string] => [
      `node ${index + 1}`,
      `${node.host}, mounts at ${node.mount_root}`,
    ]),
    ...(json.ceph === undefined ? ([['volumes', join(cluster.volumesPath, '')]] as const) : []),
    ['logs', cluster.logsPath],
    ['all of it', cluster.clusterJsonPath],
  ];
  const width = Math.max(...rows.map(([label]) => label.length));
  return rows.map(([label, text]) => `  ${label.padEnd(width)}  ${text}`).join('\n');
}
