import { InvalidArgumentError } from 'commander';

/** A port as an option gives it. */
export function parsePort(text: string): number {
  const port = Number(text);
  if (!/^\d+$/.test(text) || port < 1 || port > 65_535)
    throw new InvalidArgumentError('It must be a port, 1 to 65535.');
  return port;
}
