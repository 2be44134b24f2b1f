import { checkArgument, checkRange } from '../../core/errors.js';
import { checkBytes } from '../../core/units.js';
import { type Placement, type PlacementOptions, placeLifetimes } from './place-lifetimes.js';

/**
 * One tensor of a computation. The nodes stand in the order of the computation: node i is computed at step i, from nodes
 * before it.
 */
export interface GraphNode {
  readonly bytes: number;
  /** The numbers of the nodes that are read when this one is computed. @defaultValue none */
  readonly inputs?: readonly number[];
  /** The node whose memory this one shows a part of. Such a node needs no memory of its own. */
  readonly viewOf?: number | undefined;
  /** Where in that node's memory a view begins. @defaultValue 0 */
  readonly viewOffsetBytes?: number;
  /** True when computing it may overwrite an input that is not read afterwards. @defaultValue false */
  readonly inPlace?: boolean;
  /** True for one that is filled before the computation begins: it reads none, and is there from the start. @defaultValue false */
  readonly isInput?: boolean;
  /** True for one that is read after the computation: its memory is used for nothing else afterwards. @defaultValue false */
  readonly isOutput?: boolean;
}

/** Where each node of a computation lies in one buffer. */
export interface GraphPlan extends Placement {
  /** How many nodes overwrite an input. */
  readonly inPlaceNodes: number;
}

/** Memory that a node has for itself, or that views and in-place nodes share. */
interface Storage {
  readonly bytes: number;
  readonly from: number;
  until: number;
  isOutput: boolean;
  readonly nodes: number[];
}

/**
 * Plans the memory of a computation: each node lives from its step to the last one that reads it or a view of it, outputs to
 * the end; a node that may overwrite an input takes its memory over when it dies there.
 *
 * Cost: O(nodes + inputs + members of shared storages) and that of {@link placeLifetimes}.
 *
 * @throws ERR_MEM_INVALID_ARGUMENT for a node that refers to none before it, or a view beyond its node's end
 * @throws ERR_MEM_INVALID_SIZE, ERR_MEM_INVALID_ALIGNMENT
 */
export function planGraph(nodes: readonly GraphNode[], options: PlacementOptions = {}): GraphPlan {
  const { storages, offsets, inPlaceNodes } = new StoragePlanner(nodes);
  const placement = placeLifetimes(
    {
      bytes: storages.map((storage) => storage.bytes),
      from: storages.map((storage) => storage.from),
      until: storages.map((storage) => (storage.isOutput ? nodes.length + 1 : storage.until)),
    },
    options,
  );
  storages.forEach((storage, at) => {
    for (const node of storage.nodes) offsets[node]! += placement.offsets[at]!;
  });
  return { ...placement, offsets, inPlaceNodes };
}

/** Gives each node its storage, node by node. */
class StoragePlanner {
  readonly storages: Storage[] = [];
  inPlaceNodes = 0;
  /** Where in its storage each node begins. */
  readonly offsets: Float64Array;
  readonly #storageOf: Storage[] = [];
  /** The last step that reads a node itself; its own where there is none. */
  readonly #lastRead: Float64Array;

  constructor(readonly nodes: readonly GraphNode[]) {
    this.offsets = new Float64Array(nodes.length);
    this.#lastRead = Float64Array.from(nodes, (_, step) => step);
    nodes.forEach((node, step) => {
      checkNode(nodes, node, step);
      for (const read of readsOf(node)) this.#lastRead[read] = step;
    });
    nodes.forEach((node, step) => {
      this.#assign(node, step);
    });
  }

  #assign(node: GraphNode, step: number): void {
    const source = node.viewOf ?? this.#overwritten(node, step);
    const fresh = { bytes: node.bytes, from: node.isInput === true ? 0 : step, until: step + 1, isOutput: false, nodes: [] };
    const storage = source === undefined ? fresh : this.#storageOf[source]!;
    this.#storageOf[step] = storage;
    if (source === undefined) this.storages.push(storage);
    else {
      if (node.viewOf === undefined) this.inPlaceNodes++;
      this.offsets[step] = this.offsets[source]! + (node.viewOf === undefined ? 0 : (node.viewOffsetBytes ?? 0));
    }
    storage.nodes.push(step);
    storage.until = Math.max(storage.until, this.#lastRead[step]! + 1);
    storage.isOutput ||= node.isOutput === true;
  }

  /** The input whose memory a node takes over: the first that dies here with everything in its storage. */
  #overwritten(node: GraphNode, step: number): number | undefined {
    if (node.inPlace !== true || node.bytes === 0) return undefined;
    return node.inputs?.find((input) => {
      const storage = this.#storageOf[input]!;
      if (storage.isOutput || storage.until > step + 1 || node.bytes > this.nodes[input]!.bytes) return false;
      const isSame = (other: number) =>
        this.offsets[other] === this.offsets[input] && this.nodes[other]!.bytes === this.nodes[input]!.bytes;
      // Another input in the same memory would be overwritten while it is read, unless it is the very same bytes.
      return node.inputs!.every((other) => this.#storageOf[other] !== storage || isSame(other));
    });
  }
}

/** The nodes that must be there when a node is computed. */
function readsOf({ inputs = [], viewOf }: GraphNode): readonly number[] {
  return viewOf === undefined ? inputs : [...inputs, viewOf];
}

function checkNode(nodes: readonly GraphNode[], node: GraphNode, step: number): void {
  const { bytes, isInput, viewOf, viewOffsetBytes = 0 } = node;
  checkBytes(bytes);
  const reads = readsOf(node);
  checkArgument(!isInput || reads.length === 0, `node ${step}`, 'an input that reads others', 'one or the other');
  for (const read of reads) {
    checkArgument(Number.isInteger(read) && read >= 0 && read < step, `an input of node ${step}`, read, 'a node before it');
  }
  if (viewOf === undefined) return;
  checkBytes(viewOffsetBytes);
  checkRange(viewOffsetBytes, bytes, nodes[viewOf]!.bytes);
}
