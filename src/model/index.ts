/**
 * Model files, mapped and loaded; tensors, contexts and graphs; what a model takes, and how much of it fits.
 *
 * @module
 */

export type { AccessPattern } from '../../adapters/os/mapping.js';
export type { ByteRange } from '../blocks/byte-ranges.js';
export { copyBetweenDevices, type DevicePlace } from '../core/device-copy.js';
export { BackendBuffer, BackendBufferType, type BackendBufferTypeOptions, type BufferTraits } from './buffers/backend-buffer.js';
export { ContextGraph, type GraphNodeOptions } from './context/context-graph.js';
export { ContextTensor } from './context/context-tensor.js';
export { MemoryContext, type MemoryContextOptions } from './context/memory-context.js';
export { CONTEXT_ALIGNMENT, type ContextObject, OBJECT_HEADER_BYTES, type ObjectType } from './context/object-list.js';
export type { Scratch } from './context/scratch-memory.js';
export * from './dtypes.js';
export type { MetadataValue, ModelDescription, ModelFormat, ModelPart, ModelTensor } from './files/model-description.js';
export { readModel } from './files/read-model.js';
export { GraphAllocator } from './graph/graph-allocator.js';
export { type GraphNode, type GraphPlan, planGraph } from './graph/graph-plan.js';
export type { LifetimeList } from './graph/lifetimes.js';
export { type Placement, type PlacementOptions, placeLifetimes } from './graph/place-lifetimes.js';
export { MappedFileDevice, MappedPart, MappedTensor } from './loader/mapped-tensor.js';
export { type LoadOptions, type LoadProgress, ModelLoader, type ModelLoaderOptions } from './loader/model-loader.js';
export { ModelSet } from './loader/model-set.js';
export { MappedFile, type MappedFileOptions } from './mapped-file.js';
export {
  DEFAULT_BATCH_SIZE,
  DEFAULT_CONTEXT_LENGTH,
  estimateModelMemory,
  type FitProposal,
  type FitSettings,
  type FitStep,
  fitToMemory,
  type MemoryEstimate,
  type RunSettings,
} from './sizing/estimate-model-memory.js';
export { type DescribedModel, hparamsOf, type ModelHparams } from './sizing/model-hparams.js';
export { bfloat16Bits, bfloat16Value, float16Bits, float16Value } from './tensors/half-floats.js';
export {
  analyzeLayers,
  analyzeMemoryUsage,
  type DTypeUsage,
  formatMemoryUsage,
  type LayerUsage,
  layerOf,
  type MemoryUsage,
  type ModelLayer,
} from './tensors/memory-usage.js';
export { SharedTensor, Tensor, TensorView } from './tensors/tensor.js';
export { MemoryPart, TensorBase, type TensorMemory } from './tensors/tensor-base.js';
export {
  contiguousStrides,
  elementsOf,
  rowBytes,
  type Shape,
  shapeOfGgml,
  TensorLayout,
  tensorBytes,
} from './tensors/tensor-layout.js';
export { TensorManager } from './tensors/tensor-manager.js';
export { TensorPool, type TensorPoolOptions } from './tensors/tensor-pool.js';
