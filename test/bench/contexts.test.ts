import { describe, expect, test } from 'vitest';
import '../../src/defaults.js';
import { CONTEXT_KINDS, measureContext } from './contexts.js';
import { extrasText } from './text-report.js';

describe('measureContext', () => {
  test.each(CONTEXT_KINDS)('measures handles before and inside a %s, and leaves none', (context) => {
    const row = measureContext(context, 1);
    expect(row).toEqual({ context, nsBefore: expect.any(Number), nsInside: expect.any(Number) });
    const text = extrasText({ growth: [], logging: [], recording: [], contexts: [{ ...row, nsBefore: 123.4, nsInside: 567.8 }] });
    expect(text).toMatch(new RegExp(`${context} +123 +568`));
  });
});
