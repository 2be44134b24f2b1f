import type { Device } from '../../core/device.js';
import { MemoryError } from '../../core/errors.js';
import { MainThreadModel, WorkerThreadModel } from './host-thread-model.js';
import { StreamThreadModel } from './stream-thread-model.js';
import type { ThreadModel } from './thread-model.js';

/** How a thread model comes about. */
export interface ThreadModelFactory {
  readonly name: string;
  /** Whether it is the model of the thread that calls. */
  applies(): boolean;
  create(): ThreadModel;
}

interface Entry {
  readonly factory: ThreadModelFactory;
  model?: ThreadModel;
}

const entries: Entry[] = [
  { factory: { name: 'main', applies: () => MainThreadModel.applies(), create: () => new MainThreadModel() } },
  { factory: { name: 'worker', applies: () => WorkerThreadModel.applies(), create: () => new WorkerThreadModel() } },
];

/**
 * Gives the thread model of that name; without one, that of the calling thread: the last registered one that applies.
 *
 * @throws ERR_MEM_INVALID_ARGUMENT for a name that is not registered
 */
export function threadModel(name?: string): ThreadModel {
  const entry = entries.findLast(({ factory }) => (name === undefined ? factory.applies() : factory.name === name));
  if (entry === undefined) throw badName(name ?? '', `one of ${threadModelNames().join(', ')}`);
  entry.model ??= entry.factory.create();
  return entry.model;
}

/** The names that are registered in this thread. */
export function threadModelNames(): string[] {
  return entries.map(({ factory }) => factory.name);
}

/**
 * Registers a thread model in this thread.
 *
 * @returns what takes it back
 * @throws ERR_MEM_INVALID_ARGUMENT when the name is taken
 */
export function registerThreadModel(factory: ThreadModelFactory): () => void {
  if (entries.some((entry) => entry.factory.name === factory.name)) throw badName(factory.name, 'a name that is not registered');
  const entry: Entry = { factory };
  entries.push(entry);
  return () => {
    const index = entries.indexOf(entry);
    if (index >= 0) entries.splice(index, 1);
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

function badName(name: string, expected: string): MemoryError {
  return new MemoryError('ERR_MEM_INVALID_ARGUMENT', { name: 'the thread model', value: JSON.stringify(name), expected });
}
