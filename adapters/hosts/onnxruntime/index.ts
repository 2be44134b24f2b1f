export { EngineHost, type EngineHostOptions } from '../engine-host.js';
export { FallbackMemory } from '../fallback-memory.js';
export { type HostedSessionOptions, OnnxRuntimeHost, type OnnxRuntimeHostOptions } from './onnxruntime-host.js';
export { findOnnxRuntime, type OnnxRuntimeLocation } from './onnxruntime-library.js';
