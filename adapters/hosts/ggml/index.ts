/**
 * Has a manager serve ggml and llama.cpp: buffer types, contexts, and every CPU buffer of the process.
 *
 * @module
 */

import '../../../src/defaults.js';

export { GgmlContext, GgmlHost, type GgmlHostOptions } from './ggml-host.js';
