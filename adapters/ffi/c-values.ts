/** The C types of what a native function takes, as koffi writes them, and what each is in JavaScript. */
export interface CValues {
  int: number;
  uint32_t: number;
  size_t: number;
  uintptr_t: number;
  uint64_t: number | bigint;
  'uint8_t *': Uint8Array | null;
  'int32_t *': Int32Array;
  'uint32_t *': Uint32Array | null;
  'uint64_t *': BigUint64Array | null;
}

/** What a native function with such parameters takes, in order. */
export type CValuesOf<P extends readonly (keyof CValues)[]> = { [I in keyof P]: CValues[P[I]] };
