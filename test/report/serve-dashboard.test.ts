import { once } from 'node:events';
import { get, type IncomingMessage, request, ServerResponse } from 'node:http';
import { connect } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { SimulatedDevice } from '../../adapters/devices/simulated.js';
import { CachingMemoryManager, PoolMemoryManager, TrackingMemoryManager } from '../../managers/index.js';
import { KiB, MemoryManagerDeviceInterface, MemoryManagerInstaller, MemoryRuntime, MiB } from '../../src/index.js';
import { type Dashboard, serveDashboard } from '../../src/report/index.js';
import { EventClients } from '../../src/report/live/event-clients.js';
import type { LiveHello, LiveUpdate } from '../../src/report/live/live-data.js';
import { LiveSampler } from '../../src/report/live/live-sampler.js';
import { LiveSites, stackSource } from '../../src/report/live/live-sites.js';
import { LIMIT_MS } from '../config/limits.js';
import { moduleUrl, runChild } from '../fixtures/compiled.js';
import { parsePrometheus } from './prometheus-parser.js';

const NAME = 'quote " backslash \\ line\nend';

class OddlyNamed extends CachingMemoryManager {
  override get name(): string {
    return NAME;
  }
}

let runtime: MemoryRuntime;
let dashboard: Dashboard;

beforeEach(async () => {
  runtime = new MemoryRuntime(new SimulatedDevice({ deviceCount: 2, virtual: true }));
  dashboard = await serveDashboard(runtime, { intervalMs: 20 });
});
afterEach(async () => {
  await dashboard.dispose();
  runtime.close();
});

interface Answer {
  readonly status: number;
  readonly headers: IncomingMessage['headers'];
  readonly body: string;
}

async function ask(path: string, options: { method?: string; host?: string } = {}): Promise<Answer> {
  const { method = 'GET', host } = options;
  const asked = request(new URL(path, dashboard.url), {
    method,
    agent: false,
    ...(host === undefined ? {} : { headers: { Host: host } }),
  });
  asked.end();
  const [response] = (await once(asked, 'response')) as [IncomingMessage];
  let body = '';
  for await (const chunk of response) body += String(chunk);
  return { status: response.statusCode ?? 0, headers: response.headers, body };
}

/** Listens to the stream and gives its messages one after the other. */
async function* messages(): AsyncGenerator<{ event: string; data: LiveHello | LiveUpdate }> {
  const asked = get(new URL('events', dashboard.url), { agent: false });
  const [response] = (await once(asked, 'response')) as [IncomingMessage];
  let rest = '';
  try {
    for await (const chunk of response) {
      const parts = (rest + String(chunk)).split('\n\n');
      rest = parts.pop() ?? '';
      for (const part of parts) {
        const found = /^event: (\w+)\ndata: (.*)$/.exec(part);
        if (found !== null) yield { event: found[1] as string, data: JSON.parse(found[2] as string) as LiveHello };
      }
    }
  } finally {
    asked.destroy();
  }
}

function install(manager: CachingMemoryManager | PoolMemoryManager | TrackingMemoryManager): void {
  new MemoryManagerInstaller(manager, runtime).setAsMemoryManager();
}

describe('serveDashboard', () => {
  describe('the server', () => {
    test('serves the page with its policy, to be stored and framed by nobody', async () => {
      const { status, headers, body } = await ask('/');
      expect(status).toBe(200);
      expect(headers['content-type']).toBe('text/html; charset=utf-8');
      expect(headers['cache-control']).toBe('no-store');
      expect(headers['x-frame-options']).toBe('DENY');
      expect(headers['access-control-allow-origin']).toBeUndefined();
      expect(body).toContain("connect-src 'self'");
    });

    test.each(['POST', 'PUT', 'DELETE', 'HEAD', 'OPTIONS'])('refuses %s', async (method) => {
      const { status, headers } = await ask('/metrics', { method });
      expect([status, headers.allow]).toEqual([405, 'GET']);
    });

    test.each(['evil.example', 'localhost', 'localhost.evil.example:PORT', '127.0.0.1.evil.example:PORT', '127.0.0.1:1'])(
      'refuses the host name "%s"',
      async (host) => {
        const { status, body } = await ask('/metrics', { host: host.replace('PORT', String(dashboard.port)) });
        expect(status).toBe(403);
        expect(body).not.toContain('stowage_');
      },
    );

    test('refuses a request without a host name', async () => {
      const socket = connect(dashboard.port, '127.0.0.1');
      socket.write('GET /metrics HTTP/1.0\r\n\r\n');
      const [answer] = (await once(socket, 'data')) as [Buffer];
      expect(answer.toString()).toMatch(/^HTTP\/1\.1 403 /);
      socket.destroy();
    });

    test.each(['127.0.0.1:PORT', 'localhost:PORT', 'LOCALHOST:PORT', '[::1]:PORT'])(
      'answers under the local name %s',
      async (host) => {
        expect((await ask('/metrics', { host: host.replace('PORT', String(dashboard.port)) })).status).toBe(200);
      },
    );

    test('knows no other path', async () => {
      for (const path of ['/x', '/../etc/passwd', '/metrics/', '/events/x']) expect((await ask(path)).status, path).toBe(404);
    });

    test('listens on this machine alone', async () => {
      const outside = connect({ port: dashboard.port, host: '127.0.0.2' });
      const [error] = (await once(outside, 'error')) as [NodeJS.ErrnoException];
      expect(error.code).toBe('ECONNREFUSED');
    });

    test.each([
      [{ port: -1 }, 'port is -1'],
      [{ port: 70_000 }, 'port is 70000'],
      [{ intervalMs: 5 }, 'intervalMs is 5'],
      [{ intervalMs: Number.NaN }, 'intervalMs is NaN'],
    ])('refuses %j', async (options, message) => {
      await expect(serveDashboard(runtime, options)).rejects.toThrow(message);
    });

    test('refuses a port that is taken', async () => {
      await expect(serveDashboard(runtime, { port: dashboard.port })).rejects.toThrow('one that nobody listens on');
      expect((await ask('/metrics')).status).toBe(200);
    });

    test('ends its streams and frees its port when it is closed, once or twice', async () => {
      const stream = messages();
      await stream.next();
      await Promise.all([dashboard.dispose(), dashboard.dispose()]);
      await expect(
        (async () => {
          for await (const _ of stream);
        })(),
      ).rejects.toThrow();
      const again = await serveDashboard(runtime, { port: dashboard.port });
      expect(again.port).toBe(dashboard.port);
      await again.dispose();
    });
  });

  describe('/events', () => {
    test('begins with all that is known, and goes on with each reading', async () => {
      const kept = runtime.allocate(3 * MiB, { tag: 'weights' });
      const stream = messages();
      const hello = (await stream.next()).value as { event: string; data: LiveHello };
      expect(hello.event).toBe('hello');
      expect(hello.data.map.blocks.map(([ptr, bytes, , tag]) => [ptr, bytes, tag])).toEqual([[kept.ptr, 3 * MiB, 'weights']]);
      expect(hello.data.map.segments).toEqual([[kept.ptr, 20 * MiB]]);
      expect(hello.data.map.fragmentation).toBe(0);
      runtime.allocate(5 * KiB);
      for await (const { event, data } of stream) {
        expect(event).toBe('update');
        const { managers, sample } = data as LiveUpdate;
        const reading = sample.managers[0];
        const value = (name: string) => reading?.values[hello.data.statistics.findIndex((statistic) => statistic.name === name)];
        if (value('blocks') !== 2) continue;
        expect(managers).toEqual([{ id: 0, name: 'CachingMemoryManager', slot: 'ordinary' }]);
        expect(reading?.active).toBe(true);
        expect(value('requested')).toBe(3 * MiB + 5 * KiB);
        expect(value('reserved')).toBe(22 * MiB);
        expect(value('allocations')).toBe(2);
        expect(value('ooms')).toBe(0);
        break;
      }
      kept.dispose();
    });

    test('follows swaps and blocks that are freed', async () => {
      const kept = runtime.allocate(MiB);
      install(new PoolMemoryManager(2, new MemoryManagerDeviceInterface()));
      const other = runtime.allocate(2 * MiB);
      kept.dispose();
      const { value } = await messages().next();
      const { map } = (value as { data: LiveHello }).data;
      expect(map.blocks.map(([ptr, bytes]) => [ptr, bytes])).toEqual([[other.ptr, 2 * MiB]]);
      expect(map.segments.reduce((sum, [, bytes]) => sum + bytes, 0)).toBe(runtime.slot.reservedBytes);
    });

    test('shows the managers that are there and the last eight that stopped, however many there were', () => {
      const sampler = new LiveSampler(runtime);
      const swap = (): LiveUpdate => {
        install(new CachingMemoryManager(2, new MemoryManagerDeviceInterface()));
        return sampler.take(false);
      };
      const idsOf = ({ managers }: LiveUpdate | LiveHello) => managers.map(({ id }) => id);
      const first = swap();
      install(new PoolMemoryManager(2, new MemoryManagerDeviceInterface()));
      const kept = runtime.allocate(MiB);
      for (let n = 0; n < 20; n++) swap();
      const last = swap();
      // The pool drains; the active one came last.
      expect(idsOf(first)).toEqual([0]);
      expect(idsOf(last)).toEqual([2, 14, 15, 16, 17, 18, 19, 20, 21, 22]);
      expect(Object.keys(last.sample.managers)).toEqual(['2', '22']);
      expect(last.managers.at(-1)?.name).toBe('CachingMemoryManager #22');
      expect(idsOf(sampler.hello())).toEqual(idsOf(last));
      kept.dispose();
      expect(idsOf(swap())).toEqual([2, 16, 17, 18, 19, 20, 21, 22, 23]);
      sampler.stop();
    });

    describe('sites', () => {
      const allocateHere = (bytes: number) => runtime.allocate(bytes);
      const mapOf = (sampler: LiveSampler) => sampler.hello().map;
      const namesOf = ({ sites, stacks }: ReturnType<typeof mapOf>) => [
        sites.map((text) => /^at (\w+) /.exec(text)?.[1] ?? text),
        stacks?.sites.map(({ stack }) => stacks.frames[stack[0]!]?.[0]),
      ];

      test('are those of every allocation when they are asked for: live, at the peak and in all', async () => {
        const observed = await serveDashboard(runtime, { sites: 3 });
        const response = await fetch(new URL('events', observed.url));
        await response.body?.cancel();
        const sampler = new LiveSampler(runtime, stackSource(3));
        const kept = allocateHere(1000);
        allocateHere(5000).dispose();
        const other = runtime.allocate(10);
        const map = mapOf(sampler);
        expect(map.stacks?.measures).toEqual(['live', 'allocated', 'peak']);
        expect(map.stacks?.siteCount).toBe(3);
        const here = map.stacks?.sites.filter(({ stack }) => map.stacks?.frames[stack[0]!]?.[0] === 'allocateHere');
        const sum = (place: number) => here?.reduce((bytes, site) => bytes + site.bytes[place]!, 0);
        expect([0, 1, 2].map(sum)).toEqual([1000, 6000, 6000]);
        expect(here?.every(({ stack }) => stack.length <= 3)).toBe(true);
        expect(map.blocks.map(([, bytes, , , site]) => [bytes, map.sites[site]?.split(' (')[0]])).toContainEqual([
          1000,
          'at allocateHere',
        ]);
        kept.dispose();
        other.dispose();
        expect(mapOf(sampler).stacks?.sites.map(({ bytes }) => bytes[0])).toEqual([0, 0, 0]);
        sampler.stop();
        await observed.dispose();
      });

      test('are those that a manager tracks when they are not asked for: of live blocks alone', () => {
        install(new TrackingMemoryManager(new PoolMemoryManager(2, new MemoryManagerDeviceInterface()), { sites: true }));
        const sampler = new LiveSampler(runtime);
        const kept = allocateHere(1000);
        const map = mapOf(sampler);
        expect(map.stacks?.measures).toEqual(['live']);
        expect(namesOf(map)).toEqual([['allocateHere'], ['allocateHere']]);
        kept.dispose();
        expect(mapOf(sampler).stacks).toBeNull();
        // A row that is used again has a site of its own.
        using again = runtime.allocate(1000);
        expect(namesOf(mapOf(sampler))).not.toEqual([['allocateHere'], ['allocateHere']]);
        expect(again.bytes).toBe(1000);
        sampler.stop();
      });

      test('are not known otherwise', () => {
        const sampler = new LiveSampler(runtime);
        using kept = runtime.allocate(1000);
        const { sites, stacks, blocks } = mapOf(sampler);
        expect([sites, stacks, blocks.map(([ptr]) => ptr)]).toEqual([[''], null, [kept.ptr]]);
        sampler.stop();
      });

      test('are held up to a number, and the later ones are one', () => {
        let n = 0;
        const blocks = new LiveSites(
          () => `at f (x.js:${++n}:1)`,
          () => undefined,
        );
        for (let row = 0; row < 50_010; row++) blocks.alloc(row, 1);
        const stacks = blocks.stacks([]);
        expect(stacks?.siteCount).toBe(50_001);
        expect(stacks?.sites[0]).toMatchObject({ bytes: [10, 10, 10] });
        expect(stacks?.frames[0]?.[0]).toBe('(sites after the first 50,000)');
      });

      test('are refused when they are no number of frames', async () => {
        await expect(serveDashboard(runtime, { sites: 0 })).rejects.toThrow('sites is 0');
      });
    });

    test.each([
      ['long', 6000],
      ['short', 0],
    ])('gives a client that does not keep up nothing more until it does, and then updates: %s ones', async (_, count) => {
      for (let i = 0; i < count; i++) runtime.allocate(64 + i, { tag: `a tag that makes the message long, number ${i}` });
      const add = vi.spyOn(EventClients.prototype, 'add');
      const send = vi.spyOn(EventClients.prototype, 'send');
      const write = vi.spyOn(ServerResponse.prototype, 'write');
      const slow = connect({ port: dashboard.port, host: '127.0.0.1' });
      slow.write(`GET /events HTTP/1.1\r\nHost: 127.0.0.1:${dashboard.port}\r\n\r\n`);
      while (add.mock.calls.length === 0) await sleep(20);
      const response = add.mock.calls[0]![0];
      // The system would take some MB for a client before the connection stalls. One message waits then, the same through 20 readings.
      response.socket?.cork();
      for (let readings = 0; readings < 20; ) {
        const [waiting, before] = [response.writableLength, send.mock.calls.length];
        await sleep(20);
        const largest = Math.max(...write.mock.calls.map(([message]) => String(message).length));
        expect(response.writableLength).toBeLessThan(largest + 4 * KiB);
        const isStalled = waiting > 0 && response.writableLength === waiting;
        readings = isStalled ? readings + send.mock.calls.length - before : 0;
      }
      response.socket?.uncork();
      for (const spy of [add, send, write]) spy.mockRestore();
      let received = '';
      slow.on('data', (chunk) => {
        received += String(chunk);
      });
      const countOf = (event: string) => received.split(`\nevent: ${event}\n`).length - 1;
      while (countOf('update') < 2) await sleep(20);
      expect(countOf('hello')).toBe(1);
      slow.destroy();
    });
  });

  describe('/metrics', () => {
    test('gives a text that a strict parser reads, with the values of the statistics', async () => {
      install(new OddlyNamed(2, new MemoryManagerDeviceInterface()));
      const block = runtime.allocate(5000);
      runtime.withDevice(1, () => runtime.allocate(3 * MiB));
      const { headers, body } = await ask('/metrics');
      expect(headers['content-type']).toBe('text/plain; version=0.0.4; charset=utf-8');
      const samples = parsePrometheus(body);
      const value = (name: string, device: string) =>
        samples.find((sample) => sample.name === name && sample.labels['device'] === device && sample.labels['manager'] === NAME)
          ?.value;
      const stats = runtime.slot.active?.stats(0);
      expect(value('stowage_requested_bytes', '0')).toBe(5000);
      expect(value('stowage_allocated_bytes', '0')).toBe(stats?.allocatedBytes.current);
      expect(value('stowage_reserved_bytes', '0')).toBe(2 * MiB);
      expect(value('stowage_reserved_bytes', '1')).toBe(20 * MiB);
      expect(value('stowage_allocations_total', '1')).toBe(1);
      expect(value('stowage_native_allocs_total', '0')).toBe(1);
      expect(samples.filter(({ name }) => name === 'stowage_slot_reserved_bytes').map((sample) => sample.value)).toEqual([
        22 * MiB,
      ]);
      block.dispose();
    });

    test('tells managers of one name apart while one of them drains', async () => {
      install(new CachingMemoryManager(2, new MemoryManagerDeviceInterface()));
      const kept = runtime.allocate(100);
      install(new CachingMemoryManager(2, new MemoryManagerDeviceInterface()));
      const other = runtime.allocate(100);
      const active = parsePrometheus((await ask('/metrics')).body).filter(({ name }) => name === 'stowage_manager_active');
      expect(active.map(({ value }) => value)).toEqual([1, 0]);
      expect(new Set(active.map(({ labels }) => labels['id'])).size).toBe(2);
      kept.dispose();
      other.dispose();
    });
  });

  describe('the process', () => {
    const script = (options: string, exitAfterMs: number) => `
      import { MemoryRuntime } from '${moduleUrl('src/index.js')}';
      import { SimulatedDevice } from '${moduleUrl('adapters/devices/simulated.js')}';
      import { serveDashboard } from '${moduleUrl('src/report/index.js')}';
      const runtime = new MemoryRuntime(new SimulatedDevice());
      const dashboard = await serveDashboard(runtime, ${options});
      // A page that stays open.
      const { connect } = await import('node:net');
      const socket = connect(dashboard.port, '127.0.0.1');
      socket.write('GET /events HTTP/1.1\\r\\nHost: localhost:' + dashboard.port + '\\r\\n\\r\\n');
      await new Promise((begun) => socket.once('data', begun));
      socket.unref();
      console.log('served');
      setTimeout(() => process.exit(7), ${exitAfterMs}).unref();
    `;

    test('ends although the page is open', () => {
      expect(runChild(script('{}', LIMIT_MS))).toMatchObject({ status: 0, stdout: 'served\n', stderr: '' });
    });

    test('stays when it is asked to', () => {
      expect(runChild(script('{ keepAlive: true }', 100))).toMatchObject({ status: 7, stdout: 'served\n' });
    });
  });
});
