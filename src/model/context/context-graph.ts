import { checkArgument, checkUsable } from '../../core/errors.js';
import { checkOptionNames, type OptionNames } from '../../core/option-names.js';
import type { GraphNode } from '../graph/graph-plan.js';
import type { MemoryPart } from '../tensors/tensor-base.js';
import type { ContextTensor } from './context-tensor.js';
import { checkRoom } from './object-list.js';

/** Bytes of a graph's object for each node it can have: the offset of the node's own object. */
export const GRAPH_NODE_BYTES = 8;

/** How a tensor of a graph is computed. */
export interface GraphNodeOptions extends Pick<GraphNode, 'inPlace' | 'isInput' | 'isOutput'> {
  /** The tensors that it is computed from. @defaultValue none */
  readonly inputs?: readonly ContextTensor[];
}

const NODE_OPTIONS: OptionNames<GraphNodeOptions> = { inputs: true, inPlace: true, isInput: true, isOutput: true };

/**
 * The tensors of a computation in order, with what each is computed from. A tensor that has data when it is added (weights)
 * keeps it; a graph allocator places the others.
 */
export class ContextGraph {
  readonly #tensors: ContextTensor[] = [];
  readonly #nodes: GraphNode[] = [];
  readonly #numbers = new Map<ContextTensor, number>();
  readonly #toPlace: ContextGraph['toPlace'][number][] = [];
  /** Its tensors in order. */
  readonly tensors: readonly ContextTensor[] = this.#tensors;
  /** The tensors that need a place, with their numbers. */
  readonly toPlace: readonly { readonly tensor: ContextTensor; readonly node: number }[] = this.#toPlace;
  #ended = false;

  /** @internal */
  constructor(
    /** How many nodes it can have. */
    readonly capacity: number,
    protected readonly part: MemoryPart | undefined,
  ) {}

  /** Its tensors as nodes for a plan. @throws ERR_MEM_DISPOSED when its context was reset or disposed of */
  get nodes(): readonly GraphNode[] {
    checkUsable(!this.#ended, 'graph');
    return this.#nodes;
  }

  /**
   * Adds a tensor at the end. The source of a view, and inputs without data, must have been added before.
   *
   * @returns its number
   * @throws ERR_MEM_INVALID_ARGUMENT for one that is in it already, and an input that is neither in it nor has data
   * @throws ERR_MEM_OUT_OF_MEMORY when the graph is full
   */
  add(tensor: ContextTensor, options: GraphNodeOptions = {}): number {
    checkOptionNames('ContextGraph.add', options, NODE_OPTIONS);
    const { inputs: computedFrom = [], inPlace = false, isInput = false, isOutput = false } = options;
    checkUsable(!this.#ended, 'graph');
    const number = this.#tensors.length;
    checkArgument(!this.#numbers.has(tensor), 'tensor', tensor.name, 'one that is not in the graph yet');
    const { viewSource } = tensor;
    const inputs = computedFrom.map((input) => this.#numberOf(input)).filter((input) => input !== undefined);
    const sourceNumber = viewSource === undefined ? undefined : this.#numberOf(viewSource);
    // A source in the graph that takes nothing here has data elsewhere.
    const source = sourceNumber !== undefined && this.#nodes[sourceNumber]!.bytes > 0 ? sourceNumber : undefined;
    const view = source === undefined ? {} : { viewOf: source, viewOffsetBytes: tensor.layout.offsetBytes };
    const isPlacedHere = viewSource === undefined && tensor.part === undefined;
    // What lies elsewhere takes nothing here, and so does a view of it.
    const bytes = isPlacedHere || source !== undefined ? tensor.layout.spanBytes : 0;
    checkRoom('the graph', GRAPH_NODE_BYTES, number * GRAPH_NODE_BYTES, this.capacity * GRAPH_NODE_BYTES);
    this.part?.view(BigUint64Array, number * GRAPH_NODE_BYTES, 1).set([BigInt(tensor.objectOffset)]);
    this.#nodes.push({ bytes, inputs, ...view, inPlace, isInput, isOutput });
    this.#tensors.push(tensor);
    this.#numbers.set(tensor, number);
    if (isPlacedHere) this.#toPlace.push({ tensor, node: number });
    return number;
  }

  /** @internal */
  end(): void {
    this.#ended = true;
  }

  /** The number of a tensor that is in the graph; undefined for one that has data elsewhere. */
  #numberOf(tensor: ContextTensor): number | undefined {
    const number = this.#numbers.get(tensor);
    const isElsewhere = tensor.part !== undefined && !this.#numbers.has(tensor.dataSource);
    checkArgument(number !== undefined || isElsewhere, 'input', tensor.name, 'in the graph already, or with data elsewhere');
    return number;
  }
}
