import '../../../src/defaults.js';

export { GgmlContext } from './ggml-context.js';
export { GgmlHost, type GgmlHostOptions } from './ggml-host.js';
