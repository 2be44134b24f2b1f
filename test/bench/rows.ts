/** What one allocator made of one trace, as in `--json`. What a peer cannot give is null. */
export interface BenchRow {
  readonly trace: string;
  readonly allocator: string;
  /** Median over the rounds. */
  readonly nsPerEvent: number | null;
  /** Median over the rounds of the quotient with peer (a)'s time in the same round. */
  readonly nsRatioToPeerA: number | null;
  /** Native calls of a first replay, commits and decommits included. */
  readonly nativeCalls: number | null;
  readonly peakReservedBytes: number | null;
  readonly peakLiveBytes: number;
  /** `peakLiveBytes / peakReservedBytes`. */
  readonly utilisation: number | null;
  /** The smallest capacity of the device on which the trace completes. */
  readonly minCapacityBytes: number | null;
}

/** A row, with what only people are told. */
export interface Measured {
  readonly row: BenchRow;
  readonly isPeer: boolean;
  /** The most that was reserved in all rounds, which replay in the same manager. */
  readonly laterPeakReservedBytes: number | null;
  /** What was out of the ordinary: fewer rounds, a failure. */
  readonly notes: readonly string[];
}

/** The result for programs. */
export function rowsJson(measured: readonly Measured[]): string {
  return `${JSON.stringify({ rows: measured.map(({ row }) => row) }, null, 2)}\n`;
}
