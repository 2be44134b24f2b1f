import { MiB } from '../../core/units.js';
import { TraceKind } from '../trace-events.js';
import { type HistoryEntry, KIND_OF_ACTION, type RecordedSettings } from './pytorch-snapshot.js';

const SMALL_SEGMENT_BYTES = 2 * MiB;

/** What of a history nobody asked for, or everybody: the allocator gave its cache back because it had to, or because it was told to. */
export interface Releases {
  /** The first native free of each run that the program asked for: it emptied the cache. */
  readonly cleanups: ReadonlySet<HistoryEntry>;
  /** Completions that came of waiting, when the allocator had no memory for the request that follows. */
  readonly awaited: ReadonlySet<HistoryEntry>;
  /** Bytes given back by runs of which the history does not tell whether the program asked for them; they are taken not to be. */
  readonly doubtfulBytes: number;
}

/**
 * Tells the allocator's own native frees from those that the program asked for.
 *
 * The allocator gives memory back only before it asks for more, or refuses a request, and then memory was short: with the wanted
 * segment it would have held more than it ever did; and what it gave back could not have served the request.
 *
 * @param reservedBytes - before the history
 * @param isPrivate - whether an entry's block is of a private pool
 */
export function releasesIn(
  history: readonly HistoryEntry[],
  reservedBytes: number,
  settings: RecordedSettings,
  isPrivate: (entry: number) => boolean,
): Releases {
  const cleanups = new Set<HistoryEntry>();
  const awaited = new Set<HistoryEntry>();
  let doubtfulBytes = 0;
  const most = mostReserved(history, reservedBytes);
  let reserved = reservedBytes;
  for (let i = 0; i < history.length; ) {
    const start = i;
    const before = reserved;
    for (; stepOf(history[i]) < 0; i++) reserved += stepOf(history[i]);
    if (i === start) {
      if (history[i]!.action === 'oom') noteAwaited(history, i, awaited);
      reserved += stepOf(history[i++]);
      continue;
    }
    const run = history.slice(start, i);
    const wanted = stepOf(history[i]);
    const isRefused = history[i]?.action === 'oom';
    const mayBeAged = settings.collects && run.every((entry) => entry.bytes !== SMALL_SEGMENT_BYTES);
    const wasShort = before + wanted > most;
    const isOwn = isRefused || (wanted > 0 && (mayBeAged || wasShort) && !couldServe(run, history, i, settings, isPrivate));
    if (!isOwn) cleanups.add(run[0]!);
    else {
      // Where blocks have a largest size to be cut, one that has just come back may be the first to go.
      if (!mayBeAged && settings.cutsAll) noteAwaited(history, start, awaited);
      if (!isRefused && !mayBeAged) doubtfulBytes += before - reserved;
    }
  }
  return { cleanups, awaited, doubtfulBytes };
}

/** Bytes by which an entry changes what is reserved. */
function stepOf(entry: HistoryEntry | undefined): number {
  const kind = entry === undefined ? undefined : KIND_OF_ACTION.get(entry.action);
  return kind === TraceKind.nativeAlloc ? entry!.bytes : kind === TraceKind.nativeFree ? -entry!.bytes : 0;
}

function mostReserved(history: readonly HistoryEntry[], reservedBytes: number): number {
  let [reserved, most] = [reservedBytes, reservedBytes];
  for (const entry of history) most = Math.max(most, (reserved += stepOf(entry)));
  return most;
}

/** Whether a segment that was given back would have served the request that got the next one. */
function couldServe(
  run: readonly HistoryEntry[],
  history: readonly HistoryEntry[],
  next: number,
  { cutsAll }: RecordedSettings,
  isPrivate: (entry: number) => boolean,
): boolean {
  const wanted = history[next]!;
  if (!cutsAll || isPrivate(next)) return false;
  const isSmall = (entry: HistoryEntry) => entry.bytes === SMALL_SEGMENT_BYTES;
  return run.some((entry) => entry.stream === wanted.stream && isSmall(entry) === isSmall(wanted) && entry.bytes >= wanted.bytes);
}

/** Notes the completions right before an entry. */
function noteAwaited(history: readonly HistoryEntry[], end: number, awaited: Set<HistoryEntry>): void {
  for (let i = end - 1; i >= 0 && history[i]!.action === 'free_completed'; i--) awaited.add(history[i]!);
}
