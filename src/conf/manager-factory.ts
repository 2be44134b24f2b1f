import { MemoryManagerDeviceInterface } from '../core/device-interface.js';
import { MemoryError } from '../core/errors.js';
import type { ManagerFactory } from '../core/memory-host.js';
import type { MemoryManagerAdapter } from '../core/memory-manager-adapter.js';
import { loadManager } from './load-managers.js';
import type { StowageConf } from './parse-conf.js';

/** PyTorch's own settings, by the names that PyTorch reads. */
const PYTORCH_VARIABLES = ['PYTORCH_ALLOC_CONF', 'PYTORCH_CUDA_ALLOC_CONF'];

type AnyManagerClass = new (
  ...args: [...Parameters<ManagerFactory>, options: Readonly<Record<string, unknown>>]
) => MemoryManagerAdapter;

/**
 * Gives what makes the manager of a configuration, and makes one, so that a bad value is told now.
 *
 * @throws ERR_MEM_INVALID_ARGUMENT with the place of a value that the manager refuses
 */
export function managerFactory(conf: StowageConf): ManagerFactory {
  const Manager = loadManager(conf.manager) as AnyManagerClass;
  const options: Record<string, unknown> = Object.fromEntries(conf.settings.map(({ option, value }) => [option, value]));
  const own = ownConf(conf);
  if (own !== undefined) options['conf'] = own;
  const create: ManagerFactory = (deviceCount, table) => {
    try {
      return new Manager(deviceCount, table, options);
    } catch (error) {
      if (!MemoryError.is(error, 'ERR_MEM_INVALID_ARGUMENT')) throw error;
      const { name, expected } = error.facts;
      throw conf.settings.find(({ option }) => option === name)?.refusal(expected) ?? error;
    }
  };
  create(1, new MemoryManagerDeviceInterface());
  return create;
}

/** What the environment says about PyTorch's allocator, for a manager that is one. */
export function ownConf({ manager }: StowageConf): string | undefined {
  if (manager.name !== 'pytorch') return undefined;
  return PYTORCH_VARIABLES.map((name) => process.env[name]).find((text) => text !== undefined && text !== '');
}
