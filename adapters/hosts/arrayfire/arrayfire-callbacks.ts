import { checkArgument, MemoryError } from '../../../src/core/errors.js';
import type { ManagerSlot } from '../../../src/core/manager-slot.js';
import { type DevicePtr, NULL_PTR } from '../../../src/core/units.js';
import { type Callback, type CNumber, callback } from '../../ffi/callback.js';
import { readCString, readInt64s, writeFloat, writeInt32, writeUint64 } from '../../os/bytes.js';
import type { ArrayFireHandle, CallbackName } from './arrayfire-handle.js';
import { AF_ERR_NO_MEM, AF_ERR_UNKNOWN, AF_SUCCESS } from './arrayfire-library.js';
import type { ForeignPointers } from './foreign-pointers.js';

/** ArrayFire's arrays have four dimensions. */
const MAX_DIMS = 4;
const P = 'uintptr_t';

/** What the callbacks of one slot work on. */
export interface CallbackContext {
  readonly slot: ManagerSlot;
  readonly handle: ArrayFireHandle;
  readonly foreign: ForeignPointers;
  /** Makes sure that a manager is there. */
  readonly startUse: () => void;
  /** Takes note why an allocation was refused, and gives the answer. @throws `error` where it is another reason */
  readonly refuse: (error: unknown, answer: number) => number;
  /** Has the native call that is under way throw at its end. */
  readonly report: (error: unknown) => void;
}

/**
 * Makes every callback of af/memory.h for one slot.
 *
 * ArrayFire throws C++ exceptions for a status that is no success. It does so only where its callers are ready for it: an
 * `unlock` may come from a destructor, where an exception ends the process, so that it always succeeds, as does whatever
 * ArrayFire asks in passing. What went wrong is reported.
 *
 * @see Source: af/memory.h of ArrayFire 3.8
 */
export function arrayFireCallbacks(context: CallbackContext): Record<CallbackName, Callback> {
  const { slot, handle, foreign, report } = context;
  const dims = Array.from({ length: MAX_DIMS + 1 }, (_, count) => new Float64Array(count));

  /** Gives what ArrayFire asks for, or `otherwise` when that fails. */
  const answer = <T>(otherwise: T, ask: () => T): T => {
    try {
      return ask();
    } catch (error) {
      report(error);
      return otherwise;
    }
  };
  const allocate = (userLock: boolean, dimCount: number, dimsAddress: CNumber, elementBytes: number): DevicePtr => {
    const extents = dims[dimCount];
    checkArgument(extents !== undefined, 'ndims', dimCount, `0 to ${MAX_DIMS}`);
    readInt64s(Number(dimsAddress), extents);
    return slot.allocArray(userLock, extents, elementBytes);
  };

  return {
    // Runs below a lock of ArrayFire: the manager is initialised by whoever installs it, never in here.
    initialize: status([P], () => handle.taken()),
    shutdown: status([P], () => {
      if (!handle.isSet) return;
      // Somebody else sets a manager of theirs. This is the last moment at which ArrayFire frees for this one.
      answer(undefined, () => slot.signalMemoryCleanup());
      handle.replaced();
    }),
    alloc: callback({
      result: 'int',
      parameters: [P, P, 'int', 'uint32_t', P, 'uint32_t'],
      onError: AF_ERR_UNKNOWN,
      body: (_handle, out, userLock, dimCount, dimsAddress, elementBytes) => {
        try {
          context.startUse();
          writeUint64(Number(out), allocate(userLock !== 0, dimCount, dimsAddress, elementBytes));
          return AF_SUCCESS;
        } catch (error) {
          return context.refuse(error, AF_ERR_NO_MEM);
        }
      },
    }),
    allocated: status([P, P, P], (_handle, out, ptr) => {
      writeUint64(
        Number(out),
        answer(0, () => slot.allocated(addressOf(ptr))),
      );
    }),
    unlock: status([P, P, 'int'], (_handle, ptr, userUnlock) => {
      answer(undefined, () => foreign.unlock(addressOf(ptr), userUnlock !== 0));
    }),
    signal_memory_cleanup: status([P], () => answer(undefined, () => slot.signalMemoryCleanup())),
    print_info: status([P, P, 'int'], (_handle, message, device) => {
      slot.printInfo(readCString(Number(message)), device);
    }),
    user_lock: status([P, P], (_handle, ptr) => foreign.userLock(addressOf(ptr))),
    user_unlock: status([P, P], (_handle, ptr) => foreign.userUnlock(addressOf(ptr))),
    is_user_locked: status([P, P, P], (_handle, out, ptr) => {
      const locked = answer(false, () => foreign.isUserLocked(addressOf(ptr)));
      writeInt32(Number(out), locked ? 1 : 0);
    }),
    get_memory_pressure: status([P, P], (_handle, out) => {
      writeFloat(
        Number(out),
        answer(0, () => slot.getMemoryPressure()),
      );
    }),
    jit_tree_exceeds_memory_pressure: status([P, P, 'size_t'], (_handle, out, bytes) => {
      const exceeds = answer(false, () => slot.jitTreeExceedsMemoryPressure(Number(bytes)));
      writeInt32(Number(out), exceeds ? 1 : 0);
    }),
    add_memory_management: callback({
      result: 'void',
      parameters: [P, 'int'],
      onError: undefined,
      body: (_handle, device) => slot.addMemoryManagement(device),
    }),
    remove_memory_management: callback({
      result: 'void',
      parameters: [P, 'int'],
      onError: undefined,
      body: (_handle, device) => slot.removeMemoryManagement(device),
    }),
  };
}

/** A callback that answers success unless its body throws. */
function status<const T extends readonly ('uintptr_t' | 'size_t' | 'int')[]>(
  parameters: T,
  body: (...values: { readonly [I in keyof T]: T[I] extends 'int' ? number : CNumber }) => void,
): Callback {
  const answering = (...values: never): number => {
    (body as (...values: never) => void)(...values);
    return AF_SUCCESS;
  };
  return callback({ result: 'int', parameters, onError: AF_ERR_UNKNOWN, body: answering as never });
}

/** No address of a manager is above 2^53. */
function addressOf(ptr: CNumber): DevicePtr {
  if (typeof ptr === 'number') return ptr as DevicePtr;
  if (ptr === 0n) return NULL_PTR;
  throw new MemoryError('ERR_MEM_UNKNOWN_POINTER', { pointer: Number(ptr) });
}
