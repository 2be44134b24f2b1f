import type { Device } from '../../core/device.js';
import { checkArgument } from '../../core/errors.js';
import { StreamThreadModel } from './stream-thread-model.js';
import { MainThreadModel, type ThreadModel, WorkerThreadModel } from './thread-model.js';

/** How a thread model comes about. */
export interface ThreadModelFactory {
  readonly name: string;
  /** Whether it is the model of the thread that calls. */
  applies(): boolean;
  create(): ThreadModel;
}

const entries = new Map<string, { readonly factory: ThreadModelFactory; model?: ThreadModel }>();
registerThreadModel({ name: 'main', applies: MainThreadModel.applies, create: () => new MainThreadModel() });
registerThreadModel({ name: 'worker', applies: WorkerThreadModel.applies, create: () => new WorkerThreadModel() });

/**
 * Gives the thread model of that name; without one, that of the calling thread: the last registered one that applies.
 *
 * @throws ERR_MEM_INVALID_ARGUMENT for a name that is not registered
 */
export function threadModel(name?: string): ThreadModel {
  const entry = name === undefined ? [...entries.values()].findLast(({ factory }) => factory.applies()) : entries.get(name);
  checkArgument(entry !== undefined, 'the thread model', JSON.stringify(name), `one of ${threadModelNames().join(', ')}`);
  entry.model ??= entry.factory.create();
  return entry.model;
}

/** The names that are registered in this thread. */
export function threadModelNames(): string[] {
  return [...entries.keys()];
}

/**
 * Registers a thread model in this thread.
 *
 * @returns what takes it back
 * @throws ERR_MEM_INVALID_ARGUMENT when the name is taken
 */
export function registerThreadModel(factory: ThreadModelFactory): () => void {
  const { name } = factory;
  checkArgument(!entries.has(name), 'the thread model', JSON.stringify(name), 'a name that is not registered');
  const entry = { factory };
  entries.set(name, entry);
  return () => {
    if (entries.get(name) === entry) entries.delete(name);
  };
}

/**
 * Registers the streams of a device as a thread model under the device's name. It is got by that name: the thread that
 * calls stays a host thread.
 *
 * @returns the model, and what takes it back
 * @throws ERR_MEM_UNSUPPORTED_PLATFORM for a device without streams, ERR_MEM_INVALID_ARGUMENT when it is registered
 */
export function registerDeviceThreads(device: Device): { readonly model: StreamThreadModel; readonly unregister: () => void } {
  const model = new StreamThreadModel(device, threadModel());
  const unregister = registerThreadModel({ name: device.name, applies: () => false, create: () => model });
  return { model, unregister };
}
