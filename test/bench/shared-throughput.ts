import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface, type Interface } from 'node:readline';
import { GiB } from '../../src/core/units.js';
import { createRegion, HEAPS, type HeapName } from './shared-heaps.js';
import { median } from './statistics.js';

/** How throughput is measured. */
export interface ThroughputOptions {
  readonly processes: readonly number[];
  readonly rounds: number;
  /** How long a round lasts. */
  readonly roundMs: number;
  /** The file of shared-contestant-main. */
  readonly main: string;
}

/** What one heap did with one number of processes. */
export interface ThroughputRow {
  readonly heap: HeapName;
  readonly processes: number;
  /** Of all processes together, allocations and frees: the median of the rounds. */
  readonly operationsPerSecond: number;
}

const REGION_BYTES = GiB;
// Long enough for every process to read its line.
const LEAD_MS = 20;

/** Measures every heap with each number of processes; the heaps take turns, round by round. */
export async function measureThroughput(options: ThroughputOptions): Promise<ThroughputRow[]> {
  const rows: ThroughputRow[] = [];
  for (const count of options.processes) {
    const teams = HEAPS.map((heap) => new Team(heap, count, options.main));
    try {
      const rates = teams.map(() => [] as number[]);
      for (const team of teams) await team.round(options.roundMs);
      for (let round = 0; round < options.rounds; round++) {
        for (const [i, team] of teams.entries()) rates[i]!.push(await team.round(options.roundMs));
      }
      rows.push(...teams.map(({ heap }, i) => ({ heap, processes: count, operationsPerSecond: median(rates[i]!) })));
    } finally {
      for (const team of teams) await team.end();
    }
  }
  return rows;
}

/** Processes that use one region. */
class Team {
  readonly heap: HeapName;
  readonly #destroy: () => void;
  readonly #children: readonly ChildProcess[];
  readonly #lines: readonly Interface[];

  constructor(heap: HeapName, processes: number, main: string) {
    this.heap = heap;
    const url = `bench-${process.pid}-${HEAPS.indexOf(heap)}-${processes}`;
    this.#destroy = createRegion(heap, url, REGION_BYTES);
    this.#children = Array.from({ length: processes }, () =>
      spawn(process.execPath, [main, heap, url], { stdio: ['pipe', 'pipe', 'inherit'] }),
    );
    this.#lines = this.#children.map((child) => createInterface({ input: child.stdout! }));
  }

  /** Has all of them work at the same time. @returns the operations a second of all together */
  async round(ms: number): Promise<number> {
    const answers = this.#lines.map((lines, i) => answerOf(this.#children[i]!, lines));
    const start = Date.now() + LEAD_MS;
    for (const child of this.#children) child.stdin!.write(`${start} ${ms}\n`);
    const rates = await Promise.all(answers);
    return rates.reduce((sum, rate) => sum + rate, 0);
  }

  async end(): Promise<void> {
    for (const child of this.#children) {
      if (child.exitCode !== null || child.signalCode !== null) continue;
      const ended = once(child, 'exit');
      child.stdin!.end();
      await ended;
    }
    this.#destroy();
  }
}

async function answerOf(child: ChildProcess, lines: Interface): Promise<number> {
  const ended = new AbortController();
  const exit = once(child, 'exit', { signal: ended.signal }).then(
    ([code, signal]) => Promise.reject(new Error(`a process of the benchmark ended with ${signal ?? code}`)),
    () => 0,
  );
  const line = once(lines, 'line', { signal: ended.signal }).then(
    ([text]) => Number(text),
    () => 0,
  );
  try {
    return await Promise.race([line, exit]);
  } finally {
    ended.abort();
  }
}
