import type { AgentConfig } from '../../agent/agent-config.ts';
import { type Finding, fault, ok, warning } from './finding.ts';
import type { Machine } from './machine.ts';

const PROGRAMS: ReadonlySet<string> = new Set(['mesos-agent', 'mesos-slave']);
const ISOLATOR = 'com_clusterhq_flocker_FlockerIsolator';
/** From the Mesos agent's documentation: what is in force when no flag says otherwise. */
const DEFAULT_LAUNCHER = 'linux';

/** The flags of the Mesos agents that run here; nothing is said when there is none. */
export async function checkMesos(machine: Machine, config: AgentConfig): Promise<Finding[]> {
  const findings: Finding[] = [];
  for (const pid of (await machine.list('/proc')).filter((name) => /^\d+$/.test(name))) {
    const line = await machine.readText(`/proc/${pid}/cmdline`);
    const [program = '', ...args] = (line ?? '').split('\0');
    const name = program.split('/').at(-1)?.replace(/^lt-/, '') ?? '';
    if (!PROGRAMS.has(name)) continue;
    const environment = (await machine.readText(`/proc/${pid}/environ`)) ?? '';
    const flags = flagsOf(args, environment.split('\0'));
    findings.push(...(await checkAgent(machine, `the Mesos agent (pid ${pid})`, flags, config)));
  }
  return findings;
}

/** `--name=value` and `--name value` of the command line, which win over `MESOS_NAME` of the environment. */
export function flagsOf(args: readonly string[], environment: readonly string[]): ReadonlyMap<string, string> {
  const flags = new Map<string, string>();
  for (const entry of environment) {
    const [, name, value] = /^MESOS_([A-Z_]+)=(.*)$/s.exec(entry) ?? [];
    if (name !== undefined) flags.set(name.toLowerCase(), value ?? '');
  }
  for (const [index, arg] of args.entries()) {
    const [, name, value] = /^--([a-z_]+)(?:=(.*))?$/s.exec(arg) ?? [];
    if (name === undefined) continue;
    const next = args[index + 1];
    flags.set(name, value ?? (next === undefined || next.startsWith('--') ? 'true' : next));
  }
  return flags;
}

async function checkAgent(
  machine: Machine,
  who: string,
  flags: ReadonlyMap<string, string>,
  config: AgentConfig,
): Promise<Finding[]> {
  const isolation = new Set((flags.get('isolation') ?? '').split(','));
  const findings: Finding[] = [];
  if ((flags.get('launcher') ?? DEFAULT_LAUNCHER) !== 'linux')
    findings.push(fault(`${who} does not use the launcher linux`, 'Start it with --launcher=linux.'));
  if (!isolation.has('filesystem/linux'))
    findings.push(fault(`${who} gives containers no mounts of their own`, 'Add filesystem/linux to --isolation.'));
  const ways = [ISOLATOR, 'docker/volume', 'volume/csi'].filter((name) => isolation.has(name));
  if (ways.length === 0)
    findings.push(
      warning(
        `${who} has none of the isolators that bring volumes to tasks`,
        `Add one of ${ISOLATOR} (docs/mesos-isolator.md), docker/volume (docs/dvdcli.md) or volume/csi (docs/csi.md) to ` +
          '--isolation, unless tasks get disks of the resource provider only.',
      ),
    );
  if (isolation.has(ISOLATOR)) findings.push(...(await checkModule(machine, who, flags.get('modules'), config)));
  if (isolation.has('docker/volume') && (await machine.findProgram('dvdcli')) === undefined)
    findings.push(
      fault(`${who} uses docker/volume, and there is no dvdcli`, 'Link dvdcli of this package into the PATH.'),
    );
  if (findings.length === 0) findings.push(ok(`${who} brings volumes to tasks by ${ways.join(', ')}`));
  return findings;
}

/** The module has to look for the socket where the agent has it. */
async function checkModule(
  machine: Machine,
  who: string,
  modules: string | undefined,
  config: AgentConfig,
): Promise<Finding[]> {
  const path = modules?.replace(/^file:\/\//, '');
  const text = path?.startsWith('/') === true ? await machine.readText(path) : path;
  if (text === undefined)
    return [
      fault(`${who} names ${ISOLATOR} and no modules that can be read`, 'Give --modules=file:///…/modules.json.'),
    ];
  const socket = /"key"\s*:\s*"socket"\s*,\s*"value"\s*:\s*"([^"]*)"/.exec(text)?.[1] ?? '/run/flocker/isolator.sock';
  if (socket === config.isolatorSocketPath) return [];
  const remedy = `Make the parameter "socket" in ${path} and isolator-socket in agent.yml the same.`;
  return [fault(`${who} looks for ${socket}, and flocker agent listens on ${config.isolatorSocketPath}`, remedy)];
}
