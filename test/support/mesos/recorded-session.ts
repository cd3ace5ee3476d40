import { readFileSync } from 'node:fs';

const SESSION = new URL('../../fixtures/mesos-resource-provider-session.jsonl', import.meta.url);

/** One line of the traffic between a real Mesos 1.12-dev agent and a resource provider. */
export type RecordedLine =
  | { readonly dir: 'in'; readonly event: Record<string, unknown> }
  | { readonly dir: 'out'; readonly body: Record<string, unknown> }
  | { readonly dir: 'reply'; readonly status: number; readonly text: string };

/** The recorded session, in order. The provider's id was added to each call when it was sent, after it was recorded. */
export function recordedSession(): RecordedLine[] {
  return readFileSync(SESSION, 'utf8')
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as RecordedLine);
}
