import { at } from '../../mesos/http-calls.ts';
import { MesosError } from '../../mesos/mesos-error.ts';

/** How an agent stands with the master. */
export type Standing = 'admitted' | 'unreachable' | 'gone';

/**
 * Which agents the master has, by id: what it keeps durably, and the one thing that tells a gone agent from an unreachable one. It is written
 * before `MARK_AGENT_GONE` is answered (src/master/http.cpp, `_markAgentGone`). Agents that unregistered are not in it; of gone and unreachable
 * ones the master forgets the oldest (`--registry_max_agent_age`, two weeks unless given).
 */
export type Registry = ReadonlyMap<string, Standing>;

/**
 * Reads the answer of `GET /registrar(1)/registry` (src/master/registrar.cpp and registry.proto). A master that does not lead answers `{}`:
 * throws a {@link MesosError} then.
 */
export function parseRegistry(text: string): Registry {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw new MesosError('unexpected_answer', "the master's registry is no JSON", { cause: error });
  }
  if (at(value, 'master', 'info') === undefined)
    throw new MesosError('not_ready', 'the master has no registry: it does not lead, or has not recovered yet');
  const registry = new Map<string, Standing>();
  const note = (part: string, standing: Standing, ...path: readonly string[]): void => {
    const entries = at(value, part, 'slaves');
    for (const entry of Array.isArray(entries) ? (entries as unknown[]) : []) {
      const id = at(entry, ...path);
      if (typeof id === 'string') registry.set(id, standing);
    }
  };
  note('gone', 'gone', 'id', 'value');
  note('unreachable', 'unreachable', 'id', 'value');
  // Should one be in two lists, the harmless one counts.
  note('slaves', 'admitted', 'info', 'id', 'value');
  return registry;
}
