import { libcFunction } from './libc.js';

// memmove gives its target back: with nothing to move that is all it does.
const moveNothing = libcFunction('memmove', 'uintptr_t', ['uint8_t *', 'uintptr_t', 'size_t']);

/** The address of an ArrayBuffer's or SharedArrayBuffer's bytes. V8 never moves them; it frees them with the buffer. */
export function addressOf(buffer: ArrayBufferLike): number {
  return moveNothing(new Uint8Array(buffer), 0, 0);
}
