import { processMappings } from '../../adapters/os/process-mappings.js';
import { systemText } from '../../adapters/os/system-text.js';
import { adviceFor } from './advice.js';
import { MappingKinds } from './mapping-kinds.js';
import { FoundCategories, type GiveBackStep, type MemoryExplanation } from './memory-explanation.js';

/** The chunks of V8's heap begin at multiples of it. @see Source: V8's MemoryChunk and its kPageSizeBits */
export const V8_CHUNK_BYTES = 2 ** 18;
/** V8 asks for addresses below it, at random; the kernel gives other anonymous memory higher ones. @see Source: V8's GetRandomMmapAddr */
export const V8_MOST_ADDRESS = 2 ** 46;
const PROGRAM_BYTES = 200;

const NOT_ASKED: readonly GiveBackStep[] = [
  { step: 'V8', bytes: null, how: 'unknown' },
  { step: 'managers', bytes: null, how: 'unknown' },
  { step: 'C library', bytes: null, how: 'unknown' },
];

/**
 * Explains the memory of another process by what the kernel says of it.
 *
 * @throws as {@link processMappings}
 */
export function explainFromOutside(pid: number): MemoryExplanation {
  const found = new FoundCategories();
  const kinds = new MappingKinds(processMappings(pid));
  kinds.mappings.forEach((mapping, index) => {
    const bytes = mapping.residentBytes;
    if (bytes === 0 || kinds.addNamed(index, bytes, found)) return;
    if (mapping.name === '[heap]') found.add('unknown', "the C library's heap: live or kept free", bytes, null);
    else if (kinds.isGuarded(index)) found.add('stack', 'threads', bytes);
    else if (isLikeV8(mapping.start)) found.add('unknown', 'where V8 puts its heap', bytes, null);
    else found.add('unknown', 'anonymous memory', bytes, null);
  });
  return explanationOf(pid, 'outside', found, { giveBack: NOT_ASKED, program: programOf(pid) });
}

function isLikeV8(start: number): boolean {
  return start % V8_CHUNK_BYTES === 0 && start < V8_MOST_ADDRESS;
}

/** Puts an explanation together. */
export function explanationOf(
  pid: number,
  view: MemoryExplanation['view'],
  found: FoundCategories,
  rest: Pick<MemoryExplanation, 'giveBack' | 'program'>,
): MemoryExplanation {
  const categories = found.list(adviceFor(view));
  const sum = (bytes: number, category: { readonly residentBytes: number }) => bytes + category.residentBytes;
  const residentBytes = categories.reduce(sum, 0);
  const namedBytes = categories.filter(({ kind }) => kind !== 'unknown').reduce(sum, 0);
  return { version: 1, pid, residentBytes, namedBytes, categories, view, ...rest };
}

/** How a process was started, cut off where that is long. */
export function programOf(pid: number | 'self'): string {
  const words = systemText(`/proc/${pid}/cmdline`)
    .split('\0')
    .filter((word) => word !== '');
  const text = words.join(' ') || systemText(`/proc/${pid}/comm`).trim();
  return text.length > PROGRAM_BYTES ? `${text.slice(0, PROGRAM_BYTES)}…` : text;
}
