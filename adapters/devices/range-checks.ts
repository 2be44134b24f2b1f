import { badArgument, checkArgument } from '../../src/core/errors.js';
import { checkBytes } from '../../src/core/units.js';

/** Throws unless `value` is a byte's. @throws ERR_MEM_INVALID_ARGUMENT */
export function checkFillValue(value: number): void {
  checkArgument(Number.isInteger(value) && value >= 0 && value <= 255, 'value', value, 'an integer from 0 to 255');
}

/** Checks what a fill is told. @throws ERR_MEM_INVALID_SIZE, ERR_MEM_INVALID_ARGUMENT */
export function checkFill(value: number, bytes: number): void {
  checkBytes(bytes);
  checkFillValue(value);
}

/** Tells whether two ranges of one size share a byte. */
export function overlap(target: number, source: number, bytes: number): boolean {
  return target < source + bytes && source < target + bytes;
}

/** Throws when the ranges of a copy share a byte. @throws ERR_MEM_INVALID_ARGUMENT */
export function checkDisjoint(target: number, source: number, bytes: number): void {
  if (overlap(target, source, bytes)) {
    throw badArgument('target', `${target}, ${Math.abs(target - source)} bytes beside the source`, `${bytes} bytes beside it`);
  }
}
