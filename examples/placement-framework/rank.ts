import type { Offer, Resource } from './mesos.ts';
import { fulfils, type Wish } from './wish.ts';

/** An offer as this framework judges it. */
export interface Judged {
  readonly offer: Offer;
  /** The pool to make the disk of; undefined when the offer does not do. */
  readonly pool: Resource | undefined;
  /** For people: why. */
  readonly reason: string;
}

/** What the task needs besides its disk. */
export interface TaskNeeds {
  readonly cpus: number;
  readonly memMib: number;
  readonly role: string;
}

/**
 * Offers in order of preference, with a reason for each: those first that fulfil the wish, and of them the one with the most
 * room left, so that disks spread and large wishes stay possible.
 */
export function rankOffers(offers: readonly Offer[], wish: Wish, needs: TaskNeeds): readonly Judged[] {
  const judged = offers.map((offer) => judge(offer, wish, needs));
  const room = ({ pool }: Judged): number => pool?.scalar?.value ?? -1;
  return judged.toSorted((one, other) => room(other) - room(one));
}

function judge(offer: Offer, wish: Wish, needs: TaskNeeds): Judged {
  const pools = (offer.resources ?? []).filter(
    ({ disk }) => disk?.source?.type === 'RAW' && disk.source.id === undefined,
  );
  if (pools.length === 0) return { offer, pool: undefined, reason: 'no storage that disks can be made of' };
  const missing = missingFor(offer, needs);
  if (missing !== undefined) return { offer, pool: undefined, reason: missing };
  const faults: string[] = [];
  const fitting = pools.filter((pool) => {
    const fault = faultOf(pool, wish, needs);
    if (fault !== undefined) faults.push(`${pool.disk?.source?.profile ?? 'a pool'}: ${fault}`);
    return fault === undefined;
  });
  // What is reserved for us already comes first: it may be left of a disk that could not be made.
  const isReserved = ({ reservations = [] }: Resource): number => Number(reservations.length > 0);
  const [best] = fitting.toSorted(
    (one, other) => isReserved(other) - isReserved(one) || (other.scalar?.value ?? 0) - (one.scalar?.value ?? 0),
  );
  if (best === undefined) return { offer, pool: undefined, reason: faults.join('; ') };
  const traits = labelsOf(best).map(({ key, value }) => `${key}=${value ?? ''}`);
  const shown = traits.filter((trait) => !trait.startsWith('flocker.')).join(' ');
  return {
    offer,
    pool: best,
    reason: `${best.disk?.source?.profile ?? 'a pool'} fits: ${shown}, ${best.scalar?.value ?? 0} MiB free`,
  };
}

function faultOf(pool: Resource, wish: Wish, { role }: TaskNeeds): string | undefined {
  const { profile } = pool.disk?.source ?? {};
  if (wish.profile !== undefined && profile !== wish.profile) return `is not ${wish.profile}`;
  const reserved = pool.reservations?.at(-1)?.role;
  if (reserved !== undefined && reserved !== role) return `is reserved for ${reserved}`;
  const unfulfilled = wish.conditions.find((condition) => !fulfils(labelsOf(pool), condition));
  if (unfulfilled !== undefined) {
    const actual = labelsOf(pool).find(({ key }) => key === unfulfilled.key)?.value ?? 'not known';
    return `${unfulfilled.key} is ${actual}, not ${unfulfilled.operator === '=' ? '' : 'at least '}${unfulfilled.value}`;
  }
  const free = pool.scalar?.value ?? 0;
  return free < wish.sizeMib ? `only ${free} MiB of ${wish.sizeMib} are free` : undefined;
}

/** Why an offer has no room for the task itself; undefined when it has. */
export function missingFor(offer: Offer, { cpus, memMib }: TaskNeeds): string | undefined {
  const amount = (name: string): number =>
    (offer.resources ?? [])
      .filter((resource) => resource.name === name)
      .reduce((sum, one) => sum + (one.scalar?.value ?? 0), 0);
  if (amount('cpus') < cpus) return `only ${amount('cpus')} of ${cpus} CPUs`;
  if (amount('mem') < memMib) return `only ${amount('mem')} of ${memMib} MiB memory`;
  return undefined;
}

function labelsOf(pool: Resource): readonly { key: string; value?: string }[] {
  return pool.disk?.source?.metadata?.labels ?? [];
}
