import { SingleBar } from 'cli-progress';
import '../core/disposable.js';
import { isStyled } from './text.js';

/** Shows the progress of a run, until it is disposed. */
export interface Progress extends Disposable {
  readonly report: (done: number, total: number) => void;
}

/** Does work that reads or writes a file, while a bar shows how far it is. */
export async function withProgress<T>(
  label: string,
  work: (shown: { onProgress: Progress['report'] }) => Promise<T>,
): Promise<T> {
  using progress = createProgress(label, 'bytes');
  return await work({ onProgress: progress.report });
}

/** Makes a bar on stderr, for a total above 0, if that is a terminal that accepts it; else it shows nothing. */
export function createProgress(label: string, unit: 'events' | 'bytes' | 'settings' | 'rounds' = 'events'): Progress {
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
      // Draws at once when a frame is due: a replay gives a timer no turn of the event loop.
      bar.update(done);
    },
    [Symbol.dispose]: () => {
      if (started) bar.stop();
    },
  };
}
