import { type NativeLibrary, openLibrary } from '../ffi/library.js';

const POSIX_NAMES: Partial<Record<NodeJS.Platform, readonly string[]>> = {
  darwin: ['libSystem.B.dylib', '/usr/lib/libSystem.B.dylib'],
  win32: ['ucrtbase.dll', 'msvcrt.dll'],
};
// glibc first; musl names its loader, which is the C library too, after the machine.
const LINUX_NAMES = ['libc.so.6', 'libc.so', `libc.musl-${muslMachine()}.so.1`, `/lib/ld-musl-${muslMachine()}.so.1`];

let library: NativeLibrary | undefined;
let system: NativeLibrary | undefined;

/** The names that the C library may have on a platform, the best first. */
export function libcNames(platform: NodeJS.Platform = process.platform): readonly string[] {
  return POSIX_NAMES[platform] ?? LINUX_NAMES;
}

/** The C library of this platform. @throws ERR_MEM_DEVICE_ABSENT */
export function libc(): NativeLibrary {
  library ??= openLibrary(libcNames(), { device: 'libc' });
  return library;
}

/** The Windows system library. @throws ERR_MEM_DEVICE_ABSENT anywhere else */
export function kernel32(): NativeLibrary {
  system ??= openLibrary(['kernel32.dll'], { device: 'kernel32' });
  return system;
}

/** Declares a function when it is first called, and keeps it: a module that does so loads no native code. */
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
