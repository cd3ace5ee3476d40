import { pino } from 'pino';

/** One JSON object per line; fields first, as pino takes them. */
export interface Logger {
  debug(fields: object, message: string): void;
  info(fields: object, message: string): void;
  warn(fields: object, message: string): void;
  error(fields: object, message: string): void;
  child(fields: object): Logger;
}

/** A logger that writes JSON lines to standard output at `level` and above. */
export function jsonLogger(daemon: string, level: string): Logger {
  return pino({ name: daemon, level, base: { pid: process.pid } });
}

export const silentLogger: Logger = {
  debug: () => undefined,
  info: () => undefined,
  warn: () => undefined,
  error: () => undefined,
  child: () => silentLogger,
};
