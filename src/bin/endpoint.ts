/** Where a listener listens. */
export interface Endpoint {
  readonly host: string;
  readonly port: number;
}

/**
 * Reads an endpoint as the original's options write it: `4523`, `tcp:4523`, `tcp:4523:interface=127.0.0.1`. Without an
 * interface it listens on all IPv4 addresses. Undefined when it is none.
 */
export function parseEndpoint(text: string): Endpoint | undefined {
  const match = /^(?:tcp:)?(\d{1,5})(?::interface=(\[?[0-9A-Fa-f.:]+\]?))?$/.exec(text);
  if (match === null) return undefined;
  const port = Number(match[1]);
  if (port > 65535) return undefined;
  return { host: (match[2] ?? '0.0.0.0').replace(/^\[|\]$/g, ''), port };
}
