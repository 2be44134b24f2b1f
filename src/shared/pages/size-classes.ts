// Payloads in granules. Each power of two has eight classes; below eight granules each size is one.
const SMALLEST = 2;
const CLASSES = 8;
const LOW_LEVEL = 3;
const LARGEST_LEVEL = 19;
const LARGEST_CLASS = 2 ** LARGEST_LEVEL;

/** The bin of pages whose payload is above 16 MiB: they are of any size. */
export const LARGE_BIN = CLASSES * (LARGEST_LEVEL - LOW_LEVEL + 1) + 1;
export const BIN_COUNT = LARGE_BIN + 1;

/**
 * The smallest class that holds a payload: at most an eighth larger. Powers of two are classes, from 64 bytes to 16 MiB;
 * above that every size is its own.
 *
 * @param granules - above 0
 * @see Source: hermes-shm, whose classes are 2^6 to 2^24 bytes; in eighths as in TLSF (Masmano and others, 2004)
 */
export function classOf(granules: number): number {
  if (granules < CLASSES) return granules < SMALLEST ? SMALLEST : granules;
  if (granules > LARGEST_CLASS) return granules;
  const step = 1 << (31 - Math.clz32(granules) - LOW_LEVEL);
  return (granules + step - 1) & -step;
}

/** The bin of a payload; all payloads in a bin are at least as large as the class that begins it. */
export function binOf(granules: number): number {
  if (granules < CLASSES) return granules;
  if (granules > LARGEST_CLASS) return LARGE_BIN;
  const level = 31 - Math.clz32(granules);
  return CLASSES * (level - LOW_LEVEL + 1) + ((granules >>> (level - LOW_LEVEL)) & (CLASSES - 1));
}
