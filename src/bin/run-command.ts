import { spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { Command } from 'commander';
import { chooseAgentSocket } from '../cli/agent-socket.ts';
import { systemClock } from '../kit/clock.ts';
import { errorText } from '../kit/coded-error.ts';

interface RunFlags {
  readonly volume: readonly string[];
  readonly node?: string;
  readonly cluster?: string;
  readonly socket?: string;
  readonly timeout: string;
}

/** `flocker run`: a command in a mount namespace of its own, with volumes in it. */
export function runCommand(): Command {
  return new Command('run')
    .description('Run a command with volumes: each is made or moved here first, and let go when the command ends.')
    .argument('<command...>', 'the command and its arguments, after --')
    .requiredOption(
      '-v, --volume <NAME:/path[:ro][,size=1GiB][,profile=gold][,fs=xfs][,create=never]>',
      'a volume and where the command sees it; may be given several times',
      (text: string, before: readonly string[] | undefined) => [...(before ?? []), text],
    )
    .option('--node <node>', 'with --cluster: number from 1, host, or beginning of the UUID')
    .option(
      '--cluster <file>',
      'cluster.json of a cluster on this machine (FLOCKER_CLUSTER)',
      process.env['FLOCKER_CLUSTER'],
    )
    .option('--socket <path>', "the agent's socket (FLOCKER_AGENT_SOCKET; default: /run/flocker/agent.sock)")
    .option('--timeout <seconds>', 'how long to wait for the volumes', '120')
    .addHelpText(
      'after',
      '\nExit status: that of the command, 128 + n when signal n ended it, 125 when flocker itself failed.' +
        '\nExample: flocker run -v webapp:/data,size=10GiB -- postgres -D /data',
    )
    .action(async (command: string[], flags: RunFlags) => {
      process.exitCode = await run(command, flags);
    });
}

async function run(command: readonly string[], flags: RunFlags): Promise<number> {
  const [{ LocalClient }, { runWithVolumes }, { RUN_FAILED }, { parseVolumeArguments }, { isInForeground }] =
    await Promise.all([
      import('../frontends/local/local-client.ts'),
      import('../frontends/local/run.ts'),
      import('../frontends/local/run-command.ts'),
      import('../frontends/local/volume-argument.ts'),
      import('../frontends/local/run-signals.ts'),
    ]);
  try {
    const timeoutMs = Number(flags.timeout) * 1000;
    if (!(timeoutMs > 0 && timeoutMs <= 86_400_000))
      throw new Error('--timeout must be a number of seconds up to 86400');
    const socket = await chooseAgentSocket(
      {
        socket: flags.socket,
        cluster: flags.cluster,
        node: flags.node,
        environmentSocket: process.env['FLOCKER_AGENT_SOCKET'],
      },
      resolve('.flocker/cluster.json'),
    );
    return await runWithVolumes(
      { volumes: parseVolumeArguments(flags.volume), command, timeoutMs },
      {
        client: new LocalClient(socket),
        spawn,
        signals: process,
        inForeground: () => isInForeground(readFileSync('/proc/self/stat', 'utf8')),
        env: process.env,
        workingDirectory: process.cwd(),
        isRoot: process.getuid?.() === 0,
        pid: process.pid,
        clock: systemClock,
        newUuid: randomUUID,
        say: (line) => process.stderr.write(`flocker: ${line}\n`),
      },
    );
  } catch (error) {
    process.stderr.write(`flocker: ${errorText(error)}\n`);
    return RUN_FAILED;
  }
}
