// Inject a manager and what uses it as classes. Needs a compiler with
// "experimentalDecorators": inversify's decorators are the older ones.
import 'reflect-metadata';
import { Container, inject, injectable } from 'inversify';
import { KiB, type MemoryManagerDeviceInterface, type MemoryRuntime } from 'stowage';
import { StowageTokens, stowageModule } from 'stowage/di';
import { CachingMemoryManager } from 'stowage/managers';

@injectable()
class MyManager extends CachingMemoryManager {
  constructor(
    @inject(StowageTokens.deviceCount) deviceCount: number,
    @inject(StowageTokens.deviceInterface) deviceInterface: MemoryManagerDeviceInterface,
  ) {
    super(deviceCount, deviceInterface);
  }
}

@injectable()
class Images {
  readonly #runtime: MemoryRuntime;

  constructor(@inject(StowageTokens.runtime) runtime: MemoryRuntime) {
    this.#runtime = runtime;
  }

  average(pixels: number): number {
    using block = this.#runtime.allocate(4 * pixels, { zero: true });
    return block.view(Float32Array).reduce((sum, value) => sum + value, 0) / pixels;
  }
}

/** A class without a decorator: a function names what it wants. */
class Texts {
  readonly runtime: MemoryRuntime;

  constructor(runtime: MemoryRuntime) {
    this.runtime = runtime;
  }
}

const container = new Container();
container.bind(StowageTokens.manager).to(MyManager).inSingletonScope();
container.load(stowageModule());
container.bind(Images).toSelf();
container
  .bind(Texts)
  .toResolvedValue((runtime: MemoryRuntime) => new Texts(runtime), [StowageTokens.runtime]);

const { runtime } = container.get(Texts);
console.log(
  `an average of ${container.get(Images).average(4 * KiB)}, by ${runtime.slot.active?.name}`,
);
container.unbindAll(); // closes the runtime
