import { CodedError } from '../../kit/coded-error.ts';
import { parseSizeBytes } from '../../kit/sizes.ts';

/** Something in the `dataset` section of `agent.yml` that cannot be. */
export class BackendSettingsError extends CodedError<'bad_settings'> {
  override readonly name = 'BackendSettingsError';

  constructor(message: string) {
    super('bad_settings', `agent.yml: ${message}`);
  }
}

/** The `dataset` section of `agent.yml`, read key by key; every error names its key. */
export class BackendSettings {
  readonly #section: Readonly<Record<string, unknown>>;
  /** Where the section is, for messages: `dataset`, `dataset.profiles.gold`. */
  readonly #where: string;

  constructor(section: Readonly<Record<string, unknown>>, where: string) {
    this.#section = section;
    this.#where = where;
  }

  /** Fails on any key but `known`. */
  requireOnly(known: readonly string[]): void {
    const unknown = Object.keys(this.#section).filter((key) => !known.includes(key));
    if (unknown.length === 0) return;
    const there = known.length === 0 ? 'it takes none' : `known are ${known.join(', ')}`;
    throw new BackendSettingsError(`unknown key ${unknown.map((key) => `${this.#where}.${key}`).join(', ')}; ${there}`);
  }

  /** A text that is not empty; undefined when the key is missing. */
  text(key: string): string | undefined {
    const value = this.#value(key);
    if (value === undefined) return undefined;
    if (typeof value === 'string' && value !== '') return value;
    throw this.#bad(key, 'a text');
  }

  /** An absolute path. */
  path(key: string): string | undefined {
    const path = this.text(key);
    if (path !== undefined && !path.startsWith('/')) throw this.#bad(key, 'an absolute path');
    return path;
  }

  /** Bytes above 0, written as a number or as a size such as `10GiB`. */
  sizeBytes(key: string): number | undefined {
    const value = this.#value(key);
    if (value === undefined) return undefined;
    const bytes = typeof value === 'string' || typeof value === 'number' ? parseSizeBytes(String(value)) : undefined;
    if (bytes === undefined || bytes <= 0) throw this.#bad(key, 'a size above 0 such as 10GiB');
    return bytes;
  }

  /** A whole number from `least` to `most`. */
  integer(key: string, least: number, most: number): number | undefined {
    const value = this.#value(key);
    if (value === undefined) return undefined;
    if (typeof value === 'number' && Number.isInteger(value) && value >= least && value <= most) return value;
    throw this.#bad(key, `a whole number from ${least} to ${most}`);
  }

  /** A whole number above 0. */
  count(key: string): number | undefined {
    const value = this.#value(key);
    if (value === undefined) return undefined;
    if (typeof value !== 'number' || !Number.isSafeInteger(value) || value < 1) {
      throw this.#bad(key, 'a whole number above 0');
    }
    return value;
  }

  /** True or false. */
  flag(key: string): boolean | undefined {
    const value = this.#value(key);
    if (value === undefined || typeof value === 'boolean') return value;
    throw this.#bad(key, 'true or false');
  }

  /** One of `choices`. */
  choice<Choice extends string>(key: string, choices: readonly Choice[]): Choice | undefined {
    const value = this.#value(key);
    if (value === undefined) return undefined;
    const choice = choices.find((candidate) => candidate === value);
    if (choice === undefined) throw this.#bad(key, `one of ${choices.join(', ')}`);
    return choice;
  }

  /** A mapping whose values are mappings; null counts as an empty one. */
  sections(key: string): ReadonlyMap<string, BackendSettings> | undefined {
    const value = this.#value(key);
    if (value === undefined) return undefined;
    if (!isMapping(value)) throw this.#bad(key, 'a mapping');
    return new Map(
      Object.entries(value).map(([name, inner]) => {
        const where = `${this.#where}.${key}.${name}`;
        if (inner !== null && !isMapping(inner)) throw new BackendSettingsError(`${where} must be a mapping`);
        return [name, new BackendSettings(inner ?? {}, where)];
      }),
    );
  }

  #value(key: string): unknown {
    const value = Object.hasOwn(this.#section, key) ? this.#section[key] : undefined;
    return value ?? undefined;
  }

  #bad(key: string, wanted: string): BackendSettingsError {
    return new BackendSettingsError(
      `${this.#where}.${key} must be ${wanted}, not ${JSON.stringify(this.#section[key])}`,
    );
  }
}

function isMapping(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
