import { lazy, libc } from './libc.js';

type Identity = (bytes: Uint8Array, source: number, count: number) => number;

// memmove gives its target back: with nothing to move that is all it does.
const addressFunction = lazy(() => libc().func<Identity>('memmove', 'uintptr_t', ['uint8_t *', 'uintptr_t', 'size_t']));

/** The address of an ArrayBuffer's or SharedArrayBuffer's bytes. V8 never moves them; it frees them with the buffer. */
export function addressOf(buffer: ArrayBufferLike): number {
  return addressFunction()(new Uint8Array(buffer), 0, 0);
}
