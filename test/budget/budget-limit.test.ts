import { syncBuiltinESMExports } from 'node:module';
import os from 'node:os';
import { afterEach, describe, expect, test, vi } from 'vitest';
import { maxMemoryBytes } from '../../adapters/os/memory-limits.js';
import { LimitReading, shareOf } from '../../src/budget/budget-limit.js';
import { MemoryBudget } from '../../src/budget/index.js';
import { codeOf } from '../fixtures/code-of.js';
import { simulated } from './budgets.js';

const { totalmem } = os;

/** Says what the machine has, as far as this process is told; undefined says the truth again. */
function setMemory(bytes: number | undefined): { readonly reads: number } {
  const counted = { reads: 0 };
  os.totalmem = () => {
    counted.reads++;
    return bytes ?? totalmem();
  };
  syncBuiltinESMExports();
  return counted;
}

afterEach(() => {
  os.totalmem = totalmem;
  syncBuiltinESMExports();
  vi.useRealTimers();
});

describe('shareOf', () => {
  test.each([
    ['80%', 0.8],
    ['100%', 1],
    ['12.5 %', 0.125],
    [1, undefined],
    [Number.POSITIVE_INFINITY, undefined],
  ] as const)('of %s is %s', (limit, share) => {
    expect(shareOf(limit)).toBe(share);
  });

  test.each(['0%', '101%', '-1%', '1e1%', 'x%', '80', '80%%', true, 0, -5, 0.5, Number.NaN, undefined])('refuses %s', (limit) => {
    expect(codeOf(() => shareOf(limit as never))).toBe('ERR_MEM_INVALID_ARGUMENT');
  });
});

describe('LimitReading', () => {
  test('reads nothing before it is asked, and again at a refresh', () => {
    const counted = setMemory(1001);
    const limit = new LimitReading('50%', undefined, 0);
    expect(counted.reads).toBe(0);
    expect([limit.bytes, limit.bytes]).toEqual([500, 500]);
    expect(counted.reads).toBe(1);
    setMemory(400);
    expect(limit.bytes).toBe(500);
    limit.refresh();
    expect(limit.bytes).toBe(200);
  });

  test('reads nothing for bytes, and a card’s memory once', () => {
    const counted = setMemory(1000);
    const bytes = new LimitReading(77, undefined, 0);
    bytes.refresh();
    const card = new LimitReading('50%', simulated({ capacityBytes: 100 }), 0);
    card.refresh();
    expect([bytes.bytes, card.bytes]).toEqual([77, 50]);
    expect(counted.reads).toBe(0);
  });
});

describe('MemoryBudget', () => {
  test('follows the limit of its container within a second, and has members give way', () => {
    vi.useFakeTimers();
    setMemory(2000);
    using budget = new MemoryBudget({ limit: '50%', watchV8: false });
    const watching = budget.watch('x', () => 600);
    expect(budget.limitBytes).toBe(1000);
    const told: number[] = [];
    budget.events.on('overshoot', ({ overshootBytes }) => told.push(overshootBytes));
    setMemory(1000);
    vi.advanceTimersByTime(1100);
    expect(budget.limitBytes).toBe(500);
    expect(codeOf(() => budget.reserve(1))).toBe('ERR_MEM_OUT_OF_MEMORY');
    watching.dispose();
  });

  test('rejects who waits for more than what the limit has become', async () => {
    setMemory(1000);
    using budget = new MemoryBudget({ limit: '100%', watchV8: false });
    const held = budget.reserve(600);
    const large = budget.reserveAsync(800);
    const small = budget.reserveAsync(100);
    await new Promise(setImmediate);
    setMemory(700);
    budget.refresh();
    await expect(large).rejects.toMatchObject({ code: 'ERR_MEM_OUT_OF_MEMORY' });
    (await small).dispose();
    held.dispose();
  });

  test('has 80 % of the machine or container when it is told nothing', () => {
    using budget = new MemoryBudget();
    expect(budget.limitBytes).toBe(Math.floor(0.8 * maxMemoryBytes()));
  });
});
