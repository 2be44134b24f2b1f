import { lazy, libc } from './libc.js';

type Read = (target: Uint32Array, source: number, bytes: number) => void;
type Write = (target: number, source: Uint32Array | Float32Array, bytes: number) => void;

const WORD = 2 ** 32;
const MAX_WORDS = 16;

const readFunction = lazy(() => libc().func<Read>('memmove', 'void', ['uint32_t *', 'uintptr_t', 'size_t']));
const writeFunction = lazy(() => libc().func<Write>('memmove', 'void', ['uintptr_t', 'void *', 'size_t']));
const lengthFunction = lazy(() => libc().func<(address: number) => number>('strlen', 'size_t', ['uintptr_t']));
const bytesFunction = lazy(() =>
  libc().func<(target: Uint8Array, source: number, bytes: number) => void>('memmove', 'void', [
    'uint8_t *',
    'uintptr_t',
    'size_t',
  ]),
);

const words = new Uint32Array(MAX_WORDS);
const floats = new Float32Array(1);

/**
 * Reads 64-bit signed numbers at an address that C gave. Nothing is checked. Cost: a call of the C library.
 *
 * @param out - takes as many as it has room for, at most 8; one beyond 2^53 loses its low bits
 */
export function readInt64s(address: number, out: Float64Array): void {
  readFunction()(words, address, 8 * out.length);
  for (let i = 0; i < out.length; i++) out[i] = (words[2 * i] as number) + ((words[2 * i + 1] as number) | 0) * WORD;
}

/** Writes an address or a size to where C wants it. Nothing is checked. */
export function writeUint64(address: number, value: number): void {
  words[0] = value % WORD;
  words[1] = value / WORD;
  writeFunction()(address, words, 8);
}

/** Writes a C int, 0 to 2^31 - 1, to where C wants it. Nothing is checked. */
export function writeInt32(address: number, value: number): void {
  words[0] = value;
  writeFunction()(address, words, 4);
}

/** Writes a C float to where C wants it. Nothing is checked. */
export function writeFloat(address: number, value: number): void {
  floats[0] = value;
  writeFunction()(address, floats, 4);
}

/** Reads a C string; null is the empty one. Nothing is checked. */
export function readCString(address: number): string {
  if (address === 0) return '';
  const bytes = new Uint8Array(lengthFunction()(address));
  if (bytes.length > 0) bytesFunction()(bytes, address, bytes.length);
  return new TextDecoder().decode(bytes);
}
