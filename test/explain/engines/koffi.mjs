import { createRequire } from 'node:module';

// A program that calls the C library through koffi, with callbacks.
const koffi = createRequire(import.meta.url)('koffi');
const libc = koffi.load('libc.so.6');
koffi.proto('int compare(const int *a, const int *b)');
const qsort = libc.func('void qsort(_Inout_ int *base, size_t count, size_t bytes, compare *fn)');
const malloc = libc.func('uintptr_t malloc(size_t bytes)');
const memset = libc.func('uintptr_t memset(uintptr_t at, int value, size_t bytes)');
for (let i = 0; i < 50; i++) memset(malloc(100_000), 1, 100_000);
const numbers = new Int32Array(1000).map((_, i) => (i * 7919) % 1000);
qsort(numbers, numbers.length, 4, (a, b) => koffi.decode(a, 'int') - koffi.decode(b, 'int'));
if (numbers[0] !== 0 || numbers[999] !== 999) throw new Error('not sorted');
