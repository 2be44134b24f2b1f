import { CpuDevice } from '../../adapters/devices/cpu.js';
import { addressOfBytes } from '../../adapters/os/bytes.js';
import type { DevicePtr } from '../../src/core/units.js';

/** Memory of this machine that the host cannot see, as that of a card: bytes go there and come back by copies alone. */
export class HiddenDevice extends CpuDevice {
  override view(): Uint8Array {
    throw this.unsupported('a view of device memory');
  }

  override write(ptr: DevicePtr, source: Uint8Array): void {
    this.copy(ptr, addressOfBytes(source), source.length);
  }

  override read(ptr: DevicePtr, target: Uint8Array): void {
    this.copy(addressOfBytes(target), ptr, target.length);
  }
}
