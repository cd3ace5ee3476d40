/** A system call on files that succeeded. `began` and `ended` are instants of one order of all calls of all threads. */
export interface FileCall {
  readonly name: string;
  readonly args: readonly string[];
  /** What it returned. */
  readonly result: number;
  readonly began: number;
  readonly ended: number;
}

/** What strace has to be asked for: everything that changes files, and what tells which file a descriptor is of. */
export const TRACED = [
  ...['openat', 'close', 'write', 'pwrite64', 'writev', 'pwritev', 'pwritev2', 'fsync', 'fdatasync', 'ftruncate'],
  ...[
    'fallocate',
    'renameat',
    'renameat2',
    'linkat',
    'symlinkat',
    'unlinkat',
    'mkdirat',
    'copy_file_range',
    'sendfile',
  ],
  // Some machines have only the calls above.
  ...['?open', '?creat', '?rename', '?link', '?symlink', '?unlink', '?mkdir', '?rmdir', '?truncate'],
].join();

/** Reads what `strace -f -xx` wrote, in the order in which the calls began. */
export function readCalls(trace: string): FileCall[] {
  const calls: FileCall[] = [];
  const unfinished = new Map<string, { readonly text: string; readonly began: number }>();
  for (const [instant, line] of trace.split('\n').entries()) {
    const [, thread = '', text = ''] = /^(\d+) +(.*)$/s.exec(line) ?? [];
    if (text.startsWith('+++') || text === '') continue;
    const resumed = /^<\.\.\. \w+ resumed>(.*)$/s.exec(text);
    const start = unfinished.get(thread);
    if (text.endsWith(' <unfinished ...>')) {
      unfinished.set(thread, { text: text.slice(0, -' <unfinished ...>'.length), began: instant });
      continue;
    }
    if (resumed !== null && start === undefined) throw new Error(`strace resumed a call that never began: ${text}`);
    const whole = resumed === null || start === undefined ? text : start.text + resumed[1];
    if (resumed !== null) unfinished.delete(thread);
    const call = parseCall(whole, resumed === null ? instant : (start?.began ?? instant), instant);
    if (call.result >= 0) calls.push(call);
  }
  return calls.sort((a, b) => a.began - b.began);
}

function parseCall(text: string, began: number, ended: number): FileCall {
  const [, name, inner, result] = /^(\w+)\((.*)\) += (-?\d+|\?)/s.exec(text) ?? [];
  if (name === undefined || inner === undefined) throw new Error(`strace wrote what is no call: ${text.slice(0, 200)}`);
  const args = inner.match(/"[^"]*"(?:\.\.\.)?|[^,\s][^,]*/g) ?? [];
  if (args.some((arg) => arg.endsWith('"...'))) throw new Error(`strace cut short ${name}`);
  return { name, args, result: result === '?' ? -1 : Number(result), began, ended };
}

/** The bytes of a string argument, of which strace writes each as `\x..`. */
export function bytesOf(arg: string | undefined): Buffer {
  if (arg === undefined || !arg.startsWith('"')) throw new Error(`strace wrote no string: ${arg}`);
  return Buffer.from(arg.slice(1, -1).replaceAll('\\x', ''), 'hex');
}
