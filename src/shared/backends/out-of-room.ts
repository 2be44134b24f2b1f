import { MemoryError } from '../../core/errors.js';

/** Makes the error for memory that a system does not give. @param quota - what refused */
export function outOfRoom(requestedBytes: number, quota: string, cause?: unknown): MemoryError<'ERR_MEM_OUT_OF_MEMORY'> {
  const facts = { requestedBytes, allocatedBytes: 0, reservedBytes: 0, capacityBytes: 0, device: 0, quota };
  return new MemoryError('ERR_MEM_OUT_OF_MEMORY', facts, cause);
}

/** Tells whether a native call failed because there is no room. */
export function isNoRoom(error: unknown): boolean {
  return MemoryError.is(error, 'ERR_MEM_NATIVE') && ['ENOMEM', 'ENOSPC', 'EFBIG', 'EDQUOT'].includes(error.facts.statusName);
}
