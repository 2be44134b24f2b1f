import '../../../src/defaults.js';

export { type HostedSessionOptions, OnnxRuntimeHost, type OnnxRuntimeHostOptions } from './onnxruntime-host.js';
export { findOnnxRuntime, type OnnxRuntimeLocation } from './onnxruntime-library.js';
