import { type Static, Type } from 'typebox';
import { parseSizeBytes } from '../kit/sizes.ts';

/** The `isolator` section of `agent.yml`. A key that is not known is refused: a rule with a slip in it must not pass. */
export const IsolatorSection = Type.Object(
  {
    'allow-paths': Type.Optional(
      Type.Array(Type.String({ pattern: '^/' }), {
        description: 'Container paths below which tasks may mount although they are protected.',
        default: 'none',
      }),
    ),
    'kill-tasks-of-lost-volumes': Type.Optional(
      Type.Boolean({ description: 'Whether a task whose volume another node took is killed.', default: false }),
    ),
    rules: Type.Optional(
      Type.Array(
        Type.Object(
          {
            name: Type.Optional(Type.String({ description: 'Of the rule, for messages.' })),
            role: Type.Optional(Type.String({ description: 'Of the framework that runs the task.', default: 'any' })),
            user: Type.Optional(Type.String({ description: 'As whom the task runs.', default: 'any' })),
            volumes: Type.Optional(
              Type.Array(Type.String(), { description: 'Names of volumes; `*` stands for anything.', default: 'any' }),
            ),
            create: Type.Optional(Type.Boolean({ description: 'Whether they may be made.', default: true })),
            delete: Type.Optional(
              Type.Boolean({ description: 'Whether they may be deleted when the task ends.', default: true }),
            ),
            profiles: Type.Optional(
              Type.Array(Type.String(), { description: 'Profiles that may be asked for.', default: 'any' }),
            ),
            'largest-size': Type.Optional(
              Type.Union([Type.String(), Type.Integer({ minimum: 1 })], {
                description: 'Largest size that may be asked for, as 100GiB.',
                default: 'any',
              }),
            ),
          },
          { additionalProperties: false },
        ),
      ),
    ),
  },
  { additionalProperties: false },
);

/** What an operator lets tasks do with volumes; see the frontend of the Mesos isolator. */
export interface IsolatorConfig {
  /** Undefined: everything is allowed. */
  readonly rules: readonly IsolatorRule[] | undefined;
  readonly allowedPaths: readonly string[];
  readonly killTasksOfLostVolumes: boolean;
}

interface IsolatorRule {
  readonly name?: string;
  readonly role?: string;
  readonly user?: string;
  readonly volumes?: readonly string[];
  readonly create: boolean;
  readonly delete: boolean;
  readonly profiles?: readonly string[];
  readonly largestSizeBytes?: number;
}

/** Reads the section; everything is allowed without it. `fail` is told of a size that is none. */
export function readIsolatorSection(
  section: Static<typeof IsolatorSection> | undefined,
  fail: (problem: string) => never,
): IsolatorConfig {
  const rules = section?.rules?.map((rule, index): IsolatorRule => {
    const { create = true, delete: mayDelete = true, 'largest-size': largest, ...rest } = rule;
    const base = { ...rest, create, delete: mayDelete };
    if (largest === undefined) return base;
    const largestSizeBytes = parseSizeBytes(String(largest));
    if (largestSizeBytes === undefined)
      return fail(`/isolator/rules/${index}/largest-size is no size; write it as 100GiB`);
    return { ...base, largestSizeBytes };
  });
  return {
    rules,
    allowedPaths: section?.['allow-paths'] ?? [],
    killTasksOfLostVolumes: section?.['kill-tasks-of-lost-volumes'] ?? false,
  };
}
