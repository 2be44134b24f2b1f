import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { type GraphNode, type GraphPlan, planGraph } from '../../../src/model/graph/graph-plan.js';
import { codeOf } from '../../fixtures/code-of.js';
import { same } from '../../fixtures/same.js';

const PLAN = { alignment: 1, timeBudgetMs: 0 };

/** Runs a computation in a buffer: each node writes its number, and what a node reads must be what was left there for it. */
function run(nodes: readonly GraphNode[], { offsets, bytes }: GraphPlan): void {
  const memory = new Int32Array(bytes).fill(-1);
  const left: Int32Array[] = [];
  const at = (node: number) => memory.subarray(offsets[node]!, offsets[node]! + nodes[node]!.bytes);
  const check = (node: number) => same(at(node), left[node]!);
  const write = (node: number) => {
    at(node).fill(node);
    left[node] = at(node).slice();
  };
  nodes.forEach((node, step) => {
    if (node.isInput === true) write(step);
  });
  nodes.forEach((node, step) => {
    for (const input of node.inputs ?? []) check(input);
    if (node.viewOf !== undefined) {
      check(node.viewOf);
      left[step] = at(step).slice();
    } else if (node.isInput !== true) {
      for (const input of node.inputs ?? []) checkOverwritable(node, step, input);
      write(step);
    }
  });
  nodes.forEach((node, step) => {
    if (node.isOutput === true) check(step);
  });

  /** A result may lie exactly on an input, or nowhere near it. */
  function checkOverwritable(node: GraphNode, step: number, input: number): void {
    const [start, end] = [offsets[step]!, offsets[step]! + node.bytes];
    const [inputStart, inputEnd] = [offsets[input]!, offsets[input]! + nodes[input]!.bytes];
    const isApart = end <= inputStart || start >= inputEnd || node.bytes === 0;
    if (!isApart) expect([node.inPlace, start]).toEqual([true, inputStart]);
  }
}

const graphs = fc
  .array(
    fc.record({
      bytes: fc.integer({ min: 0, max: 40 }),
      inputs: fc.array(fc.nat(), { maxLength: 3 }),
      kind: fc.constantFrom('plain', 'plain', 'in place', 'in place', 'in place', 'view', 'input'),
      offset: fc.nat(),
      isOutput: fc.integer({ min: 0, max: 9 }).map((n) => n === 0),
    }),
    { maxLength: 40 },
  )
  .map((drawn) => {
    const nodes: GraphNode[] = [];
    drawn.forEach(({ bytes, inputs, kind, offset, isOutput }, step) => {
      // Near ones are read more often, so that nodes die.
      const before = step === 0 ? [] : inputs.map((n) => Math.max(0, step - 1 - (n % 5)));
      const viewOf = before[0];
      if (kind === 'view' && viewOf !== undefined) {
        const viewed = Math.min(bytes, nodes[viewOf]!.bytes);
        const viewOffsetBytes = offset % (nodes[viewOf]!.bytes - viewed + 1);
        nodes.push({ bytes: viewed, viewOf, viewOffsetBytes, isOutput });
      } else if (kind === 'input') nodes.push({ bytes, isInput: true, isOutput });
      else nodes.push({ bytes, inputs: before, inPlace: kind === 'in place', isOutput });
    });
    return nodes;
  });

describe('planGraph', () => {
  test('what a node reads is what was computed for it', () => {
    fc.assert(
      fc.property(graphs, (nodes) => {
        run(nodes, planGraph(nodes, PLAN));
      }),
      { numRuns: 2000 },
    );
  });

  test('a chain in place needs the memory of one node', () => {
    const nodes: GraphNode[] = [
      { bytes: 100, isInput: true },
      ...Array.from({ length: 9 }, (_, i): GraphNode => ({ bytes: 100, inputs: [i], inPlace: true, isOutput: i === 8 })),
    ];
    expect(planGraph(nodes, PLAN)).toMatchObject({ bytes: 100, lowerBoundBytes: 100, inPlaceNodes: 9 });
    run(nodes, planGraph(nodes, PLAN));
  });

  test('a chain that is not in place needs two', () => {
    const nodes = Array.from({ length: 10 }, (_, i): GraphNode => ({ bytes: 100, inputs: i === 0 ? [] : [i - 1] }));
    expect(planGraph(nodes, PLAN)).toMatchObject({ bytes: 200, inPlaceNodes: 0 });
  });

  test.each<[string, GraphNode[], number]>([
    ['is read again', [{ bytes: 8 }, { bytes: 8, inputs: [0], inPlace: true }, { bytes: 8, inputs: [0, 1] }], 0],
    [
      'is an output',
      [
        { bytes: 8, isOutput: true },
        { bytes: 8, inputs: [0], inPlace: true },
      ],
      0,
    ],
    ['is smaller', [{ bytes: 8 }, { bytes: 9, inputs: [0], inPlace: true }], 0],
    [
      'has a view that is read again',
      [{ bytes: 8 }, { bytes: 8, viewOf: 0 }, { bytes: 8, inputs: [0], inPlace: true }, { bytes: 8, inputs: [1] }],
      0,
    ],
    [
      'has a view of another part that is read as well',
      [{ bytes: 8 }, { bytes: 4, viewOf: 0, viewOffsetBytes: 4 }, { bytes: 8, inputs: [0, 1], inPlace: true }],
      0,
    ],
    ['is read twice by it alone', [{ bytes: 8 }, { bytes: 8, inputs: [0, 0], inPlace: true }], 1],
    ['is a view whose source dies, too', [{ bytes: 8 }, { bytes: 4, viewOf: 0 }, { bytes: 4, inputs: [1], inPlace: true }], 1],
  ])('an input that %s: %#', (_, nodes, inPlaceNodes) => {
    const plan = planGraph(nodes, PLAN);
    expect(plan.inPlaceNodes).toBe(inPlaceNodes);
    run(nodes, plan);
  });

  test('an input is there before the nodes ahead of it', () => {
    const nodes: GraphNode[] = [
      { bytes: 8 },
      { bytes: 8, inputs: [0] },
      { bytes: 8, isInput: true },
      { bytes: 8, inputs: [1, 2] },
    ];
    expect(planGraph(nodes, PLAN).bytes).toBe(24);
  });

  test.each<[string, GraphNode[], string]>([
    ['itself as an input', [{ bytes: 8, inputs: [0] }], 'ERR_MEM_INVALID_ARGUMENT'],
    ['a later node', [{ bytes: 8, inputs: [1] }, { bytes: 8 }], 'ERR_MEM_INVALID_ARGUMENT'],
    ['a node that is no number', [{ bytes: 8 }, { bytes: 8, viewOf: 0.5 }], 'ERR_MEM_INVALID_ARGUMENT'],
    ['a view beyond the end', [{ bytes: 8 }, { bytes: 8, viewOf: 0, viewOffsetBytes: 1 }], 'ERR_MEM_OUT_OF_RANGE'],
    ['an input that reads', [{ bytes: 8 }, { bytes: 8, inputs: [0], isInput: true }], 'ERR_MEM_INVALID_ARGUMENT'],
    ['a negative size', [{ bytes: -8 }], 'ERR_MEM_INVALID_SIZE'],
  ])('refuses %s', (_, nodes, code) => {
    expect(codeOf(() => planGraph(nodes))).toBe(code);
  });
});
