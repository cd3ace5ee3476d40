import type { JSX } from 'preact';
import type { Happening } from '../cluster-state.ts';

/** What happened since the page was opened. */
export function Happenings({ happenings }: { readonly happenings: readonly Happening[] }): JSX.Element {
  return (
    <section aria-labelledby="happenings-title">
      <h2 id="happenings-title">Lately</h2>
      {happenings.length === 0 ? (
        <p class="quiet">Nothing has changed since this page was opened.</p>
      ) : (
        <ol class="happenings" aria-live="polite">
          {happenings.map(({ key, atMs, text }) => (
            <li key={key}>
              <time dateTime={new Date(atMs).toISOString()}>{new Date(atMs).toLocaleTimeString()}</time> {text}
            </li>
          ))}
        </ol>
      )}
    </section>
  );
}
