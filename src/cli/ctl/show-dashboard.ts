import { serveDashboard } from './dashboard.ts';
import { type Session, writeJson } from './session.ts';

/** `dashboard`: a browser on this machine gets in with the address that is printed. */
export async function showDashboard(session: Session, { port }: { readonly port?: number }): Promise<void> {
  const { client, environment, signal, target } = session;
  // What is wrong with the connection is said here, and not in the browser.
  await client.listNodes(signal);
  const passage = await environment.openPassage(target);
  const proxy = await serveDashboard(passage, port ?? 0);
  try {
    if (session.json) writeJson(session, { url: proxy.url });
    else environment.stdout.write(`${proxy.url}\nOpen this address in a browser on this machine. Ctrl-C ends it.\n`);
    await Promise.race([environment.interrupted(), aborted(signal)]);
  } finally {
    await proxy.close();
    await passage.close();
  }
}

function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve();
    else signal.addEventListener('abort', () => resolve(), { once: true });
  });
}
