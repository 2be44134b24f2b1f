import { orUndo } from '../../../src/core/attempt.js';
import type { NativeFunctions } from '../../../src/core/device-interface.js';
import type { SlotKind } from '../../../src/core/events.js';
import { alignUp, type DevicePtr, devicePtr, NULL_PTR } from '../../../src/core/units.js';
import { AF_ERR_NO_MEM, type AfFunction, type ArrayFireLibrary } from './arrayfire-library.js';

/** The names of the callbacks, as in `af_memory_manager_set_<name>_fn`: ArrayFire crashes when it misses one. */
export const CALLBACK_NAMES = [
  'initialize',
  'shutdown',
  'alloc',
  'allocated',
  'unlock',
  'signal_memory_cleanup',
  'print_info',
  'user_lock',
  'user_unlock',
  'is_user_locked',
  'get_memory_pressure',
  'jit_tree_exceeds_memory_pressure',
  'add_memory_management',
  'remove_memory_management',
] as const;

/** The name of one of ArrayFire's callbacks. */
export type CallbackName = (typeof CALLBACK_NAMES)[number];

/** A native allocation: what ArrayFire gave, and the bytes from there to the end of what the manager got. */
interface Segment {
  readonly base: DevicePtr;
  readonly bytes: number;
}

/**
 * Native memory of managers that were replaced in ArrayFire while arrays of theirs lived: nobody frees it any more, and
 * the release of such an array must not free a part of it.
 */
const lost: Segment[] = [];

/**
 * An `af_memory_manager`, which represents one slot in ArrayFire from its creation to its release.
 *
 * It is set once and unset once. Setting an active handle again, or calling its native functions while it is not set,
 * crashes ArrayFire: {@link isSet} guards both.
 */
export class ArrayFireHandle {
  readonly address: number;
  /** By the address that the manager got. */
  readonly #segments = new Map<number, Segment>();
  readonly #out = new BigUint64Array(1);
  readonly #int = new Int32Array(1);
  readonly #float = new Float32Array(1);
  #state: 'created' | 'setting' | 'set' | 'unsetting' | 'replaced' | 'unset' | 'released' = 'created';

  /** @throws ERR_MEM_NATIVE */
  constructor(
    readonly library: ArrayFireLibrary,
    readonly kind: SlotKind,
  ) {
    library.call('af_create_memory_manager', this.#out);
    this.address = Number(this.#out[0]);
  }

  /** Whether ArrayFire calls this one now, and its native functions work. */
  get isSet(): boolean {
    return this.#state === 'set';
  }

  /** Whether another manager, not of this host, took this one's place in ArrayFire. */
  get isReplaced(): boolean {
    return this.#state === 'replaced';
  }

  /** What the managers of the slot get. */
  get natives(): NativeFunctions {
    return {
      getActiveDeviceId: () => (this.isSet ? this.#read('af_memory_manager_get_active_device_id', this.#int) : 0),
      getMaxMemorySize: (device) => (this.isSet ? this.#read('af_memory_manager_get_max_memory_size', this.#out, device) : 0),
      nativeAlloc: (bytes, alignment) => this.#allocate(bytes, Math.max(1, alignment ?? 1)),
      nativeFree: (ptr) => this.#free(ptr),
      getMemoryPressureThreshold: () => this.#read('af_memory_manager_get_memory_pressure_threshold', this.#float),
      setMemoryPressureThreshold: (value) => this.#call('af_memory_manager_set_memory_pressure_threshold', value),
    };
  }

  /** What the handle carries for its owner: the handle of the active manager, 0 before the first. @throws ERR_MEM_NATIVE */
  get payload(): number {
    return this.#read('af_memory_manager_get_payload', this.#out);
  }

  set payload(value: number) {
    this.#call('af_memory_manager_set_payload', value);
  }

  /** Sets every callback, then makes ArrayFire use them. Calls `initialize`. @throws ERR_MEM_NATIVE; ArrayFire does not use it then */
  set(callbacks: Readonly<Record<CallbackName, number>>): void {
    for (const name of CALLBACK_NAMES) this.#call(`af_memory_manager_set_${name}_fn`, callbacks[name]);
    this.#state = 'setting';
    orUndo(
      () => this.#call(this.kind === 'pinned' ? 'af_set_memory_manager_pinned' : 'af_set_memory_manager'),
      () => {
        // Where ArrayFire has come as far as `initialize`, a failed call leaves the manager in its place.
        if (this.isSet) this.unset();
        this.#state = 'unset';
      },
    );
    this.#state = 'set';
  }

  /** Notes that ArrayFire has called `initialize`: from now on it has taken the handle. */
  taken(): void {
    this.#state = 'set';
  }

  /** Gives the slot back to ArrayFire's own manager. Calls `shutdown`. Does nothing unless it is set. @throws ERR_MEM_NATIVE */
  unset(): void {
    if (!this.isSet) return;
    this.#state = 'unsetting';
    orUndo(
      () => this.library.call(this.kind === 'pinned' ? 'af_unset_memory_manager_pinned' : 'af_unset_memory_manager'),
      () => this.taken(),
    );
    this.#state = 'unset';
  }

  /**
   * Notes that another manager replaces this one at the end of `shutdown`: no native memory can be allocated or freed from
   * then on.
   */
  replaced(): void {
    this.#state = 'replaced';
    lost.push(...this.#segments.values());
  }

  /** Deletes the handle, which must not be set. @throws ERR_MEM_NATIVE */
  release(): void {
    if (this.#state === 'released') return;
    this.#call('af_release_memory_manager');
    this.#state = 'released';
  }

  /** Frees what is not a manager's: arrays outlive the manager that was set before. @throws ERR_MEM_NATIVE */
  freeForeign(ptr: number): void {
    if (!this.isSet || lost.some((segment) => contains(segment, ptr))) return;
    this.#call('af_memory_manager_native_free', ptr);
  }

  /** Whether an address lies in native memory of a manager. Cost: O(segments) */
  isOurs(ptr: number): boolean {
    return [...this.#segments.values()].some((segment) => contains(segment, ptr));
  }

  #allocate(bytes: number, alignment: number): DevicePtr {
    if (!this.isSet) return NULL_PTR;
    let base = this.#allocateBase(bytes);
    if (base % alignment !== 0) {
      // ArrayFire knows no alignments beside its own.
      this.#call('af_memory_manager_native_free', base);
      base = this.#allocateBase(bytes + alignment);
    }
    const ptr = alignUp(base, alignment) as DevicePtr;
    if (base !== NULL_PTR) this.#segments.set(ptr, { base, bytes: ptr - base + bytes });
    return ptr;
  }

  #allocateBase(bytes: number): DevicePtr {
    this.#out[0] = 0n;
    const status = this.library.status('af_memory_manager_native_alloc', this.address, this.#out, bytes);
    if (status === AF_ERR_NO_MEM) return NULL_PTR;
    this.library.check('af_memory_manager_native_alloc', status);
    return devicePtr(Number(this.#out[0]));
  }

  /** After the handle's time in ArrayFire there is no function that frees: the memory stays until the process ends. */
  #free(ptr: DevicePtr): void {
    const segment = this.#segments.get(ptr);
    if (segment === undefined) return;
    this.#segments.delete(ptr);
    if (!this.isSet) return;
    orUndo(
      () => this.#call('af_memory_manager_native_free', segment.base),
      () => this.#segments.set(ptr, segment),
    );
  }

  /** Makes a call that leaves a number in an array. */
  #read(name: AfFunction, out: BigUint64Array | Int32Array | Float32Array, ...values: unknown[]): number {
    this.#call(name, out, ...values);
    return Number(out[0]);
  }

  #call(name: AfFunction, ...values: unknown[]): void {
    this.library.call(name, this.address, ...values);
  }
}

function contains({ base, bytes }: Segment, ptr: number): boolean {
  return ptr >= base && ptr < base + bytes;
}
