import type { MountEntry } from '../../agent/host/mount-table.ts';

/** Owner and permissions of a file. */
export interface FileFacts {
  readonly kind: 'file' | 'directory' | 'socket' | 'other';
  readonly uid: number;
  /** Permission bits. */
  readonly mode: number;
}

/** Room on a filesystem, in bytes. */
export interface Room {
  readonly totalBytes: number;
  readonly availableBytes: number;
}

/** What the checks ask of the machine. Every method resolves with undefined, or an empty list, for what is not there. */
export interface Machine {
  readonly isRoot: boolean;
  readonly nodeVersion: string;
  readonly nodeEngines: string;
  wallMs(): number;
  readText(path: string): Promise<string | undefined>;
  facts(path: string): Promise<FileFacts | undefined>;
  list(directory: string): Promise<readonly string[]>;
  room(path: string): Promise<Room | undefined>;
  /** Where the agent would find a program. */
  findProgram(name: string): Promise<string | undefined>;
  mounts(): Promise<readonly MountEntry[]>;
}
