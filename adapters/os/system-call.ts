import { lazy, libc } from './libc.js';

type Numbers = Readonly<Partial<Record<string, number>>>;

/** A call of the kernel that the C library has no function for. */
export type SystemCall = (number: number, a: number, b: number, c: number, d: Int32Array | null, e: number, f: number) => number;

/** The kernel's numbers by machine. @see Source: asm/unistd.h of each architecture */
const FUTEX: Numbers = { x64: 202, arm64: 98, riscv64: 98, loong64: 98, arm: 240, ia32: 240, ppc64: 221, s390x: 238 };
const GETTID: Numbers = { x64: 186, arm64: 178, riscv64: 178, loong64: 178, arm: 224, ia32: 224, ppc64: 207, s390x: 236 };

/** The number of `futex` here; undefined where the kernel is not Linux. */
export const SYS_FUTEX = numberHere(FUTEX);
/** The number of `gettid` here; undefined where the kernel is not Linux. */
export const SYS_GETTID = numberHere(GETTID);

/**
 * The C library's `syscall`. Its arguments are variadic, but all of them are integers: those travel as in a fixed list on
 * every Linux machine above.
 */
export const systemCall = lazy(() =>
  libc().func<SystemCall>('syscall', 'long', ['long', 'uintptr_t', 'long', 'long', 'int32_t *', 'uintptr_t', 'long']),
);

function numberHere(numbers: Numbers): number | undefined {
  return process.platform === 'linux' ? numbers[process.arch] : undefined;
}
