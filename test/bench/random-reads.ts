import { createRandom } from './random.js';
import { median } from './statistics.js';
import { timed } from './thread-time.js';

/** As a cache line, and about what an allocator keeps of a block. */
export const ROW_BYTES = 64;
const ROW_WORDS = ROW_BYTES / Int32Array.BYTES_PER_ELEMENT;
const PART_READS = 100_000;
const PARTS = 15;

/**
 * Measures what one read of a row costs that the machine cannot foresee: each row tells where the next one lies.
 *
 * @returns ns a read, the median over parts
 */
export function measureRandomReads(rows: number): number {
  const table = randomCycle(rows);
  let row = 0;
  follow(rows);
  return median(Array.from({ length: PARTS }, () => timed(() => follow(PART_READS)) / PART_READS));

  function follow(reads: number): void {
    let at = row;
    for (let i = 0; i < reads; i++) at = table[at * ROW_WORDS]!;
    row = at;
  }
}

/** Rows whose first word is the number of another row, all of them on one way round. @see Source: Sattolo, 1986 */
export function randomCycle(rows: number): Int32Array {
  const random = createRandom();
  const order = Int32Array.from({ length: rows }, (_, row) => row);
  for (let i = rows - 1; i > 0; i--) {
    const other = Math.floor(random() * i);
    const row = order[i]!;
    order[i] = order[other]!;
    order[other] = row;
  }
  const table = new Int32Array(rows * ROW_WORDS);
  for (let row = 0; row < rows; row++) table[row * ROW_WORDS] = order[row]!;
  return table;
}
