import { checkArgument } from '../../core/errors.js';
import { checkOptionNames, type OptionNames } from '../../core/option-names.js';
import { BACKEND_TYPES, type BackendType, HEADER_BYTES } from './backend-header.js';
import type { MemoryBackend } from './memory-backend.js';
import { FileBackend, type HostRegistrar, PosixShmBackend, RegisteredShmBackend, type RegisteredType } from './named-backends.js';
import { ArrayBackend, type CallersMemory, MallocBackend, PosixMmapBackend } from './nameless-backends.js';
import type { AttachOptions, NewSegment, SegmentOptions } from './segment-backend.js';
import { FILE_SCHEME, inspectSegment, sharedMemoryStore, withSegment } from './segment-store.js';

/** What some kinds of backends need beside id, size and url. */
export interface BackendOptions extends SegmentOptions {
  /** For `array`: the memory that the caller owns. */
  readonly memory?: CallersMemory;
  /** For `cuda-shm` and `hip-shm`: the device that the memory is registered with. Attached without it, it is plain shared memory. */
  readonly device?: HostRegistrar;
}

const OPTIONS: OptionNames<BackendOptions> = { reserve: true, replaceStale: true, memory: true, device: true };

/** How a backend is attached whose type only its header tells. */
export interface BackendAttachOptions extends AttachOptions, Pick<BackendOptions, 'device'> {}

const ATTACH_OPTIONS: OptionNames<BackendAttachOptions> = { foreign: true, device: true };

/** A backend that is to be created. */
interface NewBackend {
  readonly id: number;
  readonly bytes: number;
  readonly url: string | undefined;
  readonly options: BackendOptions;
}

const FACTORIES: { readonly [T in BackendType]: (backend: NewBackend) => MemoryBackend } = {
  array: ({ id, bytes, options }) => ArrayBackend.create(id, ofSize(given('memory', options.memory), bytes)),
  malloc: ({ id, bytes }) => MallocBackend.create(id, bytes),
  'posix-mmap': ({ id, bytes }) => PosixMmapBackend.create(id, bytes),
  'posix-shm': (backend) => PosixShmBackend.create(given('url', backend.url), newSegment(backend)),
  file: (backend) => FileBackend.create(given('url', backend.url), newSegment(backend)),
  'cuda-shm': (backend) => createRegistered('cuda-shm', backend),
  'hip-shm': (backend) => createRegistered('hip-shm', backend),
};

/**
 * Creates a backend of a type.
 *
 * @param where - for one that has a name: a shared memory object's, or a file's path or url
 * @throws ERR_MEM_INVALID_ARGUMENT when something it needs is missing, and what the type's `create` throws
 */
export function createBackendOf(
  type: BackendType,
  where: Pick<NewBackend, 'id' | 'bytes' | 'url'>,
  options: BackendOptions,
): MemoryBackend {
  checkArgument(Object.hasOwn(FACTORIES, type), 'the backend type', JSON.stringify(type), `one of ${BACKEND_TYPES.join(', ')}`);
  checkOptionNames('createBackend', options, OPTIONS);
  return FACTORIES[type]({ ...where, options });
}

/**
 * Attaches to what a url leads to, whichever type its creator chose.
 *
 * @throws ERR_MEM_SEGMENT_ABSENT, ERR_MEM_BAD_SEGMENT, ERR_MEM_INVALID_ARGUMENT, ERR_MEM_NATIVE
 */
export function attachBackendAt(url: string, options: BackendAttachOptions = {}): MemoryBackend {
  checkOptionNames('attachBackend', options, ATTACH_OPTIONS);
  const { device, ...attach } = options;
  if (url.startsWith(FILE_SCHEME)) return FileBackend.attach(url, attach);
  const store = sharedMemoryStore(url);
  const type = withSegment(store, undefined, (fd) => inspectSegment(fd, store.url).facts?.type);
  if (device !== undefined && (type === 'cuda-shm' || type === 'hip-shm')) {
    return RegisteredShmBackend.attach(url, { ...options, device });
  }
  // Also for what cannot be attached: it says why.
  return PosixShmBackend.attach(url, attach);
}

function newSegment({ id, bytes, options: { reserve = false, replaceStale = false } }: NewBackend): NewSegment {
  return { id, bytes, reserve, replaceStale };
}

function createRegistered(type: RegisteredType, backend: NewBackend): RegisteredShmBackend {
  return RegisteredShmBackend.create(type, given('url', backend.url), {
    ...newSegment(backend),
    device: given('device', backend.options.device),
  });
}

function given<T>(name: string, value: T | undefined): T {
  checkArgument(value !== undefined, name, 'missing', 'given for this type of backend');
  return value;
}

function ofSize(memory: CallersMemory, bytes: number): CallersMemory {
  const actual = 'ptr' in memory ? memory.bytes : memory.byteLength;
  const needed = bytes + HEADER_BYTES;
  checkArgument(
    needed <= actual,
    'the memory',
    `${actual} bytes`,
    `at least ${needed} bytes, ${HEADER_BYTES} of them for the header`,
  );
  return memory;
}
