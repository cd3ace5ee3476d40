import type { Judgement } from './judge-node.ts';

/** At what word of the Mesos master a silent node is declared dead: an operator's (`gone`), or the master's own as well. */
export type MesosFence = 'gone' | 'unreachable';

/**
 * An agent that registers again within this time was not away. By then it has answered no ping of the master for another 75 s (five of 15 s,
 * src/master/constants.hpp), unless the master was told otherwise.
 */
export const UNREACHABLE_FOR_MS = 30_000;

/** `leave`: this word of the master is not enough. What to log of each is with it. */
export type Step =
  | { readonly kind: 'declare' | 'leave'; readonly message: string }
  | { readonly kind: 'wait'; readonly forMs: number };

/**
 * What follows from the master's word on a node that is not connected, before the conditions that hold for every declaration.
 * `unreachableMs`: for how long its agents have been seen unreachable.
 */
export function nextStep(judged: Judgement['kind'], fence: MesosFence, unreachableMs: number): Step {
  switch (judged) {
    case 'gone':
      return declare('an operator of Mesos marked the agent of a silent node gone');
    case 'unreachable': {
      if (fence === 'gone')
        return leave('the Mesos master has lost the agent of a silent node, but nobody marked it gone');
      const forMs = UNREACHABLE_FOR_MS - unreachableMs;
      return forMs > 0 ? { kind: 'wait', forMs } : declare('the Mesos master has lost the agent of a silent node');
    }
    case 'present':
      return leave('the agent of a silent node is registered with the Mesos master');
    case 'left':
      return leave('the agent of a silent node has unregistered from the Mesos master, or is forgotten there');
    case 'unknown':
      return leave('no Mesos agent is known for a silent node: give its agent the attribute flocker_node:UUID');
    case 'ambiguous':
      return leave('a Mesos agent fits a silent node and others: give it the attribute flocker_node:UUID');
  }
}

function declare(why: string): Step {
  return { kind: 'declare', message: `${why}: the node is declared dead and cut off` };
}

function leave(why: string): Step {
  return { kind: 'leave', message: `${why}; the node is not declared dead` };
}
