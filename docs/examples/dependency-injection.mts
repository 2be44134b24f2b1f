// Register a custom manager by dependency injection, log what it does, and replace it.
import 'reflect-metadata';
import { Container } from 'inversify';
import { KiB } from 'stowage';
import { requestModule, StowageTokens, stowageModule } from 'stowage/di';
import { CachingMemoryManager, TlsfMemoryManager } from 'stowage/managers';

class MyManager extends CachingMemoryManager {}

const container = new Container();
container.load(
  stowageModule({
    createManager: (deviceCount, deviceInterface) => new MyManager(deviceCount, deviceInterface),
    logSink: process.stdout,
  }),
);

const runtime = container.get(StowageTokens.runtime); // the first time installs the manager
const block = runtime.allocate(4 * KiB);
console.log(`${runtime.slot.active?.name} gave ${runtime.slot.allocated(block.ptr)} bytes`);
block.dispose();

// A request gets a container of its own. What it allocates ends with it.
const request = new Container({ parent: container });
request.load(requestModule());
request.get(StowageTokens.request).allocate(16 * KiB);
request.unbindAll();

// uninstalls it: its log is written, and the host goes on with its own default
container.unbind(StowageTokens.manager);
console.log(`now ${runtime.slot.active?.name} serves`);

container
  .bind(StowageTokens.manager)
  .toResolvedValue(
    (deviceCount, deviceInterface) => new TlsfMemoryManager(deviceCount, deviceInterface),
    [StowageTokens.deviceCount, StowageTokens.deviceInterface],
  )
  .inSingletonScope();
console.log(`now ${container.get(StowageTokens.runtime).slot.active?.name} serves`);
container.unbindAll(); // closes the runtime
