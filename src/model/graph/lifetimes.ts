import { badArgument, checkArgument, MemoryError } from '../../core/errors.js';
import { alignUp, checkAlignment, checkBytes } from '../../core/units.js';

/** When each of some tensors is needed, and its size; number i of each list is tensor i. */
export interface LifetimeList {
  readonly bytes: ArrayLike<number>;
  /** The first step at which the tensor is needed. */
  readonly from: ArrayLike<number>;
  /** The first step at which it is not needed any more. */
  readonly until: ArrayLike<number>;
}

// The set of live tensors is kept once for this many tensors: a later search begins there.
const TENSORS_PER_CHECKPOINT = 256;

/**
 * Lifetimes in the order of birth, with what is asked about them: which others does one overlap, how much is alive at most.
 * Tensors of no bytes are left out. A tensor's place in this order is its rank.
 */
export class Lifetimes {
  /** How many ranks there are. */
  readonly count: number;
  /** The number in the list of each rank. */
  readonly numbers: Int32Array;
  /** Bytes of each rank, rounded up to the alignment. */
  readonly bytes: Float64Array;
  /** The steps that each rank lives. */
  readonly steps: Float64Array;
  /** The most that is alive at one step: no placement needs less. */
  readonly peakBytes: number;
  readonly #from: Float64Array;
  readonly #until: Float64Array;
  /** For each rank, the first one that is born after it has died. */
  readonly #bornAfter: Int32Array;
  readonly #checkpoints: Int32Array[] = [];

  /** @throws ERR_MEM_INVALID_SIZE, ERR_MEM_INVALID_ALIGNMENT, ERR_MEM_INVALID_ARGUMENT */
  constructor(list: LifetimeList, alignment: number) {
    checkList(list);
    checkAlignment(alignment);
    const { from, until } = list;
    this.numbers = Int32Array.from({ length: list.bytes.length }, (_, i) => i).filter((i) => list.bytes[i]! > 0);
    this.numbers.sort((a, b) => from[a]! - from[b]! || a - b);
    this.count = this.numbers.length;
    const column = (of: (number: number) => number) => Float64Array.from(this.numbers, of);
    this.bytes = column((number) => alignUp(list.bytes[number]!, Math.max(1, alignment)));
    this.#from = column((number) => from[number]!);
    this.#until = column((number) => until[number]!);
    this.steps = column((number) => until[number]! - from[number]!);
    this.#bornAfter = new Int32Array(this.count).fill(this.count);
    this.peakBytes = this.#sweep();
  }

  /**
   * Lists the ranks that live at a step at which `rank` lives, itself left out.
   *
   * Cost: O(number of them + 256 + the live ones at its birth).
   *
   * @param wanted - only ranks whose entry is not negative are listed
   * @param into - receives them: as long as {@link count}
   * @returns how many
   */
  overlapping(rank: number, wanted: Float64Array, into: Int32Array): number {
    // Locals: this is the inner loop of every placement.
    const until = this.#until;
    const born = this.#from[rank]!;
    const end = this.#bornAfter[rank]!;
    const checkpoint = Math.floor(rank / TENSORS_PER_CHECKPOINT);
    const live = this.#checkpoints[checkpoint]!;
    let found = 0;
    for (let i = 0; i < live.length; i++) {
      const other = live[i]!;
      if (until[other]! > born && wanted[other]! >= 0) into[found++] = other;
    }
    for (let other = checkpoint * TENSORS_PER_CHECKPOINT; other < rank; other++) {
      if (until[other]! > born && wanted[other]! >= 0) into[found++] = other;
    }
    for (let other = rank + 1; other < end; other++) {
      if (wanted[other]! >= 0) into[found++] = other;
    }
    return found;
  }

  /** Goes through births and deaths in order, notes who is born after each and the checkpoints, and gives the most bytes alive. */
  #sweep(): number {
    const deaths = Int32Array.from({ length: this.count }, (_, rank) => rank);
    deaths.sort((a, b) => this.#until[a]! - this.#until[b]!);
    let [alive, peak, dead] = [0, 0, 0];
    let live: number[] = [];
    for (let rank = 0; rank < this.count; rank++) {
      const now = this.#from[rank]!;
      for (; dead < this.count && this.#until[deaths[dead]!]! <= now; dead++) {
        alive -= this.bytes[deaths[dead]!]!;
        this.#bornAfter[deaths[dead]!] = rank;
      }
      alive += this.bytes[rank]!;
      peak = Math.max(peak, alive);
      if (rank % TENSORS_PER_CHECKPOINT === 0) {
        live = live.filter((other) => this.#until[other]! > now);
        this.#checkpoints.push(Int32Array.from(live));
      }
      live.push(rank);
    }
    if (!Number.isSafeInteger(peak)) throw new MemoryError('ERR_MEM_INVALID_SIZE', { bytes: peak });
    return peak;
  }
}

function checkList({ bytes, from, until }: LifetimeList): void {
  const isList = from.length === bytes.length && until.length === bytes.length;
  const lengths = `${bytes.length}, ${from.length} and ${until.length} entries`;
  checkArgument(isList, 'lifetimes', lengths, 'lists of one length');
  for (let i = 0; i < bytes.length; i++) {
    checkBytes(bytes[i]!);
    if (!(Number.isSafeInteger(from[i]) && Number.isSafeInteger(until[i]) && until[i]! > from[i]!)) {
      throw badArgument(`lifetime ${i}`, `from ${from[i]} until ${until[i]}`, 'integers, the second above the first');
    }
  }
}
