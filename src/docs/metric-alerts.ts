/** An alert that is worth being woken or told for. */
export interface Alert {
  readonly name: string;
  readonly expression: string;
  /** How long it has to hold before it is told. */
  readonly for: string;
  readonly severity: 'page' | 'ticket';
  /** What it means and what to do. */
  readonly summary: string;
}

/** What is said of a metric beside its own help: labels, and the alert to set on it or why there is none. */
export interface MetricNote {
  readonly labels?: readonly string[];
  readonly alert: Alert | string;
}

const FIGURE = { labels: ['pool', 'backend'] } as const;
const SHOWN = 'None: for dashboards.';

/** Every metric. The page of metrics is refused when one is missing here or too many. */
export const METRIC_NOTES: Readonly<Record<string, MetricNote>> = {
  flocker_control_request_duration_seconds: {
    labels: ['method', 'route', 'status'],
    alert: alert(
      'FlockerControlFails',
      'sum(rate(flocker_control_request_duration_seconds_count{status=~"5.."}[5m])) > 0',
      '5m',
      'page',
      'The control service answers with 5xx: look into its log. Its store may be out of space.',
    ),
  },
  process_resident_memory_bytes: {
    alert: alert(
      'FlockerControlMemory',
      'process_resident_memory_bytes{job="flocker-control"} > 2e9',
      '30m',
      'ticket',
      'Memory beyond what 100,000 datasets take: report it with the size of the cluster.',
    ),
  },
  process_cpu_seconds_total: {
    alert: alert(
      'FlockerControlBusy',
      'rate(process_cpu_seconds_total{job="flocker-control"}[10m]) > 0.8',
      '30m',
      'ticket',
      'One core is nearly used up, and a control service has no more: find out who asks so much (request counts by route).',
    ),
  },
  flocker_control_datasets: {
    alert: alert(
      'FlockerDatasetsGone',
      'flocker_control_datasets < 0.5 * (flocker_control_datasets offset 1h) and (flocker_control_datasets offset 1h) > 10',
      '0m',
      'page',
      'Half of all volumes were deleted within an hour. Their data are being destroyed: if nobody meant that, stop the control service.',
    ),
  },
  flocker_control_leases: { alert: SHOWN },
  flocker_control_nodes_connected: {
    alert: alert(
      'FlockerNodeAway',
      'flocker_control_nodes_connected < max_over_time(flocker_control_nodes_connected[1d])',
      '5m',
      'page',
      'A node is away: its volumes cannot go elsewhere. See "flockerctl nodes" and docs/dead-nodes.md.',
    ),
  },
  flocker_control_event_streams: {
    alert: alert(
      'FlockerEventStreams',
      'flocker_control_event_streams > 8000',
      '10m',
      'ticket',
      'At 10,000 streams more are refused: somebody opens them and never closes them.',
    ),
  },
  flocker_control_nodes_declared_dead_total: {
    labels: ['by'],
    alert: alert(
      'FlockerNodeDeclaredDead',
      'increase(flocker_control_nodes_declared_dead_total{by!="operator"}[10m]) > 0',
      '0m',
      'page',
      'A node was declared dead without a person, and what it wrote since is lost: see docs/dead-nodes.md and the log.',
    ),
  },
  flocker_control_mesos_agents: { alert: SHOWN },
  flocker_control_mesos_unsubscribed_seconds: {
    alert: alert(
      'FlockerMesosAway',
      'flocker_control_mesos_unsubscribed_seconds > 300',
      '0m',
      'ticket',
      'The control service hears no Mesos master: nodes are not declared dead when their agents are gone. See its log.',
    ),
  },
  flocker_pool_size_bytes: { ...FIGURE, alert: SHOWN },
  flocker_pool_available_bytes: {
    ...FIGURE,
    alert: alert(
      'FlockerPoolNearlyFull',
      'flocker_pool_available_bytes / (flocker_pool_available_bytes + flocker_pool_used_bytes) < 0.1',
      '10m',
      'page',
      'A pool that is full fails the writes of all its volumes: make it larger or delete volumes and snapshots.',
    ),
  },
  flocker_pool_used_bytes: {
    ...FIGURE,
    alert: alert(
      'FlockerPoolFillsUp',
      'predict_linear(flocker_pool_used_bytes[6h], 3 * 86400) > flocker_pool_size_bytes',
      '1h',
      'ticket',
      'At this pace the pool is full within three days.',
    ),
  },
  flocker_pool_provisioned_bytes: {
    ...FIGURE,
    alert: alert(
      'FlockerPoolOverPromised',
      'flocker_pool_provisioned_bytes > 2 * flocker_pool_size_bytes',
      '1h',
      'ticket',
      'More than twice of what there is was promised to volumes: they can fill the pool before they are full themselves.',
    ),
  },
  flocker_pool_logical_bytes: { ...FIGURE, alert: SHOWN },
  flocker_pool_physical_bytes: { ...FIGURE, alert: SHOWN },
  flocker_pool_saved_by_compression_bytes: { ...FIGURE, alert: SHOWN },
  flocker_pool_saved_by_sharing_bytes: { ...FIGURE, alert: SHOWN },
  flocker_profile_provisioned_bytes: { labels: ['pool', 'profile'], alert: SHOWN },
  flocker_profile_datasets: { labels: ['pool', 'profile'], alert: SHOWN },
  flocker_volume_size_bytes: { labels: ['dataset_id', 'name', 'node'], alert: SHOWN },
  flocker_volume_used_bytes: {
    labels: ['dataset_id', 'name', 'node'],
    alert: alert(
      'FlockerVolumeFillsUp',
      'predict_linear(flocker_volume_used_bytes[6h], 86400) > flocker_volume_size_bytes',
      '1h',
      'ticket',
      'At this pace the volume is full within a day: flockerctl resize -d VOLUME -s SIZE.',
    ),
  },
  flocker_volume_available_bytes: {
    labels: ['dataset_id', 'name', 'node'],
    alert: alert(
      'FlockerVolumeNearlyFull',
      'flocker_volume_available_bytes / (flocker_volume_available_bytes + flocker_volume_used_bytes) < 0.1',
      '10m',
      'page',
      'The volume is nearly full: flockerctl resize -d VOLUME -s SIZE.',
    ),
  },
  flocker_provider_subscribed: {
    alert: alert(
      'FlockerProviderAway',
      'flocker_provider_subscribed == 0',
      '5m',
      'page',
      "The Mesos agent does not have the node's storage: nothing new is placed there. See the provider's log.",
    ),
  },
  flocker_provider_disks: { alert: SHOWN },
  flocker_provider_operations_pending: {
    alert: alert(
      'FlockerProviderStuck',
      'flocker_provider_operations_pending > 0',
      '15m',
      'ticket',
      'Operations on disks do not end: see the log of the provider and of the node agent.',
    ),
  },
  flocker_provider_operations_unacknowledged: {
    alert: alert(
      'FlockerProviderUnheard',
      'flocker_provider_operations_unacknowledged > 0',
      '15m',
      'ticket',
      'A framework does not acknowledge the ends of its operations.',
    ),
  },
  flocker_provider_publishes_total: { alert: SHOWN },
  flocker_provider_publish_failures_total: {
    alert: alert(
      'FlockerProviderPublishFails',
      'increase(flocker_provider_publish_failures_total[15m]) > 0',
      '0m',
      'page',
      'Disks could not be mounted, and tasks failed for it: see the log of the provider.',
    ),
  },
};

function alert(
  name: string,
  expression: string,
  holdsFor: string,
  severity: Alert['severity'],
  summary: string,
): Alert {
  return { name, expression, for: holdsFor, severity, summary };
}
