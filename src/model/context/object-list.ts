import { MemoryError } from '../../core/errors.js';
import { alignUp, type DevicePtr, exactBytes } from '../../core/units.js';
import type { TensorMemory } from '../tensors/tensor-base.js';

/** What an object of a context is. */
export type ObjectType = 'tensor' | 'graph' | 'work buffer';

/** One entry of a context's list. */
export interface ContextObject {
  readonly type: ObjectType;
  /** Where its bytes begin, behind its header. */
  readonly offsetBytes: number;
  /** Its bytes, padded. 0 for a tensor whose data is elsewhere. */
  readonly bytes: number;
}

/** Objects and their bytes begin at multiples of it. Source: GGML_MEM_ALIGN on 64 bits. */
export const CONTEXT_ALIGNMENT = 16;
/** The bytes of an object's header. Source: GGML_OBJECT_SIZE. */
export const OBJECT_HEADER_BYTES = 32;

/** Their numbers in headers. Source: ggml_object_type. */
const TYPE_NUMBERS: Readonly<Record<ObjectType, bigint>> = { tensor: 0n, graph: 1n, 'work buffer': 2n };
const HEADER_WORDS = OBJECT_HEADER_BYTES / 8;
const MARK = 0x53544f57n;

/**
 * The objects of a context: one behind the other, each with a header in front.
 *
 * Where there is memory the headers lie in it: offset, bytes, offset of the next header (0 for the last), type and mark, as
 * 64-bit numbers. Nothing else writes there, so {@link verify} detects a write beyond the end of an object.
 *
 * `used == sum(32 + object.bytes)`
 */
export class ObjectList {
  readonly objects: ContextObject[] = [];

  constructor(
    readonly memory: TensorMemory | undefined,
    readonly limitBytes: number,
  ) {}

  get used(): number {
    const last = this.objects.at(-1);
    return last === undefined ? 0 : last.offsetBytes + last.bytes;
  }

  /** Adds an object at the end. @throws ERR_MEM_OUT_OF_MEMORY with the bytes that are missing; nothing has changed then */
  add(type: ObjectType, bytes: number): ContextObject {
    const padded = alignUp(bytes, CONTEXT_ALIGNMENT);
    const { used } = this;
    checkRoom('the context', OBJECT_HEADER_BYTES + padded, used, this.limitBytes);
    const object = { type, offsetBytes: used + OBJECT_HEADER_BYTES, bytes: padded };
    const last = this.objects.at(-1);
    if (this.memory !== undefined) {
      this.#header(object).set(headerOf(object, undefined));
      if (last !== undefined) this.#header(last).set(headerOf(last, object));
    }
    this.objects.push(object);
    return object;
  }

  /** Forgets all objects. */
  reset(): void {
    this.objects.length = 0;
  }

  /** Compares every header with what was written there. Cost: O(objects). @throws ERR_MEM_CORRUPTED for the first that differs */
  verify(): void {
    const { memory } = this;
    if (memory === undefined) return;
    this.objects.forEach((object, at) => {
      const found = new Uint8Array(this.#header(object).slice().buffer);
      const expected = new Uint8Array(headerOf(object, this.objects[at + 1]).buffer);
      const damaged = Array.from(found.keys()).filter((i) => found[i] !== expected[i]);
      if (damaged.length === 0) return;
      throw new MemoryError('ERR_MEM_CORRUPTED', {
        pointer: (memory.ptr + object.offsetBytes) as DevicePtr,
        bytes: object.bytes,
        side: 'before',
        offsetBytes: damaged[0]! - OBJECT_HEADER_BYTES,
        damagedBytes: damaged.length,
      });
    });
  }

  #header({ offsetBytes }: ContextObject): BigUint64Array {
    return this.memory!.view(BigUint64Array, offsetBytes - OBJECT_HEADER_BYTES, HEADER_WORDS);
  }
}

/** @throws ERR_MEM_OUT_OF_MEMORY with the bytes that are missing */
export function checkRoom(region: string, requestedBytes: number, usedBytes: number, limitBytes: number): void {
  const missingBytes = usedBytes + requestedBytes - limitBytes;
  if (missingBytes <= 0) return;
  throw new MemoryError('ERR_MEM_OUT_OF_MEMORY', {
    requestedBytes,
    allocatedBytes: usedBytes,
    reservedBytes: limitBytes,
    capacityBytes: limitBytes,
    device: 0,
    quota: `${region} of ${exactBytes(limitBytes)} lacks ${exactBytes(missingBytes)}`,
    missingBytes,
  });
}

function headerOf({ type, offsetBytes, bytes }: ContextObject, next: ContextObject | undefined): BigUint64Array {
  const nextOffset = next === undefined ? 0 : next.offsetBytes - OBJECT_HEADER_BYTES;
  return BigUint64Array.of(BigInt(offsetBytes), BigInt(bytes), BigInt(nextOffset), TYPE_NUMBERS[type] | (MARK << 32n));
}
