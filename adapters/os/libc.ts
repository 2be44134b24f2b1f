import { MemoryError } from '../../src/core/errors.js';
import type { CFunction, CParameters, CReturn } from '../ffi/c-types.js';
import { cFunction, type NativeLibrary, openLibrary } from '../ffi/library.js';

const POSIX_NAMES: Partial<Record<NodeJS.Platform, readonly string[]>> = {
  darwin: ['libSystem.B.dylib', '/usr/lib/libSystem.B.dylib'],
  win32: ['ucrtbase.dll', 'msvcrt.dll'],
};
// glibc first; musl names its loader, which is the C library too, after the machine.
const LINUX_NAMES = ['libc.so.6', 'libc.so', `libc.musl-${muslMachine()}.so.1`, `/lib/ld-musl-${muslMachine()}.so.1`];

/** The names that the C library may have on a platform, the best first. */
export function libcNames(platform: NodeJS.Platform = process.platform): readonly string[] {
  return POSIX_NAMES[platform] ?? LINUX_NAMES;
}

/** The C library of this platform. @throws ERR_MEM_DEVICE_ABSENT */
export const libc: () => NativeLibrary = lazy(() => openLibrary(libcNames(), { device: 'libc' }));

/** The Windows system library. @throws ERR_MEM_DEVICE_ABSENT anywhere else */
export const kernel32: () => NativeLibrary = lazy(() => openLibrary(['kernel32.dll'], { device: 'kernel32' }));

/**
 * A function of the C library that is declared when it is first called: a module that has one loads no native code.
 *
 * @param result - a C type as koffi writes it
 * @param parameters - C types as koffi writes them
 */
export function libcFunction<R extends CReturn, const P extends CParameters>(
  name: string,
  result: R,
  parameters: P,
): CFunction<R, P> {
  const declared = lazy(() => cFunction(libc(), name, result, parameters));
  return (...values) => declared()(...values);
}

/** Throws unless this system has something. @throws ERR_MEM_UNSUPPORTED_PLATFORM */
export function checkSystem(has: boolean, what: string): void {
  if (!has) throw new MemoryError('ERR_MEM_UNSUPPORTED_PLATFORM', { what, platform: process.platform });
}

/** Makes something when it is first asked for, and keeps it. */
export function lazy<T>(make: () => T): () => T {
  let made: { readonly value: T } | undefined;
  return () => {
    made ??= { value: make() };
    return made.value;
  };
}

function muslMachine(): string {
  return (
    ({ x64: 'x86_64', arm64: 'aarch64', arm: 'armhf', ia32: 'i386' } as Record<string, string>)[process.arch] ?? process.arch
  );
}

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
function loaderFunction<R extends CReturn, const P extends CParameters>(name: string, result: R, parameters: P): CFunction<R, P> {
  return (
    libc().optional<CFunction<R, P>>(name, result, parameters) ??
    openLibrary(['libdl.so.2']).func<CFunction<R, P>>(name, result, parameters)
  );
}
