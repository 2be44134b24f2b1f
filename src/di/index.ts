/**
 * Tokens and modules for inversify.
 *
 * @module
 */

export { RequestMemory, type RequestMemoryOptions } from './request-memory.js';
export { requestModule } from './request-module.js';
export { type StowageModuleOptions, stowageModule } from './stowage-module.js';
export { type StowageSettings, StowageTokens, type StowageTokenTypes } from './stowage-tokens.js';
