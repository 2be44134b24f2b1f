import { isAnyArrayBuffer } from 'node:util/types';
import { copyBetweenDevices, type DevicePlace } from '../core/device-copy.js';
import { badArgument, checkRange } from '../core/errors.js';
import { checkOptionNames, type OptionNames } from '../core/option-names.js';
import type { DevicePtr } from '../core/units.js';

/** Memory of JavaScript: a typed array, a `DataView`, a `Buffer`, an `ArrayBuffer` or a `SharedArrayBuffer`. */
export type HostBytes = ArrayBufferView | ArrayBufferLike;

/** A part of a copy to a handle. */
export interface CopyFromOptions {
  /** Where in the handle it begins. @defaultValue 0 */
  readonly offsetBytes?: number;
  /** Where in the source it begins. @defaultValue 0 */
  readonly sourceOffsetBytes?: number;
  /** @defaultValue as many as both hold from there on */
  readonly bytes?: number;
}

/** A part of a copy from a handle. */
export interface CopyToOptions {
  /** Where in the handle it begins. @defaultValue 0 */
  readonly offsetBytes?: number;
  /** Where in the target it begins. @defaultValue 0 */
  readonly targetOffsetBytes?: number;
  /** @defaultValue as many as both hold from there on */
  readonly bytes?: number;
}

const COPY_FROM_OPTIONS: OptionNames<CopyFromOptions> = { offsetBytes: true, sourceOffsetBytes: true, bytes: true };
const COPY_TO_OPTIONS: OptionNames<CopyToOptions> = { offsetBytes: true, targetOffsetBytes: true, bytes: true };

/** A block of a device, or a part of one. */
interface DeviceBytes extends DevicePlace {
  readonly bytes: number;
}

/** What a copy goes from or to: memory of JavaScript as bytes, or of a device. */
type CopyEnd = Uint8Array | DeviceBytes;

/** Copies from what may be JavaScript's to a block. @throws ERR_MEM_OUT_OF_RANGE, ERR_MEM_INVALID_ARGUMENT */
export function copyToBlock(block: DeviceBytes, source: HostBytes | DeviceBytes, options: CopyFromOptions): void {
  checkOptionNames('copyFrom', options, COPY_FROM_OPTIONS);
  const { offsetBytes = 0, sourceOffsetBytes = 0, bytes } = options;
  copyBytes(block, offsetBytes, copyEnd('source', source), sourceOffsetBytes, bytes);
}

/** Copies from a block to what may be JavaScript's. @throws as {@link copyToBlock} */
export function copyFromBlock(block: DeviceBytes, target: HostBytes | DeviceBytes, options: CopyToOptions): void {
  checkOptionNames('copyTo', options, COPY_TO_OPTIONS);
  const { offsetBytes = 0, targetOffsetBytes = 0, bytes } = options;
  copyBytes(copyEnd('target', target), targetOffsetBytes, block, offsetBytes, bytes);
}

/** @param name - the argument's @throws ERR_MEM_INVALID_ARGUMENT for what holds no bytes, ERR_MEM_DISPOSED */
function copyEnd(name: string, value: HostBytes | DeviceBytes): CopyEnd {
  if (ArrayBuffer.isView(value)) return new Uint8Array(value.buffer, value.byteOffset, value.byteLength);
  if (isAnyArrayBuffer(value)) return new Uint8Array(value);
  if (typeof value === 'object' && value !== null && 'device' in value) return value;
  throw badArgument(name, value, 'a typed array, a DataView, an ArrayBuffer or a handle');
}

/**
 * Copies from an offset of one end to an offset of the other; the ranges may overlap.
 *
 * @param bytes - as many as both hold when left out
 * @throws ERR_MEM_OUT_OF_RANGE before anything is copied
 */
function copyBytes(to: CopyEnd, toOffset: number, from: CopyEnd, fromOffset: number, bytes: number | undefined): void {
  const [room, rest] = [sizeOf(to) - toOffset, sizeOf(from) - fromOffset];
  const length = bytes ?? Math.max(0, Math.min(room, rest));
  checkRange(toOffset, length, sizeOf(to));
  checkRange(fromOffset, length, sizeOf(from));
  if (length === 0) return;
  if (from instanceof Uint8Array) {
    const part = from.subarray(fromOffset, fromOffset + length);
    if (to instanceof Uint8Array) to.set(part, toOffset);
    else to.device.write(inner(to, toOffset), part);
  } else if (to instanceof Uint8Array) {
    from.device.read(inner(from, fromOffset), to.subarray(toOffset, toOffset + length));
  } else {
    const [target, source] = [inner(to, toOffset), inner(from, fromOffset)];
    copyBetweenDevices({ device: to.device, ptr: target }, { device: from.device, ptr: source }, length);
  }
}

function sizeOf(end: CopyEnd): number {
  return end instanceof Uint8Array ? end.length : end.bytes;
}

function inner({ ptr }: DeviceBytes, offset: number): DevicePtr {
  return (ptr + offset) as DevicePtr;
}
