import { orUndo, warn } from '../../core/attempt.js';
import { checkArgument, checkUsable } from '../../core/errors.js';
import { checkOptionNames, type OptionNames } from '../../core/option-names.js';
import { processState, type Reclaimable } from '../../core/process-state.js';
import type { MemoryRuntime } from '../../runtime/memory-runtime.js';
import type { ModelDescription, ModelTensor } from '../files/model-description.js';
import { MAPPED_FILE_OPTIONS, type MappedFile, type MappedFileOptions } from '../mapped-file.js';
import {
  analyzeLayers,
  analyzeMemoryUsage,
  byLayer,
  type LayerUsage,
  type MemoryUsage,
  type ModelLayer,
} from '../tensors/memory-usage.js';
import type { Tensor } from '../tensors/tensor.js';
import { TensorManager } from '../tensors/tensor-manager.js';
import { TensorPool } from '../tensors/tensor-pool.js';
import { DeviceUpload } from './device-upload.js';
import { MappedPart, MappedTensor } from './mapped-tensor.js';
import { OpenModel } from './open-model.js';

/** How a model file is opened. */
export interface ModelLoaderOptions extends MappedFileOptions {
  /** Keeps the file in physical memory, as far as the system allows. @defaultValue false */
  readonly lock?: boolean;
}

const OPTIONS: OptionNames<ModelLoaderOptions> = { ...MAPPED_FILE_OPTIONS, lock: true };

/** How far a load is. */
export interface LoadProgress {
  /** The layer of the tensor that is being copied. */
  readonly layer: ModelLayer;
  readonly tensor: string;
  readonly doneBytes: number;
  readonly totalBytes: number;
}

/** How tensors are copied to a device. */
export interface LoadOptions {
  /** Where they go: the device of this runtime, under its manager. */
  readonly runtime: MemoryRuntime;
  /** Chooses tensors. @defaultValue all that were not unloaded */
  readonly filter?: (tensor: ModelTensor, layer: ModelLayer) => boolean;
  /** Told after every part of at most 4 MiB. */
  readonly onProgress?: (progress: LoadProgress) => void;
  /** Ends the load; what was copied is freed. */
  readonly signal?: AbortSignal;
}

const LOAD_OPTIONS: OptionNames<LoadOptions> = { runtime: true, filter: true, onProgress: true, signal: true };

/**
 * Loads a model from a file that it maps: `using loader = await ModelLoader.open('model.gguf')`. It gives tensors as views
 * of the file, without a copy, or as copies on a device. Loaders of one file share its mapping.
 */
export class ModelLoader {
  /** By name, the place among the file's tensors. */
  readonly #places: ReadonlyMap<string, number>;
  readonly #share: Share;

  private constructor(open: OpenModel) {
    this.#places = new Map(open.model.tensors.map(({ name }, at) => [name, at]));
    this.#share = new Share(open);
    processState().droppedHandles.register(this, this.#share, this);
  }

  /**
   * Maps a GGUF or safetensors file and checks its description. Cost: that of reading the header.
   *
   * @throws ERR_MEM_BAD_INPUT, as a rejection, for a file that cannot be used; it names the field
   * @throws ERR_MEM_DEVICE_ABSENT for a GGUF file when `@huggingface/gguf` is not installed
   */
  static async open(path: string, options: ModelLoaderOptions = {}): Promise<ModelLoader> {
    checkOptionNames('ModelLoader.open', options, OPTIONS);
    const { lock = false, ...mapping } = options;
    const open = await OpenModel.use(path, mapping);
    const loader = new ModelLoader(open);
    orUndo(
      () => lock && open.file.lock(),
      () => loader.dispose(),
    );
    return loader;
  }

  /** The description of the file. */
  get model(): ModelDescription {
    return this.#share.open.model;
  }

  /** The mapping, which other loaders of the file may use: the caller must not dispose it. @throws ERR_MEM_DISPOSED */
  get file(): MappedFile {
    this.#checkUsable();
    return this.#share.open.file;
  }

  /** How many loaders use the mapping. */
  get sharedBy(): number {
    return this.#share.open.loaders;
  }

  /** The names of the tensors that were not unloaded, in the order of the file. */
  get names(): string[] {
    return this.#tensors.map(({ name }) => name);
  }

  /**
   * Gives a tensor as a view of the file. It ends with {@link unload} and with this loader.
   *
   * @throws ERR_MEM_INVALID_ARGUMENT for a name that none has, ERR_MEM_DISPOSED for a tensor that was unloaded
   */
  tensor(name: string): MappedTensor {
    const at = this.#placeOf(name);
    const tensor = this.model.tensors[at]!;
    const part = new MappedPart(this.#share.open.device, this.#share.open.file, tensor);
    const memory = () => {
      this.#checkUsable();
      checkUsable(this.#share.loaded.has(at), `tensor ${JSON.stringify(name)}`);
      return part;
    };
    memory();
    return new MappedTensor(tensor, memory);
  }

  /**
   * Copies one tensor to a device.
   *
   * @throws as {@link tensor} and {@link load}
   */
  async loadTensor(name: string, options: Omit<LoadOptions, 'filter'>): Promise<Tensor> {
    const wanted = this.tensor(name).name;
    const loaded = await this.load({ ...options, filter: (tensor) => tensor.name === wanted });
    return loaded.take(wanted) as Tensor;
  }

  /**
   * Copies tensors to a device, layer by layer: what comes before the layers, the layers by number, what comes after.
   * The event loop runs between parts.
   *
   * @returns them by name
   * @throws the signal's reason when it aborts; ERR_MEM_OUT_OF_MEMORY; ERR_MEM_BAD_INPUT when the file was truncated;
   *   what `onProgress` throws. All that was allocated is freed then
   */
  async load(options: LoadOptions): Promise<TensorManager> {
    checkOptionNames('ModelLoader.load', options, LOAD_OPTIONS);
    const { runtime, filter = () => true, onProgress, signal } = options;
    this.#checkUsable();
    signal?.throwIfAborted();
    const wanted = [...byLayer(this.#tensors)].flatMap(([layer, tensors]) =>
      tensors.filter((tensor) => filter(tensor, layer)).map((tensor) => ({ layer, tensor })),
    );
    const totalBytes = wanted.reduce((sum, { tensor }) => sum + tensor.bytes, 0);
    let doneBytes = 0;
    const pool = new TensorPool(runtime, { tag: 'weights' });
    const loaded = new TensorManager();
    const upload = new DeviceUpload(runtime);
    try {
      for (const { layer, tensor } of wanted) {
        const target = loaded.add(tensor.name, pool.allocate(tensor.dtype, tensor.shape));
        await upload.copy(target.ptr, this.tensor(tensor.name), (bytes) => {
          doneBytes += bytes;
          onProgress?.({ layer, tensor: tensor.name, doneBytes, totalBytes });
          signal?.throwIfAborted();
        });
      }
      return loaded;
    } catch (error) {
      loaded.dispose();
      throw error;
    } finally {
      upload.dispose();
    }
  }

  /**
   * Releases tensors that are not needed any more. What no loader of the file needs is unmapped, as whole pages; views of it
   * throw, and arrays show zeros. Names that were unloaded already are passed over.
   *
   * @returns the bytes of the file that are no longer mapped by this call
   * @throws ERR_MEM_INVALID_ARGUMENT for a name that none has; nothing was unloaded then
   */
  unload(...names: readonly string[]): number {
    this.#checkUsable();
    const places = new Set(names.map((name) => this.#placeOf(name)).filter((at) => this.#share.loaded.has(at)));
    for (const at of places) this.#share.loaded.delete(at);
    return this.#share.open.release(places);
  }

  /** What the tensors that were not unloaded take, by type. */
  usage(): MemoryUsage {
    return analyzeMemoryUsage(this.#tensors);
  }

  /** What they take, by layer and type. */
  usageByLayer(): LayerUsage[] {
    return analyzeLayers(this.#tensors);
  }

  /** Ends this loader. With the last loader of the file, it is unmapped. Does nothing the second time. */
  dispose(): void {
    if (this.#share.ended) return;
    this.#share.end();
    processState().droppedHandles.unregister(this);
  }

  [Symbol.dispose](): void {
    this.dispose();
  }

  get #tensors(): ModelTensor[] {
    return this.model.tensors.filter((_, at) => this.#share.loaded.has(at));
  }

  #placeOf(name: string): number {
    const at = this.#places.get(name);
    checkArgument(at !== undefined, 'tensor', JSON.stringify(name), 'the name of a tensor in the file');
    return at;
  }

  #checkUsable(): void {
    checkUsable(!this.#share.ended, 'model loader');
  }
}

/** What one loader uses of a mapping. It does not refer to the loader, so that it can be released when that was dropped. */
class Share implements Reclaimable {
  /** The places of the tensors that were not unloaded. */
  readonly loaded: Set<number>;
  ended = false;

  constructor(readonly open: OpenModel) {
    this.loaded = new Set(open.model.tensors.keys());
  }

  end(): void {
    // The last loader unmaps the whole file at once.
    if (this.open.loaders > 1) this.open.release(this.loaded);
    this.open.leave();
    this.loaded.clear();
    this.ended = true;
  }

  reclaim(): void {
    warn(`a model loader of ${this.open.model.path} was dropped without dispose()`);
    this.end();
  }
}
