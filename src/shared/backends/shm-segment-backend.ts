import { atExit } from '../../core/exit-hook.js';
import { SegmentBackend, type SegmentParts } from './segment-backend.js';

/**
 * A segment in memory. Its creator unlinks it: when it is destroyed, and when the creating process or worker exits. A
 * creator that is killed leaves it stale.
 */
export abstract class ShmSegmentBackend extends SegmentBackend {
  /** @internal */
  protected constructor(parts: SegmentParts) {
    super(parts);
    if (this.isCreator) atExit(this);
  }

  override endWithProcess(): void {
    try {
      if (this.isCreator) this.unlink();
    } finally {
      super.endWithProcess();
    }
  }
}
