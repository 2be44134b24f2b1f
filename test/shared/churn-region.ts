import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { expect } from 'vitest';
import type { PageAllocator } from '../../src/shared/allocators/page-allocator.js';
import { DEFAULT_MEM_CONTEXT as CTX, type OffsetPointer } from '../../src/shared/allocators/shared-allocator.js';
import { MemoryRegistry } from '../../src/shared/memory-registry.js';
import { type Churn, type ChurnResult, churnResults, churnSource, MAILBOX_WORDS, MAX_THREADS, startChurn } from './churn.js';
import { freshName } from './names.js';

const MAX_PROCESSES = 500;
const BLOCK_WORDS = MAILBOX_WORDS + MAX_PROCESSES * MAX_THREADS;

/** A shared segment on which processes churn, as the process that has made it sees it. */
export class ChurnRegion {
  readonly url: string;
  readonly allocator: PageAllocator;
  readonly #registry = new MemoryRegistry();
  readonly #folder = mkdtempSync(join(tmpdir(), 'stowage-churn-'));
  readonly #mailbox: OffsetPointer;
  #started = 0;

  constructor(type: 'scalable-page' | 'thread-local', bytes: number, options: { lockTimeoutMs?: number } = {}) {
    const backend = this.#registry.createBackend('posix-shm', 1, bytes, freshName());
    this.url = backend.url;
    this.allocator = this.#registry.createAllocator(type, 1, { major: 1, minor: 1 }, options);
    this.#mailbox = this.allocator.allocateOffset(CTX, BLOCK_WORDS * 4);
    this.#mailboxWords().fill(0);
  }

  /** Starts a process that churns. */
  start(churn: Omit<Churn, 'url' | 'mailbox' | 'seed'>): ChildProcess {
    this.#started++;
    const file = join(this.#folder, `${this.#started}.mjs`);
    writeFileSync(file, churnSource({ ...churn, url: this.url, mailbox: this.#mailbox, seed: this.#started }));
    return startChurn(file);
  }

  /** Waits for the end of processes and checks what they say: no damaged block. */
  async results(children: readonly ChildProcess[]): Promise<ChurnResult[]> {
    const results = (await Promise.all(children.map(churnResults))).flat();
    for (const { damaged, allocations } of results) {
      expect(damaged).toBe(0);
      expect(allocations).toBeGreaterThan(0);
    }
    return results;
  }

  /** Frees what is left in the mailbox, and in the hands of killed processes. No process may run. @returns how many blocks */
  emptyMailbox(): number {
    const places = new Set([...this.#mailboxWords()].filter((offset) => offset !== 0));
    const left = [...places].filter((offset) => this.allocator.sizeOf(offset as OffsetPointer) > 0);
    for (const offset of left) this.allocator.freeOffset(CTX, offset as OffsetPointer);
    this.#mailboxWords().fill(0);
    return left.length;
  }

  /** Checks that nothing is allocated any more, and that the region is one free page again; removes it. */
  close(): void {
    this.emptyMailbox();
    this.allocator.freeOffset(CTX, this.#mailbox);
    this.allocator.checkInvariants();
    const { region, capacityBytes } = this.allocator;
    const type = this.allocator.constructor as unknown as { shmDeserialize(of: typeof region): PageAllocator };
    this.allocator.detach();
    const last = type.shmDeserialize(region);
    expect(last.allocatedBytes).toBe(0);
    expect(last.pids()).toEqual([]);
    last.freeOffset(CTX, last.allocateOffset(CTX, capacityBytes - 32));
    last.detach();
    this.dispose();
  }

  dispose(): void {
    rmSync(this.#folder, { recursive: true, force: true });
    this.#registry.destroyBackend(1);
  }

  #mailboxWords(): Int32Array {
    return this.allocator.region.int32.subarray(this.#mailbox / 4, this.#mailbox / 4 + BLOCK_WORDS);
  }
}

/** Kills processes at some point after they have begun. @param delayMs - asked for each */
export async function killSoon(region: ChurnRegion, victims: readonly ChildProcess[], delayMs: () => number): Promise<void> {
  const endings = victims.map(async (victim) => {
    const closed = once(victim, 'close');
    while (!region.allocator.pids().includes(victim.pid as number)) await setTimeout(1);
    await setTimeout(delayMs());
    victim.kill('SIGKILL');
    await closed;
  });
  await Promise.all(endings);
}

/** Checks that a region is sound after processes were killed, gives back what they held, and checks again. No other may run. */
export function expectRecovered(region: ChurnRegion, victims: readonly ChildProcess[]): void {
  region.allocator.checkInvariants();
  for (const { pid } of victims) region.allocator.reclaim(pid as number);
  region.emptyMailbox();
  region.allocator.checkInvariants();
  expect(region.allocator.pids()).toEqual([process.pid]);
}
