import { attempt } from '../../core/attempt.js';
import { checkOwnOptions, type OwnOptions } from '../../core/option-names.js';
import type { BackendBuffer, BackendBufferType } from '../buffers/backend-buffer.js';
import type { ContextGraph } from '../context/context-graph.js';
import { type GraphPlan, planGraph } from './graph-plan.js';
import type { PlacementOptions } from './place-lifetimes.js';

const OPTIONS: OwnOptions<Pick<PlacementOptions, 'timeBudgetMs'>> = { of: () => GraphAllocator, names: { timeBudgetMs: true } };

/**
 * Gives the tensors of a computation their places in one buffer, which serves one graph after the other: the tensors of the
 * one before lose their content, and their memory where the buffer had to grow.
 */
export class GraphAllocator {
  readonly #options: PlacementOptions;
  readonly #plans = new WeakMap<ContextGraph, GraphPlan>();
  #buffer: BackendBuffer | undefined;

  /** @param options - the alignment is that of the buffer type */
  constructor(
    protected readonly type: BackendBufferType,
    options: Pick<PlacementOptions, 'timeBudgetMs'> = {},
  ) {
    checkOwnOptions(OPTIONS, new.target, options);
    this.#options = { ...options, alignment: type.alignment };
  }

  /** The size of its buffer; 0 before the first graph. */
  get bufferBytes(): number {
    return this.#buffer?.bytes ?? 0;
  }

  /**
   * Tells what a graph needs, and where its tensors will lie. Nothing is allocated. The plan is kept for {@link allocGraph}
   * until a node is added.
   *
   * @throws ERR_MEM_DISPOSED for a graph that has ended, ERR_MEM_INVALID_SIZE beyond 2^53 bytes
   */
  reserve(graph: ContextGraph): GraphPlan {
    const kept = this.#plans.get(graph);
    const { nodes } = graph;
    if (kept?.offsets.length === nodes.length) return kept;
    const plan = planGraph(nodes, this.#options);
    this.#plans.set(graph, plan);
    return plan;
  }

  /**
   * Places all tensors of a graph that have no data elsewhere. The buffer grows when it is too small: the new one is allocated
   * before the old one is given back.
   *
   * @throws as {@link reserve}, and ERR_MEM_OUT_OF_MEMORY; nothing has changed then
   */
  allocGraph(graph: ContextGraph): BackendBuffer {
    const plan = this.reserve(graph);
    const before = this.#buffer;
    const isLarge = before !== undefined && !before.disposed && before.bytes >= plan.bytes;
    const buffer = isLarge ? before : this.type.allocBuffer(plan.bytes);
    for (const { tensor, node } of graph.toPlace) buffer.initTensor(tensor, plan.offsets[node]!);
    this.#buffer = buffer;
    if (before !== buffer) attempt(() => before?.dispose());
    return buffer;
  }

  /** Gives the buffer back. */
  dispose(): void {
    this.#buffer?.dispose();
    this.#buffer = undefined;
  }

  [Symbol.dispose](): void {
    this.dispose();
  }
}
