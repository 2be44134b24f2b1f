import { lazy, libc } from './libc.js';

const moveFunction = lazy(() =>
  libc().func<(target: number, source: number, bytes: number) => void>('memmove', 'void', ['uintptr_t', 'uintptr_t', 'size_t']),
);
const setFunction = lazy(() =>
  libc().func<(address: number, value: number, bytes: number) => void>('memset', 'void', ['uintptr_t', 'int', 'size_t']),
);

/** Copies native memory; the ranges may overlap. Nothing is checked. */
export function moveBytes(target: number, source: number, bytes: number): void {
  moveFunction()(target, source, bytes);
}

/** Sets native memory to one byte value, 0 to 255. Nothing is checked. */
export function fillBytes(address: number, value: number, bytes: number): void {
  setFunction()(address, value, bytes);
}
