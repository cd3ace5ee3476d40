import { decode, type KoffiFunc, load } from 'koffi';
import { CodedError } from '../../../kit/coded-error.ts';
import { Gate } from '../../host/gate.ts';
import { SystemCallError } from '../../host/system-call-error.ts';

/** The distribution's librados cannot be used. */
class LibradosMissing extends CodedError<'librados_missing'> {
  override readonly name = 'LibradosMissing';
}

/** Who connects to which cluster. */
export interface CephAccess {
  /** Path of `ceph.conf`. */
  readonly confPath: string;
  /** Whole name of the client: `client.node1`. */
  readonly client: string;
  /** Path of its keyring; null where `ceph.conf` says. */
  readonly keyringPath: string | null;
}

/** A connection to a Ceph cluster. All calls run off the main thread, end within 20 s, and fail with {@link SystemCallError}. */
export interface Rados {
  /** Address of this connection as the cluster knows it, as `osd blocklist add` takes it: `10.0.0.1:0/123456`. */
  readonly address: string;
  /** Sends a command to the monitors (`{prefix: 'osd dump'}`) and returns what they answer. */
  monCommand(command: Readonly<Record<string, unknown>>): Promise<string>;
  /** Writes a whole object; durable on all its replicas. */
  write(place: ObjectPlace, content: string): Promise<void>;
  /** Makes an object; false when there is one, whoever made it. */
  create(place: ObjectPlace, content: string): Promise<boolean>;
  /** Removes an object; fine when there is none. */
  remove(place: ObjectPlace): Promise<void>;
  /** Reads a whole object of up to 1 MiB; undefined when there is none. */
  read(place: ObjectPlace): Promise<string | undefined>;
  /** Opens a pool for other libraries on top of this one, which take it as `rados_ioctx_t`. Writes wait while the cluster is full. */
  openPool(pool: string): Promise<OpenPool>;
  /** Resolves when this connection knows the newest map of the storage daemons, those that are blocked included. */
  awaitNewestMap(): Promise<void>;
  close(): Promise<void>;
}

/** A pool that is open; to be closed before its connection is. */
export interface OpenPool {
  readonly pointer: unknown;
  /** From now on what removes is carried out in a cluster that is full, and what writes fails with `ENOSPC`, instead of waiting. */
  tryWhenFull(): void;
  close(): void;
}

/** An object of a pool. */
export interface ObjectPlace {
  readonly pool: string;
  readonly namespace: string;
  readonly name: string;
}

/** The bindings say of every value only what C does: a pointer, a number. */
type Pointer = unknown;
export type Call<Parameters extends readonly unknown[]> = KoffiFunc<(...parameters: [...Parameters]) => number>;

/** Settings of librados by their names in `ceph.conf`. */
type ConnectionSettings = Readonly<Record<string, string>>;

/** Seconds. Both ends of every call: without them librados waits for a lost cluster for ever. */
const TIMEOUTS: ConnectionSettings = {
  client_mount_timeout: '10',
  rados_mon_op_timeout: '20',
  rados_osd_op_timeout: '20',
};
const LARGEST_OBJECT_BYTES = 2 ** 20;
/** Each occupies one of the four threads that the process also reads files with. */
const CALLS_AT_ONCE = 2;
/** LIBRADOS_OPERATION_FULL_FORCE of librados.h. Who has what must be known also in a cluster that is full, and takes a hundred bytes. */
const ALSO_WHEN_FULL = 128;
const ENOENT = -2;
const EEXIST = -17;

const gate = new Gate(CALLS_AT_ONCE);
let bound: ReturnType<typeof bind> | undefined;

/** Connects with the distribution's librados. Fails with `librados_missing`, or with the errno of librados. */
export async function connectRados(
  { confPath, client, keyringPath }: CephAccess,
  settings: ConnectionSettings = TIMEOUTS,
): Promise<Rados> {
  bound ??= bind();
  const lib = bound;
  const out: [Pointer] = [null];
  require0('rados_create2', lib.create(out, 'ceph', client, 0n));
  const cluster = out[0];
  const call = (name: string, start: (done: Done) => void): Promise<number> =>
    gate.run(async () => require0(name, await completed(start)));
  try {
    require0(`reading ${confPath}`, lib.readConf(cluster, confPath));
    for (const [key, value] of Object.entries(settings)) require0(key, lib.setConf(cluster, key, value));
    if (keyringPath !== null) require0('keyring', lib.setConf(cluster, 'keyring', keyringPath));
    await call(`connecting to Ceph as ${client}`, (done) => lib.connect.async(cluster, done));
  } catch (error) {
    lib.shutdown(cluster);
    throw error;
  }
  const command = async (request: Readonly<Record<string, unknown>>): Promise<string> => {
    const [answer, answerBytes, said, saidBytes]: [[Pointer], [number], [Pointer], [number]] = [
      [null],
      [0],
      [null],
      [0],
    ];
    const text = JSON.stringify({ format: 'json', ...request });
    const result = await gate.run(() =>
      completed((done) =>
        lib.monCommand.async(cluster, [text], 1, null, 0, answer, answerBytes, said, saidBytes, done),
      ),
    );
    try {
      const reason = said[0] === null ? '' : textAt(said[0], saidBytes[0]);
      require0(`ceph ${String(request['prefix'])}${reason === '' ? '' : ` (${reason})`}`, result);
      return answer[0] === null ? '' : textAt(answer[0], answerBytes[0]);
    } finally {
      for (const pointer of [answer[0], said[0]]) if (pointer !== null) lib.freeBuffer(pointer);
    }
  };
  const openPool = async (pool: string): Promise<OpenPool> => {
    const io: [Pointer] = [null];
    await call(`opening pool ${pool}`, (done) => lib.openPool.async(cluster, pool, io, done));
    return { pointer: io[0], tryWhenFull: () => void lib.tryWhenFull(io[0]), close: () => void lib.closePool(io[0]) };
  };
  const inPool = async <T>({ pool, namespace }: ObjectPlace, work: (io: Pointer) => Promise<T>): Promise<T> => {
    const io = await openPool(pool);
    try {
      lib.setNamespace(io.pointer, namespace);
      return await work(io.pointer);
    } finally {
      io.close();
    }
  };
  const change = async (io: Pointer, name: string, fill: (operation: Pointer) => unknown): Promise<number> => {
    const operation = lib.newChange();
    try {
      fill(operation);
      return await gate.run(() =>
        completed((done) => lib.perform.async(operation, io, name, null, ALSO_WHEN_FULL, done)),
      );
    } finally {
      lib.freeChange(operation);
    }
  };
  return {
    address: addressOf(lib, cluster),
    monCommand: command,
    write: (place, content) =>
      inPool(place, async (io) => {
        const bytes = Buffer.from(content);
        require0(
          `writing ${place.name}`,
          await change(io, place.name, (operation) => lib.writesAll(operation, bytes, bytes.length)),
        );
      }),
    create: (place, content) =>
      inPool(place, async (io) => {
        const bytes = Buffer.from(content);
        const result = await change(io, place.name, (operation) => {
          lib.mustNotExist(operation, 1, null);
          lib.writesAll(operation, bytes, bytes.length);
        });
        if (result === EEXIST) return false;
        require0(`making ${place.name}`, result);
        return true;
      }),
    remove: (place) =>
      inPool(place, async (io) => {
        const result = await change(io, place.name, lib.removes);
        if (result !== ENOENT) require0(`removing ${place.name}`, result);
      }),
    read: (place) =>
      inPool(place, async (io) => {
        const bytes = Buffer.alloc(LARGEST_OBJECT_BYTES);
        const count = await gate.run(() =>
          completed((done) => lib.read.async(io, place.name, bytes, bytes.length, 0, done)),
        );
        if (count === ENOENT) return undefined;
        return bytes.toString('utf8', 0, require0(`reading ${place.name}`, count));
      }),
    openPool,
    awaitNewestMap: async () => {
      await call('waiting for the newest map', (done) => lib.awaitMap.async(cluster, done));
    },
    close: async () => {
      await gate.run(() => completed((done) => lib.shutdown.async(cluster, done)));
    },
  };
}

export type Done = (failure: unknown, result: number) => void;

function bind() {
  const library = (() => {
    try {
      return load('librados.so.2');
    } catch (error) {
      const text = 'librados is not installed on this node: install it (Debian: apt-get install librados2)';
      throw new LibradosMissing('librados_missing', text, { cause: error });
    }
  })();
  const func = <Parameters extends readonly unknown[]>(declaration: string): Call<Parameters> =>
    library.func(declaration) as Call<Parameters>;
  return {
    create: func<[[Pointer], string, string, bigint]>(
      'int rados_create2(_Out_ void **, const char *, const char *, uint64_t)',
    ),
    readConf: func<[Pointer, string]>('int rados_conf_read_file(void *, const char *)'),
    setConf: func<[Pointer, string, string]>('int rados_conf_set(void *, const char *, const char *)'),
    connect: func<[Pointer]>('int rados_connect(void *)'),
    shutdown: func<[Pointer]>('void rados_shutdown(void *)'),
    addresses: func<[Pointer, [Pointer]]>('int rados_getaddrs(void *, _Out_ void **)'),
    monCommand: func<[Pointer, readonly string[], number, null, number, [Pointer], [number], [Pointer], [number]]>(
      'int rados_mon_command(void *, const char **, size_t, const char *, size_t, _Out_ void **, _Out_ size_t *, _Out_ void **, _Out_ size_t *)',
    ),
    freeBuffer: func<[Pointer]>('void rados_buffer_free(void *)'),
    openPool: func<[Pointer, string, [Pointer]]>('int rados_ioctx_create(void *, const char *, _Out_ void **)'),
    closePool: func<[Pointer]>('void rados_ioctx_destroy(void *)'),
    tryWhenFull: func<[Pointer]>('void rados_set_pool_full_try(void *)'),
    setNamespace: func<[Pointer, string]>('void rados_ioctx_set_namespace(void *, const char *)'),
    read: func<[Pointer, string, Buffer, number, number]>(
      'int rados_read(void *, const char *, void *, size_t, uint64_t)',
    ),
    newChange: library.func('void *rados_create_write_op()') as KoffiFunc<() => Pointer>,
    freeChange: func<[Pointer]>('void rados_release_write_op(void *)'),
    mustNotExist: func<[Pointer, number, null]>('void rados_write_op_create(void *, int, const char *)'),
    writesAll: func<[Pointer, Buffer, number]>('void rados_write_op_write_full(void *, const void *, size_t)'),
    perform: func<[Pointer, Pointer, string, null, number]>(
      'int rados_write_op_operate(void *, void *, const char *, void *, int)',
    ),
    removes: func<[Pointer]>('void rados_write_op_remove(void *)'),
    awaitMap: func<[Pointer]>('int rados_wait_for_latest_osdmap(void *)'),
  };
}

function addressOf(lib: ReturnType<typeof bind>, cluster: Pointer): string {
  const out: [Pointer] = [null];
  require0('rados_getaddrs', lib.addresses(cluster, out));
  try {
    return plainAddress(decode(out[0], 'char', -1) as string);
  } finally {
    lib.freeBuffer(out[0]);
  }
}

/** An address without the protocol that Ceph may write before it: `v1:10.0.0.1:0/1` is `10.0.0.1:0/1`. */
export function plainAddress(address: string): string {
  return address.replace(/^(?:v1|v2|any):/, '');
}

function textAt(pointer: Pointer, bytes: number): string {
  return bytes === 0 ? '' : Buffer.from(decode(pointer, 'uint8_t', bytes) as Uint8Array).toString('utf8');
}

/** Fails with the errno that a function of Ceph's libraries returned. */
export function require0(what: string, result: number): number {
  if (result < 0) throw new SystemCallError(what, -result);
  return result;
}

/** Runs a call of a C library off the main thread. */
export function completed(start: (done: Done) => void): Promise<number> {
  return new Promise((resolve, reject) => {
    start((failure, result) => {
      if (failure instanceof Error) reject(failure);
      else resolve(result);
    });
  });
}
