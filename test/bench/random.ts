/** Numbers from 0 to 1 that are the same in every run of a seed. @see Source: Marsaglia, Xorshift RNGs, 2003 */
export function createRandom(seed = 1): () => number {
  let state = Math.imul(0x9e3779b9, seed) || 1;
  return () => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) / 2 ** 32;
  };
}
