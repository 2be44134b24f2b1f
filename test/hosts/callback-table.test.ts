import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { callback } from '../../adapters/ffi/callback.js';
import { CallbackTable } from '../../adapters/ffi/callback-table.js';
import { koffi } from '../../adapters/ffi/koffi.js';
import { libc } from '../../adapters/os/libc.js';
import { MemoryError } from '../../src/core/errors.js';
import { codeOf } from '../fixtures/code-of.js';

type Sort = (array: Int32Array, count: number, size: number, compare: number) => void;

/** Sorts four numbers with a comparison in JavaScript: C calls back several times. */
function sort(compare: number): number[] {
  const numbers = Int32Array.of(3, 1, 4, 2);
  libc().func<Sort>('qsort', 'void', ['int32_t *', 'size_t', 'size_t', 'uintptr_t'])(numbers, 4, 4, compare);
  return [...numbers];
}

const compare = (body: (a: number | bigint, b: number | bigint) => number) => ({
  compare: callback({ result: 'int', parameters: ['uintptr_t', 'uintptr_t'], onError: 0, body }),
});
const numberAt = (ptr: number | bigint): number => koffi().decode(ptr, 'int') as number;
const ascending = compare((a, b) => numberAt(a) - numberAt(b));
const throwing = (error: unknown) =>
  compare(() => {
    throw error;
  });

/** What `action` throws. */
function thrownBy(action: () => unknown): unknown {
  try {
    action();
  } catch (error) {
    return error;
  }
  return expect.fail('nothing was thrown');
}

describe('CallbackTable', () => {
  let table: CallbackTable;
  let registeredBefore: number;

  beforeEach(() => {
    registeredBefore = koffi().stats().callbacks;
    table = new CallbackTable('test');
  });

  afterEach(() => {
    table.dispose();
    expect(koffi().stats().callbacks).toBe(registeredBefore);
  });

  describe('register', () => {
    test('gives addresses that C can call', () => {
      const functions = table.register('sort', () => ascending);
      expect(table.call(() => sort(functions.compare))).toEqual([1, 2, 3, 4]);
      expect(table.size).toBe(1);
    });

    test('gives a group again instead of registering it twice', () => {
      const first = table.register('sort', () => ascending);
      expect(table.register('sort', () => expect.fail('made again'))).toBe(first);
      expect(table.size).toBe(1);
    });

    test('registers all of a group or none', () => {
      const tooMany = callback({
        result: 'void',
        parameters: Array(9).fill('int') as 'int'[],
        onError: undefined,
        body: () => {},
      });
      expect(codeOf(() => table.register('bad', () => ({ ...ascending, tooMany })))).toBe('ERR_MEM_INVALID_ARGUMENT');
      expect(table.size).toBe(0);
      expect(koffi().stats().callbacks).toBe(registeredBefore);
    });

    test('throws ERR_MEM_NATIVE when koffi has no room left', () => {
      const many = Object.fromEntries(Array.from({ length: 9000 }, (_, i) => [`f${i}`, ascending.compare]));
      expect(codeOf(() => table.register('many', () => many))).toBe('ERR_MEM_NATIVE');
      expect(koffi().stats().callbacks).toBe(registeredBefore);
    });

    test('throws after dispose', () => {
      table.dispose();
      expect(codeOf(() => table.register('sort', () => ascending))).toBe('ERR_MEM_DISPOSED');
    });

    test('passes all eight parameters, and 64-bit numbers above 2^53 as BigInt', () => {
      let seen: unknown[] = [];
      const { take } = table.register('take', () => ({
        take: callback({
          result: 'uint64_t',
          parameters: ['int', 'bool', 'double', 'float', 'int64_t', 'uint64_t', 'size_t', 'uint32_t'],
          onError: 0,
          body: (...values) => {
            seen = values;
            return 7;
          },
        }),
      }));
      const proto = koffi().proto('uint64_t', ['int', 'bool', 'double', 'float', 'int64_t', 'uint64_t', 'size_t', 'uint32_t']);
      for (const large of [2n ** 53n + 1n, 2n ** 63n - 1n, 2n ** 63n, 2n ** 64n - 1n]) {
        const values = [-1, true, 0.5, 0.25, -2, large, 3, 4];
        expect(table.call(() => koffi().call(BigInt(take), proto, ...values) as number)).toBe(7);
        expect(seen).toEqual(values);
      }
    });
  });

  describe('call', () => {
    test('throws what a callback threw, when the native function has returned', () => {
      const error = new Error('from the callback');
      const functions = table.register('sort', () => throwing(error));
      let returned = false;
      const thrown = thrownBy(() =>
        table.call(() => {
          sort(functions.compare);
          returned = true;
        }),
      );
      expect(returned).toBe(true);
      expect((thrown as AggregateError).errors.every((one) => one === error)).toBe(true);
      expect(String(thrown)).toMatch(/\d errors in callbacks of test, the first: Error: from the callback/);
    });

    test('throws the error itself when there is one', () => {
      let count = 0;
      const functions = table.register('sort', () =>
        compare((a, b) => {
          if (++count === 2) throw new RangeError('second');
          return numberAt(a) - numberAt(b);
        }),
      );
      expect(() => table.call(() => sort(functions.compare))).toThrow(new RangeError('second'));
      expect(count).toBeGreaterThan(2);
      expect(table.call(() => sort(functions.compare))).toEqual([1, 2, 3, 4]);
    });

    test('counts the errors that it does not keep', () => {
      const { many } = table.register('many', () => ({
        many: callback({
          result: 'void',
          parameters: [],
          onError: undefined,
          body: () => {
            for (let i = 0; i < 100; i++) table.report(new Error(`${i}`));
          },
        }),
      }));
      const thrown = thrownBy(() => table.call(() => koffi().call(BigInt(many), koffi().proto('void', []))));
      expect((thrown as AggregateError).errors.length).toBe(16);
      expect(String(thrown)).toContain('100 errors');
    });

    test('gives the errors of a nested call to that call alone', () => {
      const inner = table.register('inner', () => throwing(new Error('inner')));
      const caught: unknown[] = [];
      const outer = table.register('outer', () =>
        compare((a, b) => {
          caught.push(thrownBy(() => table.call(() => sort(inner.compare))));
          return numberAt(a) - numberAt(b);
        }),
      );
      expect(table.call(() => sort(outer.compare))).toEqual([1, 2, 3, 4]);
      expect(caught.length).toBeGreaterThan(2);
    });

    test('throws what the native function throws, beside the errors of callbacks', () => {
      const functions = table.register('sort', () => throwing(new Error('callback')));
      const thrown = thrownBy(() =>
        table.call(() => {
          sort(functions.compare);
          throw new Error('native');
        }),
      );
      expect((thrown as AggregateError).errors.at(-1)).toEqual(new Error('native'));
      expect(() => table.call(() => expect.fail('alone'))).toThrow('alone');
    });

    test('lets the body of a void callback throw, too', () => {
      const { fail } = table.register('fail', () => ({
        fail: callback({
          result: 'void',
          parameters: [],
          onError: undefined,
          body: () => {
            throw new Error('void');
          },
        }),
      }));
      expect(() => table.call(() => koffi().call(BigInt(fail), koffi().proto('void', [])))).toThrow('void');
    });
  });

  test('makes an error outside of every call a process warning', () => {
    const emitWarning = vi.spyOn(process, 'emitWarning').mockImplementation(() => {});
    const functions = table.register('sort', () => throwing('text'));
    sort(functions.compare);
    expect(emitWarning.mock.calls[0]?.[0]).toBe('text');
    emitWarning.mockRestore();
    expect(table.call(() => 1)).toBe(1);
  });

  test.each([
    ['an object without a text', Object.create(null)],
    [
      'an error whose message cannot be read',
      Object.defineProperty(new Error('x'), 'message', { get: () => expect.fail('read') }),
    ],
  ])('lets nothing cross the C frame when %s is thrown', (_what, thrown) => {
    const emitWarning = vi.spyOn(process, 'emitWarning').mockImplementation(() => {});
    const functions = table.register('sort', () => throwing(thrown));
    sort(functions.compare);
    expect(emitWarning.mock.calls[0]?.[0]).toMatch(/cannot be turned into text/);
    emitWarning.mockRestore();
    const error = thrownBy(() => table.call(() => sort(functions.compare)));
    expect((error as AggregateError).errors[0]).toBe(thrown);
    expect((error as AggregateError).message).toMatch(/cannot be turned into text/);
  });

  describe('lastError', () => {
    test('is what failed last, whether it was thrown or answered, until the outermost call begins anew', () => {
      const [answered, thrown] = [1, 2].map((bytes) => new MemoryError('ERR_MEM_INVALID_SIZE', { bytes }));
      expect(table.lastError).toBeUndefined();
      const inner = table.register('inner', () => throwing(thrown));
      const outer = table.register('outer', () =>
        compare((a, b) => {
          table.note(answered);
          expect(() => table.call(() => sort(inner.compare))).toThrow();
          expect(table.lastError).toBe(thrown);
          table.note(answered);
          return numberAt(a) - numberAt(b);
        }),
      );
      table.call(() => sort(outer.compare));
      expect(table.lastError).toBe(answered);
      table.call(() => expect(table.lastError).toBeUndefined());
    });
  });

  describe('callAsync', () => {
    const sortAsync = (address: number): Promise<void> =>
      new Promise((resolve, reject) => {
        const numbers = Int32Array.of(2, 1);
        const native = libc().func<Sort & { async: (...values: unknown[]) => void }>('qsort', 'void', [
          'int32_t *',
          'size_t',
          'size_t',
          'uintptr_t',
        ]);
        native.async(numbers, 2, 4, address, (error: unknown) => (error == null ? resolve() : reject(error)));
      });

    test('throws what a callback threw on its way', async () => {
      const functions = table.register('sort', () => throwing(new Error('asynchronous')));
      await expect(table.callAsync(() => sortAsync(functions.compare))).rejects.toThrow('asynchronous');
      await expect(table.callAsync(() => Promise.resolve(1))).resolves.toBe(1);
    });

    test('rejects with what the call itself rejects with', async () => {
      await expect(table.callAsync(() => Promise.reject(new Error('refused')))).rejects.toThrow('refused');
    });

    test('keeps the table from being disposed of while it runs', async () => {
      const functions = table.register('sort', () => ascending);
      const running = table.callAsync(() => sortAsync(functions.compare));
      expect(codeOf(() => table.dispose())).toBe('ERR_MEM_REENTRANT');
      await running;
    });
  });

  describe('foreignCalls', () => {
    test('counts callbacks from a foreign thread, and none inside call', async () => {
      const ran = withResolvers();
      const { main } = table.register('thread', () => ({
        main: callback({
          result: 'uintptr_t',
          parameters: ['uintptr_t'],
          onError: 0,
          body: (value) => {
            ran.resolve(value);
            return 0;
          },
        }),
      }));
      const functions = table.register('sort', () => ascending);
      table.call(() => sort(functions.compare));
      expect(table.foreignCalls).toBe(0);
      const thread = new BigUint64Array(1);
      const create = libc().func<(thread: BigUint64Array, attributes: number, main: number, value: number) => number>(
        'pthread_create',
        'int',
        ['uint64_t *', 'uintptr_t', 'uintptr_t', 'uintptr_t'],
      );
      expect(table.call(() => create(thread, 0, main, 42))).toBe(0);
      expect(await ran.promise).toBe(42);
      expect(table.foreignCalls).toBe(1);
      const join = libc().func<(thread: bigint, result: number) => number>('pthread_join', 'int', ['uint64_t', 'uintptr_t']);
      expect(join(thread[0]!, 0)).toBe(0);
    });
  });

  describe('dispose', () => {
    test('unregisters every callback, and does nothing the second time', () => {
      table.register('a', () => ascending);
      table.register('b', () => ascending);
      table.dispose();
      table.dispose();
      expect(table.size).toBe(0);
      expect(table.disposed).toBe(true);
      expect(codeOf(() => table.call(() => 1))).toBe('ERR_MEM_DISPOSED');
    });

    test('is refused inside a native call', () => {
      const functions = table.register('sort', () =>
        compare((a, b) => {
          expect(codeOf(() => table.dispose())).toBe('ERR_MEM_REENTRANT');
          return numberAt(a) - numberAt(b);
        }),
      );
      expect(table.call(() => sort(functions.compare))).toEqual([1, 2, 3, 4]);
    });
  });
});

function withResolvers(): { promise: Promise<unknown>; resolve: (value: unknown) => void } {
  let resolve: (value: unknown) => void = () => {};
  const promise = new Promise<unknown>((done) => {
    resolve = done;
  });
  return { promise, resolve };
}
