import { array, assert, constantFrom, nat, property, record, string, tuple, uniqueArray } from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type ServerSentEvent, SseParser } from './sse-parser.ts';

function parse(chunks: readonly Uint8Array[]): ServerSentEvent[] {
  const parser = new SseParser();
  return chunks.flatMap((chunk) => parser.push(chunk));
}

const bytes = (text: string): Buffer => Buffer.from(text, 'utf8');

const SAMPLES: readonly {
  readonly name: string;
  readonly text: string;
  readonly events: readonly ServerSentEvent[];
}[] = [
  {
    name: 'LF, CRLF and CR line ends',
    text: 'event: a\ndata: 1\n\nevent: b\r\ndata: 2\r\n\r\nevent: c\rdata: 3\r\r',
    events: [
      { event: 'a', data: '1' },
      { event: 'b', data: '2' },
      { event: 'c', data: '3' },
    ],
  },
  {
    name: 'data over several lines, and only one blank dropped',
    text: 'data: {\ndata:  "a": 1\ndata\ndata:}\n\n',
    events: [{ event: 'message', data: '{\n "a": 1\n\n}' }],
  },
  {
    name: 'comments, ids and unknown fields',
    text: ': hello\n\n:\r\nid: 7\nretry: 10\nevent: x\nfoo: bar\ndata: ü🐳:\n: inside\n\n',
    events: [{ event: 'x', data: 'ü🐳:' }],
  },
  {
    name: 'an event without data, then its name forgotten',
    text: 'event: x\n\ndata: y\n\n',
    events: [{ event: 'message', data: 'y' }],
  },
  { name: 'a byte order mark', text: '\uFEFFdata: y\n\n', events: [{ event: 'message', data: 'y' }] },
  { name: 'an event that was cut off', text: 'data: a\n\ndata: b\n', events: [{ event: 'message', data: 'a' }] },
];

describe('SseParser', () => {
  for (const { name, text, events } of SAMPLES) {
    it(`reads ${name}, cut anywhere`, () => {
      const whole = bytes(text);
      expect(parse([whole])).toEqual(events);
      for (let cut = 0; cut <= whole.length; cut += 1) {
        expect(parse([whole.subarray(0, cut), whole.subarray(cut)])).toEqual(events);
      }
      expect(parse([...whole].map((byte) => Uint8Array.of(byte)))).toEqual(events);
    });
  }

  it('reads back whatever was written, however it is cut and whatever ends its lines', () => {
    const line = string({ unit: 'binary', maxLength: 20 }).map((text) => text.replace(/[\r\n\uFEFF]/g, ''));
    const event = record({
      event: line.filter((text) => text !== ''),
      lines: array(line, { minLength: 1, maxLength: 4 }),
    });
    const written = tuple(array(event, { maxLength: 5 }), constantFrom('\n', '\r\n', '\r'), uniqueArray(nat(300)));
    assert(
      property(written, ([events, end, cuts]) => {
        const text = events
          .map((one) => [`event: ${one.event}`, ': heartbeat', ...one.lines.map((l) => `data: ${l}`), '', ''].join(end))
          .join('');
        const whole = bytes(text);
        const at = [0, ...cuts.sort((a, b) => a - b), whole.length];
        const chunks = at.map((from, index) => whole.subarray(from, at[index + 1] ?? whole.length));
        expect(parse(chunks)).toEqual(events.map((one) => ({ event: one.event, data: one.lines.join('\n') })));
      }),
    );
  });

  it('does not collect a line or an event without end', () => {
    const line = new SseParser();
    const chunk = bytes('x'.repeat(2 ** 18));
    expect(() => Array.from({ length: 5 }, () => line.push(chunk))).toThrow('has a line of more');
    const event = new SseParser();
    const data = bytes(`data: ${'x'.repeat(2 ** 18)}\n`);
    expect(() => Array.from({ length: 5 }, () => event.push(data))).toThrow('has an event of more');
  });
});
