import { type ChildProcess, spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { expect } from 'vitest';
import { eventually } from './eventually.ts';

/** The built programs, as users run them. */
export const PROGRAMS = {
  dvdcli: built('dvdcli'),
  flocker: built('flocker'),
  flockerctl: built('flockerctl'),
  story: built('story'),
} as const;

/** How a process ended and what it said. */
export interface Ended {
  readonly status: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** A process that runs, with what it has said so far. */
export class Program {
  readonly child: ChildProcess;
  readonly ended: Promise<Ended>;
  #stdout = '';
  #stderr = '';

  constructor(file: string, args: readonly string[], env: NodeJS.ProcessEnv) {
    const child = spawn(file, args, { env, stdio: ['ignore', 'pipe', 'pipe'] });
    this.child = child;
    child.stdout.on('data', (chunk: Buffer) => {
      this.#stdout += chunk.toString();
    });
    child.stderr.on('data', (chunk: Buffer) => {
      this.#stderr += chunk.toString();
    });
    this.ended = new Promise((resolve, reject) => {
      child.once('error', reject);
      // Not `close`: a process that is left behind may keep the pipes open.
      child.once('exit', (status, signal) => {
        setImmediate(() => resolve({ status, signal, stdout: this.#stdout, stderr: this.#stderr }));
      });
    });
  }

  get pid(): number {
    return this.child.pid ?? -1;
  }

  get stdout(): string {
    return this.#stdout;
  }

  get stderr(): string {
    return this.#stderr;
  }

  get running(): boolean {
    return this.child.exitCode === null && this.child.signalCode === null;
  }

  /** Resolves once standard output holds `text`; fails when the process ends before, or it takes too long. */
  async says(text: string | RegExp, timeoutMs = 30_000): Promise<void> {
    const held = (): boolean => (typeof text === 'string' ? this.#stdout.includes(text) : text.test(this.#stdout));
    const running = (): boolean => this.child.exitCode === null && this.child.signalCode === null;
    await eventually(() => expect(held() || !running(), this.#said(text)).toBe(true), timeoutMs, 5);
    // What it wrote last may come after its end is known.
    await eventually(() => expect(held(), this.#said(text)).toBe(true), 500);
  }

  kill(signal: NodeJS.Signals): void {
    this.child.kill(signal);
  }

  #said(text: string | RegExp): string {
    return `${this.child.spawnargs.slice(1).join(' ')} should say ${text}; it said ${this.#stdout}${this.#stderr}`;
  }
}

/** Starts a built program. */
export function start(
  program: keyof typeof PROGRAMS,
  args: readonly string[],
  env: NodeJS.ProcessEnv = process.env,
): Program {
  return new Program(process.execPath, [PROGRAMS[program], ...args], env);
}

function built(name: string): string {
  return fileURLToPath(new URL(`../../../dist/src/bin/${name}.js`, import.meta.url));
}
