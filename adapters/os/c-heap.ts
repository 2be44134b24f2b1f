import { MiB } from '../../src/core/units.js';
import type { CFunction, CParameters, CReturn } from '../ffi/c-types.js';
import { addressOfBytes } from './bytes.js';
import { lazy, libc } from './libc.js';

/** Longer than the text about some hundred arenas. */
const INFO_BYTES = MiB;

function declared<R extends CReturn, const P extends CParameters>(name: string, result: R, parameters: P) {
  return lazy(() => libc().optional<CFunction<R, P>>(name, result, parameters));
}

const mallocInfo = declared('malloc_info', 'int', ['int', 'uintptr_t']);
const openBuffer = declared('fmemopen', 'uintptr_t', ['uintptr_t', 'size_t', 'const char *']);
const closeFile = declared('fclose', 'int', ['uintptr_t']);

/**
 * What glibc says of its heap: `malloc_info`'s XML, by arena. Cost: it locks each arena and walks what is free, some us to ms.
 *
 * @returns undefined where the C library is another one
 * @throws ERR_MEM_DEVICE_ABSENT where native functions cannot be called
 */
export function cHeapText(): string | undefined {
  const info = mallocInfo();
  const open = openBuffer();
  const close = closeFile();
  if (info === undefined || open === undefined || close === undefined) return undefined;
  const bytes = Buffer.alloc(INFO_BYTES);
  const file = open(addressOfBytes(bytes), INFO_BYTES - 1, 'w');
  if (file === 0) return undefined;
  const failed = info(0, file) !== 0;
  // It holds the text until now.
  close(file);
  return failed ? undefined : bytes.toString('latin1', 0, Math.max(0, bytes.indexOf(0)));
}
