import '../../../src/defaults.js';

export { GgmlContext, GgmlHost, type GgmlHostOptions } from './ggml-host.js';
