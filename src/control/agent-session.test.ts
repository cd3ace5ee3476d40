import { expect, it } from 'vitest';
import type { ControlMessage } from '../api/agent-channel.ts';
import { AgentSession } from './agent-session.ts';
import { A, DATASET } from './testing/samples.ts';

const released = { want: 'released', datasetId: DATASET } as const;
const destroyed = { want: 'destroyed', datasetId: DATASET } as const;

function session(): { session: AgentSession; sent: ControlMessage[] } {
  const sent: ControlMessage[] = [];
  return { session: new AgentSession(A, (message) => sent.push(message)), sent };
}

it('numbers every order anew, and sends none twice', () => {
  const { session: one, sent } = session();
  one.sendAll([[DATASET, released]]);
  one.sendChanged([[DATASET, released]]);
  one.sendChanged([[DATASET, destroyed]]);
  expect(sent).toEqual([
    { kind: 'orders', full: true, orders: [{ ...released, order: 1 }], withdrawn: [] },
    { kind: 'orders', full: false, orders: [{ ...destroyed, order: 2 }], withdrawn: [] },
  ]);
  expect([one.presentWant(DATASET, 1), one.presentWant(DATASET, 2)]).toEqual([undefined, 'destroyed']);
});

it('withdraws once, and orders again after that', () => {
  const { session: one, sent } = session();
  one.sendAll([[DATASET, released]]);
  one.sendChanged([[DATASET, undefined]]);
  one.sendChanged([[DATASET, undefined]]);
  one.sendChanged([[DATASET, released]]);
  expect(sent.slice(1)).toEqual([
    { kind: 'orders', full: false, orders: [], withdrawn: [DATASET] },
    { kind: 'orders', full: false, orders: [{ ...released, order: 2 }], withdrawn: [] },
  ]);
});

it('takes the confirmation of an order once, and then sends the same wish as a new order', () => {
  const { session: one, sent } = session();
  one.sendAll([[DATASET, released]]);
  one.fulfil(DATASET);
  expect(one.presentWant(DATASET, 1)).toBeUndefined();
  one.sendChanged([[DATASET, released]]);
  expect(sent.at(-1)).toMatchObject({ orders: [{ ...released, order: 2 }] });
  expect(one.presentWant(DATASET, 2)).toBe('released');
});
