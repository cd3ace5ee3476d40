import type { RunningCluster } from '../up/start-cluster.ts';
import type { StoryTeller } from './teller.ts';
import type { Visits } from './visits.ts';

/** Runs a task on one node, ends it, and runs it on another: its data come along. Throws at the first step that does not hold. */
export async function tellMove(teller: StoryTeller, visits: Visits): Promise<void> {
  await teller.step('first_task', 'Run a task on node 1 with the new volume "webapp"', async () => {
    const found = await visits.visit(1);
    return { value: found, detail: `it wrote ${found}` };
  });
  await teller.step('moved_task', 'It ended; run it again on node 2: the volume moves there first', async () => {
    const found = await visits.visit(2);
    return { value: found, detail: `it found and added to ${found}` };
  });
  await teller.step('local_task', 'Once more on node 2: the volume is already there', async () => {
    const found = await visits.visit(2);
    return { value: found, detail: `it holds ${found}` };
  });
}

/**
 * Kills a node whose task goes on writing and runs the task on another, for a cluster that fences silent nodes. Throws at the first step
 * that does not hold.
 */
export async function tellLoss(teller: StoryTeller, visits: Visits, cluster: RunningCluster): Promise<void> {
  const left = await teller.step('task_that_stays', 'Run a task on node 1 that goes on writing', async () => {
    const value = await visits.stay(1);
    return { value, detail: `it wrote ${value.found}` };
  });
  await teller.step('lost_node', 'Kill node 1 without warning; run the task on node 2', async () => {
    await cluster.loseNode(1);
    const found = await visits.visit(2);
    const waited = `${cluster.fenceAfterSeconds} s of it until the silent node was given up and cut off`;
    return { value: found, detail: `it holds ${found} (${waited})` };
  });
  await teller.step('cut_off', 'Look at the task that was left on node 1', async () => {
    const { status } = await left.ends;
    if (status !== 70)
      throw new Error(`The task that was left on node 1 ended with ${status}, and not as it could not write.`);
    return { value: undefined, detail: 'it can write no more, and ended' };
  });
  await teller.step('node_is_back', 'Start node 1 again and run the task there', async () => {
    await cluster.regainNode(1);
    const found = await visits.visit(1);
    return { value: found, detail: `it holds ${found}` };
  });
}
