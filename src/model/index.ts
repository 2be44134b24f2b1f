export * from './dtypes.js';
export { type GraphNode, type GraphPlan, planGraph } from './graph/graph-plan.js';
export type { LifetimeList } from './graph/lifetimes.js';
export { type Placement, type PlacementOptions, placeLifetimes } from './graph/place-lifetimes.js';
export * from './shapes.js';
