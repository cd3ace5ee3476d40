/** A volume's mount on the node, and where the command sees it. */
export interface BindMount {
  readonly path: string;
  readonly target: string;
  readonly mode: 'rw' | 'ro';
}

/** Exit status of `flocker run` when it failed itself, as `docker run` and env(1) have it. */
export const RUN_FAILED = 125;

/**
 * Runs in the new mount namespace: `$1` directory to enter again or nothing, `$2` number of mounts, three arguments for
 * each, then the command. It says on descriptor 3 that all is mounted, and waits on 4 for leave to go: the agent has to know
 * the namespace before anything can write there. It mounts on the directory that it stands in, as others may put a link in the place
 * of a name between two looks. Nobody at the other end means that `flocker run` was killed.
 */
const PROGRAM = `
directory=$1 count=$2
shift 2
while [ "$count" -gt 0 ]; do
  (
    cd -P -- "$2" || exit ${RUN_FAILED}
    if [ "$PWD" != "$2" ]; then echo "flocker: $2 leads elsewhere now" >&2; exit ${RUN_FAILED}; fi
    exec mount --no-canonicalize --no-mtab --bind -- "$1" .
  ) || exit ${RUN_FAILED}
  if [ "$3" = ro ]; then mount --no-mtab -o remount,bind,ro -- "$2" || exit ${RUN_FAILED}; fi
  shift 3
  count=$((count - 1))
done
if [ -n "$directory" ]; then cd -- "$directory" || exit ${RUN_FAILED}; fi
echo mounted >&3
read -r leave <&4 || exit ${RUN_FAILED}
[ "$leave" = go ] || exit ${RUN_FAILED}
exec 3>&- 4<&-
unset directory count leave
exec "$@"
`;

/**
 * The command line that mounts and then becomes the command. Nothing forks on the way, so its pid is the command's.
 *
 * setpriv comes after unshare: entering a user namespace changes credentials, and that clears the parent-death signal
 * (prctl(2), PR_SET_PDEATHSIG).
 */
export function runCommandLine(
  mounts: readonly BindMount[],
  command: readonly string[],
  world: {
    readonly isRoot: boolean;
    readonly env: Readonly<Record<string, string | undefined>>;
    readonly enter: string;
  },
): { readonly file: string; readonly args: string[] } {
  const namespace = world.isRoot ? ['--mount', '--propagation', 'slave'] : ['--map-root-user', '--mount'];
  const odd = Object.entries(world.env).filter(([name, value]) => value !== undefined && !/^[A-Za-z_]\w*$/.test(name));
  // dash drops variables whose names it cannot set itself, such as the exported functions of bash: env(1) brings them back.
  const kept = odd.length === 0 ? [] : ['env', ...odd.map(([name, value]) => `${name}=${value}`)];
  const parts = mounts.flatMap(({ path, target, mode }) => [path, target, mode]);
  return {
    file: 'unshare',
    args: [
      ...namespace,
      '--',
      'setpriv',
      '--pdeathsig',
      'KILL',
      '--',
      'sh',
      '-c',
      PROGRAM,
      'flocker-run',
      world.enter,
      String(mounts.length),
      ...parts,
      ...kept,
      ...command,
    ],
  };
}
