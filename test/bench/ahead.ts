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

/** Lists where a peer is better than a manager: one line a manager and quantity, as Markdown. */
export function peersAhead(measured: readonly Measured[]): string {
  const managers = [...new Set(measured.filter(({ isPeer }) => !isPeer).map(({ row }) => row.allocator))];
  const lines = managers.flatMap((manager) =>
    QUANTITIES.flatMap((quantity) => {
      const ahead = peersAheadOf(manager, quantity, measured);
      return ahead.length === 0 ? [] : [`- ${quantity.what} than ${manager}: ${ahead.join('; ')}`];
    }),
  );
  return lines.length === 0 ? 'Nowhere in this run.' : lines.join('\n');
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
