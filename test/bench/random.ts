/** Numbers from 0 to 1 that are the same in every run. @see Source: Marsaglia, Xorshift RNGs, 2003 */
export function createRandom(): () => number {
  let state = 0x9e3779b9;
  return () => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) / 2 ** 32;
  };
}
