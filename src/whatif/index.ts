/**
 * A memory snapshot of PyTorch, or a trace, under other settings, managers, limits and cards.
 *
 * @module
 */

export type { Frame } from '../trace/site-frames.js';
export { CARDS, type CardMemory } from './cards.js';
export { type FoundSetting, type SettingSearch, searchSettings } from './search-settings.js';
export type { WhatIfLimit, WhatIfSetting } from './setting.js';
export type { WhatIfCurve, WhatIfFigures } from './setting-run.js';
export { type WhatIfAnswer, type WhatIfFailure, type WhatIfOptions, type WhatIfResult, whatIf } from './what-if.js';
