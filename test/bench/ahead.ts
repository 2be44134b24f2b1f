import { POOL } from './contestants.js';
import type { BenchRow, Measured } from './rows.js';

/** A quantity in which a peer can be ahead. */
interface Quantity {
  readonly what: string;
  readonly of: (row: BenchRow) => number | null;
  readonly isBetter: (a: number, b: number) => boolean;
}

const QUANTITIES: readonly Quantity[] = [
  { what: 'faster', of: (row) => row.nsPerEvent, isBetter: (a, b) => a < b },
  { what: 'less memory', of: (row) => row.utilisation, isBetter: (a, b) => a > b },
  { what: 'fewer native calls', of: (row) => row.nativeCalls, isBetter: (a, b) => a < b },
];

/** Managers that one would take instead of a peer. Others are for programs that no peer is for. */
const COMPARED: readonly string[] = ['caching', POOL, 'pool (native segments)', 'tlsf'];

/** What stands above the cells of {@link aheadCells}. */
export const AHEAD_HEADINGS: readonly string[] = ['manager', ...QUANTITIES.map(({ what }) => what)];

/** Where a peer is better than a manager: a row a manager, a cell a quantity. */
export function aheadCells(measured: readonly Measured[]): string[][] {
  const managers = COMPARED.filter((name) => measured.some(({ row }) => row.allocator === name));
  return managers.map((manager) => [
    manager,
    ...QUANTITIES.map((quantity) => peersAheadOf(manager, quantity, measured).join('; ') || 'nobody'),
  ]);
}

function peersAheadOf(manager: string, { of, isBetter }: Quantity, measured: readonly Measured[]): string[] {
  const tracesByPeer = new Map<string, string[]>();
  for (const { row: own } of measured) {
    const value = of(own);
    if (own.allocator !== manager || value === null) continue;
    for (const { row, isPeer } of measured) {
      const other = of(row);
      if (!isPeer || row.trace !== own.trace || other === null || !isBetter(other, value)) continue;
      const traces = tracesByPeer.get(row.allocator);
      if (traces === undefined) tracesByPeer.set(row.allocator, [row.trace]);
      else traces.push(row.trace);
    }
  }
  const all = new Set(measured.map(({ row }) => row.trace)).size;
  return [...tracesByPeer].map(([peer, on]) => `${peer} on ${on.length === all && all > 1 ? 'every trace' : on.join(', ')}`);
}
