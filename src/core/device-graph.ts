import type { DeviceStream } from './device-stream.js';
import type { Releasable } from './disposable.js';

/** Work of a stream that was captured: it is done at each launch, and was not done when it was captured. */
export interface DeviceGraph extends Releasable {
  /**
   * Enqueues all of the work.
   *
   * @param stream - of the device that it was captured on
   * @throws ERR_MEM_DISPOSED, ERR_MEM_INVALID_ARGUMENT, ERR_MEM_NATIVE
   */
  launch(stream: DeviceStream | number): void;
}
