import type { ProcessMapping } from '../../adapters/os/process-mappings.js';
import { MiB } from '../core/units.js';
import type { FoundCategories, MemoryKind } from './memory-explanation.js';

const GPU = /^\/dev\/(?:nvidia|dri\/|kfd|mali|davinci)/;
const SHARED = /^(?:\/dev\/shm\/|\/memfd:|\/SYSV|\/dev\/zero)/;
const MOST_GUARD_BYTES = 2 * MiB;

/** The mappings of one process, with what can be told from names, rights and neighbours alone. */
export class MappingKinds {
  readonly mappings: readonly ProcessMapping[];
  /** Files with a mapping that can be executed: programs and libraries. */
  readonly #binaries = new Set<string>();

  constructor(mappings: readonly ProcessMapping[]) {
    this.mappings = mappings;
    for (const { name, rights } of mappings) if (name.startsWith('/') && rights[2] === 'x') this.#binaries.add(name);
  }

  /** Programs and libraries, by path. */
  get binaries(): ReadonlySet<string> {
    return this.#binaries;
  }

  /** The binary that a mapping is of: by its path, or as what lies right behind its data, where the loader puts what begins as zeros. */
  binaryOf(index: number): string | undefined {
    const { name, start, rights } = this.mappings[index] as ProcessMapping;
    if (name !== '') return this.#binaries.has(name) ? name : undefined;
    const before = this.mappings[index - 1];
    const isBehindData = before !== undefined && before.end === start && before.name !== '' && rights.startsWith('rw');
    return isBehindData && before.rights[1] === 'w' && this.#binaries.has(before.name) ? before.name : undefined;
  }

  /** Whether a mapping lies above one that nobody may touch, as the stack of a thread does. */
  isGuarded(index: number): boolean {
    const { start, rights } = this.mappings[index] as ProcessMapping;
    const before = this.mappings[index - 1];
    if (before === undefined || before.end !== start || !rights.startsWith('rw-p')) return false;
    return before.rights.startsWith('---') && before.end - before.start <= MOST_GUARD_BYTES;
  }

  /**
   * Enters a mapping under what its name says.
   *
   * @param bytes - how much of it is nobody else's
   * @returns false for anonymous memory, which has no name
   */
  addNamed(index: number, bytes: number, found: FoundCategories): boolean {
    const mapping = this.mappings[index] as ProcessMapping;
    const binary = this.binaryOf(index);
    if (binary !== undefined) found.add('binary', binary, bytes);
    else if (mapping.name === '') return false;
    else if (mapping.name.startsWith('/')) addFile(mapping, bytes, found);
    else if (mapping.name === '[stack]') found.add('stack', 'main thread', bytes);
    else if (mapping.name === '[heap]') return false;
    else found.add('named', mapping.name, bytes);
    return true;
  }
}

function addFile(
  { name, dirtyBytes, anonymousBytes, residentBytes }: ProcessMapping,
  bytes: number,
  found: FoundCategories,
): void {
  const kind: MemoryKind | undefined = GPU.test(name) ? 'gpu' : SHARED.test(name) ? 'shared' : undefined;
  if (kind !== undefined) {
    found.add(kind, name, bytes);
    return;
  }
  // Copies of pages of a private mapping are anonymous, and may have been clean when they were made.
  const dirty = Math.min(bytes, residentBytes, Math.max(dirtyBytes, anonymousBytes));
  found.add('file-dirty', name, dirty);
  found.add('file-clean', name, bytes - dirty, bytes - dirty);
}
