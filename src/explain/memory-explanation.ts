/** What memory is. The rest, `unknown`, is anonymous memory whose owner could not be found, or not be asked. */
export type MemoryKind =
  | 'v8-heap'
  | 'v8-code'
  | 'array-buffers'
  | 'webassembly'
  | 'manager-live'
  | 'manager-cached'
  | 'manager-fragmented'
  | 'manager-metadata'
  | 'c-heap-live'
  | 'c-heap-free'
  | 'allocator-live'
  | 'allocator-free'
  | 'library-memory'
  | 'shared'
  | 'file-clean'
  | 'file-dirty'
  | 'stack'
  | 'binary'
  | 'gpu'
  | 'named'
  | 'unknown';

/** A part of a resident set. */
export interface MemoryCategory {
  readonly kind: MemoryKind;
  /** Which of its kind: a space, a manager, an arena, a path as it is. */
  readonly name: string;
  readonly residentBytes: number;
  /** How much of it could be given back without the program's doing, as it is estimated; null where that is not known. */
  readonly reclaimableBytes: number | null;
  /** What could be done about it. */
  readonly advice: string;
}

/** Who asked: the process itself, or another one, which can ask the kernel alone. */
export type ExplanationView = 'inside' | 'outside';

/** What one step of giving memory back would return. */
export interface GiveBackStep {
  readonly step: 'V8' | 'managers' | 'C library';
  /** Null where it is not known. */
  readonly bytes: number | null;
  readonly how: 'tried' | 'estimated' | 'unknown';
}

/** What the resident set of a process is made of, at one moment. */
export interface MemoryExplanation {
  readonly version: 1;
  readonly pid: number;
  /** The sum of all categories. */
  readonly residentBytes: number;
  /** That of all but the unknown ones. */
  readonly namedBytes: number;
  /** The largest first. */
  readonly categories: readonly MemoryCategory[];
  readonly view: ExplanationView;
  /** The program, as it was started. */
  readonly program: string;
  readonly giveBack: readonly GiveBackStep[];
}

/** Gathers what was found, and sums up what has the same kind and name. */
export class FoundCategories {
  readonly #found = new Map<string, { kind: MemoryKind; name: string; residentBytes: number; reclaimableBytes: number | null }>();

  /** @param reclaimableBytes - null where it is not known */
  add(kind: MemoryKind, name: string, residentBytes: number, reclaimableBytes: number | null = 0): void {
    if (residentBytes <= 0) return;
    const key = `${kind} ${name}`;
    const found = this.#found.get(key) ?? { kind, name, residentBytes: 0, reclaimableBytes: 0 };
    found.residentBytes += residentBytes;
    found.reclaimableBytes =
      found.reclaimableBytes === null || reclaimableBytes === null
        ? null
        : Math.min(found.residentBytes, found.reclaimableBytes + Math.max(0, reclaimableBytes));
    this.#found.set(key, found);
  }

  /** Takes bytes of a kind away, from its largest categories first. @returns how many there were */
  take(kind: MemoryKind, bytes: number): number {
    let left = bytes;
    const ofKind = [...this.#found.values()].filter((found) => found.kind === kind);
    for (const found of ofKind.sort((a, b) => b.residentBytes - a.residentBytes)) {
      const gone = Math.min(left, found.residentBytes);
      found.residentBytes -= gone;
      left -= gone;
    }
    return bytes - left;
  }

  /** The largest first. @param adviceOf - says what could be done about one */
  list(adviceOf: (kind: MemoryKind, name: string) => string): MemoryCategory[] {
    return [...this.#found.values()]
      .filter(({ residentBytes }) => residentBytes > 0)
      .sort((a, b) => b.residentBytes - a.residentBytes)
      .map((found) => ({ ...found, advice: adviceOf(found.kind, found.name) }));
  }
}
