import { errorCode } from '../../../kit/coded-error.ts';
import { Gate } from '../../host/gate.ts';
import type { ClusterAccess } from './cluster-access.ts';
import type { ImagePlace, ImageRecord } from './image-record.ts';
import { bindImages, type Images, type OpenImage } from './librbd.ts';

/** Names of images begin with it. */
const PREFIX = 'flocker.';
/** Of what was destroyed and is still needed by snapshots or volumes that were made from it. */
const GONE_PREFIX = 'flocker-gone.';
/** Metadata of an image: the name of the one that it was made from. */
const PARENT_KEY = 'flocker-parent';
/** Each occupies one of the four threads that the process also reads files with. */
const CALLS_AT_ONCE = 2;

const gate = new Gate(CALLS_AT_ONCE);

/**
 * Makes and removes images, with calls in this process. Nothing here changes the bytes of a volume that exists: that is left to the process
 * that serves it, whose address is on record.
 */
export class ImageStore {
  readonly #cluster: ClusterAccess;

  constructor(cluster: ClusterAccess) {
    this.#cluster = cluster;
  }

  /** Fails where the pool cannot be used for images. */
  async require(pool: string): Promise<void> {
    await this.#in(pool, async () => undefined);
  }

  /** The name of a new image; `token` keeps it from being that of another try. */
  newPlace(pool: string, volume: string, token: string): ImagePlace {
    return { pool, image: `${PREFIX}${volume}.${token}` };
  }

  async create({ pool, image }: ImagePlace, sizeBytes: number): Promise<void> {
    await this.#in(pool, (images) => images.create(image, sizeBytes));
  }

  /** Makes an image of a snapshot; the two share what neither changes. False when there is no such snapshot any more. */
  async clone(from: ImageRecord & { readonly snapshot: string }, to: ImagePlace): Promise<boolean> {
    return await this.#in(from.pool, async (images) => {
      for (const name of [from.image, goneName(from.image)]) {
        try {
          await images.clone(name, from.snapshot, to.image);
        } catch (error) {
          if (errorCode(error) === 'ENOENT') continue;
          throw error;
        }
        await withImage(images, to.image, (image) => image.setMetadata(PARENT_KEY, from.image));
        return true;
      }
      return false;
    });
  }

  /** Bytes; undefined when there is no such image. */
  async size({ pool, image }: ImagePlace): Promise<number | undefined> {
    return await this.#in(pool, (images) => withImage(images, image, (opened) => opened.size()));
  }

  /** Makes room in an image that nobody serves; never takes any away. */
  async grow({ pool, image }: ImagePlace, sizeBytes: number): Promise<void> {
    await this.#in(pool, (images) => withImage(images, image, (opened) => opened.grow(sizeBytes)));
  }

  /** Removes a snapshot, or an image: one that snapshots need goes with the last of them. Fine when there is none, or no such pool. */
  async remove({ pool, image, snapshot }: ImageRecord): Promise<void> {
    const work = async (images: Images): Promise<void> => {
      const gone = goneName(image);
      if (snapshot !== undefined) {
        for (const name of [image, gone]) await withImage(images, name, (opened) => opened.removeSnapshot(snapshot));
      } else if (!(await removeIfUnused(images, image))) await images.rename(image, gone);
      await removeIfUnused(images, gone);
    };
    await this.#in(pool, work).catch((error: unknown) => {
      if (errorCode(error) !== 'ENOENT') throw error;
    });
  }

  /** Removes what was destroyed and is needed no more, where whoever should have done so was interrupted. */
  async sweep(pool: string): Promise<void> {
    await this.#in(pool, async (images) => {
      for (const name of await images.list()) if (name.startsWith(GONE_PREFIX)) await removeIfUnused(images, name);
    });
  }

  async #in<T>(pool: string, work: (images: Images) => Promise<T>): Promise<T> {
    return await this.#cluster.use(async (rados) => {
      const open = await rados.openPool(pool);
      open.tryWhenFull();
      try {
        return await work(bindImages(open.pointer, gate));
      } finally {
        open.close();
      }
    });
  }
}

function goneName(image: string): string {
  return `${GONE_PREFIX}${image.slice(PREFIX.length)}`;
}

async function withImage<T>(
  images: Images,
  name: string,
  work: (image: OpenImage) => Promise<T>,
): Promise<T | undefined> {
  const image = await images.open(name);
  if (image === undefined) return undefined;
  try {
    return await work(image);
  } finally {
    await image.close();
  }
}

/** Removes an image that was destroyed, and what it was made from, as far as nobody needs them. False where somebody does. */
async function removeIfUnused(images: Images, name: string): Promise<boolean> {
  const parent = await withImage(images, name, (image) => image.metadata(PARENT_KEY));
  try {
    if (!(await images.remove(name))) return true;
  } catch (error) {
    // It has snapshots, or the cluster still waits for a client of it that ended without a word: it goes with a later sweep.
    if (errorCode(error) === 'ENOTEMPTY' || errorCode(error) === 'EBUSY') return false;
    throw error;
  }
  if (parent !== undefined) await removeIfUnused(images, goneName(parent));
  return true;
}
