import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { expect } from 'vitest';
import { PosixShmBackend } from '../../../src/shared/backends/named-backends.js';
import { Cell, Control, LEDGER_TYPE } from '../../../src/shared/budget/ledger-layout.js';
import { LedgerWords } from '../../../src/shared/budget/ledger-words.js';
import { SharedLedger } from '../../../src/shared/budget/shared-ledger.js';
import { LIMIT_MS } from '../../config/limits.js';
import { SeededRandom } from '../../core/fakes.js';
import { moduleUrl } from '../../fixtures/compiled.js';
import { freshName } from '../names.js';
import { member, PAGE } from './ledgers.js';

const PROCESSES = 6;
/** Of a round. */
const VICTIMS = 4;
const LIMIT_PAGES = 1000;
/** Pages of the segments that processes attach, by number. */
const SEGMENT_PAGES = [10, 20, 40, 80, 5, 1];

// The words of the witness: what each process says of itself, when it is asked to stop for a moment.
const TURN = 0;
const SLOTS = 16;
const Slot = { turn: 0, pages: 1, segments: 2, forcedPages: 3, operations: 4 } as const;
const SLOT_WORDS = 8;

/** What was seen at the deaths of processes. */
export interface Deaths {
  kills: number;
  /** Deaths that left something behind. */
  withPages: number;
  /** In the middle of taking; with the lock. */
  withClaim: number;
  withLock: number;
  /** The longest time from the last death of a round until the ledger was right, in milliseconds. */
  longestMs: number;
}

/**
 * Processes that take, give, attach and detach at random in one ledger, as fast as they can. When the turn is odd, each
 * stops, and says what it holds.
 */
export class LedgerChurn {
  readonly deaths: Deaths = { kills: 0, withPages: 0, withClaim: 0, withLock: 0, longestMs: 0 };
  readonly #ledger: SharedLedger;
  readonly #words: LedgerWords;
  readonly #view: PosixShmBackend;
  readonly #witness: PosixShmBackend;
  readonly #folder = mkdtempSync(join(tmpdir(), 'stowage-ledger-'));
  readonly #file = join(this.#folder, 'churn.mjs');
  readonly #children: (ChildProcess | undefined)[];
  #started = 0;

  constructor(slots: number) {
    const name = freshName();
    this.#ledger = SharedLedger.create({ limitBytes: LIMIT_PAGES * PAGE, name, members: 2 * slots + 1 }, member('parent'));
    this.#view = PosixShmBackend.attach(name);
    expect(this.#view.allocator.read()?.type).toBe(LEDGER_TYPE);
    this.#words = new LedgerWords(this.#view.region);
    this.#witness = PosixShmBackend.create(freshName(), { id: 1, bytes: (SLOTS + slots * SLOT_WORDS) * 4 });
    this.#witness.region.int32[TURN] = 1;
    this.#children = new Array(slots).fill(undefined);
    writeFileSync(this.#file, churnSource(this.#ledger.token as string, this.#witness.url));
  }

  /** Starts processes in all empty slots, while the others stand still. */
  async fill(): Promise<void> {
    for (const [slot, child] of this.#children.entries()) if (child === undefined) this.#start(slot);
    await this.#stopped();
  }

  /** Lets all go on, and kills some after a while. @returns when they have ended */
  async kill(victims: number, random: SeededRandom): Promise<void> {
    const slots = this.#children.flatMap((child, slot) => (child === undefined ? [] : [slot]));
    const chosen = Array.from({ length: victims }, () => slots.splice(random.below(slots.length), 1)[0]!);
    const before = chosen.map((slot) => this.#word(slot, Slot.operations));
    this.#turn();
    await this.#until(chosen, (slot, i) => this.#word(slot, Slot.operations) !== before[i]);
    await sleep(random.below(8));
    await this.#end(chosen);
  }

  /** Starts processes in the empty slots and kills them on their way in. */
  async killStarting(random: SeededRandom): Promise<void> {
    const chosen = this.#children.flatMap((child, slot) => (child === undefined ? [slot] : []));
    for (const slot of chosen) this.#start(slot);
    await sleep(30 + random.below(80));
    await this.#end(chosen);
  }

  /** Stops all, and checks that the ledger says what they hold. */
  async check(): Promise<void> {
    const start = performance.now();
    if (this.#witness.region.int32[TURN]! % 2 === 0) this.#turn();
    this.#lookAtDead();
    await this.#stopped();
    this.#ledger.returnDead();
    const { pages, living } = this.#held();
    expect(this.#ledger.usedBytes / PAGE).toBe(pages);
    expect(this.#words.countedPages()).toBe(pages);
    expect(this.#ledger.members().length).toBe(living + 1);
    this.deaths.longestMs = Math.max(this.deaths.longestMs, performance.now() - start);
  }

  /** Kills all, and checks that nothing is left. */
  async close(): Promise<void> {
    await this.#end(this.#children.flatMap((child, slot) => (child === undefined ? [] : [slot])));
    this.#ledger.returnDead();
    expect(this.#ledger.usedBytes).toBe(0);
    expect(this.#ledger.take(LIMIT_PAGES * PAGE)).toBe(true);
    this.#view.destroy();
    this.#ledger.dispose();
    this.#witness.destroy();
    rmSync(this.#folder, { recursive: true });
  }

  #start(slot: number): void {
    this.#started++;
    this.#witness.region.int32.fill(0, SLOTS + slot * SLOT_WORDS, SLOTS + (slot + 1) * SLOT_WORDS);
    const child = spawn(process.execPath, [this.#file, String(slot), String(this.#started)], {
      stdio: ['ignore', 'inherit', 'inherit'],
    });
    this.#children[slot] = child;
  }

  async #end(slots: readonly number[]): Promise<void> {
    const children = slots.map((slot) => this.#children[slot]!);
    const endings = children.map((child) => once(child, 'exit'));
    for (const child of children) child.kill('SIGKILL');
    // One that has ended by itself has failed.
    for (const [status, signal] of await Promise.all(endings)) expect([status, signal]).toEqual([null, 'SIGKILL']);
    for (const slot of slots) this.#children[slot] = undefined;
    this.deaths.kills += slots.length;
  }

  #turn(): void {
    Atomics.add(this.#witness.region.int32, TURN, 1);
  }

  /** Waits until each process has said what it holds in this turn. */
  async #stopped(): Promise<void> {
    const slots = this.#children.flatMap((child, slot) => (child === undefined ? [] : [slot]));
    const turn = this.#witness.region.int32[TURN]!;
    await this.#until(slots, (slot) => this.#word(slot, Slot.turn) === turn);
  }

  async #until(slots: readonly number[], isDone: (slot: number, i: number) => boolean): Promise<void> {
    const end = performance.now() + LIMIT_MS;
    for (const [i, slot] of slots.entries()) {
      while (!isDone(slot, i)) {
        const { exitCode } = this.#children[slot]!;
        if (exitCode !== null) throw new Error(`process ${slot} ended with ${exitCode}`);
        if (performance.now() > end) throw new Error(`process ${slot} does not answer`);
        await sleep(1);
      }
    }
  }

  #word(slot: number, field: number): number {
    return Atomics.load(this.#witness.region.int32, SLOTS + slot * SLOT_WORDS + field);
  }

  /** What the living say that they hold. */
  #held(): { pages: number; living: number } {
    const { int32 } = this.#witness.region;
    const living = this.#children.flatMap((child, slot) => (child === undefined ? [] : [SLOTS + slot * SLOT_WORDS]));
    const attached = living.reduce((bits, at) => bits | int32[at + Slot.segments]!, 0);
    const ofSegments = SEGMENT_PAGES.reduce((sum, pages, i) => sum + ((attached >> i) & 1) * pages, 0);
    const held = living.reduce((sum, at) => sum + int32[at + Slot.pages]!, 0);
    const forced = living.reduce((sum, at) => sum + int32[at + Slot.forcedPages]!, 0);
    // What could be refused is within the limit.
    expect(held - forced + ofSegments).toBeLessThanOrEqual(LIMIT_PAGES);
    return { pages: held + ofSegments, living: living.length };
  }

  #lookAtDead(): void {
    const pids = new Set(this.#children.map((child) => child?.pid));
    pids.add(process.pid);
    if (Atomics.load(this.#words.int64, Control.lock / 2) !== 0n) this.deaths.withLock++;
    for (let cell = 0; cell < this.#words.usedCells; cell++) {
      const at = this.#words.cellAt(cell);
      if (this.#words.ownerOf(cell) === 0n || pids.has(this.#words.count(at + Cell.processId))) continue;
      if (this.#words.heldPagesOf(cell) > 0) this.deaths.withPages++;
      if (this.#words.count(at + Cell.claim) > 0) this.deaths.withClaim++;
    }
  }
}

/** Kills random processes until so many were killed. After each round, the ledger says what the living hold. */
export async function churnAndKill(kills: number): Promise<Deaths> {
  const churn = new LedgerChurn(PROCESSES);
  const random = new SeededRandom(20);
  for (let round = 0; churn.deaths.kills < kills; round++) {
    await churn.fill();
    await churn.kill(VICTIMS, random);
    if (round % 8 === 7) await churn.killStarting(random);
    await churn.check();
  }
  const deaths = { ...churn.deaths };
  await churn.close();
  return deaths;
}

function churnSource(url: string, witness: string): string {
  return `
import { SharedLedger } from '${moduleUrl('src/shared/budget/shared-ledger.js')}';
import { PosixShmBackend } from '${moduleUrl('src/shared/backends/named-backends.js')}';
const [slot, seed] = process.argv.slice(2).map(Number);
const { int32 } = PosixShmBackend.attach('${witness}').region;
const ledger = SharedLedger.open('${url}', { name: 'churn ' + seed, priority: seed % 3, minimumBytes: 0 });
const segments = ${JSON.stringify(SEGMENT_PAGES)};
const idle = new Int32Array(new SharedArrayBuffer(4));
const at = ${SLOTS} + slot * ${SLOT_WORDS};
let state = (seed * 7919 + 1) | 0;
const random = (n) => { state ^= state << 13; state ^= state >>> 17; state ^= state << 5; return (state >>> 0) % n; };
let pages = 0, attached = 0, forced = 0;
for (;;) {
  const turn = Atomics.load(int32, ${TURN});
  if (turn % 2 === 1) {
    int32[at + ${Slot.pages}] = pages;
    int32[at + ${Slot.segments}] = attached;
    int32[at + ${Slot.forcedPages}] = forced;
    Atomics.store(int32, at + ${Slot.turn}, turn);
    while (Atomics.load(int32, ${TURN}) === turn) Atomics.wait(idle, 0, 0, 0.5);
    continue;
  }
  int32[at + ${Slot.operations}]++;
  const choice = random(100);
  const n = random(300);
  if (choice < 45) { if (ledger.take(n * ${PAGE})) pages += n; }
  else if (choice < 75) { const less = Math.min(n, pages); ledger.give(less * ${PAGE}); pages -= less; forced = Math.max(0, forced - less); }
  else if (choice < 77) { ledger.force(${PAGE}); pages++; forced++; }
  else if (choice < 80) ledger.publishCached(random(pages + 1) * ${PAGE});
  else if (choice < 82) ledger.want(random(2) * n * ${PAGE});
  else if (choice < 83) ledger.wantedHere();
  else if (choice < 84) { if (random(100) === 0) ledger.returnDead(); }
  else {
    const i = n % segments.length;
    if ((attached >> i) & 1) { ledger.detachSegment('shm:' + i); attached &= ~(1 << i); }
    else if (ledger.attachSegment('shm:' + i, segments[i] * ${PAGE})) attached |= 1 << i;
  }
}
`;
}
