const FLOAT = new Float32Array(1);
const BITS = new Uint32Array(FLOAT.buffer);

/** The number that 16 bits of IEEE half precision (f16) stand for. */
export function float16Value(bits: number): number {
  const sign = bits & 0x8000 ? -1 : 1;
  const exponent = (bits >>> 10) & 0x1f;
  const fraction = bits & 0x3ff;
  if (exponent === 0) return sign * fraction * 2 ** -24;
  if (exponent === 0x1f) return fraction === 0 ? sign * Number.POSITIVE_INFINITY : Number.NaN;
  return sign * (1 + fraction / 1024) * 2 ** (exponent - 15);
}

/** The f16 nearest to a number, as 16 bits; of two equally near the even one, and infinity from 65520 on. */
export function float16Bits(value: number): number {
  const sign = value < 0 || Object.is(value, -0) ? 0x8000 : 0;
  const size = Math.abs(value);
  if (Number.isNaN(value)) return 0x7e00;
  if (size >= 65520) return sign | 0x7c00;
  if (size < 2 ** -14) return sign | roundToEven(size * 2 ** 24);
  // Below 2^-14 * 2^30: the logarithm may be off by a rounding, so that the exponent is checked.
  let exponent = Math.floor(Math.log2(size));
  if (2 ** exponent > size) exponent--;
  // A fraction that is rounded up to 1 carries into the exponent.
  return sign | (((exponent + 15) << 10) + roundToEven((size / 2 ** exponent - 1) * 1024));
}

/** The number that 16 bits of bfloat16 (bf16) stand for. */
export function bfloat16Value(bits: number): number {
  BITS[0] = bits << 16;
  return FLOAT[0]!;
}

/** The bf16 nearest to a number (rounded to f32 first), as 16 bits; of two equally near the even one. */
export function bfloat16Bits(value: number): number {
  FLOAT[0] = value;
  const bits = BITS[0]!;
  if (Number.isNaN(value)) return (bits >>> 16) | 0x40;
  return ((bits + 0x7fff + ((bits >>> 16) & 1)) >>> 16) & 0xffff;
}

function roundToEven(value: number): number {
  const below = Math.floor(value);
  const rest = value - below;
  return rest > 0.5 || (rest === 0.5 && below % 2 === 1) ? below + 1 : below;
}
