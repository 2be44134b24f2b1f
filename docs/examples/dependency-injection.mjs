// Register a custom manager by dependency injection.
import 'reflect-metadata';
import { Container } from 'inversify';
import { KiB } from 'stowage';
import { StowageTokens, stowageModule } from 'stowage/di';
import { CachingMemoryManager } from 'stowage/managers';

class MyManager extends CachingMemoryManager {}

const container = new Container();
container.load(stowageModule({ createManager: (deviceCount, deviceInterface) => new MyManager(deviceCount, deviceInterface) }));

const host = container.get(StowageTokens.host); // the first time installs the manager
const block = host.slot.alloc(4 * KiB, true);
console.log(`${host.slot.active.name} gave ${host.slot.allocated(block)} bytes`);
host.slot.unlock(block, true);

container.unbind(StowageTokens.manager); // uninstalls it: the host goes on with its own default
console.log(`now ${host.slot.active.name} serves`);
container.unbindAll(); // closes the host
