/** What a profile can show of each allocation site. */
export const PROFILE_MEASURES = ['live', 'allocated', 'peak'] as const;

/** Blocks that are live at the end, all that were allocated, or those that were live when most bytes were. */
export type ProfileMeasure = (typeof PROFILE_MEASURES)[number];
