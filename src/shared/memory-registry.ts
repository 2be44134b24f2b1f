import { orUndo } from '../core/attempt.js';
import { counted } from '../core/counted.js';
import { checkArgument } from '../core/errors.js';
import { INSPECT, inspected } from '../core/inspect.js';
import { checkOptionNames } from '../core/option-names.js';
import { MallocAllocator } from './allocators/malloc-allocator.js';
import { type PageAllocator, ScalablePageAllocator } from './allocators/page-allocator.js';
import { type AllocatorId, allocatorKey, type SharedAllocatorOptions } from './allocators/shared-allocator.js';
import { ThreadLocalAllocator } from './allocators/thread-local-allocator.js';
import { checkSegment } from './backends/backend-errors.js';
import { attachBackendAt, type BackendAttachOptions, type BackendOptions, createBackendOf } from './backends/backend-factory.js';
import type { BackendType } from './backends/backend-header.js';
import type { MemoryBackend } from './backends/memory-backend.js';
import type { PageAllocatorInit } from './pages/format.js';
import type { SharedRegion } from './shared-region.js';

/** A type of allocator: how one is made in an empty region, and how another thread opens it. */
export interface SharedAllocatorType {
  /** Its name in headers and tables. */
  readonly type: string;
  shmInit(region: SharedRegion, init: PageAllocatorInit): RegisteredAllocator;
  /** What another thread can open keeps its state in the region. */
  shmDeserialize(region: SharedRegion, options?: SharedAllocatorOptions): PageAllocator;
}

/** The allocators that come with the library, by the names of their types. */
export interface AllocatorsByType {
  readonly malloc: MallocAllocator;
  readonly 'scalable-page': ScalablePageAllocator;
  readonly 'thread-local': ThreadLocalAllocator;
}

/** The name of a type of allocator that comes with the library. */
export type AllocatorTypeName = keyof AllocatorsByType;

/** An allocator of any type that comes with the library. `instanceof PageAllocator` tells whether it can share its blocks. */
export type RegisteredAllocator = MallocAllocator | PageAllocator;

/** The types of allocators that come with the library, by name. */
export const ALLOCATOR_TYPES: Readonly<Record<AllocatorTypeName, SharedAllocatorType>> = Object.freeze({
  [MallocAllocator.type]: MallocAllocator,
  [ScalablePageAllocator.type]: ScalablePageAllocator,
  [ThreadLocalAllocator.type]: ThreadLocalAllocator,
});

/**
 * The backends and allocators that this thread knows, by their ids. An id means the same in every process: it is in the
 * header.
 */
export class MemoryRegistry {
  readonly #backends = new Map<number, MemoryBackend>();
  readonly #allocators = new Map<string, readonly [allocator: RegisteredAllocator, backendId: number]>();

  /**
   * Creates a backend.
   *
   * @param bytes - of its region
   * @param url - for those that have a name: `shm:name` or the name, a file's path or `file:` url
   * @throws ERR_MEM_INVALID_ARGUMENT when the id is taken here or something is missing, ERR_MEM_SEGMENT_EXISTS,
   *   ERR_MEM_OUT_OF_MEMORY, ERR_MEM_INVALID_SIZE, ERR_MEM_NATIVE
   */
  createBackend(type: BackendType, id: number, bytes: number, url?: string, options: BackendOptions = {}): MemoryBackend {
    this.#checkBackendIdIsFree(id);
    const backend = createBackendOf(type, { id, bytes, url }, options);
    this.#backends.set(id, backend);
    return backend;
  }

  /**
   * Attaches to a backend, and to its allocator if it has one already.
   *
   * @throws ERR_MEM_SEGMENT_ABSENT, ERR_MEM_NATIVE; ERR_MEM_BAD_SEGMENT also for one that others than this user may open,
   *   unless `foreign` is set; ERR_MEM_INVALID_ARGUMENT when its id, or its allocator's, is taken here
   */
  attachBackend(url: string, options?: BackendAttachOptions): MemoryBackend {
    const backend = attachBackendAt(url, options);
    const register = () => {
      this.#checkBackendIdIsFree(backend.id);
      this.#backends.set(backend.id, backend);
      if (backend.allocator.read() !== undefined) this.attachAllocator(backend.id);
    };
    orUndo(register, () => {
      if (this.#backends.get(backend.id) === backend) this.#backends.delete(backend.id);
      backend.detach();
    });
    return backend;
  }

  /** The backend of that id. @throws ERR_MEM_INVALID_ARGUMENT when this registry has none */
  getBackend(id: number): MemoryBackend {
    const backend = this.#backends.get(id);
    checkArgument(backend !== undefined, 'the backend id', id, 'the id of a backend that was created or attached here');
    return backend;
  }

  /**
   * Creates the allocator of a backend, under an id that no other allocator has in any process that will attach.
   *
   * @throws ERR_MEM_INVALID_ARGUMENT for an unknown type or backend, and an id that is taken here
   * @throws ERR_MEM_BAD_SEGMENT when the backend has an allocator, and what the allocator throws
   */
  createAllocator<T extends AllocatorTypeName>(
    type: T,
    backendId: number,
    allocatorId: AllocatorId,
    options: SharedAllocatorOptions & { readonly cacheBytes?: number } = {},
  ): AllocatorsByType[T] {
    checkOptionNames('createAllocator', options, { lockTimeoutMs: true, cacheBytes: true });
    const backend = this.getBackend(backendId);
    checkArgument(
      isAllocatorType(type),
      'the allocator type',
      JSON.stringify(type),
      `one of ${Object.keys(ALLOCATOR_TYPES).join(', ')}`,
    );
    this.#checkAllocatorIdIsFree(allocatorId);
    const { major, minor } = allocatorId;
    backend.allocator.claim({ type, major, minor });
    const allocator = orUndo(
      () => ALLOCATOR_TYPES[type].shmInit(backend.region, { ...options, id: { major, minor } }),
      () => backend.allocator.clear(),
    );
    backend.allocator.complete();
    this.#allocators.set(allocatorKey(allocatorId), [allocator, backendId]);
    // It is of the type that was named: the table says so to people, not to the compiler.
    return allocator as AllocatorsByType[T];
  }

  /**
   * Attaches to the allocator that another process, or thread, has created since this one attached to the backend.
   *
   * @throws ERR_MEM_BAD_SEGMENT when there is none, or none that this version knows
   * @throws ERR_MEM_INVALID_ARGUMENT for an unknown backend, and when the allocator's id is taken here
   */
  attachAllocator(backendId: number): PageAllocator {
    const backend = this.getBackend(backendId);
    const facts = backend.allocator.read();
    checkSegment(facts !== undefined, backend.url, 'it has no allocator yet');
    const { type } = facts;
    checkSegment(isAllocatorType(type), backend.url, `its allocator is of a type that is unknown here: ${type}`);
    this.#checkAllocatorIdIsFree(facts);
    const allocator = ALLOCATOR_TYPES[type].shmDeserialize(backend.region);
    this.#allocators.set(allocatorKey(facts), [allocator, backendId]);
    return allocator;
  }

  /** The allocator of that id, which a pointer carries. @throws ERR_MEM_INVALID_ARGUMENT when this registry has none */
  getAllocator(id: AllocatorId): RegisteredAllocator {
    const registered = this.#allocators.get(allocatorKey(id));
    checkArgument(registered !== undefined, 'the allocator id', allocatorKey(id), 'the id of an allocator that is known here');
    return registered[0];
  }

  /**
   * Ends this thread's use of an allocator. Its blocks and its other users stay as they are.
   *
   * @throws ERR_MEM_INVALID_ARGUMENT when this registry has none of that id, and what its `detach` throws
   */
  unregisterAllocator(id: AllocatorId): void {
    this.getAllocator(id).detach();
    this.#allocators.delete(allocatorKey(id));
  }

  /**
   * Ends this thread's use of a backend and of its allocator. Where this registry created the backend, nobody can attach to
   * it any more.
   *
   * @throws ERR_MEM_INVALID_ARGUMENT when there is none, ERR_MEM_NATIVE when the system refuses
   * @throws what the allocator's `detach` throws: the backend is gone nevertheless, so that a damaged region can be left
   */
  destroyBackend(id: number): void {
    const backend = this.getBackend(id);
    const own = [...this.#allocators].filter(([, [, backendId]]) => backendId === id);
    try {
      for (const [, [allocator]] of own) allocator.detach();
    } finally {
      backend.destroy();
      this.#backends.delete(id);
      for (const [key] of own) this.#allocators.delete(key);
    }
  }

  /** `MemoryRegistry { 1 backend, 1 allocator }`. @internal */
  [INSPECT](): string {
    return inspected(this, () => [counted(this.#backends.size, 'backend'), counted(this.#allocators.size, 'allocator')]);
  }

  #checkBackendIdIsFree(id: number): void {
    checkArgument(!this.#backends.has(id), 'the backend id', id, 'an id that no backend has here');
  }

  #checkAllocatorIdIsFree(id: AllocatorId): void {
    checkArgument(
      !this.#allocators.has(allocatorKey(id)),
      'the allocator id',
      allocatorKey(id),
      'an id that no allocator has here',
    );
  }
}

let registry: MemoryRegistry | undefined;

/** The registry of this thread. */
export function memoryRegistry(): MemoryRegistry {
  registry ??= new MemoryRegistry();
  return registry;
}

/** Tells whether a type of allocator of that name comes with the library. */
export function isAllocatorType(type: string): type is AllocatorTypeName {
  return Object.hasOwn(ALLOCATOR_TYPES, type);
}
