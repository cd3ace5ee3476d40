/** Paths of the REST API: Flocker's own, then our additions. */
export const PATHS = {
  version: '/v1/version',
  configurationDatasets: '/v1/configuration/datasets',
  stateDatasets: '/v1/state/datasets',
  stateNodes: '/v1/state/nodes',
  nodesByEra: '/v1/state/nodes/by_era',
  leases: '/v1/configuration/leases',
  inspectDatasets: '/v1/inspect/datasets',
  inspectNodes: '/v1/inspect/nodes',
  snapshots: '/v1/configuration/snapshots',
  storage: '/v1/state/storage',
  nodes: '/v1/nodes',
  restored: '/v1/restored',
  events: '/v1/events',
  openapi: '/v1/openapi.json',
  health: '/health',
  metrics: '/metrics',
} as const;

/** Answer header of the dataset list: changes whenever the configuration does (contract 1.9). */
export const TAG_HEADER = 'x-configuration-tag';
/** Request header of dataset create, move and delete: 412 unless one of its values is the present tag. */
export const IF_TAG_HEADER = 'x-if-configuration-matches';
/**
 * Request header of dataset create, an addition: 412 when a dataset that is not deleted already has this `name`
 * (URI-encoded). Unlike the tag it is not disturbed by changes to other datasets. Servers without it ignore it, so send it
 * only to one that answers {@link PATHS.inspectDatasets}.
 */
export const IF_NAME_UNUSED_HEADER = 'x-flocker-if-name-unused';
/**
 * Request header of dataset delete, an addition: ids separated by commas; 412 when any of them has a lease. Send it only to
 * a server that answers {@link PATHS.inspectDatasets}.
 */
export const IF_UNLEASED_HEADER = 'x-flocker-if-unleased';
/**
 * Request header of taking a lease, an addition: look this name (URI-encoded) up on the way. The answer's header
 * {@link FOUND_HEADER} is what {@link PATHS.inspectDatasets} says of it once the lease is taken, as ASCII JSON; it is left
 * out when that is long. Servers without the addition ignore it.
 */
export const FIND_NAME_HEADER = 'x-flocker-find-name';
export const FOUND_HEADER = 'x-flocker-found';
