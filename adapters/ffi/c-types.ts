import type { TypeObject } from 'koffi';
import { koffi } from './koffi.js';

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
  let type = types.get(text);
  if (type === undefined) {
    type = make();
    types.set(text, type);
  }
  return type;
}
