// A stack may end at any call, and what was half done then would stay half done. Operations ask for room before they begin.
// V8 lets a call fail that has no room for its arguments, 8 B each: so there are many of them here.

function stop(): never {
  throw new RangeError('the stack is full');
}

/**
 * Throws the RangeError of a full stack unless some 3 KiB of it are left. What follows in the caller then runs to its end.
 * Native functions and listeners are not covered, nor is a function that V8 has not compiled yet: to compile it takes more
 * stack than to run it. For the start of an operation. Call it without arguments.
 *
 * Where V8 inlines this function it has the caller check for as much when it is entered, since code that was optimised may
 * have to go on unoptimised inside of it. For that there must be a place inside where it could: the branch that is never
 * taken, behind a write, without which V8 would go back to before the call. Up to 27 bytes of bytecode V8 inlines always, and
 * inlines no less beside it. Cost, measured: 0.2 ns where it is inlined, 0.3 us in code that is not optimised yet.
 */
export const checkStackRoom = guard(0, 1);

/** @param never - what `mark` never is; it is written again, so that V8 does not take it for constant */
function guard(mark: number, never: number): (...none: undefined[]) => void {
  // biome-ignore lint/style/noParameterAssign: V8 asks a variable of one's own each time whether it has a value yet
  never = 2;
  // biome-ignore format: one parameter a line would hide the rest
  return (
    _0, _1, _2, _3, _4, _5, _6, _7, _8, _9, _a, _b, _c, _d, _e, _f, _g, _h, _i, _j, _k, _l, _m, _n, _o, _p, _q, _r, _s, _t, _u,
    _v, _w, _x, _y, _z, _10, _11, _12, _13, _14, _15, _16, _17, _18, _19, _1a, _1b, _1c, _1d, _1e, _1f, _1g, _1h, _1i, _1j, _1k,
    _1l, _1m, _1n, _1o, _1p, _1q, _1r, _1s, _1t, _1u, _1v, _1w, _1x, _1y, _1z, _20, _21, _22, _23, _24, _25, _26, _27, _28, _29,
    _2a, _2b, _2c, _2d, _2e, _2f, _2g, _2h, _2i, _2j, _2k, _2l, _2m, _2n, _2o, _2p, _2q, _2r, _2s, _2t, _2u, _2v, _2w, _2x, _2y,
    _2z, _30, _31, _32, _33, _34, _35, _36, _37, _38, _39, _3a, _3b, _3c, _3d, _3e, _3f, _3g, _3h, _3i, _3j, _3k, _3l, _3m, _3n,
    _3o, _3p, _3q, _3r, _3s, _3t, _3u, _3v, _3w, _3x, _3y, _3z, _40, _41, _42, _43, _44, _45, _46, _47, _48, _49, _4a, _4b, _4c,
    _4d, _4e, _4f, _4g, _4h, _4i, _4j, _4k, _4l, _4m, _4n, _4o, _4p, _4q, _4r, _4s, _4t, _4u, _4v, _4w, _4x, _4y, _4z, _50, _51,
    _52, _53, _54, _55, _56, _57, _58, _59, _5a, _5b, _5c, _5d, _5e, _5f, _5g, _5h, _5i, _5j, _5k, _5l, _5m, _5n, _5o, _5p, _5q,
    _5r, _5s, _5t, _5u, _5v, _5w, _5x, _5y, _5z, _60, _61, _62, _63, _64, _65, _66, _67, _68, _69, _6a, _6b, _6c, _6d, _6e, _6f,
    _6g, _6h, _6i, _6j, _6k, _6l, _6m, _6n, _6o, _6p, _6q, _6r, _6s, _6t, _6u, _6v, _6w, _6x, _6y, _6z, _70, _71, _72, _73, _74,
    _75, _76, _77, _78, _79, _7a, _7b, _7c, _7d, _7e, _7f, _7g, _7h, _7i, _7j, _7k, _7l, _7m, _7n, _7o, _7p, _7q, _7r, _7s, _7t,
    _7u, _7v, _7w, _7x, _7y, _7z, _80, _81, _82, _83, _84, _85, _86, _87, _88, _89, _8a, _8b, _8c, _8d, _8e, _8f, _8g, _8h, _8i,
    _8j, _8k, _8l, _8m, _8n, _8o, _8p, _8q, _8r, _8s, _8t, _8u, _8v, _8w, _8x, _8y, _8z, _90, _91, _92, _93, _94, _95, _96, _97,
    _98, _99, _9a, _9b, _9c, _9d, _9e, _9f, _9g, _9h, _9i, _9j, _9k, _9l, _9m, _9n, _9o, _9p, _9q, _9r, _9s, _9t, _9u, _9v, _9w,
    _9x, _9y, _9z, _a0, _a1, _a2, _a3, _a4, _a5, _a6, _a7, _a8, _a9, _aa, _ab, _ac, _ad, _ae, _af, _ag, _ah, _ai, _aj, _ak, _al,
    _am, _an, _ao, _ap, _aq, _ar, _as, _at, _au, _av, _aw, _ax, _ay, _az, _b0, _b1, _b2, _b3,
  ) => {
    // biome-ignore lint/style/noParameterAssign: as above
    mark = 0;
    if (mark === never) stop();
  };
}

const nothing = (..._numbers: number[]): void => {};

/**
 * As {@link checkStackRoom}, for 2 KiB, checked at this very place. For use inside of an operation: the caller of an inlined
 * check would fail at its own entry, before it could put things right. It is too long for V8 to inline. Cost: 2 to 4 ns.
 */
export function checkStackRoomHere(): void {
  // biome-ignore format: one argument a line would hide the rest
  nothing(
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
    0, 0, 0, 0,
  );
}
