import { derivedUuid } from '../../kit/ids.ts';
import { uuidFromBase64, uuidToBase64 } from './mesos-messages.ts';
import type { ProviderRecord } from './provider-record.ts';
import type {
  AgentCall,
  DecideSources,
  Decision,
  OfferSettings,
  ProviderAction,
  ProviderState,
} from './provider-state.ts';

/** A decision while it is made. */
export class Draft {
  state: ProviderState;
  readonly #actions: ProviderAction[] = [];
  readonly #sources: DecideSources;

  constructor(state: ProviderState, sources: DecideSources) {
    this.state = state;
    this.#sources = sources;
  }

  get record(): ProviderRecord {
    return this.state.record;
  }

  get settings(): OfferSettings {
    return this.#sources.settings;
  }

  /** The version that Mesos has of our totals; null while it has none. */
  get versionUuid(): string | null {
    const { session } = this.state;
    return session.kind === 'away' ? null : session.versionUuid;
  }

  change(part: Partial<ProviderRecord>): void {
    this.state = { ...this.state, record: { ...this.state.record, ...part } };
  }

  act(action: ProviderAction): void {
    this.#actions.push(action);
  }

  send(call: AgentCall): void {
    if (this.state.session.kind === 'subscribed') this.act({ kind: 'send', call });
  }

  say(level: 'info' | 'warn', fields: object, message: string): void {
    this.act({ kind: 'say', level, fields, message });
  }

  /** A new UUID as Mesos writes it. */
  newUuid(): string {
    return uuidToBase64(this.#sources.newUuid());
  }

  /** The dataset that an operation makes: the same after every restart. */
  datasetIdOf(operationUuid: string): string {
    return derivedUuid('mesos-resource-provider', uuidFromBase64(operationUuid));
  }

  decision(): Decision {
    return { state: this.state, actions: this.#actions };
  }
}
