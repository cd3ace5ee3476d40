/** The parts of Mesos's v1 scheduler API that this framework uses, as JSON. */

export interface Id {
  readonly value: string;
}

export interface Label {
  readonly key: string;
  readonly value?: string;
}

export interface Reservation {
  readonly type: string;
  readonly role: string;
  readonly principal?: string;
  readonly labels?: { readonly labels: readonly Label[] };
}

export interface Resource {
  readonly name: string;
  readonly type: string;
  readonly scalar?: { readonly value: number };
  readonly provider_id?: Id;
  readonly allocation_info?: { readonly role: string };
  readonly reservations?: readonly Reservation[];
  readonly disk?: {
    readonly source?: {
      readonly type: string;
      readonly id?: string;
      readonly profile?: string;
      readonly vendor?: string;
      readonly metadata?: { readonly labels?: readonly Label[] };
      readonly mount?: { readonly root?: string };
    };
    readonly persistence?: { readonly id: string; readonly principal?: string };
    readonly volume?: { readonly container_path: string; readonly mode: 'RW' | 'RO' };
  };
}

export interface Offer {
  readonly id: Id;
  readonly agent_id: Id;
  readonly hostname: string;
  readonly resources?: readonly Resource[];
}

export interface OperationStatus {
  readonly operation_id?: Id;
  readonly state: string;
  readonly message?: string;
  readonly uuid?: Id;
  readonly agent_id?: Id;
  readonly resource_provider_id?: Id;
  readonly converted_resources?: readonly Resource[];
}

export interface TaskStatus {
  readonly task_id: Id;
  readonly state: string;
  readonly message?: string;
  readonly uuid?: string;
  readonly agent_id?: Id;
}

/** What the master sends. */
export type SchedulerEvent =
  | { readonly type: 'SUBSCRIBED'; readonly subscribed: { readonly framework_id: Id } }
  | { readonly type: 'OFFERS'; readonly offers: { readonly offers: readonly Offer[] } }
  | { readonly type: 'RESCIND'; readonly rescind: { readonly offer_id: Id } }
  | { readonly type: 'UPDATE'; readonly update: { readonly status: TaskStatus } }
  | { readonly type: 'UPDATE_OPERATION_STATUS'; readonly update_operation_status: { readonly status: OperationStatus } }
  | { readonly type: 'ERROR'; readonly error: { readonly message: string } }
  | { readonly type: 'HEARTBEAT' };
