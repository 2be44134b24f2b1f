import { tryAll } from '../core/try-all.js';
import { alignUp } from '../core/units.js';

/** Parts of cached memory that can go back to the device one by one: segments, regions, runs of pages. */
export interface ReleasablePieces<T> {
  /** The bytes that can be given back of a piece now; 0 for none. Asked again before it goes: a native call before may have come back. */
  bytesOf(piece: T): number;
  /** Gives that many bytes of a piece back. @throws what the device throws; the piece is cached again then */
  release(piece: T, bytes: number): void;
  /** What may be cut off a piece is a multiple of it; 0 for one that goes whole. @defaultValue 0 */
  unitOf?(piece: T): number;
}

/**
 * How much cached memory goes back to a device: as soon as `wantedBytes` went it is enough, and never more than `mostBytes` go.
 *
 * `sum(chosen) <= mostBytes`, and no piece that was left would fit unless `sum(chosen) >= wantedBytes`.
 */
export class ReleaseBounds {
  readonly wantedBytes: number;
  readonly mostBytes: number;

  /** @param mostBytes - pieces that would exceed it stay, smaller ones are still tried */
  constructor(wantedBytes: number, mostBytes: number) {
    this.wantedBytes = wantedBytes;
    this.mostBytes = mostBytes;
  }

  /** Whether all goes that can. */
  get isAll(): boolean {
    return this.wantedBytes === Number.POSITIVE_INFINITY && this.mostBytes === Number.POSITIVE_INFINITY;
  }

  /** Gives a function that says of pieces in turn, by their bytes, whether they go. For caches that know which is least likely to be used again. */
  inTurn(): (bytes: number) => boolean {
    let { wantedBytes: wanted, mostBytes: most } = this;
    return (bytes) => {
      if (!(wanted > 0) || bytes > most) return false;
      wanted -= bytes;
      most -= bytes;
      return true;
    };
  }

  /**
   * Chooses the smallest piece that suffices, else the largest ones until one does; of like pieces the first. For memory that serves any request: the fewest native calls, and the least that has to be asked for
   * again. Cost: O(n log n).
   *
   * @returns the pieces, and how many bytes of each
   */
  choose<T>(pieces: readonly T[], how: Pick<ReleasablePieces<T>, 'bytesOf' | 'unitOf'>): [piece: T, bytes: number][] {
    let { wantedBytes: wanted, mostBytes: most } = this;
    const sizes = pieces.map((piece) => {
      const bytes = how.bytesOf(piece);
      return { piece, bytes, unit: how.unitOf?.(piece) || bytes };
    });
    const rest = sizes.filter(({ bytes }) => bytes > 0).sort((a, b) => b.bytes - a.bytes);
    // A whole piece, whose unit is its size, or 0 when that is too much; of others as much as is wanted.
    const share = ({ bytes, unit }: (typeof sizes)[number]) =>
      Math.min(bytes, alignUp(wanted, unit), Math.floor(most / unit) * unit);
    const chosen: [T, number][] = [];
    for (let i = 0; i < rest.length && wanted > 0; i++) {
      let next = rest[i]!;
      if (share(next) >= wanted) {
        const smallest = rest.findLast((one) => share(one) >= wanted)!;
        next = rest.find((one, at) => at >= i && one.bytes === smallest.bytes && share(one) >= wanted)!;
      }
      const bytes = share(next);
      if (bytes === 0) continue;
      chosen.push([next.piece, bytes]);
      wanted -= bytes;
      most -= bytes;
    }
    return chosen;
  }

  /**
   * Gives pieces back as it {@link choose chooses} them, in their own order when {@link isAll}. A piece that has gone since, or grown where it goes whole, stays.
   *
   * @throws the first error of `release`, after each chosen piece was tried
   */
  giveBack<T>(pieces: readonly T[], how: ReleasablePieces<T>): void {
    const release = (piece: T, bytes: number): void => {
      const has = how.bytesOf(piece);
      const isCut = (how.unitOf?.(piece) ?? 0) > 0;
      if (has > 0 && (isCut || has <= bytes)) how.release(piece, Math.min(has, bytes));
    };
    if (this.isAll) tryAll(pieces, (piece) => release(piece, Number.POSITIVE_INFINITY));
    else tryAll(this.choose(pieces, how), ([piece, bytes]) => release(piece, bytes));
  }
}

/** Gives all cached memory back. */
export const ALL_CACHED = new ReleaseBounds(Number.POSITIVE_INFINITY, Number.POSITIVE_INFINITY);
