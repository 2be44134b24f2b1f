import type { CFunction, CParameters, CResult } from '../ffi/c-types.js';
import { cFunction, openLibrary } from '../ffi/library.js';
import { kernel32, lazy, libc } from './libc.js';

const RTLD_LAZY = 1;
/** Finds what is loaded and loads nothing. */
const RTLD_NOLOAD = process.platform === 'darwin' ? 0x10 : 4;

const open = lazy(() => loaderFunction('dlopen', 'uintptr_t', ['const char *', 'int']));
const close = lazy(() => loaderFunction('dlclose', 'int', ['uintptr_t']));
const moduleHandle = lazy(() => cFunction(kernel32(), 'GetModuleHandleA', 'uintptr_t', ['const char *']));

/** Whether this process has loaded a library, whoever did it. @param name - its path, or its name as the loader knows it */
export function isLibraryLoaded(name: string): boolean {
  if (process.platform === 'win32') return moduleHandle()(name) !== 0;
  const handle = open()(name, RTLD_LAZY | RTLD_NOLOAD);
  if (handle !== 0) close()(handle);
  return handle !== 0;
}

/** A function of the dynamic loader. A glibc before 2.34 has them in a library of their own. */
function loaderFunction<R extends CResult, const P extends CParameters>(name: string, result: R, parameters: P): CFunction<R, P> {
  return (
    libc().optional<CFunction<R, P>>(name, result, parameters) ??
    openLibrary(['libdl.so.2']).func<CFunction<R, P>>(name, result, parameters)
  );
}
