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
}

/** Says what the figures do not: what the recording lacks, and what of a setting has no effect. */
export function notesOf(program: RecordedProgram, settings: readonly ReadSetting[], facts: RunFacts): string[] {
  return [
    ...recordingNotes(program, settings, facts.granted),
    ...settings.flatMap((setting) => settingNotes(setting, facts.limits)),
    ...streamNotes(facts),
  ];
}

function recordingNotes(
  { events, device, leftOut, lastAllocation }: RecordedProgram,
  settings: readonly ReadSetting[],
  granted: number,
): string[] {
  const notes: string[] = [];
  if (leftOut > 0)
    notes.push(`These are the requests of device ${device}; ${leftOut} allocations on other devices are left out.`);
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
      guessed === 0 ? '' : `, but how far ${formatBytes(guessed)} of them were rounded up is taken from what lies around them`;
    const collects = settings.some(({ parsed }) => (parsed?.settings.garbageCollectionThreshold ?? 0) > 0);
    const ages = collects ? '; how long its free memory had been free, which garbage collection goes by, is not recorded' : '';
    const known = isKnown.includes(true) ? `under the recorded setting they lie where they lay${sizes}` : '';
    const anew = isKnown.includes(false)
      ? `${known === '' ? '' : 'under another one '}they are requested anew, in order of their addresses`
      : '';
    const how = [known, anew].filter((part) => part !== '').join('; ');
    notes.push(
      `Before the recording ${formatBytes(reserved)} were reserved, with ${formatBytes(live)} of blocks: ${how}${ages}.`,
    );
  }
  if (allocator !== undefined && allocator.unknownPoolBytes > 0) {
    notes.push(
      `Segments of ${formatBytes(allocator.unknownPoolBytes)} were given back in the recording: their pool is not recorded, and taken to be the default one.`,
    );
  }
  if (allocator !== undefined && allocator.doubtfulBytes > 0) {
    notes.push(
      `${formatBytes(allocator.doubtfulBytes)} were given back when memory may have been short: whether the program asked for it is not recorded, and taken not to be so.`,
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
    `${refusing.join(', ')}: no order of streams is kept, so that blocks are requested without them, and come back at once.`,
  ];
}
