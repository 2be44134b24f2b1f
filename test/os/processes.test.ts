import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { Worker } from 'node:worker_threads';
import { describe, expect, test } from 'vitest';
import { addressOf } from '../../adapters/os/bytes.js';
import { futexWait, futexWaitAsync, futexWake } from '../../adapters/os/futex.js';
import { isProcessAlive, processIdentity, processSpace, threadIdentity } from '../../adapters/os/process-identity.js';
import { yieldThread } from '../../adapters/os/scheduling.js';
import { moduleUrl } from '../fixtures/compiled.js';

const onLinux = process.platform === 'linux';

describe.skipIf(!onLinux)('futexWait', () => {
  const words = new Int32Array(new SharedArrayBuffer(8));
  const address = addressOf(words.buffer);

  test('returns at once when the word differs', () => {
    words[0] = 5;
    expect(futexWait(address, 4, 60_000)).toBe(true);
  });

  test('gives up when the time is over', () => {
    words[0] = 5;
    expect(futexWait(address, 5, 2.5)).toBe(false);
  });

  test('throws for a word that is none', () => {
    expect(() => futexWait(address + 1, 5, 1)).toThrow(expect.objectContaining({ code: 'ERR_MEM_NATIVE' }));
    expect(() => futexWake(1, 1)).toThrow(expect.objectContaining({ code: 'ERR_MEM_NATIVE' }));
  });

  test('is woken by another thread', async () => {
    words.fill(0);
    const source = `
      import { parentPort, workerData } from 'node:worker_threads';
      const { futexWait } = await import(workerData.module);
      Atomics.store(workerData.words, 1, 1);
      const inTime = futexWait(workerData.address, 0, 60_000);
      parentPort.postMessage(inTime);`;
    const worker = new Worker(new URL(`data:text/javascript,${encodeURIComponent(source)}`), {
      workerData: { module: moduleUrl('adapters/os/futex.js'), words, address },
    });
    const answer = once(worker, 'message');
    while (Atomics.load(words, 1) === 0) await new Promise((resolve) => setTimeout(resolve, 1));
    while (futexWake(address, 1) === 0) yieldThread();
    expect(await answer).toEqual([true]);
    await worker.terminate();
  });
});

describe.skipIf(!onLinux)('futexWaitAsync', () => {
  test('lets the event loop run until the word is woken', async () => {
    const words = new Int32Array(new SharedArrayBuffer(4));
    const address = addressOf(words.buffer);
    let settled = false;
    const waiting = futexWaitAsync(address, 0, 60_000).then(() => {
      settled = true;
    });
    await new Promise((resolve) => setTimeout(resolve, 5));
    expect(settled).toBe(false);
    while (futexWake(address, 1) === 0) await new Promise((resolve) => setTimeout(resolve, 1));
    await waiting;
    expect(settled).toBe(true);
  });

  test('settles when the time is over', async () => {
    await futexWaitAsync(addressOf(new SharedArrayBuffer(4)), 0, 2);
  });
});

describe.skipIf(!onLinux)('isProcessAlive', () => {
  test('knows this process and thread', () => {
    const { id, startTime } = processIdentity();
    expect(id).toBe(process.pid);
    expect(isProcessAlive(id, startTime)).toBe(true);
    expect(isProcessAlive(threadIdentity().id, threadIdentity().startTime)).toBe(true);
  });

  test('tells a process from a later one with the same number', () => {
    const { id, startTime } = processIdentity();
    expect(isProcessAlive(id, startTime - 1)).toBe(false);
    expect(isProcessAlive(id, 0)).toBe(true);
  });

  test('takes no garbage for a process', () => {
    for (const id of [0, -1, 2 ** 31 - 1, Number.NaN]) expect(isProcessAlive(id, 0)).toBe(false);
  });

  test('is false as soon as the process was killed, reaped or not', async () => {
    const child = spawn('sleep', ['60']);
    await once(child, 'spawn');
    const pid = child.pid as number;
    expect(isProcessAlive(pid, 0)).toBe(true);
    child.kill('SIGKILL');
    await once(child, 'exit');
    expect(isProcessAlive(pid, 0)).toBe(false);
    // The shell becomes a program that never reaps its child: a zombie.
    const parent = spawn('/bin/sh', ['-c', 'sleep 0 & echo $!; exec sleep 60']);
    const [line] = (await once(parent.stdout, 'data')) as [Buffer];
    const zombie = Number(line.toString());
    while (isProcessAlive(zombie, 0)) await new Promise((resolve) => setTimeout(resolve, 1));
    parent.kill('SIGKILL');
    await once(parent, 'exit');
  });
});

describe.skipIf(!onLinux)('threadIdentity', () => {
  test('differs from thread to thread, and dies with its thread', async () => {
    const source = `
      import { parentPort, workerData } from 'node:worker_threads';
      const { threadIdentity, processIdentity } = await import(workerData);
      parentPort.postMessage({ thread: threadIdentity(), process: processIdentity() });
      setInterval(() => {}, 1000);`;
    const worker = new Worker(new URL(`data:text/javascript,${encodeURIComponent(source)}`), {
      workerData: moduleUrl('adapters/os/process-identity.js'),
    });
    const [{ thread, process: owner }] = await once(worker, 'message');
    expect(owner).toEqual(processIdentity());
    expect(thread.id).not.toBe(threadIdentity().id);
    expect(isProcessAlive(thread.id, thread.startTime)).toBe(true);
    await worker.terminate();
    expect(isProcessAlive(thread.id, thread.startTime)).toBe(false);
  });
});

describe.skipIf(!onLinux)('processSpace', () => {
  test('is the same each time', () => {
    expect(processSpace()).toEqual(processSpace());
    expect(processSpace().namespace).toBeGreaterThan(0);
    expect(processSpace().boot).not.toBe(0);
  });
});
