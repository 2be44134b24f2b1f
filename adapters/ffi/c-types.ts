import type { TypeObject } from 'koffi';
import { koffi } from './koffi.js';

/** The C types of what a native function takes, as koffi writes them, and what each is in JavaScript. */
export interface CValues {
  int: number;
  long: number;
  uint32_t: number;
  size_t: number;
  int64_t: number;
  uintptr_t: number;
  uint64_t: number | bigint;
  float: number;
  double: number;
  'const char *': string;
  'const char **': readonly string[];
  'uint8_t *': Uint8Array | null;
  'int *': Int32Array | null;
  'int32_t *': Int32Array;
  'int64_t *': BigInt64Array | null;
  'uint32_t *': Uint32Array | null;
  'uint64_t *': BigUint64Array | null;
  'float *': Float32Array | null;
  'double *': Float64Array | null;
}

/** The parameters of a native function, in order. */
export type CParameters = readonly (keyof CValues)[];

/** What a native function gives. */
export type CReturn = keyof CValues | 'void';

/** What a native function with such parameters takes, in order. */
export type CValuesOf<P extends CParameters> = { [I in keyof P]: CValues[P[I]] };

/** A native function of that type. One without a result gives undefined. */
export type CFunction<R extends CReturn, P extends CParameters> = (
  ...values: CValuesOf<P>
) => R extends keyof CValues ? CValues[R] : undefined;

/** By their text in C, more or less. koffi keeps each type that it makes, some 2.5 KB, until the process ends. */
const types = new Map<string, TypeObject>();

/** The type of a C function. Each signature has one. @param parameters - C types as koffi writes them */
export function functionType(result: string, parameters: readonly string[]): TypeObject {
  return once(`${result} (${parameters.join(', ')})`, () => koffi().proto(result, [...parameters]));
}

/** The type of a pointer to a C function. @param parameters - C types as koffi writes them */
export function functionPointerType(result: string, parameters: readonly string[]): TypeObject {
  return once(`${result} (*)(${parameters.join(', ')})`, () => koffi().pointer(functionType(result, parameters)));
}

/** The type of a C struct. @param fields - C types as koffi writes them */
export function structType(fields: Readonly<Record<string, string>>): TypeObject {
  return once(`struct ${JSON.stringify(fields)}`, () => koffi().struct({ ...fields }));
}

function once(text: string, make: () => TypeObject): TypeObject {
  const type = types.get(text) ?? make();
  types.set(text, type);
  return type;
}
