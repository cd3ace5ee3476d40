import type { AgentConfig } from '../../agent/agent-config.ts';
import { connectFlocker } from '../../client/connect-flocker.ts';
import { serverDate } from '../../client/server-date.ts';
import type { Clock } from '../../kit/clock.ts';
import { errorText } from '../../kit/coded-error.ts';
import { httpsUrls } from '../../kit/host-names.ts';
import { silentLogger } from '../../kit/logger.ts';
import { certificateIdentity, loadCredentials } from '../../tls/credentials.ts';
import { installedPaths } from '../../tls/file-names.ts';
import { type Finding, fault, ok, unknown, warning } from './finding.ts';

/** Leases are compared with clocks of their own, so this is for people and certificates. */
const MOST_SKEW_MS = 5_000;

/** Whether the control service answers, what it knows of this node, and whether the clocks agree. */
export async function checkControl(
  config: AgentConfig,
  certificates: string,
  world: { readonly clock: Clock; readonly random: () => number; readonly version: string },
  signal: AbortSignal,
): Promise<Finding[]> {
  const { clock, random } = world;
  const urls = httpsUrls(config.control.hostnames, config.control.restPort);
  const url = urls.join(', ');
  try {
    const [tls, node] = await Promise.all([
      loadCredentials(installedPaths(certificates, 'plugin'), clock),
      loadCredentials(installedPaths(certificates, 'node'), clock),
    ]);
    const role = certificateIdentity(node.cert).role;
    const connection = { urls, tls, clock, random, logger: silentLogger };
    const client = connectFlocker(connection);
    try {
      const version = await client.version(signal);
      const nodes = await client.inspectNodes(signal);
      const dateMs = await serverDate(connection, signal);
      return [
        ok(`the control service at ${url} answers, Flocker ${version}`),
        ...nodeFinding(nodes, role?.kind === 'node' ? role.nodeId : undefined, world.version),
        clockFinding(dateMs, clock.wallMs()),
      ];
    } finally {
      await client.close();
    }
  } catch (error) {
    const remedy =
      'Start flocker control there; look at address and rest-port in agent.yml, at the network and at the certificates.';
    return [fault(`${url}: ${errorText(error)}`, remedy)];
  }
}

interface KnownNode {
  readonly uuid: string;
  readonly connected: boolean;
  readonly last_heard: string;
  readonly version: string;
}

function nodeFinding(nodes: readonly KnownNode[] | undefined, id: string | undefined, version: string): Finding[] {
  if (nodes === undefined) return [unknown('this control service does not tell about nodes')];
  const node = nodes.find(({ uuid }) => uuid === id);
  if (node === undefined)
    return [
      fault(
        `the control service has never heard of this node (${id ?? 'no node certificate'})`,
        'Start flocker agent here.',
      ),
    ];
  if (!node.connected)
    return [
      fault(
        `the agent of this node (${node.uuid}) is not connected, last heard ${node.last_heard}`,
        'Start flocker agent here, or look at its log for why it does not connect to port 4524.',
      ),
    ];
  const connected = ok(`the agent of this node (${node.uuid}) is connected`);
  if (node.version === version) return [connected];
  const text = `the agent that runs is of version ${node.version}, and what is installed is ${version}`;
  return [connected, warning(text, 'Restart flocker agent; running tasks keep their volumes.')];
}

function clockFinding(serverMs: number | undefined, ownMs: number): Finding {
  if (serverMs === undefined) return unknown("the control service's clock could not be read");
  const skewMs = Math.abs(serverMs - ownMs);
  const text = `the clocks here and at the control service differ by ${Math.round(skewMs / 1000)} s`;
  return skewMs <= MOST_SKEW_MS ? ok(text) : warning(text, 'Let NTP or chrony set both.');
}
