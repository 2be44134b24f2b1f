import type { PhysicalPiece } from './gpu-ranges.js';

interface Spare {
  readonly device: number;
  readonly piece: PhysicalPiece;
}

/** Memory that was unmapped: it goes back at once, or is kept to be mapped again while somebody says so. */
export class SparePieces {
  readonly #release: (piece: PhysicalPiece) => void;
  #kept: Spare[] = [];
  /** What pieces that are taken are a multiple of, as the innermost action wants it; 0 while nobody keeps any. */
  #unitBytes = 0;

  /** @param release - gives a piece back to its device; it never throws */
  constructor(release: (piece: PhysicalPiece) => void) {
    this.#release = release;
  }

  /**
   * Keeps what is dropped during an action, and gives what is left of it back at the end of the outermost one.
   *
   * @param unitBytes - pieces that are no multiple of it are not {@link take taken} meanwhile
   */
  keepDuring<T>(action: () => T, unitBytes: number): T {
    const outerBytes = this.#unitBytes;
    this.#unitBytes = unitBytes;
    try {
      return action();
    } finally {
      this.#unitBytes = outerBytes;
      if (outerBytes === 0) this.#giveBack(() => true);
    }
  }

  /** Takes memory that is mapped nowhere here. What was exported is not kept: who has opened it keeps it, with its content. */
  drop(device: number, piece: PhysicalPiece): void {
    if (this.#unitBytes > 0 && !piece.isExported) this.#kept.push({ device, piece });
    else this.#release(piece);
  }

  /** Takes out the largest kept piece of a device that is no larger. @returns undefined when there is none. O(pieces kept) */
  take(device: number, mostBytes: number): PhysicalPiece | undefined {
    let best: Spare | undefined;
    for (const spare of this.#kept) {
      const { bytes } = spare.piece;
      const fits = spare.device === device && bytes <= mostBytes && bytes % this.#unitBytes === 0;
      if (fits && bytes > (best?.piece.bytes ?? 0)) best = spare;
    }
    if (best !== undefined) this.#kept.splice(this.#kept.indexOf(best), 1);
    return best?.piece;
  }

  /** Gives back what is kept of a device. */
  giveBack(device: number): void {
    this.#giveBack((spare) => spare.device === device);
  }

  #giveBack(goes: (spare: Spare) => boolean): void {
    const going = this.#kept.filter(goes);
    if (going.length === 0) return;
    this.#kept = this.#kept.filter((spare) => !goes(spare));
    for (const { piece } of going) this.#release(piece);
  }
}
