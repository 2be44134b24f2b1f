/** The most bytes that {@link writeDecimal} writes, and behind which it writes nothing. */
export const MAX_DECIMAL_BYTES = 28;

const FOUR_DIGITS = 1e4;
const EIGHT_DIGITS = 1e8;
const SIXTEEN_DIGITS = 1e16;
/** Numbers from here on have more digits than there is room for. No address and no size comes near. */
const END = 1e24;
const MINUS = 0x2d;
const ZERO = 0x30;
/** The digits of 0 to 9999 with leading zeros, each as the four bytes that a little-endian store writes in order. */
const QUADS = new Uint32Array(FOUR_DIGITS);

/**
 * Writes an integer in decimal digits, four at a time. Exact to 2^53; a fraction is cut off, and what is no number or has more
 * than 24 digits becomes 0. Bytes behind the digits may be overwritten, up to {@link MAX_DECIMAL_BYTES} in all. Cost: O(digits).
 *
 * @returns the place behind the digits
 */
export function writeDecimal(view: DataView, at: number, value: number): number {
  if (QUADS[0] === 0) fillQuads();
  if (value >= 0 && value < EIGHT_DIGITS) return writeShort(view, at, value | 0);
  if (value >= 0 && value < SIXTEEN_DIGITS) {
    const high = Math.floor(value / EIGHT_DIGITS) | 0;
    return writeEight(view, writeShort(view, at, high), (value - high * EIGHT_DIGITS) | 0);
  }
  return writeUnusual(view, at, Math.trunc(value));
}

/** As {@link writeDecimal} for numbers that a call hardly ever has: negative ones, and those beyond 2^53. */
function writeUnusual(view: DataView, at: number, value: number): number {
  if (value < 0) {
    view.setUint8(at, MINUS);
    return writeDecimal(view, at + 1, -value);
  }
  if (!(value >= SIXTEEN_DIGITS && value < END)) return writeShort(view, at, 0);
  const low = value % EIGHT_DIGITS;
  return writeEight(view, writeDecimal(view, at, (value - low) / EIGHT_DIGITS), low);
}

/** Writes an integer of up to eight digits. */
function writeShort(view: DataView, at: number, value: number): number {
  if (value < FOUR_DIGITS) return writeLeading(view, at, value);
  const high = (value / FOUR_DIGITS) | 0;
  const next = writeLeading(view, at, high);
  view.setUint32(next, QUADS[value - high * FOUR_DIGITS]!, true);
  return next + 4;
}

/** Writes an integer of up to four digits, without its leading zeros. */
function writeLeading(view: DataView, at: number, value: number): number {
  // By the signs of differences: branches on sizes of all kinds are guessed wrong too often.
  const digits = 1 + ((9 - value) >>> 31) + ((99 - value) >>> 31) + ((999 - value) >>> 31);
  view.setUint32(at, QUADS[value]! >>> (32 - 8 * digits), true);
  return at + digits;
}

/** Writes an integer below 10^8 with all its eight digits. */
function writeEight(view: DataView, at: number, value: number): number {
  const high = (value / FOUR_DIGITS) | 0;
  view.setUint32(at, QUADS[high]!, true);
  view.setUint32(at + 4, QUADS[value - high * FOUR_DIGITS]!, true);
  return at + 8;
}

/** At the first number that is written: every program that imports this package would wait for it. */
function fillQuads(): void {
  const digit = (value: number, power: number) => ZERO + (Math.floor(value / power) % 10);
  for (let value = 0; value < FOUR_DIGITS; value++) {
    QUADS[value] = digit(value, 1000) | (digit(value, 100) << 8) | (digit(value, 10) << 16) | (digit(value, 1) << 24);
  }
}
