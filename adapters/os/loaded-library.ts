import { openLibrary } from '../ffi/library.js';
import { kernel32, lazy, libc } from './libc.js';

type Open = (name: string, flags: number) => number;
type Close = (handle: number) => number;

const RTLD_LAZY = 1;
/** Finds what is loaded and loads nothing. */
const RTLD_NOLOAD = process.platform === 'darwin' ? 0x10 : 4;

const OPEN_PARAMETERS = ['const char *', 'int'];
const open = lazy(
  () =>
    libc().optional<Open>('dlopen', 'uintptr_t', OPEN_PARAMETERS) ??
    // A glibc before 2.34 has it in a library of its own.
    openLibrary(['libdl.so.2']).func<Open>('dlopen', 'uintptr_t', OPEN_PARAMETERS),
);
const close = lazy(
  () =>
    libc().optional<Close>('dlclose', 'int', ['uintptr_t']) ??
    openLibrary(['libdl.so.2']).func<Close>('dlclose', 'int', ['uintptr_t']),
);
const moduleHandle = lazy(() => kernel32().func<(name: string) => number>('GetModuleHandleA', 'uintptr_t', ['const char *']));

/** Whether this process has loaded a library, whoever did it. @param name - its path, or its name as the loader knows it */
export function isLibraryLoaded(name: string): boolean {
  if (process.platform === 'win32') return moduleHandle()(name) !== 0;
  const handle = open()(name, RTLD_LAZY | RTLD_NOLOAD);
  if (handle !== 0) close()(handle);
  return handle !== 0;
}
