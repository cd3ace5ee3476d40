import type { AgentSession } from './agent-session.ts';

/** What is to be sent to each session, together: an order about something, or undefined to withdraw the one it had. */
export class BySession<Id, Wish> {
  readonly #wishes = new Map<AgentSession, (readonly [Id, Wish | undefined])[]>();

  note(session: AgentSession, id: Id, wish: Wish | undefined): void {
    const wishes = this.#wishes.get(session);
    if (wishes === undefined) this.#wishes.set(session, [[id, wish]]);
    else wishes.push([id, wish]);
  }

  send(how: (session: AgentSession, wishes: readonly (readonly [Id, Wish | undefined])[]) => void): void {
    for (const [session, wishes] of this.#wishes) how(session, wishes);
  }
}
