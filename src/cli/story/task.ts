import { spawn } from 'node:child_process';

/** How a task ended. */
export interface TaskResult {
  readonly status: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs a program to its end and keeps what it says; killed when `signal` aborts. `onOutput` is told all of its output so far. */
export function runTask(
  command: readonly [string, ...string[]],
  signal: AbortSignal,
  onOutput: (stdout: string) => void = () => undefined,
): Promise<TaskResult> {
  const [program, ...args] = command;
  return new Promise((resolve, reject) => {
    // A group of its own: Ctrl-C of a terminal goes to all of a group, and the task's end would be taken for its own.
    const child = spawn(program, args, { stdio: ['ignore', 'pipe', 'pipe'], signal, detached: true });
    let stdout = '';
    let stderr = '';
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      stdout += text;
      onOutput(stdout);
    });
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      stderr += text;
    });
    child.once('error', reject);
    child.once('close', (status) => resolve({ status, stdout, stderr }));
  });
}
