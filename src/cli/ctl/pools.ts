import type { PoolView, StorageFigures } from '../../api/storage.ts';
import { bytesText, shareText } from './figures.ts';
import { shortened } from './list.ts';
import { type Session, writeJson } from './session.ts';
import type { Cell } from './table.ts';
import { printable } from './text-width.ts';
import { writeTable } from './write-table.ts';

/** `pools`: what storage there is, how much of it is used, and what it saves; below it the profiles of each pool. */
export async function showPools(session: Session, options: { readonly long?: true }): Promise<void> {
  const { pools, total, nodes } = await session.client.storageState(session.signal);
  if (session.json) {
    writeJson(session, { pools, nodes, total });
    return;
  }
  const long = options.long === true;
  const figures = (sums: StorageFigures): Cell[] =>
    [
      bytesText(sums.total),
      bytesText(sums.used),
      shareText(sums.used, sums.total),
      bytesText(sums.available),
      bytesText(sums.provisioned),
      bytesText(sums.saved_by_compression),
      bytesText(sums.saved_by_sharing),
    ].map((text) => ({ text }));
  const name = ({ pool }: PoolView): string => printable(shortened(pool, long));
  const rows = pools.map((pool) => [
    { text: name(pool) },
    { text: printable(pool.backend) },
    { text: String(pool.nodes.length) },
    ...figures(pool.figures),
  ]);
  const all = pools.length > 1 ? [[{ text: 'all' }, { text: '' }, { text: '' }, ...figures(total)]] : [];
  const header = [
    'POOL',
    'BACKEND',
    'NODES',
    'TOTAL',
    'USED',
    '',
    'AVAILABLE',
    'PROVISIONED',
    'COMPRESSION SAVES',
    'SHARING SAVES',
  ];
  writeTable(session, header, [...rows, ...all], 0);
  const profiles = pools.flatMap((pool) =>
    pool.profiles.map((profile) =>
      [
        profile.name,
        name(pool),
        profile.media ?? '-',
        profile.compression ?? '-',
        profile.dedup ?? '-',
        profile.replication === null ? '-' : String(profile.replication),
        profile.encryption === null ? '-' : profile.encryption ? 'yes' : 'no',
        String(profile.datasets),
        bytesText(profile.provisioned),
      ].map((text) => ({ text: printable(text) })),
    ),
  );
  const traits = ['PROFILE', 'POOL', 'MEDIA', 'COMPRESSION', 'DEDUP', 'COPIES', 'ENCRYPTED', 'VOLUMES', 'PROVISIONED'];
  writeTable(session, traits, profiles, 0);
}
