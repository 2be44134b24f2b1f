export * from './dtypes.js';
export * from './shapes.js';
