import { once } from 'node:events';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import fc from 'fast-check';
import { afterEach, describe, expect, it } from 'vitest';
import { connectMesosAgent, type ProviderStream } from '../../src/frontends/resource-provider/mesos-agent.ts';
import { systemClock } from '../../src/kit/clock.ts';
import { RecordIo } from '../../src/mesos/record-io.ts';
import { oddValue, tried } from './twisted.ts';

const signal = new AbortController().signal;
let server: Server | undefined;
afterEach(() => {
  server?.closeAllConnections();
  server?.close();
});

/** What claims to be a Mesos agent and answers a subscription, and everything else, with these bytes. */
async function agentThatSends(...chunks: readonly Buffer[]): Promise<ReturnType<typeof connectMesosAgent>> {
  server = createServer((_request, response) => {
    response.writeHead(200, { 'mesos-stream-id': 'x' });
    for (const chunk of chunks) response.write(chunk);
    response.end();
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  return connectMesosAgent({ url: `http://127.0.0.1:${port}`, clock: systemClock, callTimeoutMs: 20_000 });
}

async function drain(stream: ProviderStream): Promise<string[]> {
  const kinds: string[] = [];
  try {
    for await (const message of stream.messages) kinds.push(message.kind);
  } finally {
    await stream.close();
  }
  return kinds;
}

const record = (text: string): Buffer => Buffer.from(`${Buffer.byteLength(text)}\n${text}`);

describe('a Mesos agent that sends what it should not', () => {
  it('is read or refused, whatever the bytes, and nothing else happens', async () => {
    const whole = oddValue.map((value) => record(JSON.stringify(value) ?? ''));
    const event = fc
      .record({ type: fc.constantFrom('SUBSCRIBED', 'APPLY_OPERATION', 'PUBLISH_RESOURCES', 'x'), body: oddValue })
      .map(({ type, body }) => record(JSON.stringify({ type, [type.toLowerCase()]: body })));
    const noise = fc.oneof(
      fc.uint8Array({ maxLength: 40 }),
      fc.string().map((text) => Buffer.from(text)),
    );
    await fc.assert(
      fc.asyncProperty(fc.array(fc.oneof(whole, event, noise), { maxLength: 6 }), async (parts) => {
        const agent = await agentThatSends(...parts.map((part) => Buffer.from(part)));
        const stream = await agent.subscribe({ type: 't', name: 'n' }, signal);
        const got = await drain(stream).catch((error: unknown) => error);
        if (!Array.isArray(got)) expect(got).toMatchObject({ code: 'unreachable' });
        server?.close();
      }),
      tried(60),
    );
  });

  it('may send a record of 60 MiB in small pieces without costing more than its length', () => {
    const records = new RecordIo();
    const bytes = 60 * 2 ** 20;
    const piece = Buffer.alloc(16 * 2 ** 10, 0x20);
    const startedMs = performance.now();
    expect(records.push(Buffer.from(`${bytes}\n`))).toEqual([]);
    let found: string[] = [];
    for (let sent = 0; sent < bytes; sent += piece.length) found = records.push(piece);
    expect(found.map(({ length }) => length)).toEqual([bytes]);
    expect(performance.now() - startedMs).toBeLessThan(3_000);
  });

  it('is given up when a record or an answer does not end', async () => {
    const agent = await agentThatSends(Buffer.from('99999999999\n'), Buffer.alloc(1000));
    const stream = await agent.subscribe({ type: 't', name: 'n' }, signal);
    await expect(drain(stream)).rejects.toThrow(/announced a record of 99999999999 bytes/);
    server?.closeAllConnections();
    const endless = await agentThatSends(...Array.from({ length: 20 }, () => Buffer.alloc(2 ** 20, 0x20)));
    await expect(endless.agentId(signal)).rejects.toThrow(/longer than/);
  });
});
