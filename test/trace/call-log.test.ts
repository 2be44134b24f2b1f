import { describe, expect, test } from 'vitest';
import { MemoryError } from '../../src/core/errors.js';
import { parseTrace, type TraceEvents, TraceKind } from '../../src/trace/index.js';

const log = (...lines: string[]): TraceEvents => parseTrace(lines.map((line) => `${line}\n`).join(''), 'app.log');
const MARKS = {
  0: '+',
  1: '-',
  2: 'native +',
  3: 'native -',
  4: 'swap ',
  5: 'cleanup ',
  6: 'refused ',
  7: 'completed ',
} as const;
/** Events as `+bytes`, `-bytes`, `native +bytes` and so on. */
const told = (events: TraceEvents): string[] =>
  Array.from({ length: events.length }, (_, i) => `${MARKS[events.kindOf(i)]}${events.bytesOf(i)}`);

function refusal(...lines: string[]): string {
  try {
    log(...lines);
  } catch (error) {
    if (MemoryError.is(error, 'ERR_MEM_BAD_INPUT')) return error.message;
    throw error;
  }
  throw new Error('not refused');
}

describe('parseTrace of a call log', () => {
  test('makes events of alloc and of the unlock that frees', () => {
    const events = log(
      'initialize ',
      'nativeAlloc 2097152 140212345671680 ',
      'alloc 1024 1 140212345671680 ',
      'allocated 140212345671680 ',
      'isUserLocked 140212345671680 ',
      'alloc 64 0 140212345672704 ',
      'unlock 140212345671680 1 ',
      'unlock 140212345672704 0 ',
      'signalMemoryCleanup ',
      'nativeFree 140212345671680 ',
      'shutdown ',
    );
    expect(told(events)).toEqual(['native +2097152', '+1024', '+64', '-1024', '-64', 'cleanup 0', 'native -2097152']);
    expect([...events.lines]).toEqual([2, 3, 6, 7, 8, 9, 10]);
    expect([events.calls, events.count(TraceKind.nativeAlloc), events.peakReservedBytes]).toEqual([4, 1, 2_097_152]);
    expect(events.pointerOf(4)).toBe(140_212_345_672_704);
    expect(events).toMatchObject({ format: 'call log', name: 'app.log', allocations: 2, liveBlocks: 0, peakLiveBytes: 1088 });
  });

  test('keeps a block until both of its locks are clear', () => {
    const events = log('alloc 8 0 4096 ', 'userLock 4096 ', 'unlock 4096 0 ', 'alloc 9 1 8192 ', 'userUnlock 4096 ');
    expect(told(events)).toEqual(['+8', '+9', '-8']);
    expect(events.lineOf(2)).toBe(5);
  });

  test('passes over an unlock of a lock that is not held', () => {
    expect(told(log('alloc 8 0 4096 ', 'unlock 4096 1 ', 'unlock 4096 0 '))).toEqual(['+8', '-8']);
  });

  test('passes over the native free of a segment that was there before', () => {
    expect(told(log('nativeFree 64 ', 'alloc 8 0 4096 '))).toEqual(['+8']);
  });

  test('tells an allocation that failed, and passes over the unlock of its null pointer', () => {
    expect(told(log('alloc 8 1 4096 ', 'alloc 999999999999 1 0 ', 'unlock 0 1 ', 'userLock 0 ', 'unlock 4096 1 '))).toEqual([
      '+8',
      'refused 999999999999',
      '-8',
    ]);
  });

  test('keeps allocations of 0 bytes, which share the null pointer', () => {
    expect(told(log('alloc 0 1 0 ', 'alloc 0 1 0 ', 'unlock 0 1 ', 'alloc 5 1 64 ', 'unlock 0 1 ', 'unlock 0 1 '))).toEqual([
      '+0',
      '+0',
      '-0',
      '+5',
      '-0',
    ]);
  });

  test('has no block live for an allocation of 0 bytes that is never unlocked', () => {
    const events = log('alloc 0 0 0 ', 'alloc 5 1 64 ', 'unlock 64 1 ');
    expect(told(events)).toEqual(['+0', '+5', '-5']);
    expect([events.allocations, events.liveBlocks, events.peakBlocks]).toEqual([2, 0, 1]);
  });

  test('takes an address again once it is free', () => {
    expect(told(log('alloc 1 1 64 ', 'unlock 64 1 ', 'alloc 2 1 64 ', 'unlock 64 1 '))).toEqual(['+1', '-1', '+2', '-2']);
  });

  test('reads on over a swap of managers with live blocks', () => {
    const events = log(
      'initialize ',
      'alloc 1 1 64 ',
      'initialize ',
      'alloc 2 1 128 ',
      'unlock 64 1 ',
      'shutdown ',
      'unlock 128 1 ',
      'shutdown ',
    );
    expect(told(events)).toEqual(['+1', '+2', '-1', '-2']);
  });

  test('frees a block that a shutdown took along when its address comes again', () => {
    const events = log('initialize ', 'alloc 1 1 64 ', 'shutdown ', 'initialize ', 'alloc 2 1 64 ', 'unlock 64 1 ');
    expect(told(events)).toEqual(['+1', '-1', '+2', '-2']);
    expect(events.lineOf(1)).toBe(5);
  });

  test('passes over calls that a subclass logged under a name of its own', () => {
    expect(told(log('myPolicy 1 -2 3 ', 'alloc 1 1 64 ', 'trim '))).toEqual(['+1']);
  });

  test('follows addresses that never come again without growing slow', () => {
    const lines: string[] = [];
    for (let i = 1; i <= 50_000; i++) lines.push(`alloc 8 1 ${2 ** 32 + i * 64} `, `unlock ${2 ** 32 + i * 64} 1 `);
    expect(log(...lines)).toMatchObject({ length: 100_000, slotCount: 1, liveBlocks: 0 });
  });

  test('follows thousands of live blocks', () => {
    const lines: string[] = [];
    for (let i = 1; i <= 5000; i++) lines.push(`alloc ${i} 1 ${i * 8192} `);
    for (let i = 1; i <= 5000; i++) lines.push(`unlock ${i * 8192} 1 `);
    expect(log(...lines)).toMatchObject({ length: 10_000, slotCount: 5000, liveBlocks: 0 });
  });

  test.each([
    [
      'an unlock of a pointer that was not allocated before',
      ['alloc 1 1 64 ', 'unlock 128 1 '],
      'app.log:2: pointer 128 heads no live block',
    ],
    ['a second free', ['alloc 1 1 64 ', 'unlock 64 1 ', 'unlock 64 1 '], 'app.log:3: pointer 64 is already free'],
    [
      'a userUnlock of a free block',
      ['alloc 1 1 64 ', 'unlock 64 1 ', 'userUnlock 64 '],
      'app.log:3: pointer 64 is already free',
    ],
    ['a userLock of a pointer that was not allocated', ['userLock 64 '], 'app.log:1: pointer 64 heads no live block'],
    [
      'an allocation at a live address',
      ['alloc 1 1 64 ', 'alloc 1 1 64 '],
      'app.log:2: pointer 64 is allocated while it is live',
    ],
    ['a negative size', ['initialize ', 'alloc -1 1 64 '], 'app.log:2: alloc: the value "-1" is negative'],
    ['a size that is no integer', ['initialize ', 'alloc 1.5 1 64 '], 'app.log:2: alloc: the value "1.5" is not an integer'],
    [
      'a pointer above 2^53 - 1',
      ['initialize ', 'unlock 9007199254740993 1 '],
      'app.log:2: unlock: the value "9007199254740993" is above 2^53 - 1',
    ],
    ['a user lock that is no boolean', ['alloc 1 2 64 '], 'app.log:1: the user lock is 2, not 0 or 1'],
    ['a user unlock that is no boolean', ['alloc 1 1 64 ', 'unlock 64 7 '], 'app.log:2: the user lock is 7, not 0 or 1'],
    [
      'a call with too few integers',
      ['alloc 1 1 '],
      'app.log:1: "alloc 1 1 " is no logged call: a line reads "alloc" and 3 integers, each followed by one blank',
    ],
    [
      'a line without the last blank',
      ['initialize ', 'alloc 1 1 64'],
      'app.log:2: "alloc 1 1 64" is no logged call: a line reads "alloc" and 3 integers, each followed by one blank',
    ],
    [
      'a line that is no call',
      ['initialize ', '??'],
      'app.log:2: "??" is no logged call: a line reads a name and integers, each followed by one blank',
    ],
    [
      'a log without allocations',
      ['initialize ', 'shutdown '],
      'app.log:2: the file ends here, and there are no allocations in it',
    ],
  ])('refuses %s', (_, lines, message) => {
    expect(refusal(...lines)).toBe(message);
  });

  test('reads the whole lines of a log whose program was killed', () => {
    const cut = parseTrace('alloc 1 1 64 \nunlock 6', 'app.log');
    expect([cut.length, cut.cutOff]).toEqual([1, 'the file was cut off after line 1']);
    expect(() => parseTrace('alloc 1 1 6', 'app.log')).toThrow('app.log:1: the first line is cut off: it has no line end');
  });
});
