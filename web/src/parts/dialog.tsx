import type { ComponentChildren, JSX } from 'preact';
import { useEffect, useId, useRef, useState } from 'preact/hooks';
import { RequestFailed } from '../api.ts';

/** A window over the page; Escape closes it. */
export function Dialog(props: {
  readonly title: string;
  readonly onClose: () => void;
  readonly children: ComponentChildren;
}): JSX.Element {
  const { title, onClose, children } = props;
  const place = useRef<HTMLDialogElement>(null);
  const titleId = useId();
  useEffect(() => {
    place.current?.showModal();
  }, []);
  return (
    <dialog ref={place} aria-labelledby={titleId} onClose={onClose}>
      <div class="bar">
        <h2 id={titleId}>{title}</h2>
        <button type="button" aria-label="Close" onClick={() => place.current?.close()}>
          ✕
        </button>
      </div>
      {children}
    </dialog>
  );
}

/** One thing at a time is done; what came of it is said in words. */
export function useDeed(): {
  readonly isBusy: boolean;
  readonly failure: string | undefined;
  readonly perform: (work: () => Promise<void>, done?: () => void) => void;
} {
  const [isBusy, setBusy] = useState(false);
  const [failure, setFailure] = useState<string | undefined>();
  const perform = (work: () => Promise<void>, done?: () => void): void => {
    setBusy(true);
    setFailure(undefined);
    void work()
      .then(
        () => done?.(),
        (error: unknown) => setFailure(error instanceof RequestFailed ? error.message : String(error)),
      )
      .finally(() => setBusy(false));
  };
  return { isBusy, failure, perform };
}

/** What went wrong. */
export function Failure({ text }: { readonly text: string | undefined }): JSX.Element | null {
  return text === undefined ? null : (
    <p role="alert" class="failure">
      {text}
    </p>
  );
}
