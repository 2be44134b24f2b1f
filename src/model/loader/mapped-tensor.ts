import { moveBytes } from '../../../adapters/os/bytes.js';
import { HostDevice } from '../../core/device.js';
import { checkRange } from '../../core/errors.js';
import type { TypedArrayClass } from '../../core/typed-array.js';
import type { DevicePtr } from '../../core/units.js';
import type { ModelTensor } from '../files/model-description.js';
import type { MappedFile } from '../mapped-file.js';
import { TensorView } from '../tensors/tensor.js';
import { TensorBase, type TensorMemory } from '../tensors/tensor-base.js';
import { TensorLayout } from '../tensors/tensor-layout.js';

/**
 * The memory of a mapped file as a device: it can be seen and copied from, and nothing can be allocated or written.
 */
export class MappedFileDevice extends HostDevice {
  readonly name = 'mapped file';
  override readonly virtual = undefined;

  constructor(protected readonly file: MappedFile) {
    super();
  }

  protected override get capacityBytes(): number {
    return this.file.bytes;
  }

  override nativeAlloc(): DevicePtr {
    throw this.unsupported('allocation');
  }

  override nativeFree(): void {
    throw this.unsupported('allocation');
  }

  override pinnedAlloc(): DevicePtr {
    throw this.unsupported('allocation');
  }

  override pinnedFree(): void {
    throw this.unsupported('allocation');
  }

  /** Copies from the file to memory of the caller's, which is trusted. @throws ERR_MEM_UNSUPPORTED_PLATFORM the other way */
  override copy(target: DevicePtr, source: DevicePtr, bytes: number): void {
    const { base, bytes: size } = this.file;
    if (target >= base && target < base + size) throw this.unsupported('writing');
    moveBytes(target, this.file.addressOf(source - base, bytes), bytes);
  }

  override write(): void {
    throw this.unsupported('writing');
  }

  override fill(): void {
    throw this.unsupported('writing');
  }

  override view(ptr: DevicePtr, bytes: number): Uint8Array {
    return this.file.bytesAt(ptr - this.file.base, bytes);
  }
}

/** A tensor in a mapped file: its data is read when it is touched, and nothing is copied. It cannot be written. */
export class MappedTensor extends TensorBase<TensorView> {
  readonly name: string;
  readonly #memory: () => TensorMemory;

  /** @param memory - gives the memory, or throws ERR_MEM_DISPOSED when the tensor was unloaded */
  constructor(tensor: ModelTensor, memory: () => TensorMemory) {
    super(TensorLayout.packed(tensor.dtype, tensor.shape));
    this.name = tensor.name;
    this.#memory = memory;
  }

  override get memory(): TensorMemory {
    return this.#memory();
  }

  protected override viewAs(layout: TensorLayout): TensorView {
    return new TensorView(this, layout);
  }
}

/** The part of a mapped file that a tensor's data is. */
export class MappedPart implements TensorMemory {
  readonly bytes: number;

  constructor(
    readonly device: MappedFileDevice,
    protected readonly file: MappedFile,
    protected readonly tensor: ModelTensor,
  ) {
    this.bytes = tensor.bytes;
  }

  /** @throws ERR_MEM_BAD_INPUT when the file was truncated */
  get ptr(): DevicePtr {
    return this.file.addressOf(this.tensor.offset, this.bytes);
  }

  /** @throws ERR_MEM_INVALID_ARGUMENT where the file does not align its data to the elements: `toArray()` copies them */
  view<T>(type: TypedArrayClass<T>, offsetBytes: number, length: number): T {
    checkRange(offsetBytes, length * type.BYTES_PER_ELEMENT, this.bytes);
    return this.file.view(type, this.tensor.offset + offsetBytes, length);
  }
}
