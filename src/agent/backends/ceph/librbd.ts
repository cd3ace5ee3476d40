import { type KoffiFunc, load } from 'koffi';
import { CodedError } from '../../../kit/coded-error.ts';
import { Gate } from '../../host/gate.ts';
import { type Call, completed, type Done, require0 } from './librados.ts';

/** The distribution's librbd cannot be used. */
class LibrbdMissing extends CodedError<'librbd_missing'> {
  override readonly name = 'LibrbdMissing';
}

/** The bindings say of every value only what C does: a pointer, a number. */
type Pointer = unknown;

/** RBD_LOCK_MODE_EXCLUSIVE of `librbd.h`. */
const LOCK_EXCLUSIVE = 0;
/** RBD_IMAGE_OPTION_*. */
const OPTION_FEATURES = 1;
const OPTION_CLONE_FORMAT = 12;
/** Of a clone that keeps what it came from alive without anybody's help. */
const CLONE_FORMAT = 2;
/**
 * layering, exclusive-lock, object-map, fast-diff and deep-flatten (`features.h`): Ceph's own default. The lock is taken for good by who
 * serves an image; the map makes removing a sparse image cheap.
 */
const FEATURES = 1n + 4n + 8n + 16n + 32n;
const ENOENT = -2;
const EEXIST = -17;
const ERANGE = -34;
const LONGEST_METADATA_BYTES = 1024;

/** An image that is open. Calls run off the main thread and fail with the errno of librbd. */
export interface OpenImage {
  /** Bytes. */
  size(): Promise<number>;
  /** Makes this client the only one that may write: others are refused, and one that is gone for good is cut off by Ceph. */
  lock(): Promise<void>;
  /** Fills `into`. */
  read(offset: number, into: Buffer): Promise<void>;
  /** Durable when it resolves, unless the connection has a cache. */
  write(offset: number, bytes: Buffer): Promise<void>;
  /** Makes it read as zeros and gives back the room. */
  zero(offset: number, length: number): Promise<void>;
  flush(): Promise<void>;
  /** Never makes it smaller. */
  grow(sizeBytes: number): Promise<void>;
  /** False when there is one of that name. */
  takeSnapshot(name: string): Promise<boolean>;
  hasSnapshot(name: string): Promise<boolean>;
  /** Brings back what the image had, its size included. */
  rollBack(name: string): Promise<void>;
  /** Fine when there is none. One that clones need lives on without its name until they are gone. */
  removeSnapshot(name: string): Promise<void>;
  setMetadata(key: string, value: string): Promise<void>;
  /** Undefined when there is none of that key. */
  metadata(key: string): Promise<string | undefined>;
  close(): Promise<void>;
}

/** The images of a pool, which the caller has open. */
export interface Images {
  /** Makes a blank image. */
  create(name: string, sizeBytes: number): Promise<void>;
  /** Undefined when there is no such image. */
  open(name: string): Promise<OpenImage | undefined>;
  /** Makes an image of a snapshot that shares with it what neither changes. */
  clone(name: string, snapshot: string, to: string): Promise<void>;
  /** False when there is none. Fails with `ENOTEMPTY` or `EBUSY` while it has snapshots, with `EBUSY` while somebody has it open. */
  remove(name: string): Promise<boolean>;
  /** False when there is none. */
  rename(name: string, to: string): Promise<boolean>;
  list(): Promise<readonly string[]>;
}

let bound: ReturnType<typeof bind> | undefined;

/** Images of a pool by the distribution's librbd. Fails with `librbd_missing`. `gate` bounds the threads that wait at once. */
export function bindImages(pool: Pointer, gate: Gate): Images {
  bound ??= bind();
  const lib = bound;
  const result = (start: (done: Done) => void): Promise<number> => gate.run(() => completed(start));
  const call = async (what: string, start: (done: Done) => void): Promise<number> =>
    require0(what, await result(start));
  const withOptions = async <T>(work: (options: Pointer) => Promise<T>): Promise<T> => {
    const options: [Pointer] = [null];
    lib.newOptions(options);
    try {
      require0('features', lib.setOption(options[0], OPTION_FEATURES, FEATURES));
      return await work(options[0]);
    } finally {
      lib.freeOptions(options[0]);
    }
  };
  const opened = (name: string, image: Pointer): OpenImage => ({
    size: async () => {
      const size: [number] = [0];
      await call(`looking at image ${name}`, (done) => lib.size.async(image, size, done));
      return size[0];
    },
    lock: async () => {
      await call(`locking image ${name}`, (done) => lib.lock.async(image, LOCK_EXCLUSIVE, done));
    },
    read: async (offset, into) => {
      const count = await call(`reading image ${name}`, (done) =>
        lib.read.async(image, offset, into.length, into, done),
      );
      if (count < into.length) throw new Error(`image ${name} ends at ${offset + count}`);
    },
    write: async (offset, bytes) => {
      const count = await call(`writing image ${name}`, (done) =>
        lib.write.async(image, offset, bytes.length, bytes, done),
      );
      if (count < bytes.length) throw new Error(`image ${name} took ${count} of ${bytes.length} bytes`);
    },
    zero: async (offset, length) => {
      await call(`clearing image ${name}`, (done) => lib.zero.async(image, offset, length, 0, 0, done));
    },
    flush: async () => {
      await call(`flushing image ${name}`, (done) => lib.flush.async(image, done));
    },
    grow: async (sizeBytes) => {
      const size: [number] = [0];
      await call(`looking at image ${name}`, (done) => lib.size.async(image, size, done));
      if (size[0] >= sizeBytes) return;
      await call(`growing image ${name}`, (done) => lib.resize.async(image, sizeBytes, false, null, null, done));
    },
    takeSnapshot: async (snapshot) => {
      const code = await result((done) => lib.takeSnapshot.async(image, snapshot, done));
      if (code === EEXIST) return false;
      require0(`taking a snapshot of image ${name}`, code);
      return true;
    },
    hasSnapshot: async (snapshot) => {
      const has: [boolean] = [false];
      await call(`looking at image ${name}`, (done) => lib.hasSnapshot.async(image, snapshot, has, done));
      return has[0];
    },
    rollBack: async (snapshot) => {
      await call(`rolling back image ${name}`, (done) => lib.rollBack.async(image, snapshot, done));
    },
    removeSnapshot: async (snapshot) => {
      const code = await result((done) => lib.removeSnapshot.async(image, snapshot, done));
      if (code !== ENOENT) require0(`removing a snapshot of image ${name}`, code);
    },
    setMetadata: async (key, value) => {
      await call(`describing image ${name}`, (done) => lib.setMetadata.async(image, key, value, done));
    },
    metadata: async (key) => {
      const value = Buffer.alloc(LONGEST_METADATA_BYTES);
      const size: [number] = [value.length];
      const code = await result((done) => lib.metadata.async(image, key, value, size, done));
      if (code === ENOENT) return undefined;
      require0(`looking at image ${name}`, code);
      return value.toString('utf8', 0, value.indexOf(0));
    },
    close: async () => {
      await call(`closing image ${name}`, (done) => lib.close.async(image, done));
    },
  });
  return {
    create: (name, sizeBytes) =>
      withOptions(async (options) => {
        await call(`making image ${name}`, (done) => lib.create.async(pool, name, sizeBytes, options, done));
      }),
    open: async (name) => {
      const image: [Pointer] = [null];
      const code = await result((done) => lib.open.async(pool, name, image, null, done));
      if (code === ENOENT) return undefined;
      require0(`opening image ${name}`, code);
      return opened(name, image[0]);
    },
    clone: (name, snapshot, to) =>
      withOptions(async (options) => {
        require0('clone format', lib.setOption(options, OPTION_CLONE_FORMAT, BigInt(CLONE_FORMAT)));
        await call(`making image ${to}`, (done) => lib.clone.async(pool, name, snapshot, pool, to, options, done));
      }),
    remove: async (name) => {
      const code = await result((done) => lib.remove.async(pool, name, done));
      if (code === ENOENT) return false;
      require0(`removing image ${name}`, code);
      return true;
    },
    rename: async (name, to) => {
      const code = await result((done) => lib.rename.async(pool, name, to, done));
      if (code === ENOENT) return false;
      require0(`renaming image ${name}`, code);
      return true;
    },
    list: async () => {
      for (let bytes = 64 * 1024; ; bytes *= 4) {
        const names = Buffer.alloc(bytes);
        const size = [bytes] as [number];
        const count = await result((done) => lib.list.async(pool, names, size, done));
        if (count === ERANGE) continue;
        const length = require0('listing images', count);
        return names.toString('utf8', 0, length).split('\0').slice(0, -1);
      }
    },
  };
}

function bind() {
  const library = (() => {
    try {
      return load('librbd.so.1');
    } catch (error) {
      const text = 'librbd is not installed on this node: install it (Debian: apt-get install librbd1)';
      throw new LibrbdMissing('librbd_missing', text, { cause: error });
    }
  })();
  const func = <Parameters extends readonly unknown[]>(declaration: string): Call<Parameters> =>
    library.func(declaration) as Call<Parameters>;
  return {
    newOptions: library.func('void rbd_image_options_create(_Out_ void **)') as KoffiFunc<(out: [Pointer]) => void>,
    freeOptions: library.func('void rbd_image_options_destroy(void *)') as KoffiFunc<(options: Pointer) => void>,
    setOption: func<[Pointer, number, bigint]>('int rbd_image_options_set_uint64(void *, int, uint64_t)'),
    create: func<[Pointer, string, number, Pointer]>('int rbd_create4(void *, const char *, uint64_t, void *)'),
    clone: func<[Pointer, string, string, Pointer, string, Pointer]>(
      'int rbd_clone3(void *, const char *, const char *, void *, const char *, void *)',
    ),
    remove: func<[Pointer, string]>('int rbd_remove(void *, const char *)'),
    rename: func<[Pointer, string, string]>('int rbd_rename(void *, const char *, const char *)'),
    list: func<[Pointer, Buffer, [number]]>('int rbd_list(void *, void *, _Inout_ size_t *)'),
    open: func<[Pointer, string, [Pointer], null]>('int rbd_open(void *, const char *, _Out_ void **, const char *)'),
    close: func<[Pointer]>('int rbd_close(void *)'),
    size: func<[Pointer, [number]]>('int rbd_get_size(void *, _Out_ uint64_t *)'),
    lock: func<[Pointer, number]>('int rbd_lock_acquire(void *, int)'),
    read: func<[Pointer, number, number, Buffer]>('int64_t rbd_read(void *, uint64_t, size_t, void *)'),
    write: func<[Pointer, number, number, Buffer]>('int64_t rbd_write(void *, uint64_t, size_t, const void *)'),
    zero: func<[Pointer, number, number, number, number]>(
      'int64_t rbd_write_zeroes(void *, uint64_t, size_t, int, int)',
    ),
    flush: func<[Pointer]>('int rbd_flush(void *)'),
    resize: func<[Pointer, number, boolean, null, null]>('int rbd_resize2(void *, uint64_t, bool, void *, void *)'),
    takeSnapshot: func<[Pointer, string]>('int rbd_snap_create(void *, const char *)'),
    hasSnapshot: func<[Pointer, string, [boolean]]>('int rbd_snap_exists(void *, const char *, _Out_ bool *)'),
    rollBack: func<[Pointer, string]>('int rbd_snap_rollback(void *, const char *)'),
    setMetadata: func<[Pointer, string, string]>('int rbd_metadata_set(void *, const char *, const char *)'),
    metadata: func<[Pointer, string, Buffer, [number]]>(
      'int rbd_metadata_get(void *, const char *, void *, _Inout_ size_t *)',
    ),
    removeSnapshot: func<[Pointer, string]>('int rbd_snap_remove(void *, const char *)'),
  };
}
