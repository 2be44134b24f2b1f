import { once } from 'node:events';
import { Worker } from 'node:worker_threads';
import { describe, expect, test } from 'vitest';
import { SimulatedDevice } from '../../adapters/devices/simulated.js';
import {
  MainThreadModel,
  registerDeviceThreads,
  registerThreadModel,
  type ThreadLocalKey,
  threadModel,
  threadModelNames,
  WorkerThreadModel,
} from '../../src/shared/threads/thread-models.js';
import { codeOf } from '../fixtures/code-of.js';
import { moduleUrl, runChild } from '../fixtures/compiled.js';

/** Runs a module in a worker that has `threads`, and gives its one message. */
async function inWorker<T>(source: string, data: unknown = undefined): Promise<T> {
  const preamble = `
    import { parentPort, workerData } from 'node:worker_threads';
    const threads = await import(${JSON.stringify(moduleUrl('src/shared/threads/thread-models.js'))});`;
  const worker = new Worker(new URL(`data:text/javascript,${encodeURIComponent(preamble + source)}`), { workerData: data });
  const [message] = await once(worker, 'message');
  await worker.terminate();
  return message as T;
}

describe('threadModel', () => {
  test('is that of the calling thread', async () => {
    // Vitest may run a test in either.
    expect([MainThreadModel, WorkerThreadModel].some((model) => threadModel() instanceof model)).toBe(true);
    expect(await inWorker('parentPort.postMessage(threads.threadModel().name);')).toBe('worker');
    const { stdout } = runChild(
      `console.log((await import(${JSON.stringify(moduleUrl('src/shared/threads/thread-models.js'))})).threadModel().name)`,
    );
    expect(stdout).toBe('main\n');
    expect(threadModel()).toBe(threadModel());
  });

  test('is found by name', () => {
    expect(threadModel('main')).toBeInstanceOf(MainThreadModel);
    expect(() => threadModel('argobots')).toThrow(/"argobots", but must be one of main, worker$/);
  });
});

describe.each([new MainThreadModel(), new WorkerThreadModel()])('$name', (model) => {
  describe('getTid', () => {
    test('differs between all threads of all processes', async () => {
      const own = model.getTid();
      const code = `.threadModel().getTid()`;
      const others = await Promise.all([1, 2].map(() => inWorker<number>(`parentPort.postMessage(threads${code});`)));
      const { stdout } = runChild(
        `console.log((await import(${JSON.stringify(moduleUrl('src/shared/threads/thread-models.js'))}))${code})`,
      );
      expect(new Set([own, ...others, Number(stdout)]).size).toBe(4);
      expect(model.getTid()).toBe(own);
    });
  });

  describe('sleepForUs', () => {
    test('sleeps for the time at least', () => {
      const start = performance.now();
      model.sleepForUs(3500);
      expect(performance.now() - start).toBeGreaterThanOrEqual(3.4);
      model.sleepForUs(0);
      model.yield();
    });

    test.each([-1, Number.NaN, Number.POSITIVE_INFINITY])('refuses %d', (us) => {
      expect(codeOf(() => model.sleepForUs(us))).toBe('ERR_MEM_INVALID_ARGUMENT');
    });
  });

  describe('createTls', () => {
    test('makes a key with a value, which can be set', () => {
      const key = model.createTls({ count: 1 });
      expect(model.getTls(key)).toEqual({ count: 1 });
      model.setTls(key, { count: 2 });
      expect(model.getTls(key)).toEqual({ count: 2 });
      expect(model.createTls(0).id).not.toBe(key.id);
      expect(model.getTls({ id: 'none' })).toBeUndefined();
    });
  });
});

describe('thread-local values', () => {
  test('belong to one thread each, under a key that travels', async () => {
    const model = threadModel();
    const key = model.createTls('mine');
    const found = await inWorker<unknown>(
      `
      const model = threads.threadModel();
      const own = model.createTls('own');
      const before = model.getTls(workerData);
      model.setTls(workerData, 'theirs');
      parentPort.postMessage({ before, after: model.getTls(workerData), own });`,
      key,
    );
    expect(found).toMatchObject({ before: undefined, after: 'theirs' });
    expect(model.getTls(key)).toBe('mine');
    expect(model.getTls((found as { own: ThreadLocalKey<string> }).own)).toBeUndefined();
  });
});

describe('MainThreadModel', () => {
  test('blocks the event loop for 100 ms at most, and waits beside it for longer', async () => {
    const model = new MainThreadModel();
    expect(() => model.sleepForUs(100_001)).toThrow(/sleepForUsAsync/);
    let turns = 0;
    const timer = setInterval(() => turns++, 1);
    await model.sleepForUsAsync(30_000);
    clearInterval(timer);
    expect(turns).toBeGreaterThan(1);
    await expect(model.sleepForUsAsync(-1)).rejects.toThrow('us is -1');
  });
});

describe('registerThreadModel', () => {
  test('adds a model, the last one that applies wins, and it can be taken back', () => {
    const before = threadModel();
    const unregister = registerThreadModel({ name: 'mine', applies: () => true, create: () => new WorkerThreadModel() });
    expect(threadModelNames()).toEqual(['main', 'worker', 'mine']);
    expect(threadModel()).toBe(threadModel('mine'));
    expect(codeOf(() => registerThreadModel({ name: 'mine', applies: () => true, create: () => before }))).toBe(
      'ERR_MEM_INVALID_ARGUMENT',
    );
    unregister();
    unregister();
    expect(threadModel()).toBe(before);
  });
});

describe('registerDeviceThreads', () => {
  test('makes the streams of a device threads', () => {
    const device = new SimulatedDevice({ streams: true });
    const { model, unregister } = registerDeviceThreads(device);
    expect(threadModel('simulated')).toBe(model);
    expect(threadModel()).not.toBe(model);
    const key = model.createTls('default stream');
    const first = model.getTid();
    const second = model.onStream(7, () => {
      expect(model.getTls(key)).toBeUndefined();
      model.setTls(key, 'stream 7');
      model.yield();
      model.sleepForUs(1);
      return model.getTid();
    });
    expect(model.onStream(7, () => [model.getTls(key), model.getTid()])).toEqual(['stream 7', second]);
    expect(model.getTls(key)).toBe('default stream');
    expect(new Set([first, second, threadModel().getTid()]).size).toBe(3);
    unregister();
    expect(codeOf(() => threadModel('simulated'))).toBe('ERR_MEM_INVALID_ARGUMENT');
  });

  test('refuses a device without streams', () => {
    expect(codeOf(() => registerDeviceThreads(new SimulatedDevice()))).toBe('ERR_MEM_UNSUPPORTED_PLATFORM');
  });
});
