/**
 * What a check found. `unknown`: it could not be found out, so nothing is said about it. `warning`: it works, but look at it.
 * `fault`: something does not work, or will lose something.
 */
export interface Finding {
  readonly status: 'ok' | 'warning' | 'fault' | 'unknown';
  readonly text: string;
  /** What to do. */
  readonly remedy?: string;
}

export function ok(text: string): Finding {
  return { status: 'ok', text };
}

export function warning(text: string, remedy: string): Finding {
  return { status: 'warning', text, remedy };
}

export function fault(text: string, remedy: string): Finding {
  return { status: 'fault', text, remedy };
}

export function unknown(text: string): Finding {
  return { status: 'unknown', text };
}
