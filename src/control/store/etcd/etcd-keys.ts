import type { ChangeText } from '../change-text.ts';
import type { EtcdOperation } from './etcd-gateway.ts';

/** The newest commit: its number, and a token that tells it from any other. */
export interface Head {
  readonly revision: number;
  readonly token: string;
}

/** Version of what is below the prefix. */
export const LAYOUT_VERSION = 1;

/** The keys of one cluster in an etcd. */
export class EtcdKeys {
  readonly #prefix: string;

  constructor(prefix: string) {
    this.#prefix = prefix;
  }

  get meta(): string {
    return `${this.#prefix}meta`;
  }

  get head(): string {
    return `${this.#prefix}head`;
  }

  get leader(): string {
    return `${this.#prefix}leader`;
  }

  /** All entries begin with it. */
  get entries(): string {
    return `${this.#prefix}entries/`;
  }

  /** How many parts a large commit has that is in force, and may not be where it belongs yet. */
  get journal(): string {
    return `${this.#prefix}journal`;
  }

  get journalParts(): string {
    return `${this.#prefix}journal-parts/`;
  }

  journalPart(index: number): string {
    return `${this.journalParts}${String(index).padStart(8, '0')}`;
  }

  journalEnd(): readonly EtcdOperation[] {
    return [
      { kind: 'remove', key: this.journal },
      { kind: 'removePrefix', key: this.journalParts },
    ];
  }

  operation({ key, text }: ChangeText): EtcdOperation {
    const path = this.entries + key;
    return text === undefined ? { kind: 'remove', key: path } : { kind: 'put', key: path, value: text };
  }
}

export function headText({ revision, token }: Head): string {
  return JSON.stringify({ revision, token });
}

/** Undefined when it is none. */
export function parseHead(text: string): Head | undefined {
  const parsed = parseObject(text);
  const { revision, token } = parsed ?? {};
  if (typeof revision !== 'number' || !Number.isSafeInteger(revision) || typeof token !== 'string') return undefined;
  return { revision, token };
}

export function parseObject(text: string): Readonly<Record<string, unknown>> | undefined {
  try {
    const parsed: unknown = JSON.parse(text);
    return typeof parsed === 'object' && parsed !== null ? (parsed as Readonly<Record<string, unknown>>) : undefined;
  } catch {
    return undefined;
  }
}
