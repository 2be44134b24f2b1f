import { beforeEach, describe, expect, test } from 'vitest';
import { type AccountOwner, BudgetAccount } from '../../src/budget/budget-account.js';
import { BudgetMember, NO_CACHE } from '../../src/budget/budget-member.js';
import { FreedMemory } from '../../src/budget/freed-memory.js';
import { MiB } from '../../src/core/units.js';
import { moduleUrl, runChild } from '../fixtures/compiled.js';

const LIMIT = 100;

describe('FreedMemory', () => {
  let trims: number;
  let account: BudgetAccount;
  let member: BudgetMember;

  beforeEach(() => {
    trims = 0;
    const owner: AccountOwner = {
      limitBytes: LIMIT,
      makeRoom: () => {},
      granted: () => {},
      refusal: () => {
        throw new Error('refused');
      },
      overshot: () => {},
      hasRoom: () => {},
    } as Partial<AccountOwner> as AccountOwner;
    account = new BudgetAccount(owner, undefined, new FreedMemory(() => trims++));
    member = new BudgetMember('memory', 'm', NO_CACHE);
  });

  test('stays with the C library while it and what is held are within the limit', () => {
    account.take(member, 60);
    account.give(member, 40);
    account.take(member, 40);
    expect([trims, account.freed?.bytes]).toEqual([0, 40]);
  });

  test.each(['take', 'force'] as const)('goes to the system before it and what is held pass the limit, by %s', (how) => {
    account.take(member, 90);
    account.give(member, 40);
    account[how](member, 11);
    expect([trims, account.freed?.bytes]).toEqual([1, 0]);
    account[how](member, 39);
    expect(trims).toBe(1);
  });

  test('waits for more where a call would have little to give: at the limit, each free would be followed by one', () => {
    account.take(member, 99);
    for (let i = 0; i < 10; i++) {
      account.give(member, 1);
      account.take(member, 1);
    }
    // A byte is less than 1/64 of the limit, and two are more.
    expect(trims).toBe(5);
  });

  test('is nobody else’s than members’ that hold native memory', () => {
    const watched = new BudgetMember('watched', 'v8', NO_CACHE);
    account.force(watched, 80);
    account.give(watched, 80);
    account.take(member, 90);
    expect(trims).toBe(0);
  });

  test('is counted by the outermost budget alone', () => {
    account.parent = {
      mostBytes: Number.POSITIVE_INFINITY,
      take: () => {},
      force: () => {},
      give: () => {},
      settled: async () => {},
      closed: () => {},
    };
    account.take(member, 60);
    account.give(member, 60);
    expect(account.freed?.bytes).toBe(0);
  });

  test.runIf(process.platform === 'linux')(
    'keeps a process within its limit that frees small blocks and takes large ones',
    () => {
      // Between small blocks that live, no large one fits: without a budget the C library keeps what was freed.
      const program = (limit: string) => `
      import { readFileSync } from 'node:fs';
      import { MemoryBudget, MemoryManagerDeviceInterface, MemoryManagerInstaller, MemoryRuntime } from '${moduleUrl('src/index.js')}';
      import { DefaultMemoryManager } from '${moduleUrl('managers/index.js')}';
      import { CpuDevice } from '${moduleUrl('adapters/devices/cpu.js')}';
      const inMemory = () => Number(/^RssAnon:\\s+(\\d+)/m.exec(readFileSync('/proc/self/status', 'utf8'))[1]) * 1024;
      const device = new CpuDevice();
      const runtime = new MemoryRuntime(device, { exitReport: false });
      const manager = new DefaultMemoryManager(1, new MemoryManagerDeviceInterface(), { maxBuffers: 1e6, debug: true });
      new MemoryManagerInstaller(manager, runtime).setAsMemoryManager();
      const budget = new MemoryBudget({ limit: ${limit}, watchV8: false });
      budget.add(runtime);
      const written = (bytes) => {
        const block = runtime.allocate(bytes);
        device.fill(block.ptr, 1, bytes);
        return block;
      };
      const before = inMemory();
      const small = Array.from({ length: 2000 }, () => written(100_000));
      for (const [i, block] of small.entries()) if (i % 20 > 0) block.dispose();
      const large = Array.from({ length: 30 }, () => written(6_000_000));
      process.stdout.write(String(inMemory() - before));
      process.exit(0);
    `;
      const bytesIn = (limit: string) => {
        const { stdout, stderr, status } = runChild(program(limit));
        expect(status, stderr).toBe(0);
        return Number(stdout);
      };
      expect(bytesIn(String(210 * MiB))).toBeLessThan(225 * MiB);
      expect(bytesIn('Infinity')).toBeGreaterThan(300 * MiB);
    },
  );
});
