/**
 * Has a manager serve the sessions of onnxruntime-node.
 *
 * @module
 */

import '../../../src/defaults.js';

export { findOnnxRuntime, type OnnxRuntimeLocation } from './onnxruntime-api.js';
export { type HostedSessionOptions, OnnxRuntimeHost, type OnnxRuntimeHostOptions } from './onnxruntime-host.js';
