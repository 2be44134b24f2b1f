import { SingleBar } from 'cli-progress';

/** Shows how far a run is. */
export interface Progress {
  report(done: number, total: number): void;
  stop(): void;
}

const SILENT: Progress = { report: () => undefined, stop: () => undefined };

/** A bar on stderr, for a total that is above 0, when that is a terminal that may be drawn on, and nothing otherwise. */
export function createProgress(label: string, unit: 'events' | 'bytes' = 'events'): Progress {
  if (!process.stderr.isTTY || process.env['NO_COLOR'] !== undefined) return SILENT;
  const bar = new SingleBar({
    stream: process.stderr,
    format: `${label} [{bar}] {percentage} % of {total} ${unit}`,
    barCompleteChar: '=',
    barIncompleteChar: ' ',
    hideCursor: true,
    clearOnComplete: true,
  });
  let started = false;
  return {
    report: (done, total) => {
      if (total === 0) return;
      if (!started) bar.start(total, 0);
      started = true;
      // Draws at once when a frame is due: the replay leaves no turn to a timer.
      bar.update(done);
    },
    stop: () => {
      if (started) bar.stop();
      started = false;
    },
  };
}
