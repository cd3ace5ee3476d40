/** A volume that a task asked for by its variables. */
export interface VolumeRequest {
  /** The variable that named it, for messages. */
  readonly variable: string;
  readonly name: string;
  readonly containerPath: string;
  readonly sizeBytes?: number;
  readonly profile?: string;
  readonly filesystem?: 'ext4' | 'xfs';
  readonly mode: 'rw' | 'ro';
  readonly create: 'auto' | 'never';
  readonly onExit: 'keep' | 'delete';
  /** Whether a container path below /tmp is made on the host when it is missing, as the DVDI isolator did. */
  readonly mayMakeInTmp: boolean;
}
