import { attempt } from '../../../src/core/attempt.js';
import { MiB } from '../../../src/core/units.js';
import { overlap } from '../range-checks.js';
import { untilDone } from '../until-done.js';
import type { OpenClContext } from './opencl-context.js';
import { CL_MEM_OBJECT_ALLOCATION_FAILURE, call, eventOf, statusError } from './opencl-functions.js';
import { isComplete } from './opencl-streams.js';
import { CL_MEM_READ_WRITE } from './svm-memory.js';

const CL_MAP_READ = 1;
const MAX_SCRATCH_BYTES = MiB;

/** A copy that one device can make: between two ranges of its own memory, or between it and the host's. */
export interface Copy {
  readonly target: number;
  readonly source: number;
  /** Above 0. */
  readonly bytes: number;
}

/** Where work leaves its event. */
type EventOut = BigUint64Array | null;

/** Copies on the default queue and waits; the ranges may overlap. @throws ERR_MEM_NATIVE */
export function copyNow(context: OpenClContext, copy: Copy): void {
  if (copy.target === copy.source) return;
  if (overlap(copy.target, copy.source, copy.bytes)) {
    copyOverlapping(context, copy);
    return;
  }
  enqueueCopy(context, context.queue, copy);
  context.finish();
}

/** Copies between the memories of two devices, by way of the host. @throws ERR_MEM_NATIVE */
export function copyAcross(target: OpenClContext, source: OpenClContext, copy: Copy): void {
  const { cl, queue } = source;
  call(cl, 'clEnqueueSVMMap', queue, 1, CL_MAP_READ, copy.source, copy.bytes, 0, null, null);
  try {
    copyNow(target, copy);
  } finally {
    call(cl, 'clEnqueueSVMUnmap', queue, copy.source, 0, null, null);
    source.finish();
  }
}

/** Enqueues a copy between ranges that do not overlap. @throws ERR_MEM_NATIVE */
export function enqueueCopy({ cl }: OpenClContext, queue: number, copy: Copy, event: EventOut = null): void {
  call(cl, 'clEnqueueSVMMemcpy', queue, 0, copy.target, copy.source, copy.bytes, 0, null, event);
}

/** Enqueues a fill of a device's memory. @throws ERR_MEM_NATIVE */
export function enqueueFill(
  { cl }: OpenClContext,
  queue: number,
  fill: { readonly ptr: number; readonly value: number; readonly bytes: number },
  event: EventOut = null,
): void {
  call(cl, 'clEnqueueSVMMemFill', queue, fill.ptr, Uint8Array.of(fill.value), 1, fill.bytes, 0, null, event);
}

/**
 * Enqueues work and waits for it without blocking.
 *
 * @param enqueue - leaves the work's event
 * @throws ERR_MEM_NATIVE when it cannot be enqueued, or fails
 */
export async function whenDone(context: OpenClContext, queue: number, enqueue: (event: BigUint64Array) => void): Promise<void> {
  const { cl } = context;
  const handle = eventOf(enqueue);
  try {
    call(cl, 'clFlush', queue);
    await untilDone(() => isComplete(context, handle));
  } finally {
    attempt(() => call(cl, 'clReleaseEvent', handle));
  }
}

/**
 * Copies in pieces through scratch memory, which the capacity does not count, beginning at the end that is overwritten
 * first: OpenCL refuses copies that overlap.
 */
function copyOverlapping(context: OpenClContext, { target, source, bytes }: Copy): void {
  const { cl, handle, queue } = context;
  const pieceBytes = Math.min(bytes, MAX_SCRATCH_BYTES);
  const scratch = cl.clSVMAlloc(handle, CL_MEM_READ_WRITE, pieceBytes, 0);
  if (scratch === 0) throw statusError('clSVMAlloc', CL_MEM_OBJECT_ALLOCATION_FAILURE);
  try {
    for (let done = 0; done < bytes; done += pieceBytes) {
      const size = Math.min(pieceBytes, bytes - done);
      const offset = target < source ? done : bytes - done - size;
      enqueueCopy(context, queue, { target: scratch, source: source + offset, bytes: size });
      enqueueCopy(context, queue, { target: target + offset, source: scratch, bytes: size });
    }
  } finally {
    try {
      context.finish();
    } finally {
      cl.clSVMFree(handle, scratch);
    }
  }
}
