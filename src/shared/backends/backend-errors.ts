import { MemoryError } from '../../core/errors.js';

const NO_ROOM = ['ENOMEM', 'ENOSPC', 'EFBIG', 'EDQUOT'];

/** Gives an error of an `fs` function the form of a native call's; any other error stays as it is. */
export function memoryErrorOf(error: unknown): unknown {
  const { syscall, errno, code } = error as NodeJS.ErrnoException;
  if (syscall === undefined || errno === undefined || code === undefined) return error;
  return new MemoryError('ERR_MEM_NATIVE', { functionName: syscall, status: -errno, statusName: code }, error);
}

/** Makes an error out of one that means "no room", and gives any other as {@link memoryErrorOf} does. @param quota - what has no room */
export function noRoomOr(error: unknown, requestedBytes: number, quota: string): unknown {
  const native = memoryErrorOf(error);
  const isNoRoom = MemoryError.is(native, 'ERR_MEM_NATIVE') && NO_ROOM.includes(native.facts.statusName);
  return isNoRoom ? outOfRoom(requestedBytes, quota, native) : native;
}

/** Makes the error for memory that a system does not give. @param quota - what refused */
export function outOfRoom(
  requestedBytes: number,
  quota: string,
  cause?: unknown,
  allocatedBytes = 0,
): MemoryError<'ERR_MEM_OUT_OF_MEMORY'> {
  return new MemoryError(
    'ERR_MEM_OUT_OF_MEMORY',
    { requestedBytes, allocatedBytes, reservedBytes: allocatedBytes, capacityBytes: 0, device: 0, quota },
    cause,
  );
}

/** @throws ERR_MEM_BAD_SEGMENT unless `ok` */
export function checkSegment(ok: boolean, url: string, reason: string): asserts ok {
  if (!ok) throw new MemoryError('ERR_MEM_BAD_SEGMENT', { url, reason });
}
