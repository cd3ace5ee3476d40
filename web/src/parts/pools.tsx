import type { JSX } from 'preact';
import type { NodeInspection } from '../../../src/api/nodes.ts';
import type { PoolView, ProfileView } from '../../../src/api/storage.ts';
import { savedOf } from '../cluster-state.ts';
import { bytesText, percentText } from '../figures.ts';
import { fillOf } from './volume-view.ts';

/** What storage there is, how much of it is used, and what compression and sharing save. */
export function Pools(props: {
  readonly pools: ReadonlyMap<string, PoolView>;
  readonly nodes: ReadonlyMap<string, NodeInspection>;
}): JSX.Element {
  const { pools, nodes } = props;
  return (
    <section aria-labelledby="pools-title">
      <h2 id="pools-title">Storage</h2>
      <div class="pools">
        {[...pools.values()].map((pool) => (
          <Pool key={pool.pool} pool={pool} nodes={nodes} />
        ))}
        {pools.size === 0 && <p class="quiet">No node has told of its storage yet.</p>}
      </div>
    </section>
  );
}

function Pool({
  pool,
  nodes,
}: {
  readonly pool: PoolView;
  readonly nodes: ReadonlyMap<string, NodeInspection>;
}): JSX.Element {
  const { figures, profiles, backend } = pool;
  const { total, used, provisioned } = figures;
  const share = total === null || used === null || total === 0 ? null : used / total;
  const saved = savedOf(figures);
  const hosts = pool.nodes.map((uuid) => nodes.get(uuid)?.host ?? uuid.slice(0, 8)).join(', ');
  const title = `${backend} pool ${pool.pool.slice(0, 8)}`;
  return (
    <article class="pool">
      <h3>
        {title} <small>{hosts === '' ? 'reached by no node now' : `reached by ${hosts}`}</small>
      </h3>
      {share === null ? (
        <p class="quiet">How full it is, is not known.</p>
      ) : (
        <meter class={fillOf(share)} min={0} max={1} value={share} aria-label={`${title}: used`}>
          {percentText(share)}
        </meter>
      )}
      <dl>
        <Figure name="Used" text={`${bytesText(used)} of ${bytesText(total)}`} />
        <Figure name="Promised" text={bytesText(provisioned)} />
        <Figure name="Compression saves" text={saving(figures.saved_by_compression, figures.compression_share)} />
        <Figure name="Sharing saves" text={bytesText(figures.saved_by_sharing)} />
        <Figure name="Saved in all" text={bytesText(saved)} />
      </dl>
      <table>
        <caption>Profiles</caption>
        <thead>
          <tr>
            <th scope="col">Profile</th>
            <th scope="col">Traits</th>
            <th scope="col" class="number">
              Volumes
            </th>
            <th scope="col">Promised</th>
          </tr>
        </thead>
        <tbody>
          {profiles.map((profile) => (
            <tr key={profile.name}>
              <th scope="row">{profile.name}</th>
              <td>{traits(profile)}</td>
              <td class="number">{profile.datasets}</td>
              <td>
                <Promised profile={profile} total={total} />
              </td>
            </tr>
          ))}
        </tbody>
      </table>
    </article>
  );
}

function Promised({ profile, total }: { readonly profile: ProfileView; readonly total: number | null }): JSX.Element {
  const { provisioned, name } = profile;
  if (total === null || total === 0) return <>{bytesText(provisioned)}</>;
  return (
    <>
      {bytesText(provisioned)}{' '}
      <meter min={0} max={1} value={Math.min(1, provisioned / total)} aria-label={`promised to ${name}`} />
    </>
  );
}

function Figure({ name, text }: { readonly name: string; readonly text: string }): JSX.Element {
  return (
    <div>
      <dt>{name}</dt>
      <dd>{text}</dd>
    </div>
  );
}

function saving(bytes: number | null, share: number | null): string {
  return share === null ? bytesText(bytes) : `${bytesText(bytes)} (${percentText(share)})`;
}

function traits({ media, compression, dedup, replication, encryption }: ProfileView): string {
  const known = [
    media,
    compression === null || compression === 'none' ? null : `compression ${compression}`,
    dedup === null || dedup === 'none' ? null : `dedup ${dedup}`,
    replication === null ? null : `${replication} ${replication === 1 ? 'copy' : 'copies'}`,
    encryption === true ? 'encrypted' : null,
  ].filter((trait) => trait !== null);
  return known.length === 0 ? '–' : known.join(', ');
}
