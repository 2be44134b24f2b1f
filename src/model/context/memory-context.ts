import { checkRange, checkUsable } from '../../core/errors.js';
import { defaultHost } from '../../core/memory-host.js';
import { checkOwnOptions, type OwnOptions } from '../../core/option-names.js';
import { checkBytes } from '../../core/units.js';
import type { Allocation } from '../../runtime/allocation.js';
import type { MemoryRuntime } from '../../runtime/memory-runtime.js';
import { type DType, type DTypeName, dtype as dtypeOf } from '../dtypes.js';
import { analyzeMemoryUsage, type MemoryUsage } from '../tensors/memory-usage.js';
import { MemoryPart } from '../tensors/tensor-base.js';
import { type Shape, TensorLayout } from '../tensors/tensor-layout.js';
import { ContextGraph, GRAPH_NODE_BYTES } from './context-graph.js';
import { ContextTensor } from './context-tensor.js';
import { CONTEXT_ALIGNMENT, type ContextObject, ObjectList } from './object-list.js';
import { checkContextMemory, type Scratch, ScratchMemory } from './scratch-memory.js';

/** How a context is made. */
export interface MemoryContextOptions {
  /** The bytes that its objects may take, headers included. 0 with `noAlloc` and without `memBuffer`: any number. */
  readonly memSize: number;
  /** Memory of the caller, who keeps it and may give it to another context afterwards. @defaultValue memory of its own */
  readonly memBuffer?: Allocation;
  /** True gives tensors no data: a graph allocator or a backend buffer does. Nothing is allocated then. @defaultValue false */
  readonly noAlloc?: boolean;
  /** What to allocate its own memory from. @defaultValue the process's default runtime */
  readonly runtime?: MemoryRuntime;
}

const OPTIONS: OwnOptions<MemoryContextOptions> = {
  of: () => MemoryContext,
  names: { memSize: true, memBuffer: true, noAlloc: true, runtime: true },
};

/**
 * A pool for the tensors, graphs and work buffers of a computation, as in ggml: one piece of memory that is filled from its
 * beginning and emptied as a whole. Each object is headed by 32 bytes and padded to 16.
 *
 * When there is no room the error tells how many bytes are missing (`facts.missingBytes`), and nothing has changed.
 */
export class MemoryContext {
  /** The bytes that its objects may take. */
  readonly memSize: number;
  readonly noAlloc: boolean;
  readonly #owned: Allocation | undefined;
  readonly #list: ObjectList;
  readonly #scratch = new ScratchMemory();
  #tensors: ContextTensor[] = [];
  #graphs: ContextGraph[] = [];
  #disposed = false;

  /**
   * @throws ERR_MEM_OUT_OF_RANGE for a buffer that is smaller than `memSize`, ERR_MEM_INVALID_ARGUMENT for one that is not
   *   aligned to 16 bytes
   * @throws ERR_MEM_INVALID_SIZE, ERR_MEM_OUT_OF_MEMORY
   */
  constructor(options: MemoryContextOptions) {
    checkOwnOptions(OPTIONS, new.target, options);
    const { memSize, memBuffer, noAlloc = false, runtime } = options;
    checkBytes(memSize);
    if (memBuffer !== undefined) {
      checkRange(0, memSize, memBuffer.bytes);
      checkContextMemory('memBuffer', memBuffer);
    } else if (!noAlloc) {
      this.#owned = (runtime ?? (defaultHost() as MemoryRuntime)).allocate(memSize, { alignment: CONTEXT_ALIGNMENT });
    }
    const memory = memBuffer ?? this.#owned;
    this.memSize = memSize;
    this.noAlloc = noAlloc;
    this.#list = new ObjectList(memory, memory === undefined && memSize === 0 ? Number.MAX_SAFE_INTEGER : memSize);
  }

  /** The bytes of all objects with their headers. In a context without memory: what they would take. */
  get used(): number {
    return this.#list.used;
  }

  /** True when it was disposed of. */
  get disposed(): boolean {
    return this.#disposed;
  }

  /** Its objects, in the order of their places. */
  get objects(): readonly ContextObject[] {
    return this.#list.objects;
  }

  /** Its tensors, views included, in the order in which they were made. */
  get tensors(): readonly ContextTensor[] {
    return this.#tensors;
  }

  /**
   * Makes a tensor. Its data, of undefined content, is in scratch where that is set, else behind its header.
   *
   * @param name - for messages and {@link getTensor}
   * @defaultValue name is `tensor <number>`
   * @throws ERR_MEM_INVALID_ARGUMENT for a type or shape that is none, ERR_MEM_OUT_OF_MEMORY, ERR_MEM_DISPOSED
   */
  newTensor(type: DTypeName | DType, shape: Shape, name?: string): ContextTensor {
    this.#checkOpen();
    const layout = TensorLayout.packed(dtypeOf(type), shape);
    const scratch = this.noAlloc ? undefined : this.#scratch.partFor(layout.bytes);
    const isHere = !this.noAlloc && scratch === undefined;
    const object = this.#list.add('tensor', isHere ? layout.bytes : 0);
    const tensor = this.#tensor(layout, object, name);
    if (scratch !== undefined) {
      tensor.setPart(scratch, true);
      this.#scratch.take(tensor, scratch);
    } else if (isHere) tensor.setPart(new MemoryPart(this.#list.memory!, object.offsetBytes, layout.bytes), true);
    return tensor;
  }

  /** The first tensor of that name. Cost: O(tensors). */
  getTensor(name: string): ContextTensor | undefined {
    return this.#tensors.find((tensor) => tensor.name === name);
  }

  /** Makes a graph of up to `capacity` nodes. @throws ERR_MEM_INVALID_SIZE, ERR_MEM_OUT_OF_MEMORY, ERR_MEM_DISPOSED */
  newGraph(capacity: number): ContextGraph {
    const graph = new ContextGraph(capacity, this.#newPart('graph', capacity * GRAPH_NODE_BYTES));
    this.#graphs.push(graph);
    return graph;
  }

  /**
   * Makes a buffer of bytes that a computation works in.
   *
   * @returns it, or undefined in a context without memory, which only counts it
   * @throws ERR_MEM_INVALID_SIZE, ERR_MEM_OUT_OF_MEMORY, ERR_MEM_DISPOSED
   */
  newWorkBuffer(bytes: number): MemoryPart | undefined {
    return this.#newPart('work buffer', bytes);
  }

  /**
   * Puts the data of new tensors into other memory, from `offs` on; undefined puts it behind the headers again. Tensors that
   * lie beyond `offs` in the same memory end.
   *
   * @throws ERR_MEM_OUT_OF_RANGE, ERR_MEM_INVALID_ARGUMENT unless aligned to 16 bytes, ERR_MEM_DISPOSED
   */
  scratchSet(scratch: Scratch | undefined): void {
    this.#checkOpen();
    this.#scratch.set(scratch);
  }

  /** Remembers the scratch memory and how much of it is taken. */
  scratchSave(): void {
    this.#checkOpen();
    this.#scratch.saved = this.#scratch.present;
  }

  /** Takes the remembered state again: what was put into scratch since then is overwritten by what follows, and ends. */
  scratchLoad(): void {
    this.#checkOpen();
    this.#scratch.set(this.#scratch.saved);
  }

  /** The scratch memory, with how much of it is taken. */
  get scratch(): Scratch | undefined {
    return this.#scratch.present;
  }

  /** What its tensors take, by type; views take nothing. Cost: O(tensors). */
  usage(): MemoryUsage {
    return analyzeMemoryUsage(this.#tensors.filter((tensor) => tensor.viewSource === undefined && !tensor.ended));
  }

  /** Checks that no header was overwritten. Cost: O(objects). @throws ERR_MEM_CORRUPTED, ERR_MEM_DISPOSED */
  verify(): void {
    this.#checkOpen();
    this.#list.verify();
  }

  /** Empties it: all its tensors and graphs end, and scratch is off. Its memory is filled from the beginning again. */
  reset(): void {
    for (const one of [...this.#tensors, ...this.#graphs]) one.end();
    this.#tensors = [];
    this.#graphs = [];
    this.#list.reset();
    this.#scratch.reset();
  }

  /** Empties it and ends its use. Gives its own memory back; a buffer of the caller stays the caller's. */
  dispose(): void {
    this.#owned?.dispose();
    this.reset();
    this.#disposed = true;
  }

  [Symbol.dispose](): void {
    this.dispose();
  }

  #newPart(type: 'graph' | 'work buffer', bytes: number): MemoryPart | undefined {
    this.#checkOpen();
    checkBytes(bytes);
    const { offsetBytes } = this.#list.add(type, bytes);
    const { memory } = this.#list;
    return memory === undefined ? undefined : new MemoryPart(memory, offsetBytes, bytes);
  }

  #tensor(layout: TensorLayout, object: ContextObject, name?: string, viewSource?: ContextTensor): ContextTensor {
    const makeView = (source: ContextTensor, viewLayout: TensorLayout) =>
      this.#tensor(viewLayout, this.#list.add('tensor', 0), `${source.name} (view ${this.#tensors.length})`, source);
    const named = name ?? `tensor ${this.#tensors.length}`;
    const tensor = new ContextTensor(named, layout, object.offsetBytes, viewSource, makeView);
    this.#tensors.push(tensor);
    return tensor;
  }

  #checkOpen(): void {
    checkUsable(!this.#disposed, 'context');
  }
}
