import type { Command } from 'commander';
import { exactBytes, formatBytes } from '../core/units.js';
import { type ListedSegment, listSegments, removeListed } from '../shared/segment-list.js';
import type { Flags } from './arguments.js';
import { complain, count, jsonText, layOut } from './text.js';

/** Adds what `stowage shm` takes. @param done - told at the end whether the run failed */
export function addShmCommand(shm: Command, done: (failed: boolean) => void): void {
  shm
    .command('ls')
    .description('List the segments: size, what is in memory of it, creator, users, allocator.')
    .option('--json', 'print JSON instead of a table')
    .addHelpText(
      'after',
      '\nStates: live (its creator runs), orphaned (its creator is gone, others use it), stale (nobody\n' +
        "uses it), creating, damaged (or no segment of this library), unreadable (another user's).",
    )
    .action((flags: Flags<never, never, 'json'>) => {
      const segments = listSegments();
      process.stdout.write(flags.json ? json(segments) : text(segments));
      done(false);
    });
  shm
    .command('rm')
    .description('Remove segments by name, or all stale ones.')
    .argument('[names...]', 'as stowage shm ls shows them')
    .option('--stale [prefix]', 'remove every stale one, or those whose names begin so')
    .option('--force', 'remove the named ones also when they are in use; their users go on')
    .action((names: string[], flags: Flags<never, never, 'force'> & Partial<Record<'stale', true | string>>) => {
      if (names.length === 0 && flags.stale === undefined) shm.error('name segments, or use --stale');
      const prefix = flags.stale === true ? '' : flags.stale;
      const segments = listSegments();
      const stale = prefix === undefined ? [] : segments.filter((one) => one.abandoned && one.name.startsWith(prefix));
      const sizes = new Map(segments.map(({ name, inspection }) => [name, inspection?.bytes]));
      if (prefix !== undefined && stale.length === 0) {
        process.stdout.write(`no stale segment${prefix === '' ? '' : ` whose name begins with ${JSON.stringify(prefix)}`}\n`);
      }
      done(!removeAll([...new Set([...names, ...stale.map(({ name }) => name)])], sizes, flags.force === true));
    });
}

/** @param sizes - bytes of the segments that could be read @returns whether all of them were removed */
function removeAll(names: readonly string[], sizes: ReadonlyMap<string, number | undefined>, force: boolean): boolean {
  const removed = names.filter((name) => {
    const refusal = removeListed(name, force);
    const bytes = sizes.get(name);
    if (refusal === undefined) process.stdout.write(`removed ${name}${bytes === undefined ? '' : `, ${exactBytes(bytes)}`}\n`);
    else complain(`${name} was not removed: ${refusal}`);
    return refusal === undefined;
  });
  if (removed.length > 1) {
    const bytes = removed.reduce((sum, name) => sum + (sizes.get(name) ?? 0), 0);
    process.stdout.write(`${count(removed.length, 'segment')} removed, ${exactBytes(bytes)}\n`);
  }
  return removed.length === names.length;
}

/** The state of a segment, in one word. */
function stateOf({ inspection, users, abandoned, reason }: ListedSegment): string {
  if (inspection === undefined) return 'unreadable';
  if (inspection.state === 'damaged') return 'damaged';
  if (abandoned) return 'stale';
  if (inspection.state === 'creating') return 'creating';
  if (reason !== '') return 'damaged';
  return inspection.stale && users.length > 0 ? 'orphaned' : 'live';
}

function text(segments: readonly ListedSegment[]): string {
  if (segments.length === 0) return 'no shared segments\n';
  const columns = [
    { heading: 'name', align: 'left' as const },
    { heading: 'state', align: 'left' as const },
    { heading: 'size', align: 'right' as const },
    { heading: 'in memory', align: 'right' as const },
    { heading: 'creator', align: 'left' as const },
    { heading: 'users', align: 'right' as const },
    { heading: 'allocator', align: 'left' as const },
    { heading: 'used', align: 'right' as const },
    { heading: 'free', align: 'right' as const },
  ];
  return `${layOut(columns, segments.map(row)).join('\n')}\n`;
}

function row(segment: ListedSegment): string[] {
  const { name, inspection, users, usage } = segment;
  if (inspection === undefined) return [name, stateOf(segment)];
  const { bytes, residentBytes, facts, creator, allocator } = inspection;
  return [
    name,
    stateOf(segment),
    formatBytes(bytes),
    formatBytes(residentBytes),
    facts === undefined ? '-' : `${facts.creator.id} ${creator}`,
    `${users.length}`,
    allocator?.type ?? '-',
    usage === undefined ? '-' : formatBytes(usage.usedBytes),
    usage === undefined ? '-' : formatBytes(usage.freeBytes),
  ];
}

function json(segments: readonly ListedSegment[]): string {
  const entries = segments.map((segment) => ({
    name: segment.name,
    state: stateOf(segment),
    reason: segment.reason,
    type: segment.inspection?.facts?.type ?? null,
    bytes: segment.inspection?.bytes ?? null,
    residentBytes: segment.inspection?.residentBytes ?? null,
    creatorPid: segment.inspection?.facts?.creator.id ?? null,
    creator: segment.inspection?.creator ?? 'unknown',
    users: segment.users,
    allocator: segment.inspection?.allocator?.type ?? null,
    usedBytes: segment.usage?.usedBytes ?? null,
    freeBytes: segment.usage?.freeBytes ?? null,
  }));
  return jsonText({ segments: entries });
}
