import { orUndo } from '../../src/core/attempt.js';
import type { MemoryManagerDeviceInterface } from '../../src/core/device-interface.js';
import type { Releasable } from '../../src/core/disposable.js';
import { MemoryError } from '../../src/core/errors.js';
import { checkOwnOptions, type OwnOptions } from '../../src/core/option-names.js';
import { ARENA_OPTIONS, ArenaMemoryManager, type ArenaMemoryManagerOptions } from '../arena/arena-memory-manager.js';

/** A place in time that a scratch can go back to. */
export interface ScratchMark extends Releasable {
  /** Goes back to the mark and forgets it; does nothing for one that was forgotten already. */
  dispose(): void;
}

const OWN: OwnOptions<ArenaMemoryManagerOptions> = { of: () => ScratchMemoryManager, names: ARENA_OPTIONS };

/**
 * An arena that can go back to a place in time: `save()` marks it, `restore(mark)` frees every block that was allocated
 * since, on all devices, held or not, and uses their places again. For temporary results inside of longer work; marks nest.
 *
 * What an {@link ArenaMemoryManager} says of `reset()` holds for `restore()`, too: pointers to blocks that it freed are
 * unknown from then on, and handles throw.
 *
 * @see Source: ggml, ggml_scratch
 */
export class ScratchMemoryManager extends ArenaMemoryManager {
  readonly #marks: Mark[] = [];

  /** @throws ERR_MEM_INVALID_ARGUMENT for options that cannot be */
  constructor(deviceCount: number, deviceInterface: MemoryManagerDeviceInterface, options: ArenaMemoryManagerOptions = {}) {
    checkOwnOptions(OWN, new.target, options);
    super(deviceCount, deviceInterface, options);
  }

  /** Marks the present. Cost: O(1). */
  save(): ScratchMark {
    const mark = new Mark(this.enterEra(), (self) => {
      if (this.#marks.includes(self)) this.#goBack(self, 0);
    });
    this.#marks.push(mark);
    return mark;
  }

  /**
   * Frees what was allocated since a mark, and forgets the marks that are newer. The mark stays: it can be restored again.
   * Cost: O(blocks that go).
   *
   * @throws ERR_MEM_INVALID_ARGUMENT for a mark that was forgotten: by an older one's restore, by dispose or by a reset
   */
  restore(mark: ScratchMark): void {
    if (!(mark instanceof Mark) || !this.#marks.includes(mark)) {
      throw new MemoryError('ERR_MEM_INVALID_ARGUMENT', {
        name: 'mark',
        value: 'one that was forgotten, or of another scratch',
        expected: 'one of save() that no older mark was restored past',
      });
    }
    this.#goBack(mark, 1);
  }

  /** Frees every block and forgets all marks. */
  override reset(): void {
    this.#forget(0, () => super.reset());
  }

  #goBack(mark: Mark, keep: 0 | 1): void {
    this.#forget(this.#marks.indexOf(mark) + keep, () => this.freeSince(mark.era));
  }

  /** Forgets the marks from a number on, and frees blocks; all marks are there again when that fails. */
  #forget(from: number, free: () => void): void {
    const forgotten = this.#marks.splice(from);
    orUndo(free, () => this.#marks.splice(from, 0, ...forgotten));
  }
}

class Mark implements ScratchMark {
  readonly era: number;
  readonly #end: (self: Mark) => void;

  constructor(era: number, end: (self: Mark) => void) {
    this.era = era;
    this.#end = end;
  }

  dispose(): void {
    this.#end(this);
  }

  [Symbol.dispose](): void {
    this.dispose();
  }
}
