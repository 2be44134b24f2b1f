import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, chownSync, readFileSync, truncateSync, utimesSync, writeFileSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { Worker } from 'node:worker_threads';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { processIdentity, processSpace } from '../../adapters/os/process-identity.js';
import { MemoryError } from '../../src/core/errors.js';
import { KiB, MiB } from '../../src/core/units.js';
import {
  type BackendFacts,
  creatorLiveness,
  HEADER_BYTES,
  markReady,
  readHeader,
  writeHeader,
} from '../../src/shared/backends/backend-header.js';
import { PosixShmBackend } from '../../src/shared/backends/named-backends.js';
import { MemoryRegistry } from '../../src/shared/memory-registry.js';
import { listSegments, removeListed } from '../../src/shared/segment-list.js';
import { searchRuns } from '../config/search.js';
import { codeOf } from '../fixtures/code-of.js';
import { moduleUrl, runChild } from '../fixtures/compiled.js';
import { expectNothingLeft, freshName, leftSegments, pathOfName } from './names.js';

expectNothingLeft();

const onLinux = process.platform === 'linux';
const BYTES = 64 * KiB - HEADER_BYTES;

/** The bytes of a complete segment. */
function goodBytes(name: string): Buffer {
  using backend = PosixShmBackend.create(name, { id: 1, bytes: BYTES });
  expect(backend.bytes).toBe(BYTES);
  return readFileSync(pathOfName(name));
}

function attachTo(name: string, bytes: Uint8Array): string {
  writeFileSync(pathOfName(name), bytes, { mode: 0o600 });
  try {
    const backend = PosixShmBackend.attach(name);
    backend.detach();
    return 'attached';
  } catch (error) {
    if (MemoryError.is(error, 'ERR_MEM_BAD_SEGMENT')) return error.facts.reason;
    throw error;
  } finally {
    expect(removeListed(name, true)).toBeUndefined();
  }
}

/** A process that creates a segment and then lives until it is told otherwise. */
async function startCreator(name: string): Promise<{ pid: number; kill: () => Promise<void> }> {
  const source = `
    const { PosixShmBackend } = await import(${JSON.stringify(moduleUrl('src/shared/backends/named-backends.js'))});
    globalThis.backend = PosixShmBackend.create(${JSON.stringify(name)}, { id: 1, bytes: ${BYTES} });
    console.log('created');
    setInterval(() => {}, 1000);`;
  const child = spawn(process.execPath, ['--input-type=module', '-e', source], { stdio: ['ignore', 'pipe', 'inherit'] });
  await once(createInterface(child.stdout), 'line');
  const kill = async () => {
    child.kill('SIGKILL');
    await once(child, 'exit');
  };
  return { pid: child.pid as number, kill };
}

describe.skipIf(!onLinux)('attaching', () => {
  test('to the bytes of a complete segment works', () => {
    const name = freshName();
    expect(attachTo(name, goodBytes(name))).toBe('attached');
  });

  test('to nothing, to garbage and to a truncated or longer segment tells what is wrong', () => {
    const name = freshName();
    const good = goodBytes(name);
    expect(attachTo(name, good.subarray(0, 0))).toMatch(/still being created/);
    expect(attachTo(name, Buffer.alloc(8192))).toMatch(/still being created/);
    expect(attachTo(name, good.subarray(0, 100))).toBe('it is truncated: 100 bytes');
    expect(attachTo(name, good.subarray(0, HEADER_BYTES))).toBe('it is truncated: 4096 bytes');
    expect(attachTo(name, good.subarray(0, 32 * KiB))).toBe('it has 32768 bytes, but its header says 65536');
    expect(attachTo(name, Buffer.concat([good, Buffer.alloc(1)]))).toBe('it has 65537 bytes, but its header says 65536');
    expect(attachTo(name, Buffer.alloc(8192, 0xa5))).toBe('it is no segment of this library');
  });

  test('to one of another layout version, or of another kind, tells so', () => {
    const name = freshName();
    const words = new Int32Array(goodBytes(name).buffer.slice(0, 64 * KiB));
    words[2] = 7;
    expect(attachTo(name, new Uint8Array(words.buffer))).toBe('it has layout version 7, not 1');
    const facts: BackendFacts = { type: 'file', id: 1, mappedBytes: 64 * KiB, creator: processIdentity(), space: processSpace() };
    writeHeader(words.subarray(0, HEADER_BYTES / 4), facts);
    expect(attachTo(name, new Uint8Array(words.buffer))).toMatch(/still being created/);
    markReady(words);
    expect(attachTo(name, new Uint8Array(words.buffer))).toMatch(/it is of type file, not posix-shm/);
  });

  test('to a header of which any bit is wrong fails', () => {
    const name = freshName();
    const good = goodBytes(name);
    const words = 14;
    fc.assert(
      fc.property(fc.integer({ min: 0, max: words * 32 - 1 }), (bit) => {
        const bytes = Buffer.from(good);
        bytes[bit >> 3] = (bytes[bit >> 3] as number) ^ (1 << (bit & 7));
        expect(attachTo(name, bytes)).not.toBe('attached');
      }),
      { numRuns: searchRuns(200) },
    );
  });

  test('to any bytes at all ends in a reason, never in a crash', () => {
    const name = freshName();
    const good = goodBytes(name);
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), fc.nat(63), fc.boolean(), (noise, start, truncated) => {
        const bytes = Buffer.from(truncated ? good.subarray(0, 5000) : good);
        bytes.set(noise, start);
        const outcome = attachTo(name, bytes);
        if (outcome === 'attached') expect(bytes.subarray(0, 56)).toEqual(good.subarray(0, 56));
      }),
      { numRuns: searchRuns(300) },
    );
  });
});

describe('readHeader', () => {
  test('finds one that was never completed', () => {
    const words = new Int32Array(HEADER_BYTES / 4);
    const facts: BackendFacts = {
      type: 'posix-shm',
      id: 0,
      mappedBytes: 2 ** 40,
      creator: processIdentity(),
      space: processSpace(),
    };
    writeHeader(words, facts);
    expect(readHeader(words, 2 ** 40)).toEqual({ kind: 'creating', facts });
    markReady(words);
    expect(readHeader(words, 2 ** 40)).toEqual({ kind: 'ready', facts });
  });
});

describe('creatorLiveness', () => {
  const creator = processIdentity();
  const space = processSpace();
  const facts = (changes: Partial<BackendFacts>): BackendFacts => ({
    type: 'file',
    id: 0,
    mappedBytes: 8192,
    creator,
    space,
    ...changes,
  });

  test('goes by boot, namespace, number and start time', () => {
    expect(creatorLiveness(facts({}), space)).toBe('alive');
    expect(creatorLiveness(facts({ creator: { id: creator.id, startTime: creator.startTime + 1 } }), space)).toBe('dead');
    expect(creatorLiveness(facts({ space: { ...space, boot: space.boot ^ 1 } }), space)).toBe('dead');
    expect(creatorLiveness(facts({ space: { ...space, namespace: 1 } }), space)).toBe('unknown');
  });
});

describe.skipIf(!onLinux)('creating', () => {
  test('succeeds for one of all processes that try at once, also where each replaces a stale one', () => {
    const name = freshName();
    const racers = 4;
    // Every other name is taken by a creator that was killed.
    runChild(`
      const { PosixShmBackend } = await import(${JSON.stringify(moduleUrl('src/shared/backends/named-backends.js'))});
      for (let i = 0; i < 50; i += 2) PosixShmBackend.create(${JSON.stringify(name)} + '-' + i, { id: 1, bytes: 4096 });
      process.kill(process.pid, 'SIGKILL');`);
    const source = `
      import { spawn } from 'node:child_process';
      const racer = \`
        import { existsSync } from 'node:fs';
        const { PosixShmBackend } = await import(${JSON.stringify(moduleUrl('src/shared/backends/named-backends.js'))});
        const { ArrayBackend } = await import(${JSON.stringify(moduleUrl('src/shared/backends/nameless-backends.js'))});
        ArrayBackend.create(0, new ArrayBuffer(8192)); // loads the native code
        console.log('ready');
        const start = await new Promise((resolve) => process.stdin.once('data', (text) => resolve(Number(text))));
        while (Date.now() < start);
        for (let i = 0; i < 50; i++) {
          let outcome = 'won';
          try { PosixShmBackend.create(${JSON.stringify(name)} + '-' + i, { id: 1, bytes: 4096, replaceStale: true }); } catch (error) { outcome = error.code; }
          console.log(i, outcome);
        }
        process.stdin.on('end', () => process.exit(0));
      \`;
      const children = Array.from({ length: ${racers} }, () =>
        spawn(process.execPath, ['--input-type=module', '-e', racer], { stdio: ['pipe', 'pipe', 'inherit'] }));
      let text = '';
      for (const child of children) child.stdout.on('data', (chunk) => { text += chunk; });
      const lines = async (count) => {
        while (text.split('\\n').length <= count) await new Promise((resolve) => setTimeout(resolve, 5));
      };
      await lines(${racers});
      for (const child of children) child.stdin.write(String(Date.now() + 50));
      await lines(${racers} * 51);
      for (const child of children) child.stdin.end();
      console.log(text);`;
    const { stdout, stderr } = runChild(source);
    expect(stderr).toBe('');
    for (let i = 0; i < 50; i++) {
      const outcomes = stdout.split('\n').filter((line) => line.startsWith(`${i} `));
      expect(outcomes.filter((line) => line.endsWith(' won'))).toHaveLength(1);
      expect(outcomes.filter((line) => line.endsWith(' ERR_MEM_SEGMENT_EXISTS'))).toHaveLength(racers - 1);
    }
    expect(leftSegments()).toEqual([]);
  });

  test('of a name that is taken tells by whom', () => {
    const name = freshName();
    using backend = PosixShmBackend.create(name, { id: 1, bytes: BYTES });
    expect(() => PosixShmBackend.create(name, { id: 2, bytes: MiB, replaceStale: true })).toThrow(
      expect.objectContaining({
        code: 'ERR_MEM_SEGMENT_EXISTS',
        facts: { url: backend.url, creatorPid: process.pid, creatorAlive: true },
      }),
    );
  });

  test('is undone by the end of the process, also by process.exit and an uncaught error', () => {
    const create = (name: string) =>
      `(await import(${JSON.stringify(moduleUrl('src/shared/backends/named-backends.js'))})).PosixShmBackend.create('${name}', { id: 1, bytes: 4096 });`;
    for (const end of ['', 'process.exit(3);', 'throw new Error("end");']) {
      runChild(create(freshName()) + end);
      expect(leftSegments()).toEqual([]);
    }
  });

  test('is undone by the end of the worker that created', async () => {
    const name = freshName();
    const source = `
      const { PosixShmBackend } = await import(${JSON.stringify(moduleUrl('src/shared/backends/named-backends.js'))});
      PosixShmBackend.create('${name}', { id: 1, bytes: 4096 });`;
    const worker = new Worker(new URL(`data:text/javascript,${encodeURIComponent(source)}`), { stderr: true });
    let warnings = '';
    worker.stderr.on('data', (chunk) => {
      warnings += chunk;
    });
    await once(worker, 'exit');
    expect(warnings).toBe('');
    expect(leftSegments()).toEqual([]);
  });
});

describe.skipIf(!onLinux)('a worker that ends', () => {
  test('gives back what it had attached', async () => {
    using created = PosixShmBackend.create(freshName(), { id: 1, bytes: BYTES });
    const source = `
      import { parentPort, workerData } from 'node:worker_threads';
      const { PosixShmBackend } = await import(${JSON.stringify(moduleUrl('src/shared/backends/named-backends.js'))});
      PosixShmBackend.attach(workerData).region.int32[0] = 42;
      parentPort.once('message', () => {});`;
    const mappings = () => readFileSync('/proc/self/maps', 'utf8').split(created.url.slice('shm:'.length)).length - 1;
    const worker = new Worker(new URL(`data:text/javascript,${encodeURIComponent(source)}`), { workerData: created.url });
    while (Atomics.load(created.region.int32, 0) !== 42) await new Promise((resolve) => setTimeout(resolve, 1));
    expect(mappings()).toBe(2);
    worker.postMessage('end');
    await once(worker, 'exit');
    expect(mappings()).toBe(1);
  });
});

describe.skipIf(!onLinux)('a segment whose creator was killed', () => {
  test('is stale, can be attached to, replaced and removed', async () => {
    const name = freshName();
    const creator = await startCreator(name);
    const entry = () => listSegments().find((segment) => segment.name === name);
    expect(entry()).toMatchObject({
      abandoned: false,
      users: [creator.pid],
      inspection: { state: 'ready', creator: 'alive', stale: false },
    });
    expect(removeListed(name, false)).toBe(`it is in use by process ${creator.pid}`);
    await creator.kill();
    expect(entry()).toMatchObject({ abandoned: true, users: [], inspection: { state: 'ready', creator: 'dead', stale: true } });
    expect(() => PosixShmBackend.create(name, { id: 2, bytes: BYTES })).toThrow(
      expect.objectContaining({ facts: { url: `shm:${name}`, creatorPid: creator.pid, creatorAlive: false } }),
    );
    const attached = PosixShmBackend.attach(name);
    expect(entry()).toMatchObject({ abandoned: false, users: [process.pid] });
    expect(removeListed(name, false)).toBe(`it is in use by process ${process.pid}`);
    attached.detach();
    const replaced = PosixShmBackend.create(name, { id: 2, bytes: MiB, replaceStale: true });
    expect(replaced.bytes).toBeGreaterThanOrEqual(MiB);
    expect(entry()).toMatchObject({ inspection: { creator: 'alive', facts: { id: 2 } } });
    replaced.destroy();
    expect(entry()).toBeUndefined();
  });

  test('is removed when nobody uses it', async () => {
    const name = freshName();
    const creator = await startCreator(name);
    await creator.kill();
    expect(removeListed(name, false)).toBeUndefined();
    expect(removeListed(name, false)).toBe('there is no such segment');
  });
});

describe.skipIf(!onLinux)('removeListed', () => {
  test('keeps what is not known to be stale, unless it is forced', () => {
    const name = freshName();
    using _backend = PosixShmBackend.create(name, { id: 1, bytes: BYTES });
    expect(removeListed(name, false)).toBe(`it is in use by process ${process.pid}`);
    const garbage = freshName();
    writeFileSync(pathOfName(garbage), 'garbage that is no segment'.repeat(1000));
    expect(removeListed(garbage, false)).toBe("it may be another program's: it is no segment of this library");
    expect(removeListed(garbage, true)).toBeUndefined();
    expect(removeListed(name, true)).toBeUndefined();
  });

  test('takes an incomplete segment for one that is being created, for 10 s', () => {
    const name = freshName();
    writeFileSync(pathOfName(name), '');
    expect(removeListed(name, false)).toBe('it is being created');
    const before = Date.now() / 1000 - 11;
    utimesSync(pathOfName(name), before, before);
    expect(codeOf(() => PosixShmBackend.create(name, { id: 1, bytes: BYTES }))).toBe('ERR_MEM_SEGMENT_EXISTS');
    using replaced = PosixShmBackend.create(name, { id: 1, bytes: BYTES, replaceStale: true });
    expect(replaced.isCreator).toBe(true);
  });

  test('lists a segment that shrank under its header as damaged', () => {
    const name = freshName();
    using _backend = PosixShmBackend.create(name, { id: 1, bytes: BYTES });
    truncateSync(pathOfName(name), 8192);
    expect(listSegments().find((segment) => segment.name === name)?.inspection).toMatchObject({
      state: 'damaged',
      reason: 'it has 8192 bytes, but its header says 65536',
    });
  });
});

describe.runIf(onLinux)('a segment that others may change', () => {
  test('is refused when its mode is wider than 0600, unless it is asked for', () => {
    const name = freshName();
    using created = PosixShmBackend.create(name, { id: 1, bytes: BYTES });
    created.region.int32[0] = 7;
    for (const mode of [0o606, 0o640, 0o666]) {
      chmodSync(pathOfName(name), mode);
      expect(() => PosixShmBackend.attach(name)).toThrow(
        expect.objectContaining({ code: 'ERR_MEM_BAD_SEGMENT', message: expect.stringContaining(`mode 0${mode.toString(8)}`) }),
      );
      expect(codeOf(() => new MemoryRegistry().attachBackend(created.url))).toBe('ERR_MEM_BAD_SEGMENT');
      expect(listSegments().find((segment) => segment.name === name)).toBeDefined();
      const attached = new MemoryRegistry().attachBackend(created.url, { foreign: true });
      expect(attached.region.int32[0]).toBe(7);
      attached.detach();
    }
    chmodSync(pathOfName(name), 0o600);
    PosixShmBackend.attach(name).detach();
  });

  test.runIf(process.getuid?.() === 0)('is refused when another user owns it, unless it is asked for', () => {
    const name = freshName();
    using created = PosixShmBackend.create(name, { id: 1, bytes: BYTES });
    chownSync(pathOfName(name), 65534, 65534);
    expect(() => PosixShmBackend.attach(name)).toThrow(/user 65534 owns it, with mode 0600, and this is user 0/);
    PosixShmBackend.attach(name, { foreign: true }).detach();
    expect(created.detached).toBe(false);
  });
});

describe.runIf(onLinux)('a segment whose lock another process holds', () => {
  test('is not waited for without end, and the error names the holder', async () => {
    const name = freshName();
    const created = PosixShmBackend.create(name, { id: 1, bytes: BYTES });
    const source = `
      const { openSync } = await import('node:fs');
      const { withFileLock } = await import(${JSON.stringify(moduleUrl('adapters/os/file-lock.js'))});
      withFileLock(openSync(${JSON.stringify(pathOfName(name))}, 'r+'), 1000, () => {
        process.stdout.write('held\\n');
        Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0);
      });`;
    const holder = spawn(process.execPath, ['--input-type=module', '-e', source], { stdio: ['ignore', 'pipe', 'inherit'] });
    await once(createInterface(holder.stdout), 'line');
    expect(() => created.destroy()).toThrow(
      expect.objectContaining({ code: 'ERR_MEM_LOCK_TIMEOUT', facts: { ownerPid: holder.pid, waitedMs: expect.any(Number) } }),
    );
    expect(created.detached).toBe(false);
    const ended = once(holder, 'exit');
    holder.kill('SIGKILL');
    await ended;
    created.destroy();
    expect(codeOf(() => PosixShmBackend.attach(name))).toBe('ERR_MEM_SEGMENT_ABSENT');
  });
});
