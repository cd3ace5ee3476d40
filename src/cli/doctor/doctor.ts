import { dirname } from 'node:path';
import { type AgentConfig, parseAgentConfig } from '../../agent/agent-config.ts';
import type { Clock } from '../../kit/clock.ts';
import { errorText } from '../../kit/coded-error.ts';
import { checkCertificates } from './certificate-checks.ts';
import { checkControl } from './control-checks.ts';
import { type Finding, fault, ok } from './finding.ts';
import type { Machine } from './machine.ts';
import { checkMachine } from './machine-checks.ts';
import { checkMesos } from './mesos-checks.ts';
import { checkSockets } from './socket-checks.ts';
import { checkStorage } from './storage-checks.ts';

/** What was found about one part of an installation. */
export interface Section {
  readonly title: string;
  readonly findings: readonly Finding[];
}

export interface DoctorWorld {
  readonly machine: Machine;
  readonly clock: Clock;
  readonly random: () => number;
  /** Version of this package. */
  readonly version: string;
}

/** Looks at this machine and at the node agent that `configPath` configures. Changes nothing. */
export async function examine(configPath: string, world: DoctorWorld, signal: AbortSignal): Promise<Section[]> {
  const { machine, clock } = world;
  const { config, finding } = await readConfig(machine, configPath);
  const backend = config?.dataset?.['backend'];
  const sections: Section[] = [
    { title: 'configuration', findings: [finding] },
    { title: 'machine', findings: await checkMachine(machine, typeof backend === 'string' ? backend : undefined) },
  ];
  if (config !== undefined) {
    const certificates = dirname(configPath);
    sections.push(
      { title: 'storage', findings: await checkStorage(machine, config) },
      { title: 'certificates', findings: await checkCertificates(machine, certificates, clock) },
      { title: 'control service', findings: await checkControl(config, certificates, world, signal) },
      { title: 'node agent', findings: await checkSockets(machine, config, signal) },
      { title: 'Mesos', findings: await checkMesos(machine, config) },
    );
  }
  return sections.filter(({ findings }) => findings.length > 0);
}

async function readConfig(
  machine: Machine,
  path: string,
): Promise<{ config: AgentConfig | undefined; finding: Finding }> {
  const text = await machine.readText(path);
  if (text === undefined) {
    const remedy =
      'Give the file with --agent-config, or write one (docs/configuration.md). Only the machine is looked at.';
    return { config: undefined, finding: fault(`there is no ${path}, or it cannot be read`, remedy) };
  }
  try {
    return { config: parseAgentConfig(text, path), finding: ok(path) };
  } catch (error) {
    return { config: undefined, finding: fault(errorText(error), 'Mend the file; the agent does not start with it.') };
  }
}
