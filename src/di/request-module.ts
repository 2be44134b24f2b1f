import { ContainerModule } from 'inversify';
import { checkArgument } from '../core/errors.js';
import { checkOptionNames } from '../core/option-names.js';
import { REQUEST_OPTIONS, RequestMemory, type RequestMemoryOptions } from './request-memory.js';
import { StowageTokens } from './stowage-tokens.js';

/**
 * Gives a child container, which an app makes for each request, memory of its own: `request.load(requestModule())`, then
 * `request.get(StowageTokens.request)`. It ends with `request.unbindAll()`.
 *
 * @throws ERR_MEM_INVALID_ARGUMENT for options that cannot be
 */
export function requestModule(options: RequestMemoryOptions = {}): ContainerModule {
  checkOptionNames('requestModule', options, REQUEST_OPTIONS);
  const { tag } = options;
  if (tag !== undefined) checkArgument(typeof tag === 'string', 'tag', String(tag), 'text');
  return new ContainerModule((load) => {
    load
      .bind(StowageTokens.request)
      .toDynamicValue((context) => new RequestMemory(context.get(StowageTokens.runtime), options))
      .inSingletonScope()
      .onDeactivation((memory) => memory.dispose());
  });
}
