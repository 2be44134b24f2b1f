export { type StowageModuleOptions, stowageModule } from './stowage-module.js';
export { type StowageSettings, StowageTokens, type StowageTokenTypes } from './tokens.js';
