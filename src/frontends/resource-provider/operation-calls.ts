import type { StoredOperation, TerminalStatus } from './mesos-messages.ts';
import type { ProviderRecord } from './provider-record.ts';
import type { AgentCall } from './provider-state.ts';

/** `OperationStatus` of an operation, with the ids that Mesos checks (contract 1.16: H3, H5). */
function statusOf(record: ProviderRecord, operation: StoredOperation): object {
  const { info, status } = operation;
  const ids = {
    ...(info.id === undefined ? {} : { operation_id: info.id }),
    ...(record.agentId === null ? {} : { agent_id: { value: record.agentId } }),
    resource_provider_id: { value: record.providerId ?? '' },
  };
  return status === null ? { state: 'OPERATION_PENDING', ...ids } : { ...terminal(status), ...ids };
}

function terminal({ state, uuid, message, converted }: TerminalStatus): object {
  return {
    state,
    uuid: { value: uuid },
    ...(message === null ? {} : { message }),
    ...(converted.length === 0 ? {} : { converted_resources: converted }),
  };
}

/** The call that tells how an operation ended. */
export function statusCall(record: ProviderRecord, operation: StoredOperation): AgentCall {
  const status = statusOf(record, operation);
  return {
    type: 'UPDATE_OPERATION_STATUS',
    update_operation_status: {
      ...framework(operation),
      status,
      latest_status: status,
      operation_uuid: { value: operation.uuid },
    },
  };
}

/** Answer to a question about an operation that never came: without uuid, so that nobody acknowledges it (contract 1.13). */
export function unknownOperationCall(record: ProviderRecord, uuid: string): AgentCall {
  return {
    type: 'UPDATE_OPERATION_STATUS',
    update_operation_status: {
      status: {
        state: 'OPERATION_DROPPED',
        message: 'the resource provider never had this operation',
        resource_provider_id: { value: record.providerId ?? '' },
      },
      operation_uuid: { value: uuid },
    },
  };
}

/** An operation as UPDATE_STATE lists it. */
export function listedOperation(record: ProviderRecord, operation: StoredOperation): object {
  const status = statusOf(record, operation);
  return {
    ...framework(operation),
    agent_id: { value: record.agentId ?? '' },
    uuid: { value: operation.uuid },
    info: operation.info,
    latest_status: status,
    statuses: operation.status === null ? [] : [status],
  };
}

function framework({ frameworkId }: StoredOperation): object {
  return frameworkId === null ? {} : { framework_id: { value: frameworkId } };
}
