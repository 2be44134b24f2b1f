import { formatBytes } from '../core/units.js';
import { TraceKind } from '../trace/trace-events.js';
import type { TraceSummary } from '../trace/trace-summary.js';
import { count, grouped } from './counts.js';

const SHOWN_GROUPS = 5;
const NS_PER_S = 1e9;

/** Writes what a recording holds, for people. */
export function summaryText(file: string, { origin, totals, durationNs, live }: TraceSummary): string {
  const of = (kind: TraceKind) => totals.counts[kind]!;
  const events = totals.counts.reduce((sum, events) => sum + events, 0);
  const lines = [
    `${file}: ${count(events, 'event')} of ${origin.name} in ${(durationNs / NS_PER_S).toFixed(3)} s`,
    `  allocations   ${grouped(of(TraceKind.alloc))}, ${count(of(TraceKind.outOfMemory), 'refusal')}`,
    `  peak live     ${formatBytes(totals.peakLiveBytes)} in at most ${count(totals.peakBlocks, 'block')}`,
    `  peak reserved ${formatBytes(totals.peakReservedBytes)}`,
    `  native calls  ${grouped(of(TraceKind.nativeAlloc))} to get, ${grouped(of(TraceKind.nativeFree))} to give back`,
    `  managers      ${count(of(TraceKind.swap), 'installation')}, ${count(of(TraceKind.cleanup), 'cleanup')}`,
    `  leaks         ${totals.liveBlocks === 0 ? 'none' : `${count(totals.liveBlocks, 'block')}, ${formatBytes(totals.liveBytes)}, live at the end`}`,
  ];
  for (const group of live.slice(0, SHOWN_GROUPS)) {
    const tag = group.tag === '' ? '' : ` tagged ${JSON.stringify(group.tag)}`;
    lines.push(
      `    ${formatBytes(group.bytes)} in ${count(group.blocks, 'block')}${tag}${group.manager === '' ? '' : ` of ${group.manager}`}`,
    );
    for (const frame of group.site === '' ? [] : group.site.split('\n')) lines.push(`      ${printable(frame)}`);
  }
  if (live.length > SHOWN_GROUPS) lines.push(`    and ${count(live.length - SHOWN_GROUPS, 'more group')}`);
  if (totals.unknownFrees > 0)
    lines.push(`  left out      ${count(totals.unknownFrees, 'free')} of blocks from before the recording`);
  if (origin.cutOff !== undefined) lines.push(`  ${origin.cutOff}: the program was killed`);
  return `${lines.map(printable).join('\n')}\n`;
}

/** What a file says must not steer the terminal. */
function printable(text: string): string {
  return text.replace(/\p{Cc}/gu, '?');
}
