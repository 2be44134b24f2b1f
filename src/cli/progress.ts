import { SingleBar } from 'cli-progress';
import '../core/disposable.js';
import { isStyled } from './text.js';

/** Shows how far a run is, until it is disposed. */
export interface Progress extends Disposable {
  readonly report: (done: number, total: number) => void;
}

/** A bar on stderr, for a total that is above 0, when that is a terminal that may be drawn on, and nothing otherwise. */
export function createProgress(label: string, unit: 'events' | 'bytes' | 'settings' = 'events'): Progress {
  if (!isStyled(process.stderr)) return { report: () => undefined, [Symbol.dispose]: () => undefined };
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
    [Symbol.dispose]: () => {
      if (started) bar.stop();
    },
  };
}
