import type { DoctorEnvironment } from '../cli/doctor/doctor-command.ts';
import { systemClock } from '../kit/clock.ts';
import { nodeEngines, version } from './version.ts';

/** What `flocker doctor` works on; loaded only for it. */
export async function doctorEnvironment(): Promise<DoctorEnvironment> {
  const { systemMachine } = await import('../cli/doctor/system-machine.ts');
  return {
    machine: systemMachine({ uid: process.getuid?.(), nodeVersion: process.version, nodeEngines }, systemClock),
    clock: systemClock,
    random: Math.random,
    version,
    stdout: process.stdout,
    env: process.env,
    setExitCode: (code) => {
      process.exitCode = code;
    },
  };
}
