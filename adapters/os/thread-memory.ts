import { orUndo } from '../../src/core/attempt.js';
import { MiB } from '../../src/core/units.js';
import { koffi } from '../ffi/koffi.js';
import { cFunction } from '../ffi/library.js';
import { type NativeHeap, PROCESS_HEAP } from './aligned-memory.js';
import { readInt64s, writeUint64 } from './bytes.js';
import { lazy, libc, libcNames } from './libc.js';
import { MAP_ANONYMOUS, MAP_FIXED, MAP_PRIVATE, type MapOptions, mapPages, pageBytes, unmapPages } from './mapping.js';

/** Functions of glibc, declared before there is memory: the garbage collector must not be what declares one. */
const heapFunctions = lazy(() => ({
  allocate: cFunction(libc(), 'posix_memalign', 'int', ['uintptr_t', 'size_t', 'size_t']),
  newNode: cFunction(libc(), 'calloc', 'uintptr_t', ['size_t', 'size_t']),
  release: cFunction(libc(), 'free', 'void', ['uintptr_t']),
}));

// The fields of glibc's `struct addrinfo` on 64-bit machines. @see Source: netdb.h
const NODE_BYTES = 48;
const PAYLOAD = 32;
const NEXT = 40;
const MACHINES = ['x64', 'arm64', 'riscv64', 'loong64'];

// glibc gives larger blocks mappings of their own. @see Source: malloc.c, DEFAULT_MMAP_THRESHOLD_MAX
const OWN_MAPPING_BYTES = 32 * MiB;

/**
 * Memory that ends with a worker's thread, also when `terminate()` ends it, which runs no more JavaScript.
 *
 * The C library frees it when the thread exits, after its isolate is gone. No code of ours can run then, so a function of
 * glibc does it: `freeaddrinfo` walks a list and frees each node and what the node's `ai_canonname` points to. Each block
 * here is attached to such a node. The thread can be stopped between any two calls: a block is written into its node by the
 * call that allocates it, and leaves the node before it is freed, so that none is freed twice.
 *
 * @see Source: glibc's sysdeps/posix/getaddrinfo.c and stdlib/cxa_thread_atexit_impl.c
 */
class ThreadHeap implements NativeHeap {
  readonly #nodes = new Map<number, number>();
  readonly #empty: number[] = [];
  readonly #read = new Float64Array(1);
  #last: number;

  /** @param head - the first node, which holds no block */
  constructor(head: number) {
    this.#last = head;
  }

  has(address: number): boolean {
    return this.#nodes.has(address);
  }

  allocate(bytes: number, alignment: number, alone = false): number {
    const node = this.#empty.pop() ?? this.#append();
    if (node === 0) return 0;
    if (heapFunctions().allocate(node + PAYLOAD, alignment, alone ? bytes + OWN_MAPPING_BYTES : bytes) !== 0) {
      this.#empty.push(node);
      return 0;
    }
    readInt64s(node + PAYLOAD, this.#read);
    const address = this.#read[0] as number;
    this.#nodes.set(address, node);
    return address;
  }

  free(address: number): void {
    const node = this.#nodes.get(address) as number;
    writeUint64(node + PAYLOAD, 0);
    this.#nodes.delete(address);
    heapFunctions().release(address);
    this.#empty.push(node);
  }

  #append(): number {
    const node = heapFunctions().newNode(1, NODE_BYTES);
    if (node === 0) return 0;
    writeUint64(this.#last + NEXT, node);
    this.#last = node;
    return node;
  }
}

const threadHeapHere = lazy(() => (process.getBuiltinModule('node:worker_threads').isMainThread ? undefined : openThreadHeap()));

/** In a worker on glibc memory that ends with its thread; elsewhere {@link PROCESS_HEAP}. Loads the C library at its first call. */
export const THREAD_HEAP: NativeHeap = {
  allocate: (bytes, alignment, alone) => (threadHeapHere() ?? PROCESS_HEAP).allocate(bytes, alignment, alone),
  free: (address) => (threadHeapHere() ?? PROCESS_HEAP).free(address),
};

/**
 * Maps pages as `mapPages` does; in a worker on glibc they end with its thread. (Those that the C library does not give,
 * as a file larger than the machine's memory, do not.)
 *
 * @throws ERR_MEM_NATIVE, ERR_MEM_UNSUPPORTED_PLATFORM on Windows
 */
export function mapThreadPages(bytes: number, options: MapOptions = {}): number {
  return mapEndingPages(bytes, options, pageBytes()) || mapPages(bytes, options);
}

/**
 * As {@link mapThreadPages}, but maps nothing that would outlive its thread.
 *
 * @param alignment - bytes, a power of two from a page on
 * @returns 0 when the C library has no room: mostly for more than the machine's memory
 * @throws ERR_MEM_NATIVE, ERR_MEM_UNSUPPORTED_PLATFORM on Windows
 */
export function mapEndingPages(bytes: number, options: MapOptions, alignment: number): number {
  const heap = threadHeapHere();
  if (heap === undefined) return mapAligned(bytes, options, alignment);
  const address = heap.allocate(bytes, alignment, true);
  if (address === 0) return 0;
  const { flags = MAP_PRIVATE | MAP_ANONYMOUS } = options;
  return orUndo(
    () => mapPages(bytes, { ...options, address, flags: flags | MAP_FIXED }),
    () => heap.free(address),
  );
}

/** Unmaps all that {@link mapThreadPages} or {@link mapEndingPages} mapped. @throws ERR_MEM_NATIVE */
export function unmapThreadPages(address: number, bytes: number): void {
  const heap = threadHeapHere();
  if (heap?.has(address)) heap.free(address);
  else unmapPages(address, bytes);
}

/** Maps `slack` more and cuts both ends off. */
function mapAligned(bytes: number, options: MapOptions, alignment: number): number {
  const slack = alignment - pageBytes();
  const mapped = mapPages(bytes + slack, options);
  const base = Math.ceil(mapped / alignment) * alignment;
  const end = mapped + bytes + slack;
  if (base > mapped) unmapPages(mapped, base - mapped);
  if (end > base + bytes) unmapPages(base + bytes, end - base - bytes);
  return base;
}

/** @returns undefined where the C library is not glibc, or another heap is in the place of its own */
function openThreadHeap(): ThreadHeap | undefined {
  if (process.platform !== 'linux' || !MACHINES.includes(process.arch)) return undefined;
  if (libc().optional('gnu_get_libc_version', 'uintptr_t', []) === undefined) return undefined;
  const own = koffi().load(libcNames()[0] as string);
  const addressOf = (library: typeof own, name: string) => Number(koffi().address(library.symbol(name)));
  // Not of `free` itself: Node has a stub of it.
  if (addressOf(own, 'posix_memalign') !== addressOf(koffi().load(null), 'posix_memalign')) return undefined;
  const atThreadExit = cFunction(libc(), '__cxa_thread_atexit_impl', 'int', ['uintptr_t', 'uintptr_t', 'uintptr_t']);
  const head = heapFunctions().newNode(1, NODE_BYTES);
  const release = addressOf(own, 'freeaddrinfo');
  // The last argument is any address of the library that the function is of.
  if (head === 0 || atThreadExit(release, head, release) !== 0) return undefined;
  return new ThreadHeap(head);
}
