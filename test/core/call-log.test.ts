import fc from 'fast-check';
import { describe, expect, test, vi } from 'vitest';
import { CallLog, type LogSink } from '../../src/core/call-log.js';
import { memoryError, PlainManager, TextSink } from './fakes.js';

function log(flushInterval?: number): { sink: TextSink; log: CallLog } {
  const sink = new TextSink();
  const log = new CallLog('Owner', sink);
  if (flushInterval !== undefined) log.setFlushInterval(flushInterval);
  return { sink, log };
}

/** Takes bytes, and keeps nothing of what it was lent. */
class ByteSink extends TextSink {
  readonly lent = new Set<Uint8Array>();

  writeBytes(bytes: Uint8Array, length: number): void {
    this.lent.add(bytes);
    this.write(bytes.slice(0, length));
  }
}

type Call = (log: CallLog) => string;

const integers = fc.oneof(fc.maxSafeInteger(), fc.integer({ min: 0, max: 4096 }));
/** A call that logs a line, and says which. */
const calls: fc.Arbitrary<Call> = fc.oneof(
  fc.tuple(integers, fc.boolean(), integers).map(
    ([bytes, lock, ptr]): Call =>
      (log) => {
        log.alloc(bytes, lock, ptr);
        return `alloc ${bytes} ${lock ? 1 : 0} ${ptr} `;
      },
  ),
  fc.tuple(integers, fc.boolean()).map(
    ([ptr, lock]): Call =>
      (log) => {
        log.unlock(ptr, lock);
        return `unlock ${ptr} ${lock ? 1 : 0} `;
      },
  ),
  fc.tuple(fc.constantFrom('initialize', 'nativeFree', 'größe', ''), integers).map(
    ([name, value]): Call =>
      (log) => {
        log.line(name, value);
        return `${name} ${value} `;
      },
  ),
  fc.tuple(fc.string({ minLength: 1 }).filter(isLine), fc.array(integers, { maxLength: 9 })).map(
    ([name, values]): Call =>
      (log) => {
        log.lineOf(name, values);
        return `${name} ${values.map((value) => `${value} `).join('')}`;
      },
  ),
);

function isLine(name: string): boolean {
  return !/[\n\r\uD800-\uDFFF]/.test(name);
}

describe('CallLog', () => {
  test.each([
    ['text', () => new TextSink()],
    ['bytes', () => new ByteSink()],
  ])('hands the lines of several logs to a sink of %s in the order of the calls', (_, makeSink) => {
    const program = fc.array(fc.tuple(fc.nat(2), fc.oneof({ weight: 9, arbitrary: calls }, fc.constant('flush' as const))), {
      maxLength: 200,
    });
    fc.assert(
      fc.property(program, fc.integer({ min: 2, max: 60 }), (steps, flushInterval) => {
        const sink = makeSink();
        const logs = [0, 1, 2].map((number) => new CallLog(`Owner ${number}`, sink));
        logs[0]!.setFlushInterval(flushInterval);
        const lines: string[] = [];
        for (const [number, call] of steps) {
          if (call === 'flush') logs[number]!.flush();
          else lines.push(call(logs[number]!));
        }
        for (const each of logs) each.flush();
        expect(sink.lines).toEqual(lines);
      }),
    );
  });

  describe('alloc', () => {
    test('writes the line that line writes, at every place of the buffer', () => {
      const [fast, plain] = [log(1000), log(1000)];
      for (let i = 0; i < 3000; i++) {
        fast.log.alloc(i * 7919, i % 3 === 0, 2 ** 53 - i);
        plain.log.line('alloc', i * 7919, i % 3 === 0 ? 1 : 0, 2 ** 53 - i);
        fast.log.unlock(2 ** 32 + i, i % 2 === 0);
        plain.log.line('unlock', 2 ** 32 + i, i % 2 === 0 ? 1 : 0);
      }
      expect(fast.sink.chunks).toEqual(plain.sink.chunks);
      expect(fast.sink.chunks).toHaveLength(6);
    });
  });

  describe('flush', () => {
    test('lends its buffer to a sink of bytes, always the same', () => {
      const sink = new ByteSink();
      const l = new CallLog('Owner', sink);
      for (let i = 0; i < 1000; i++) l.alloc(i, true, i);
      expect(sink.chunks).toHaveLength(20);
      expect(sink.lent.size).toBe(1);
    });

    test('keeps what is lent whole while the sink logs by the same log', () => {
      const lines: string[] = [];
      let nested = 0;
      const sink: LogSink = {
        write: () => expect.unreachable('a sink of bytes gets no text'),
        writeBytes: (bytes, length) => {
          while (nested < 20 && nested++ % 4 !== 3) l.unlock(nested, true);
          lines.push(...new TextDecoder().decode(bytes.subarray(0, length)).split('\n').slice(0, -1));
        },
      };
      const l = new CallLog('Owner', sink);
      l.setFlushInterval(2);
      const expected: string[] = [];
      for (let i = 0; i < 40; i++) {
        l.alloc(i, false, 2 ** 40);
        expected.push(`alloc ${i} 0 1099511627776 `);
      }
      l.flush();
      expect(lines.filter((line) => line.startsWith('alloc'))).toEqual(expected);
      const unlocks = lines.filter((line) => !line.startsWith('alloc'));
      expect(unlocks.sort()).toEqual(
        Array.from({ length: 20 }, (_, i) => i + 1)
          .filter((i) => i % 4 !== 0)
          .map((i) => `unlock ${i} 1 `)
          .sort(),
      );
      expect(l.enabled).toBe(true);
    });

    test('goes on with its buffer after a sink of bytes has thrown', () => {
      const warnings = vi.spyOn(process, 'emitWarning').mockImplementation(() => {});
      let full = true;
      const sink = new (class extends ByteSink {
        override writeBytes(bytes: Uint8Array, length: number): void {
          if (full) throw new Error('no space left on device');
          super.writeBytes(bytes, length);
        }
      })();
      const l = new CallLog('Owner', sink);
      l.unlock(1, true);
      l.flush();
      expect([l.enabled, warnings.mock.calls.length]).toEqual([false, 1]);
      full = false;
      l.setEnabled(true);
      l.unlock(2, true);
      l.flush();
      expect(sink.text).toBe('unlock 2 1 \n');
      warnings.mockRestore();
    });
  });

  describe('line', () => {
    test('writes the name, then each integer followed by a blank', () => {
      const { sink, log: l } = log();
      l.line('initialize');
      l.line('alloc', 1024, 1, 140_212_345_671_680);
      l.line('unlock', 0, 0);
      l.flush();
      expect(sink.text).toBe('initialize \nalloc 1024 1 140212345671680 \nunlock 0 0 \n');
    });

    test.each([
      0,
      1,
      9,
      10,
      99,
      100,
      999_999_999,
      1_000_000_000,
      1_000_000_001,
      4_294_967_296,
      999_999_999_999_999,
      1e15,
      2 ** 53 - 1,
    ])('writes %i and its negative in all digits', (value) => {
      const { sink, log: l } = log();
      l.line('x', value, -value, value);
      l.flush();
      expect(sink.text).toBe(`x ${value} ${0 - value} ${value} \n`);
    });

    test('writes nothing while logging is off', () => {
      const { sink, log: l } = log(2);
      l.setEnabled(false);
      for (let i = 0; i < 10; i++) l.line('x', i);
      l.lineOf('y', [1]);
      l.flush();
      expect(sink.chunks).toEqual([]);
    });
  });

  describe('lineOf', () => {
    test('writes any number of integers, beyond the size of its buffer', () => {
      const { sink, log: l } = log();
      const values = Array.from({ length: 2000 }, (_, i) => 2 ** 53 - 1 - i);
      l.lineOf('short', []);
      l.lineOf('values', values);
      l.flush();
      expect(sink.text).toBe(`short \nvalues ${values.map((value) => `${value} `).join('')}\n`);
    });
  });

  describe('setFlushInterval', () => {
    test.each([2, 50])('hands the sink %i lines at a time', (interval) => {
      const { sink, log: l } = log(interval);
      for (let i = 0; i < interval * 3 + 1; i++) l.line('x', i);
      expect(sink.chunks.map((chunk) => chunk.split('\n').length - 1)).toEqual([interval, interval, interval]);
      l.flush();
      l.flush();
      expect(sink.lines).toEqual(Array.from({ length: interval * 3 + 1 }, (_, i) => `x ${i} `));
      expect(sink.chunks).toHaveLength(4);
    });

    test('is 50 unless set', () => {
      const { sink, log: l } = log();
      for (let i = 0; i < 49; i++) l.line('x');
      expect(sink.chunks).toHaveLength(0);
      l.line('x');
      expect(sink.chunks).toHaveLength(1);
    });

    test('hands over at once when more lines wait already', () => {
      const { sink, log: l } = log();
      for (let i = 0; i < 10; i++) l.line('x');
      l.setFlushInterval(20);
      expect(sink.chunks).toHaveLength(0);
      l.setFlushInterval(2);
      expect(sink.lines).toHaveLength(10);
    });

    test.each([1, 0, -2, 2.5, Number.NaN, Number.POSITIVE_INFINITY])('refuses %d', (lines) => {
      const { log: l } = log();
      const facts = { name: 'flush interval', value: String(lines), expected: 'an integer above 1' };
      expect(() => l.setFlushInterval(lines)).toThrow(memoryError('ERR_MEM_INVALID_ARGUMENT', facts));
    });
  });

  describe('setEnabled', () => {
    test('hands the buffered lines over when it turns logging off', () => {
      const { sink, log: l } = log();
      l.line('x', 1);
      l.setEnabled(false);
      expect(sink.text).toBe('x 1 \n');
      l.line('x', 2);
      l.setEnabled(true);
      l.line('x', 3);
      l.flush();
      expect(sink.text).toBe('x 1 \nx 3 \n');
    });

    test('throws without a sink', () => {
      const l = new CallLog('Owner');
      expect(() => l.setEnabled(true)).toThrow(memoryError('ERR_MEM_NO_LOG_STREAM', { manager: 'Owner' }));
      expect(l.enabled).toBe(false);
      l.setEnabled(false);
    });
  });

  describe('setSink', () => {
    test('hands the buffered lines to the old sink', () => {
      const { sink, log: l } = log();
      const next = new TextSink();
      l.line('x', 1);
      l.setSink(next);
      l.line('x', 2);
      l.flush();
      expect([sink.text, next.text]).toEqual(['x 1 \n', 'x 2 \n']);
    });

    test('turns logging off when there is none', () => {
      const { sink, log: l } = log();
      l.line('x', 1);
      l.setSink(undefined);
      l.line('x', 2);
      expect([l.enabled, sink.text]).toEqual([false, 'x 1 \n']);
    });

    test('does not turn logging on', () => {
      const l = new CallLog('Owner');
      l.setSink(new TextSink());
      expect(l.enabled).toBe(false);
    });
  });

  test('keeps the order of lines when several logs share a sink', () => {
    const sink = new TextSink();
    const [first, second] = [new CallLog('First', sink), new CallLog('Second', sink)];
    first.line('a', 1);
    first.line('a', 2);
    second.line('b', 1);
    first.line('a', 3);
    second.flush();
    first.flush();
    expect(sink.lines).toEqual(['a 1 ', 'a 2 ', 'b 1 ', 'a 3 ']);
  });

  test('turns itself off with a warning when the sink throws', () => {
    const warnings = vi.spyOn(process, 'emitWarning').mockImplementation(() => {});
    const failure = new Error('no space left on device');
    const l = new CallLog('Owner', {
      write: () => {
        throw failure;
      },
    });
    l.setFlushInterval(2);
    for (let i = 0; i < 5; i++) l.line('x', i);
    expect(l.enabled).toBe(false);
    expect(warnings).toHaveBeenCalledTimes(1);
    expect(warnings).toHaveBeenCalledWith(expect.objectContaining({ code: 'ERR_MEM_LOG_SINK', cause: failure }));
    warnings.mockRestore();
  });
});

describe('MemoryManagerAdapter', () => {
  describe('log', () => {
    test('logs lines of the program itself', () => {
      const manager = new PlainManager(undefined, new TextSink());
      const sink = manager.getLogStream() as TextSink;
      manager.setLogFlushInterval(2);
      manager.log('myPolicy');
      manager.log('evicted', 1, -2, 2 ** 40, 4, 5);
      expect(sink.text).toBe('myPolicy \nevicted 1 -2 1099511627776 4 5 \n');
    });

    test('does nothing while logging is off', () => {
      const manager = new PlainManager();
      const sink = new TextSink();
      manager.setLogStream(sink);
      manager.setLogFlushInterval(2);
      for (let i = 0; i < 4; i++) manager.log('x', i);
      expect(sink.text).toBe('');
      manager.setLoggingEnabled(true);
      manager.log('y');
      manager.setLoggingEnabled(false);
      expect(sink.text).toBe('y \n');
    });
  });
});
