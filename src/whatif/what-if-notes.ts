import { counted } from '../core/counted.js';
import { formatBytes } from '../core/units.js';
import { type EarlierBlock, TraceKind } from '../trace/trace-events.js';
import type { RecordedProgram } from './recorded-program.js';
import { isRecorded, type ReadSetting, type WhatIfLimit } from './setting.js';

/** What the runs were. */
interface RunFacts {
  readonly limits: readonly (WhatIfLimit | null)[];
  /** The managers that refused streams. */
  readonly refusing: readonly string[];
  /** The most requests that the recording was refused, and that a run granted. */
  readonly granted: number;
  /** By how much a run reserved more than its limit, at most. */
  readonly overLimitBytes: number;
}

/** Says what the figures do not: what the recording lacks, and what of a setting has no effect. */
export function notesOf(program: RecordedProgram, settings: readonly ReadSetting[], facts: RunFacts): string[] {
  return [
    ...recordingNotes(program, settings, facts.granted),
    ...settings.flatMap((setting) => settingNotes(setting, facts.limits)),
    ...streamNotes(facts),
    ...limitNotes(facts),
  ];
}

function recordingNotes(
  { events, device, leftOut, lastAllocation }: RecordedProgram,
  settings: readonly ReadSetting[],
  granted: number,
): string[] {
  const notes: string[] = [];
  if (leftOut > 0)
    notes.push(
      `These are the requests of device ${device}; ${counted(leftOut, 'allocation')} on other devices ${leftOut === 1 ? 'is' : 'are'} left out.`,
    );
  const { allocator } = events;
  const earlier = allocator?.earlier.filter((segment) => segment.device === device) ?? [];
  if (earlier.length > 0) {
    const reserved = earlier.reduce((sum, { bytes }) => sum + bytes, 0);
    const sumOf = (some: readonly EarlierBlock[]) => some.reduce((sum, { event }) => sum + events.bytesOf(event), 0);
    const live = sumOf(earlier.flatMap(({ blocks }) => blocks));
    const blocks = earlier.flatMap((segment) => segment.blocks);
    const guessed = sumOf(blocks.filter(({ blockBytes }) => blockBytes === undefined));
    const isKnown = settings.map((setting) => isRecorded(setting, events));
    const sizes =
      guessed === 0
        ? ''
        : ` (how far ${formatBytes(guessed)} of them were rounded up is not recorded: it is worked out from the blocks beside them)`;
    const collects = settings.some(({ parsed }) => (parsed?.settings.garbageCollectionThreshold ?? 0) > 0);
    const ages = collects ? '; how long its free memory had been free, which garbage collection goes by, is not recorded' : '';
    const known = isKnown.includes(true)
      ? `${isKnown.includes(false) ? 'under the recorded setting ' : ''}they stay at their addresses${sizes}`
      : '';
    const anew = isKnown.includes(false)
      ? `${known === '' ? '' : 'under another one '}they are requested anew, in order of their addresses`
      : '';
    const how = [known, anew].filter((part) => part !== '').join('; ');
    notes.push(
      `Before the recording ${formatBytes(reserved)} were reserved, with ${formatBytes(live)} of blocks in use: ${how}${ages}. A peak before the recording is not seen.`,
    );
  }
  if (allocator !== undefined && allocator.unknownPoolBytes > 0) {
    notes.push(
      `Segments of ${formatBytes(allocator.unknownPoolBytes)} were given back to the driver during the recording. Their pool is not recorded; they count as part of the default one.`,
    );
  }
  if (allocator !== undefined && allocator.doubtfulBytes > 0) {
    notes.push(
      `${formatBytes(allocator.doubtfulBytes)} were given back to the driver when memory may have been short. It is not recorded whether the program called empty_cache() then; the runs assume that it did not.`,
    );
  }
  const refused = events.count(TraceKind.outOfMemory);
  if (refused > 0) {
    const survived = [...events.kinds.keys()].filter(
      (i) => events.kindOf(i) === TraceKind.outOfMemory && i < lastAllocation,
    ).length;
    const goesOn = survived === 0 ? '' : ` It went on behind ${survived}, and so does a run that refuses them, too.`;
    const how = granted > 0 ? `${granted} granted here` : 'none granted here';
    notes.push(
      `The recorded program was refused ${counted(refused, 'request')} (${how}): what it would have done with them is not recorded.${goesOn}`,
    );
  }
  return notes;
}

function settingNotes({ conf, parsed }: ReadSetting, limits: readonly (WhatIfLimit | null)[]): string[] {
  if (parsed === undefined) return [];
  const notes: string[] = [];
  if (parsed.ignored.length > 0) notes.push(`${conf}: ${parsed.ignored.join(', ')} changes no memory of the card.`);
  const { garbageCollectionThreshold, perProcessMemoryFraction } = parsed.settings;
  if (garbageCollectionThreshold > 0 && perProcessMemoryFraction === undefined && limits.some(isNoShare)) {
    notes.push(
      `${conf}: garbage_collection_threshold has an effect only where a limit is set for the process, which a card's own memory is not.`,
    );
  }
  if (perProcessMemoryFraction !== undefined && limits.some((limit) => limit?.of !== 'card')) {
    notes.push(
      `${conf}: per_process_memory_fraction is a share of a card: without one it is a share of 1 TiB, and a limit takes its place.`,
    );
  }
  return notes;
}

function isNoShare(limit: WhatIfLimit | null): boolean {
  return limit === null || limit.of === 'card';
}

function streamNotes({ refusing }: RunFacts): string[] {
  if (refusing.length === 0) return [];
  return [
    `${refusing.join(', ')}: streams are not supported: a freed block can be used again at once, also where another stream still used it.`,
  ];
}

function limitNotes({ overLimitBytes }: RunFacts): string[] {
  if (overLimitBytes === 0) return [];
  return [
    `With expandable segments peak reserved passes a limit here by up to ${formatBytes(overLimitBytes)}: PyTorch compares the request with the limit, and then maps whole pieces (20 MiB, or large_segment_size_mb).`,
  ];
}
