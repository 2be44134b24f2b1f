import * as nodeBuffer from 'node:buffer';
import type { Device } from '../core/device.js';
import { badArgument, checkArgument, checkRange } from '../core/errors.js';
import type { TypedArrayClass } from '../core/typed-array.js';
import type { DevicePtr } from '../core/units.js';

// Node's global one is a getter.
const { Buffer } = nodeBuffer;

/** A block, or a part of one. */
interface Bytes {
  readonly device: Device;
  readonly ptr: DevicePtr;
  readonly bytes: number;
}

/**
 * Shows a part of a block as an array of a class, which may be `DataView` or `Buffer`, too.
 *
 * @param length - elements; as many as fit when undefined
 * @throws ERR_MEM_OUT_OF_RANGE, ERR_MEM_INVALID_ARGUMENT where the elements are not aligned or not whole, and what `Device.view` throws
 */
export function viewOf<T>(
  type: TypedArrayClass<T>,
  { device, ptr, bytes }: Bytes,
  offsetBytes: number,
  length: number | undefined,
): T {
  const elementBytes = (type as object | null) === DataView ? 1 : type?.BYTES_PER_ELEMENT;
  if (typeof type !== 'function' || typeof elementBytes !== 'number') {
    throw badArgument('type', type, 'a typed array class, DataView or Buffer');
  }
  const count = length ?? Math.floor((bytes - offsetBytes) / elementBytes);
  checkRange(offsetBytes, count * elementBytes, bytes);
  // A part of an element may be whole bytes.
  checkArgument(Number.isInteger(count), 'length', length, 'an integer');
  if (count === 0) return arrayOver(type, new ArrayBuffer(0), 0, 0);
  const { buffer, byteOffset } = device.bufferAt((ptr + offsetBytes) as DevicePtr, count * elementBytes);
  if (byteOffset % elementBytes !== 0) {
    throw badArgument('offsetBytes', offsetBytes, `a multiple of ${elementBytes} bytes in memory`);
  }
  return arrayOver(type, buffer, byteOffset, count);
}

function arrayOver<T>(type: TypedArrayClass<T>, buffer: ArrayBufferLike, offsetBytes: number, length: number): T {
  // The constructor of Buffer is deprecated.
  if ((type as unknown) === Buffer) return Buffer.from(buffer, offsetBytes, length) as T;
  return new type(buffer, offsetBytes, length);
}
