import type { Clock } from '../../kit/clock.ts';
import { errorText } from '../../kit/coded-error.ts';
import { type NodeId, parseNodeId } from '../../kit/ids.ts';
import type { Logger } from '../../kit/logger.ts';
import type { ClusterView } from '../cluster.ts';
import type { DeploymentView } from '../deployment.ts';
import { holdsVolumes, whyNotDead } from '../fence-safety.ts';
import type { FenceWatch } from '../fence-watch.ts';
import { type MesosFence, nextStep, type Step } from './fence-steps.ts';
import { type Judgement, judgeNode } from './judge-node.ts';
import { KnownAgents } from './known-agents.ts';
import type { MasterEvent } from './master-event.ts';
import type { MasterListener, ReadRegistry } from './master-watch.ts';
import { type KnownNode, type Match, type Matches, matchAgents } from './match-agents.ts';
import { type MesosAgent, NODE_ATTRIBUTE } from './mesos-agent.ts';
import type { Registry } from './registry.ts';

interface MesosFencingParts {
  readonly fence: MesosFence;
  readonly deployment: DeploymentView;
  readonly cluster: ClusterView;
  readonly clock: Clock;
  readonly logger: Logger;
  /** Declares a node dead. */
  readonly declare: (node: NodeId) => Promise<unknown>;
}

/** So long after the start of a control service its nodes may still be on their way to it. */
const NODES_COME_WITHIN_MS = 30_000;

/**
 * Declares nodes dead on the word of the Mesos master. Only a node that is not connected is ever looked at, and only while there is one the
 * master is asked: at each of its events that may mean that an agent is away, and at its heartbeats, as of agents without tasks there is none.
 */
export class MesosFencing implements FenceWatch, MasterListener {
  readonly #parts: MesosFencingParts;
  readonly #agents = new KnownAgents();
  readonly #missing = new Set<NodeId>();
  /** Since when the master has had a missing node's agents as unreachable, monotonic milliseconds. */
  readonly #unreachableSince = new Map<NodeId, number>();
  /** What was last logged of a missing node: the same is not said again. */
  readonly #told = new Map<NodeId, string>();
  #read: ReadRegistry | undefined;
  #lostMs: number;
  #asking = false;
  #again = false;
  #allCame: (() => void) | undefined;
  #wake: (() => void) | undefined;

  constructor(parts: MesosFencingParts) {
    this.#parts = parts;
    this.#lostMs = parts.clock.monotonicMs();
  }

  /** For the metrics. */
  get counts(): { readonly agents: number; readonly unsubscribedSeconds: number } {
    const lost = this.#read === undefined ? this.#parts.clock.monotonicMs() - this.#lostMs : 0;
    return { agents: this.#agents.size, unsubscribedSeconds: lost / 1000 };
  }

  /** The agents of each node. Nodes that were declared dead may have left their address to others. */
  matches(): Matches {
    const { deployment, cluster } = this.#parts;
    const heard: KnownNode[] = [...cluster.nodes(), ...cluster.silent()];
    return matchAgents(
      heard.filter(({ id }) => deployment.death(id) === undefined),
      this.#agents,
    );
  }

  begin(): void {
    this.#allCame = this.#parts.clock.timer(NODES_COME_WITHIN_MS, () => {
      const { deployment, cluster } = this.#parts;
      for (const { storage } of deployment.datasets())
        if (storage.kind === 'held' && cluster.node(storage.node)?.connected !== true) this.#missing.add(storage.node);
      this.#look();
    });
  }

  left(node: NodeId): void {
    this.#missing.add(node);
    this.#look();
  }

  joined(node: NodeId): void {
    this.#missing.delete(node);
    this.#unreachableSince.delete(node);
    this.#told.delete(node);
    // It may be the one that reaches the volumes of another.
    this.#look();
  }

  close(): void {
    this.#allCame?.();
    this.#wake?.();
    this.#read = undefined;
  }

  heard(event: MasterEvent, read: ReadRegistry): void {
    this.#read = read;
    if (event.kind === 'other') return;
    if (event.kind === 'subscribed') for (const agent of event.agents) this.#learn(agent);
    if (event.kind === 'agentAdded') this.#learn(event.agent);
    this.#look();
  }

  lost(): void {
    this.#read = undefined;
    this.#lostMs = this.#parts.clock.monotonicMs();
    this.#unreachableSince.clear();
  }

  #learn(agent: MesosAgent): void {
    if (agent.node !== undefined && parseNodeId(agent.node) === undefined)
      this.#parts.logger.warn(
        { mesosAgent: agent.id, mesosHostname: agent.hostname, attribute: agent.node },
        `the attribute ${NODE_ATTRIBUTE} of a Mesos agent is no UUID of a node: the agent counts for none`,
      );
    this.#agents.learn(agent);
  }

  /** Reads the registry if a node's fate may hang on it; one reading at a time. */
  #look(): void {
    if (this.#asking) {
      this.#again = true;
      return;
    }
    const read = this.#read;
    if (read === undefined || ![...this.#missing].some((node) => this.#isInQuestion(node))) return;
    this.#asking = true;
    read()
      .then(
        (registry) => {
          if (this.#read === read) this.#decide(registry);
        },
        (error: unknown) => {
          if (this.#read === read)
            this.#parts.logger.warn(
              { reason: errorText(error) },
              'the registry of the Mesos master cannot be read: nobody is declared dead on its word',
            );
        },
      )
      .finally(() => {
        this.#asking = false;
        if (!this.#again) return;
        this.#again = false;
        this.#look();
      });
  }

  /** Whether a node is away and holds something. */
  #isInQuestion(node: NodeId): boolean {
    const { deployment, cluster } = this.#parts;
    const isOver = cluster.node(node)?.connected === true || deployment.death(node) !== undefined;
    return !isOver && holdsVolumes(node, deployment);
  }

  #decide(registry: Registry): void {
    const matches = this.matches();
    const steps = [...this.#missing]
      .filter((node) => this.#isInQuestion(node))
      .map((node) => this.#decideOne(node, matches.get(node) ?? [], registry));
    const waits = steps.flatMap((step) => (step.kind === 'wait' ? [step.forMs] : []));
    this.#wake?.();
    this.#wake = waits.length === 0 ? undefined : this.#parts.clock.timer(Math.min(...waits), () => this.#look());
  }

  #decideOne(node: NodeId, matches: readonly Match[], registry: Registry): Step {
    const { fence, deployment, cluster, clock, logger, declare } = this.#parts;
    const judgement = judgeNode(matches, registry);
    const nowMs = clock.monotonicMs();
    const sinceMs = judgement.kind === 'unreachable' ? (this.#unreachableSince.get(node) ?? nowMs) : undefined;
    if (sinceMs === undefined) this.#unreachableSince.delete(node);
    else this.#unreachableSince.set(node, sinceMs);
    const step = nextStep(judgement.kind, fence, nowMs - (sinceMs ?? nowMs));
    if (step.kind === 'wait') return step;
    const why = step.kind === 'declare' ? whyNotDead(node, deployment, cluster) : undefined;
    const fields = { node, host: cluster.node(node)?.host, ...fieldsOf(judgement) };
    if (why !== undefined) this.#tell('warn', node, { ...fields, why }, 'a silent node is not declared dead');
    // An agent of ours that is started again is nothing to be warned of.
    else if (step.kind === 'leave')
      this.#tell(judgement.kind === 'present' ? 'info' : 'warn', node, fields, step.message);
    else {
      logger.warn(fields, step.message);
      // A store that fails has ended the process.
      declare(node).catch(() => undefined);
    }
    return step;
  }

  #tell(level: 'info' | 'warn', node: NodeId, fields: object, message: string): void {
    const said = JSON.stringify([fields, message]);
    if (this.#told.get(node) === said) return;
    this.#told.set(node, said);
    this.#parts.logger[level](fields, message);
  }
}

function fieldsOf(judgement: Judgement): object {
  const agent = 'agent' in judgement ? { mesosAgent: judgement.agent.id, mesosHostname: judgement.agent.hostname } : {};
  return { mesos: judgement.kind, ...agent, ...('others' in judgement ? { others: judgement.others } : {}) };
}
