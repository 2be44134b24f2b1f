import type { MemoryExplanation } from './memory-explanation.js';

/** What grew between two moments. */
export interface GrownMemory {
  /** The name of the category: a space, an arena, a path. */
  readonly site: string;
  /** Its kind. */
  readonly tag: string;
  /** By how many bytes. */
  readonly bytes: number;
  /** An explanation counts none. */
  readonly blocks: null;
}

/** What two explanations differ in. */
export interface ExplanationDiff {
  readonly version: 1;
  /** The most grown first. */
  readonly grown: readonly GrownMemory[];
}

/** Names what is larger in the later one of two explanations. Names with numbers of processes or threads in them are taken as they are. */
export function compareExplanations(earlier: MemoryExplanation, later: MemoryExplanation): ExplanationDiff {
  const before = new Map(earlier.categories.map(({ kind, name, residentBytes }) => [`${kind} ${name}`, residentBytes]));
  const grown = later.categories.flatMap(({ kind, name, residentBytes }): GrownMemory[] => {
    const bytes = residentBytes - (before.get(`${kind} ${name}`) ?? 0);
    return bytes > 0 ? [{ site: name, tag: kind, bytes, blocks: null }] : [];
  });
  return { version: 1, grown: grown.sort((a, b) => b.bytes - a.bytes) };
}
