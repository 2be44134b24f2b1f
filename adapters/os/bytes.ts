import type { DevicePtr } from '../../src/core/units.js';
import { cFunction } from '../ffi/library.js';
import { lazy, libc, libcFunction } from './libc.js';

const WORD = 2 ** 32;
const MAX_WORDS = 16;

// Called often: by way of libcFunction, whose one function body calls all functions, each call costs 20 ns more.
const move = lazy(() => cFunction(libc(), 'memmove', 'void', ['uintptr_t', 'uintptr_t', 'size_t']));
const set = lazy(() => cFunction(libc(), 'memset', 'void', ['uintptr_t', 'int', 'size_t']));
const read = lazy(() => cFunction(libc(), 'memmove', 'void', ['uint32_t *', 'uintptr_t', 'size_t']));
const write = lazy(() => cFunction(libc(), 'memmove', 'void', ['uintptr_t', 'uint32_t *', 'size_t']));

const stringLength = libcFunction('strlen', 'size_t', ['uintptr_t']);

/** Copies native memory; the ranges may overlap. Nothing is checked. */
export function moveBytes(target: number, source: number, bytes: number): void {
  move()(target, source, bytes);
}

/** Copies bytes of JavaScript to native memory. Nothing is checked. */
export const copyIn = libcFunction('memmove', 'void', ['uintptr_t', 'uint8_t *', 'size_t']);

/** Copies native memory to bytes of JavaScript. Nothing is checked. */
export const copyOut = libcFunction('memmove', 'void', ['uint8_t *', 'uintptr_t', 'size_t']);

/** Sets native memory to one byte value, 0 to 255. Nothing is checked. */
export function fillBytes(address: number, value: number, bytes: number): void {
  set()(address, value, bytes);
}

/** Copies native memory into an array. Nothing is checked. */
export function readWords(target: Uint32Array, source: number, bytes: number): void {
  read()(target, source, bytes);
}

/** Copies an array into native memory. Nothing is checked. */
export function writeWords(target: number, source: Uint32Array, bytes: number): void {
  write()(target, source, bytes);
}

const words = new Uint32Array(MAX_WORDS);
const floats = new Float32Array(words.buffer);

/**
 * Reads 64-bit signed numbers at an address that C gave. Nothing is checked. Cost: a call of the C library.
 *
 * @param out - takes as many as it has room for, at most 8; one beyond 2^53 loses its low bits
 */
export function readInt64s(address: number, out: Float64Array): void {
  readWords(words, address, 8 * out.length);
  for (let i = 0; i < out.length; i++) out[i] = (words[2 * i] as number) + ((words[2 * i + 1] as number) | 0) * WORD;
}

/** The 64-bit number that C has left in two words. One beyond 2^53 loses its low bits. */
export function numberIn(out: Uint32Array): number {
  return (out[0] as number) + (out[1] as number) * WORD;
}

/** Writes an address or a size to an address that C gave. Nothing is checked. */
export function writeUint64(address: number, value: number): void {
  words[0] = value % WORD;
  words[1] = value / WORD;
  writeWords(address, words, 8);
}

/** Writes a C int, 0 to 2^31 - 1, to an address that C gave. Nothing is checked. */
export function writeInt32(address: number, value: number): void {
  words[0] = value;
  writeWords(address, words, 4);
}

/** Writes a C float to an address that C gave. Nothing is checked. */
export function writeFloat(address: number, value: number): void {
  floats[0] = value;
  writeWords(address, words, 4);
}

/** Reads a C string; null is the empty one. Nothing is checked. */
export function readCString(address: number): string {
  if (address === 0) return '';
  const bytes = new Uint8Array(stringLength(address));
  if (bytes.length > 0) copyOut(bytes, address, bytes.length);
  return new TextDecoder().decode(bytes);
}

// memmove gives its target back: with nothing to move that is all it does.
const moveNothing = libcFunction('memmove', 'uintptr_t', ['uint8_t *', 'uintptr_t', 'size_t']);

/** The address of an array's first byte; see {@link addressOf}. */
export function addressOfBytes(array: Uint8Array): DevicePtr {
  return (addressOf(array.buffer) + array.byteOffset) as DevicePtr;
}

/** The address of an ArrayBuffer's or SharedArrayBuffer's bytes. V8 never moves them; it frees them with the buffer. */
export function addressOf(buffer: ArrayBufferLike): number {
  return moveNothing(new Uint8Array(buffer), 0, 0);
}
