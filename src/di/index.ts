export {
  type StowageModuleOptions,
  type StowageSettings,
  StowageTokens,
  type StowageTokenTypes,
  stowageModule,
} from './stowage-module.js';
