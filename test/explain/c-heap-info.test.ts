import { describe, expect, test } from 'vitest';
import { parseCHeapInfo } from '../../src/explain/c-heap-info.js';

const TEXT = `<malloc version="1">
<heap nr="0">
<sizes>
  <size from="17" to="32" total="320" count="10"/>
  <size from="65521" to="65521" total="655210" count="10"/>
  <unsorted from="9009" to="9009" total="9009" count="1"/>
</sizes>
<total type="fast" count="10" size="320"/>
<total type="rest" count="12" size="800000"/>
<system type="current" size="2000000"/>
<system type="max" size="3000000"/>
<aspace type="total" size="2000000"/>
</heap>
<heap nr="1">
<sizes>
</sizes>
<total type="fast" count="0" size="0"/>
<total type="rest" count="1" size="50000"/>
<system type="current" size="135168"/>
</heap>
<total type="fast" count="10" size="320"/>
<total type="rest" count="13" size="850000"/>
<total type="mmap" count="3" size="1000000"/>
<system type="current" size="2135168"/>
</malloc>
`;

describe('parseCHeapInfo', () => {
  test('reads what each arena has, and blocks with mappings of their own', () => {
    expect(parseCHeapInfo(TEXT)).toMatchObject({
      arenas: [
        { number: 0, systemBytes: 2_000_000, freeBytes: 800_320 },
        { number: 1, systemBytes: 135_168, freeBytes: 50_000 },
      ],
      mappedBlocks: 3,
      mappedBytes: 1_000_000,
    });
  });

  test('estimates what goes back: whole pages of free blocks, and the end of the main arena', () => {
    const [main, other] = parseCHeapInfo(TEXT)?.arenas ?? [];
    const inBins = 655_210 - 10 * 4096 + (9009 - 4096);
    const end = 800_320 - 320 - 655_210 - 9009 - 4096;
    expect(main?.trimmableBytes).toBe(inBins + end);
    expect(other?.trimmableBytes).toBe(0);
  });

  test.each(['', 'no XML', '<html>'])('gives nothing for another text: %j', (text) => {
    expect(parseCHeapInfo(text)).toBeUndefined();
  });

  test('leaves out arenas without numbers', () => {
    expect(parseCHeapInfo('<malloc version="1"><heap nr="x"></heap><heap nr="2"></heap>')?.arenas).toEqual([]);
  });

  test('counts no more free bytes than an arena has', () => {
    const text =
      '<malloc version="1"><heap nr="0"><total type="rest" count="1" size="500"/><system type="current" size="100"/></heap>';
    expect(parseCHeapInfo(text)?.arenas[0]).toMatchObject({ systemBytes: 100, freeBytes: 100 });
  });
});
