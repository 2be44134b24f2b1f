import type { TraceEvents } from '../trace/trace-events.js';
import { type BlockLifetimes, NEVER } from './block-lifetimes.js';
import type { NameNumbers } from './name-numbers.js';
import type { LeakGroupData, LeakTable } from './report-data.js';

const MAX_GROUPS = 200;

/** Groups what a trace never frees by tag and site, or by size where neither is known. Cost: O(allocations). */
export function leakTable(trace: TraceEvents, lifetimes: BlockLifetimes, tags: NameNumbers, sites: NameNumbers): LeakTable {
  const groups = new Map<string, { -readonly [K in keyof LeakGroupData]: LeakGroupData[K] }>();
  let blocks = 0;
  let bytes = 0;
  for (let row = 0; row < lifetimes.length; row++) {
    if (lifetimes.died[row] !== NEVER) continue;
    const event = lifetimes.born[row]! - 1;
    const size = lifetimes.bytes[row]!;
    const tag = tags.numberOf(trace.tagOf(event));
    const site = sites.numberOf(trace.siteOf(event));
    blocks++;
    bytes += size;
    const key = tag + site === 0 ? `of ${size}` : `${tag} ${site}`;
    const group = groups.get(key);
    if (group === undefined) groups.set(key, { blocks: 1, bytes: size, event, tag, site });
    else {
      group.blocks++;
      group.bytes += size;
    }
  }
  const sorted = [...groups.values()].sort((a, b) => b.bytes - a.bytes);
  return { blocks, bytes, groups: sorted.slice(0, MAX_GROUPS), omittedGroups: Math.max(0, sorted.length - MAX_GROUPS) };
}
