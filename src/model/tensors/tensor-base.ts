import type { Device } from '../../core/device.js';
import { copyBetweenDevices, type DevicePlace } from '../../core/device-copy.js';
import { checkArgument, checkRange } from '../../core/errors.js';
import type { TypedArrayClass } from '../../core/typed-array.js';
import type { DevicePtr } from '../../core/units.js';
import type { DType, ElementArray } from '../dtypes.js';
import { bfloat16Value, float16Value } from './half-floats.js';
import type { Shape, TensorLayout } from './tensor-layout.js';

/** The memory that a tensor's layout refers to: a block handle, or what can do the same. */
export interface TensorMemory extends DevicePlace {
  readonly bytes: number;
  view<T>(type: TypedArrayClass<T>, offsetBytes: number, length: number): T;
}

/** A part of a block that several things lie in: memory that ends with the block. */
export class MemoryPart implements TensorMemory {
  /** @throws ERR_MEM_OUT_OF_RANGE, ERR_MEM_DISPOSED */
  constructor(
    /** What it is a part of. */
    readonly whole: TensorMemory,
    readonly offsetBytes: number,
    readonly bytes: number,
  ) {
    checkRange(offsetBytes, bytes, whole.bytes);
  }

  get device(): Device {
    return this.whole.device;
  }

  get ptr(): DevicePtr {
    return (this.whole.ptr + this.offsetBytes) as DevicePtr;
  }

  view<T>(type: TypedArrayClass<T>, offsetBytes: number, length: number): T {
    checkRange(offsetBytes, length * type.BYTES_PER_ELEMENT, this.bytes);
    return this.whole.view(type, this.offsetBytes + offsetBytes, length);
  }
}

/**
 * What every tensor can do, wherever its memory is. `View` is what its views are.
 *
 * When its memory is gone, every method that needs it throws ERR_MEM_DISPOSED; shape and size stay known.
 */
export abstract class TensorBase<View = unknown> {
  constructor(readonly layout: TensorLayout) {}

  /** The memory that the layout's offset counts in. @throws ERR_MEM_DISPOSED */
  abstract get memory(): TensorMemory;

  /** Makes a tensor of the same memory with another layout. */
  protected abstract viewAs(layout: TensorLayout): View;

  get dtype(): DType {
    return this.layout.dtype;
  }

  /** The lengths of the dimensions, the outermost first. */
  get shape(): Shape {
    return this.layout.shape;
  }

  /** Bytes from one index of each dimension to the next. */
  get stridesBytes(): readonly number[] {
    return this.layout.stridesBytes;
  }

  get elements(): number {
    return this.layout.elements;
  }

  /** The bytes of its elements, gaps of a view left out. */
  get bytes(): number {
    return this.layout.bytes;
  }

  /** The address of its first element. @throws ERR_MEM_DISPOSED */
  get ptr(): DevicePtr {
    return (this.memory.ptr + this.layout.offsetBytes) as DevicePtr;
  }

  get device(): Device {
    return this.memory.device;
  }

  /**
   * Shows the elements as a typed array without copying.
   *
   * @param type - the dtype's own (`Float32Array` for f32, `BigInt64Array` for i64, `Uint16Array` for f16 and bf16), or
   *   `Uint8Array` for the bytes of any
   * @throws ERR_MEM_INVALID_ARGUMENT for another class, and for a view with gaps: {@link toArray} copies that
   * @throws ERR_MEM_UNSUPPORTED_PLATFORM for memory that the host cannot see, ERR_MEM_DISPOSED
   */
  view<T>(type: TypedArrayClass<T>): T {
    const { dtype, bytes, isPacked, offsetBytes } = this.layout;
    const isOwn = (dtype.arrayClass as unknown) === type || (type as unknown) === Uint8Array;
    const classes = dtype.arrayClass === undefined ? 'Uint8Array' : `${dtype.arrayClass.name} or Uint8Array for ${dtype.name}`;
    checkArgument(isOwn, 'type', type.name, classes);
    checkArgument(isPacked, 'layout', `strides of ${this.stridesBytes.join(', ')} bytes`, 'packed, to be viewed');
    return this.memory.view(type, offsetBytes, bytes / type.BYTES_PER_ELEMENT);
  }

  /** Copies the elements' bytes, without gaps, from whatever device. @throws ERR_MEM_DISPOSED */
  toBytes(): Uint8Array {
    const { layout } = this;
    const span = this.#span();
    if (layout.isPacked) return span;
    const packed = new Uint8Array(layout.bytes);
    layout.forEachRun((from, to, bytes) => packed.set(span.subarray(from, from + bytes), to));
    return packed;
  }

  /** Copies the elements into an array of the dtype's own class; of quantised types the bytes. @throws ERR_MEM_DISPOSED */
  toArray(): ElementArray {
    const bytes = this.toBytes();
    const type = this.dtype.arrayClass;
    return type === undefined ? bytes : new type(bytes.buffer, 0, bytes.byteLength / type.BYTES_PER_ELEMENT);
  }

  /**
   * Copies the elements as numbers of 32 bits, f16 and bf16 converted.
   *
   * @throws ERR_MEM_INVALID_ARGUMENT for 64-bit integers and for types that this library does not decode: 8 bits and less
   *   of floating point, quantised, complex
   */
  toFloat32(): Float32Array {
    const { name } = this.dtype;
    const numbers = this.dtype.arrayClass === undefined || name.startsWith('f8') ? undefined : this.toArray();
    const isWide = numbers instanceof BigInt64Array || numbers instanceof BigUint64Array;
    checkArgument(numbers !== undefined && !isWide, 'dtype', name, 'one with numbers of 32 bits');
    if (name === 'f16') return Float32Array.from(numbers, float16Value);
    if (name === 'bf16') return Float32Array.from(numbers, bfloat16Value);
    return numbers instanceof Float32Array ? numbers : Float32Array.from(numbers);
  }

  /**
   * Writes all elements, to whatever device.
   *
   * @param data - their bytes, without gaps
   * @throws ERR_MEM_INVALID_ARGUMENT when these are more or fewer, ERR_MEM_DISPOSED
   */
  write(data: ArrayBufferView): void {
    const { layout } = this;
    checkArgument(data.byteLength === layout.bytes, 'data', `${data.byteLength} bytes`, `${layout.bytes} bytes`);
    const packed = new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
    // What lies between the elements is read first and written as it was.
    const span = layout.isPacked ? packed : this.#span();
    if (!layout.isPacked) layout.forEachRun((to, from, bytes) => span.set(packed.subarray(from, from + bytes), to));
    this.device.write(this.ptr, span);
  }

  /**
   * Copies the elements of another tensor, which may be on another device.
   *
   * @throws ERR_MEM_INVALID_ARGUMENT unless it has the same type and shape, ERR_MEM_DISPOSED
   */
  copyFrom(source: TensorBase): void {
    const [own, other] = [this, source].map(({ dtype, shape }) => `${dtype.name} [${shape.join(', ')}]`) as [string, string];
    checkArgument(own === other, 'source', other, own);
    if (this.layout.isPacked && source.layout.isPacked) copyBetweenDevices(this, source, this.bytes);
    else this.write(source.toBytes());
  }

  /**
   * A view of the indexes of one dimension from `from` up to and excluding `to`.
   *
   * @throws ERR_MEM_INVALID_ARGUMENT for indexes outside; in the last dimension of a quantised type, unless both end blocks
   */
  slice(dimension: number, from: number, to: number = this.shape[dimension] ?? 0): View {
    return this.viewAs(this.layout.slice(dimension, from, to));
  }

  /** A view of the same elements with other dimensions. @throws ERR_MEM_INVALID_ARGUMENT for a view with gaps, and another number of elements */
  reshape(shape: Shape): View {
    return this.viewAs(this.layout.reshape(shape));
  }

  /** A view with its dimensions in another order: `order[i]` becomes dimension i. @throws ERR_MEM_INVALID_ARGUMENT */
  permute(order: readonly number[]): View {
    return this.viewAs(this.layout.permute(order));
  }

  /** A view with two dimensions exchanged, the last two by default. @throws ERR_MEM_INVALID_ARGUMENT */
  transpose(a: number = this.shape.length - 2, b: number = this.shape.length - 1): View {
    return this.viewAs(this.layout.transpose(a, b));
  }

  /** The bytes from the first element to the last, what lies between them included. */
  #span(): Uint8Array {
    const span = new Uint8Array(this.layout.spanBytes);
    this.device.read(this.ptr, span);
    return span;
  }
}
