import { ClientError } from './flocker-client.ts';

/** Whether whoever waits should ask again: the server is away or failed, which says nothing about the dataset. */
export function isPassing(error: unknown): error is ClientError {
  return error instanceof ClientError && (error.code === 'unreachable' || error.code === 'server_failed');
}

/** Calls `tell` only when the message is another than before; undefined means that there is no problem now. */
export function onChange(tell: (message: string) => void): (message: string | undefined) => void {
  let before: string | undefined;
  return (message) => {
    if (message !== undefined && message !== before) tell(message);
    before = message;
  };
}
