import { ProfileWriter } from './profile-writer.js';
import { type SiteTreeNode, siteTree } from './site-tree.js';

/** A node of Chrome's file. */
interface Node {
  readonly callFrame: {
    readonly functionName: string;
    readonly scriptId: string;
    readonly url: string;
    readonly lineNumber: number;
    readonly columnNumber: number;
  };
  readonly selfSize: number;
  readonly id: number;
  readonly children: readonly Node[];
}

/**
 * Writes a sampling heap profile, as the memory tab of Chrome's tools loads it: the bytes of each site that were live when most
 * were. It holds one measure.
 *
 * @see Source: HeapProfiler.SamplingHeapProfile of Chrome's DevTools protocol
 */
export class HeapProfileWriter extends ProfileWriter {
  #nextId = 1;

  protected override encode(): string {
    const samples: { size: number; nodeId: number; ordinal: number }[] = [];
    const head = this.#nodeOf(siteTree(this.profile.amounts('peak'), this.framesOf), samples);
    return `${JSON.stringify({ head, samples })}\n`;
  }

  #nodeOf({ frame, ownBytes, children }: SiteTreeNode, samples: { size: number; nodeId: number; ordinal: number }[]): Node {
    const id = this.#nextId++;
    if (ownBytes > 0) samples.push({ size: ownBytes, nodeId: id, ordinal: samples.length + 1 });
    const callFrame = {
      functionName: frame.name,
      scriptId: '0',
      url: frame.filename,
      // Chrome counts from 0, and shows from 1.
      lineNumber: Math.max(0, frame.line - 1),
      columnNumber: 0,
    };
    return { callFrame, selfSize: ownBytes, id, children: children.map((child) => this.#nodeOf(child, samples)) };
  }
}
