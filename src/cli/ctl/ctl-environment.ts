import type { Passage } from '../../client/connect-passage.ts';
import type { FlockerClient } from '../../client/flocker-client.ts';
import type { StorageClient } from '../../client/storage-client.ts';
import type { Clock } from '../../kit/clock.ts';
import type { ControlTarget } from './control-target.ts';

/** All that the commands ask of a control service; of a foreign one, only what the original's has. */
export type CtlClient = FlockerClient & StorageClient;

/** Where text goes: `process.stdout`, `process.stderr`. */
export interface Screen {
  write(text: string): unknown;
  readonly isTTY?: boolean;
  /** Width of the terminal, when it is one. */
  readonly columns?: number;
}

/** What the commands take from their process. */
export interface CtlEnvironment {
  readonly cwd: string;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly stdout: Screen;
  readonly stderr: Screen;
  readonly clock: Clock;
  /** Version of this package. */
  readonly version: string;
  readonly setExitCode: (code: number) => void;
  readonly connect: (target: ControlTarget) => Promise<CtlClient>;
  readonly openPassage: (target: ControlTarget) => Promise<Passage>;
  /** Resolves when the user has had enough (Ctrl-C). */
  readonly interrupted: () => Promise<void>;
}
